"""The trial of revocations at several nodes:

    python -m tests.nodes.trial --revocations 300 --nodes 4 --seed 1 --freshness 1

Real nodes, each with a faulty way to one PostgreSQL. Callers use keys at every node all the while;
keys are revoked, suspended, narrowed, expired, their workspaces suspended, at one node after
another; the ways are cut, nodes are stopped and killed. What was let in when is judged afterwards
(`history.py`). Prints one table; ends with 1 where anything was let in too late.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.servers import Estate
from tests.nodes.history import HEAL_SECONDS, NONE, VALID, Change, History, Use
from tests.nodes.line import Line
from tests.nodes.nodes import Group
from tests.nodes.storm import Place, Storm
from tests.rotations_live.wire import Heard
from tests.servers.faulty import FaultyProxy
from tests.servers.postgres import Postgres, create_run_folder, obtain_server, remove_run

CALLERS = 2  # at each node
CHANGERS = 3  # at once
BREATH_SECONDS = 0.01
PULSE_SECONDS = 0.02
PULSE_PATIENCE_SECONDS = 0.5
KNOWN_SECONDS = 3.0
MOST_SECONDS_A_CHANGE = 60.0
DUE_SECONDS = 2.0
ADDRESS = "198.51.100.7"
# Refused, but not for good: by others at the same time, too late for its own end, or not now.
RETRIED = (409, 412, 422, 503)
KINDS = ("revoked", "revoked", "suspended", "scopes", "networks", "expiry", "workspace")


# What happens to the nodes meanwhile, until it is told that it is over.
Weather = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A key that is used, and will lose something."""

    id: str
    token: str
    workspace_id: str


class Trial:
    """So many changes at these places. `seed` decides all that chance decides here."""

    def __init__(
        self,
        places: list[Place],
        history: History,
        weather: Weather,
        *,
        operator: str,
        revocations: int,
        seed: int,
    ) -> None:
        self.history = history
        self._weather = weather
        self._places = places
        self._operator = operator
        self._left = revocations
        self._chance = random.Random(seed)
        self._subjects: dict[str, Subject] = {}
        self._changed_ones: dict[str, Subject] = {}
        self._home: str | None = None
        self._lines: list[Line] = []
        self._is_over = False
        self._began = time.monotonic()
        self.tells = False  # how far it has come

    def run(self) -> History:
        asyncio.run(self._play())
        return self.history

    async def _play(self) -> None:
        steady = await self._made()
        self._home = steady.workspace_id
        callers = [
            asyncio.create_task(work)
            for place in self._places
            for work in (
                *(self._use(place, number) for number in range(CALLERS)),
                self._pulse(place, steady),
            )
        ]
        weather = asyncio.create_task(self._weather(lambda: self._is_over))
        try:
            await asyncio.gather(*(self._change_on() for _ in range(CHANGERS)))
            self._is_over = True
            await weather
            await asyncio.sleep(HEAL_SECONDS)
            await self._look_back()
        finally:
            self._is_over = True
            weather.cancel()
            for task in callers:
                task.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            for line in self._lines:
                line.close()

    # --- callers ---------------------------------------------------------------------------------

    async def _use(self, place: Place, number: int) -> None:
        line, turn = Line(), number
        self._lines.append(line)
        while True:
            subjects = list(self._subjects.values())
            if subjects:
                turn += 1
                subject = subjects[turn % len(subjects)]
                use = await self._verify(line, place, subject)
                self.history.uses[subject.id].append(use)
            await asyncio.sleep(BREATH_SECONDS)

    async def _pulse(self, place: Place, steady: Subject) -> None:
        """Asks whether the node serves at all, without the patience of a caller."""
        line = Line()
        self._lines.append(line)
        while True:
            use = await self._verify(line, place, steady, PULSE_PATIENCE_SECONDS)
            self.history.pulses.append(use)
            if use.code == VALID:
                for one in self.history.episodes:
                    if one.node == place.name and one.served is None and use.sent >= one.healed:
                        one.served = use.received
            await asyncio.sleep(PULSE_SECONDS)

    async def _verify(
        self, line: Line, place: Place, subject: Subject, seconds: float = 15.0
    ) -> Use:
        line.port = place.port
        asked = {"api_key": subject.token, "scopes": ["write"], "ip": ADDRESS}
        sent = time.monotonic()
        heard = await line.call("POST", "/v1/verify", self._operator, asked, seconds=seconds)
        received = time.monotonic()
        if heard is None:
            await asyncio.sleep(BREATH_SECONDS)
        code = NONE if heard is None else str(heard.body["code"])
        return Use(place.name, sent, received, code)

    async def _look_back(self) -> None:
        """Whether all that was answered is still so, at every node."""
        for place in self._places:
            line = Line()
            self._lines.append(line)
            for change in self.history.changes:
                subject = self._changed_ones[change.key]
                use = await self._verify(line, place, subject)
                self.history.uses[subject.id].append(use)
                if use.code == VALID:
                    self.history.lost.append(change)

    # --- changes ---------------------------------------------------------------------------------

    async def _change_on(self) -> None:
        while self._left > 0:
            self._left -= 1
            kind = self._chance.choice(KINDS)
            subject = await self._made(alone=kind == "workspace")
            self._subjects[subject.id] = subject
            await self._known(subject)
            change = await self._changed(subject, kind)
            self.history.changes.append(change)
            if self.tells and len(self.history.changes) % 20 == 0:
                seconds = time.monotonic() - self._began
                print(f"{len(self.history.changes)} in {seconds:.0f} s", file=sys.stderr)
            still = self.history.bound(change) - time.monotonic()
            await asyncio.sleep(max(0.0, still) + self.history.lease_seconds / 2)
            self._changed_ones[subject.id] = self._subjects.pop(subject.id)

    async def _known(self, subject: Subject) -> None:
        """Until most nodes have let it in, or for a while."""
        deadline = time.monotonic() + KNOWN_SECONDS
        while time.monotonic() < deadline:
            letting = {use.node for use in self.history.uses[subject.id] if use.code == VALID}
            if len(letting) >= len(self._places) - 1:
                return
            await asyncio.sleep(0.05)

    async def _made(self, *, alone: bool = False) -> Subject:
        """A key, in a workspace of its own where that is to be suspended."""
        token, headers = self._operator, dict[str, str]()
        if alone:
            made = await self._told("POST", "/v1/workspaces", token, {"name": _name()})
            token = made["api_key"]
        elif self._home is not None:
            headers = {"Keyturn-Workspace": self._home}
        body = {"name": f"{_name()}-prod", "scopes": ["read", "write"]}
        key = await self._told("POST", "/v1/api-keys", token, body, headers)
        return Subject(key["id"], key["api_key"], key["workspace_id"])

    async def _told(
        self,
        method: str,
        path: str,
        token: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        async def attempt(line: Line) -> Heard | None:
            return await line.call(method, path, token, body, headers)

        _, heard, _ = await self._anywhere(attempt)
        return heard.body

    async def _anywhere(
        self, attempt: Callable[[Line], Awaitable[Heard | None]]
    ) -> tuple[Place, Heard, int]:
        """What one node answers, asked one after the other."""
        deadline = time.monotonic() + MOST_SECONDS_A_CHANGE
        for number in itertools.count(1):
            place = self._chance.choice(self._places)
            line = Line(place.port)
            try:
                heard = await attempt(line)
            finally:
                line.close()
            if heard is not None and heard.status < 300:
                return place, heard, number
            if heard is not None and heard.status not in RETRIED:
                raise AssertionError(f"answered by {heard.status}: {heard.body}")
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        raise AssertionError("no node takes a change")

    async def _changed(self, subject: Subject, kind: str) -> Change:
        due = datetime.now(UTC) + timedelta(seconds=DUE_SECONDS)
        attempted = list[str]()
        headers = {"Keyturn-Workspace": subject.workspace_id}
        if self._chance.random() < 1 / 3:
            headers["Prefer"] = "respond-async"

        async def attempt(line: Line) -> Heard | None:
            # What was tried may stand already, and an end that has passed meanwhile is no end.
            way = "revoked" if kind == "expiry" and attempted else kind
            attempted.append(way)
            return await self._taken(line, subject, way, due, headers)

        sent = time.monotonic()
        place, heard, attempts = await self._anywhere(attempt)
        answered = time.monotonic()
        told = heard.headers.get("keyturn-effective-by")
        is_complete = heard.headers.get("keyturn-propagation", "").startswith("complete")
        return Change(
            key=subject.id,
            kind=kind,
            node=place.name,
            sent=sent,
            answered=answered,
            is_complete=is_complete,
            effective_by=None if told is None else _monotonic(datetime.fromisoformat(told)),
            due=_monotonic(due) if attempted[-1] == "expiry" else -float("inf"),
            attempts=attempts,
        )

    async def _taken(
        self, line: Line, subject: Subject, kind: str, due: datetime, headers: dict[str, str]
    ) -> Heard | None:
        key = f"/v1/api-keys/{subject.id}"
        if kind == "revoked":
            return await line.call("DELETE", key, self._operator, None, headers)
        if kind == "suspended":
            return await line.call("POST", f"{key}/suspend", self._operator, {}, headers)
        path = f"/v1/workspaces/{subject.workspace_id}" if kind == "workspace" else key
        bodies: dict[str, dict[str, object]] = {
            "scopes": {"scopes": ["read"]},
            "networks": {"allowed_cidrs": ["203.0.113.0/24"]},
            "expiry": {"expires_at": due.isoformat().replace("+00:00", "Z")},
            "workspace": {"status": "suspended"},
        }
        seen = await line.call("GET", path, self._operator, None, headers)
        if seen is None or seen.status != 200:
            return seen
        matching = {**headers, "If-Match": seen.headers["etag"]}
        return await line.call("PATCH", path, self._operator, bodies[kind], matching)


def _name() -> str:
    return f"service-{os.urandom(4).hex()}"


def _monotonic(instant: datetime) -> float:
    """An instant of this machine's wall clock by the trial's clock."""
    return time.monotonic() + instant.timestamp() - time.time()


@contextmanager
def places(
    folder: Path, postgres: Postgres, nodes: int, freshness: int
) -> Iterator[tuple[list[Place], Group, str]]:
    """So many nodes that serve, and the address of their database."""
    with places_of(Estate(folder, lambda: postgres), postgres.port, nodes, freshness) as made:
        yield made


@contextmanager
def places_of(
    estate: Estate, port: int, nodes: int, freshness: int
) -> Iterator[tuple[list[Place], Group, str]]:
    """As `places`, of a database whose server is gone at the end."""
    with ExitStack() as stack:
        installation = estate.install("postgresql", freshness_seconds=str(freshness))
        group = Group(installation, port)
        found = []
        for _ in range(nodes):
            proxy = stack.enter_context(FaultyProxy(port))
            node = group.prepare()
            node.installation.database_url = proxy.url(installation.database_url)
            found.append(Place(node=node, proxy=proxy))
        stack.callback(group.close)
        for place in found:
            place.node.start()
            place.port = place.node.server.port
        yield found, group, installation.database_url


def is_sound(history: History) -> bool:
    return not history.let_in_after() and not history.lost and bool(history.changes)


def main() -> int:
    parser = argparse.ArgumentParser(description="Revocations at several nodes, with faults.")
    parser.add_argument("--revocations", type=int, default=300)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--freshness", type=int, default=1)
    given = parser.parse_args()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}, seed {given.seed}"
    )
    run_folder = create_run_folder()
    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            places(Path(folder), obtain_server(run_folder), given.nodes, given.freshness) as (
                found,
                group,
                database,
            ),
        ):
            history = History(lease_seconds=given.freshness)
            storm = Storm(found, database, history, random.Random(given.seed + 1))
            trial = Trial(
                found,
                history,
                storm.play,
                operator=group.operator,
                revocations=given.revocations,
                seed=given.seed,
            )
            trial.tells = True
            trial.run()
    finally:
        with contextlib.suppress(OSError):
            remove_run(run_folder)
    print(history.table())
    print(f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f} at the end")
    for change, use in history.let_in_after()[:20]:
        print(f"LET IN: {change}\n        {use}, bound {history.bound(change)}")
    return 0 if is_sound(history) else 1


if __name__ == "__main__":
    sys.exit(main())
