"""Where kills happen: an installation whose server is killed, started again, and looked into."""

import http.client
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cli.programs import Place, Running, Server
from tests.kills.launcher import KILL_AT, OPERATION, POINTS, become_mortal
from tests.kills.ledger import Ledger, read_ledger

READY_SECONDS = 30.0
DEATH_SECONDS = 20.0

Json = Any
# What a client sees of a server that dies.
Lost = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that arrived whole."""

    status: int
    body: Json = field(repr=False)


class MortalPlace(Place):
    """A place whose commands end at the points that their settings name."""

    @property
    def program(self) -> Callable[..., None]:
        return become_mortal

    @property
    def points(self) -> list[str]:
        """All the points that were passed while they were noted."""
        file = self.folder / "points"
        return file.read_text().splitlines() if file.exists() else []

    def noting(self, operation: str = "") -> dict[str, str]:
        """Settings under which the points that are passed are noted."""
        return {POINTS: str(self.folder / "points")} | ({OPERATION: operation} if operation else {})

    def mortal(self, point: str, *, at_once: bool = False) -> dict[str, str]:
        """Settings under which a command ends at the point; where `at_once`, the operation begins
        with the command itself."""
        operation = point.partition("/")[0]
        return {KILL_AT: point} | ({OPERATION: operation} if at_once else {})


@dataclass(kw_only=True)
class Site:
    """An installation and its present server. `readiness` is how long each start took."""

    place: MortalPlace
    server: Server | None = None
    readiness: list[float] = field(default_factory=list)

    def start(self, **settings: str) -> Server:
        """Starts the server, and waits until it says that it is ready."""
        began = time.monotonic()
        self.server = self.place.serve(**settings)
        self.await_ready(began)
        return self.server

    def await_ready(self, began: float | None = None, *, working: str | None = None) -> None:
        """Waits until the server says that it is ready, and, since that may be news of yesterday,
        answers to the token that is `working`; notes how long that took."""
        began = time.monotonic() if began is None else began
        while not self.is_ready(working):
            assert time.monotonic() < began + READY_SECONDS, "it does not become ready"
            time.sleep(0.01)
        self.readiness.append(time.monotonic() - began)

    def is_ready(self, token: str | None = None) -> bool:
        """Whether the server says so; with a token, whether it answers it too."""
        asked = [self.call("GET", "/readyz", None)]
        if token is not None:
            asked.append(self.call("GET", "/v1/workspaces", token))
        return all(reply is not None and reply.status == 200 for reply in asked)

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()

    def call(
        self,
        method: str,
        path: str,
        token: str | None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        """The answer, or None where none arrived."""
        assert self.server is not None
        try:
            return Reply(*self.server.call(method, path, token, body, headers))
        except Lost:
            return None

    def ask(self, method: str, path: str, token: str, body: object = None, **more: str) -> Json:
        """The body of a call that must go well."""
        __tracebackhide__ = True  # what it was called with is a token
        reply = self.call(method, path, token, body, more)
        assert reply is not None, f"no answer to {method} {path}"
        assert reply.status in (200, 201, 204), (method, path, reply.status)
        return reply.body

    def verdict(self, token: str, caller: str) -> str:
        return str(self.ask("POST", "/v1/verify", caller, {"api_key": token})["code"])

    def ledger(self) -> Ledger:
        """What stands in the database at one moment."""
        begin = (
            "BEGIN" if self.place.engine == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        )
        with self.place.database() as ask:
            ask(begin)
            found = read_ledger(ask)
            ask("COMMIT")
            return found

    def faults(self) -> list[str]:
        """What is wrong with the database and its log, whatever was done to it."""
        found = self.ledger().faults()
        checked = self.place.run("activity", "verify")
        if checked.code:
            found.append(f"the log: {checked.all}")
        return found


def died(running: Running) -> bool:
    """Whether the command is killed, soon. False where it ended otherwise, or goes on."""
    running.process.join(DEATH_SECONDS)
    return running.process.exitcode == -signal.SIGKILL
