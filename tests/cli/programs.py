"""The command `keyturn` as processes of their own, in a folder and an environment of their own.

Most processes are forked from one that has imported the product already (`tests.servers.forked`).
What only a fresh interpreter shows (closed streams, broken pipes) goes through `Place.execute`.
"""

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO, Any, TypeVar

import psycopg

from tests.servers.forked import become, fork

PATIENCE_SECONDS = 60
STOP_SECONDS = 10
PROGRAM = (sys.executable, "-c", "from keyturn.cli import main; main()")
ADDRESS = re.compile(r"http://(\S+):(\d+)")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. Every one that is looked at was without a stack trace; one inside a
    line of a server's log is for its operator."""

    code: int
    output: str
    errors: str

    def __post_init__(self) -> None:
        assert not any(line.startswith("Traceback") for line in self.all.splitlines()), self.all

    @property
    def all(self) -> str:
        return self.output + self.errors

    def done(self) -> "Finished":
        """This, once it is clear that it went well."""
        assert self.code == 0, self.all
        return self

    def refused(self, *sentences: str, code: int = 1) -> "Finished":
        """This, once it is clear that it was refused with these words."""
        assert self.code == code, self.all
        for sentence in sentences:
            assert sentence in self.errors, self.errors
        return self


class Running:
    """A command that has begun."""

    def __init__(self, process: ForkServerProcess, output: Path, errors: Path) -> None:
        self.process = process
        self._output = output
        self._errors = errors

    @property
    def output(self) -> str:
        return self._output.read_text() if self._output.exists() else ""

    @property
    def errors(self) -> str:
        return self._errors.read_text() if self._errors.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Finished:
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"it did not end within {seconds} s:\n{self.output}{self.errors}")
        return Finished(code, self.output, self.errors)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


class Server(Running):
    """`keyturn serve` or `keyturn dev`, once it has said where it listens."""

    host: str
    port: int

    def await_address(self) -> "Server":
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = ADDRESS.search(self.output)
            if found is not None:
                self.host, self.port = found[1], int(found[2])
                if self._answers():
                    return self
            if self.process.exitcode is not None:
                raise AssertionError(f"it ended:\n{self.output}{self.errors}")
            time.sleep(0.01)
        self.kill()
        raise AssertionError(f"it does not listen:\n{self.output}{self.errors}")

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/healthz")[0] == 200
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=20)
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        return response.status, json.loads(raw) if raw.startswith((b"{", b"[")) else raw.decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Finished:
        self.signal(number)
        return self.wait(STOP_SECONDS)


Command = TypeVar("Command", bound=Running)


@dataclass
class Place:
    """A folder that commands are run in, and their settings there."""

    folder: Path
    engine: str = "sqlite"
    settings: dict[str, str] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)
    _count: int = 0

    @property
    def home(self) -> Path:
        return Path(self.settings.get("KEYTURN_HOME", self.folder / ".keyturn"))

    @property
    def token(self) -> str:
        """The first operator's."""
        return (self.home / "operator.token").read_text().strip()

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        own = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
        return own | {"KEYTURN_PORT": "0"} | self.settings | dict(settings)

    # --- running ---------------------------------------------------------------------------------

    def start(self, *arguments: str, terminal: str | None = None, **settings: str) -> Running:
        return self._start(Running, arguments, terminal, settings)

    def run(self, *arguments: str, **settings: str) -> Finished:
        return self.start(*arguments, **settings).wait()

    def serve(self, command: str = "serve", **settings: str) -> Server:
        return self._start(Server, (command,), None, settings).await_address()

    def execute(
        self, *arguments: str, stdout: IO[bytes] | int
    ) -> subprocess.CompletedProcess[bytes]:
        """As `run`, in a fresh interpreter, with standard output of one's own."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment({}),
            timeout=PATIENCE_SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    @property
    def program(self) -> Callable[..., None]:
        """What a process runs; others put their own in its place."""
        return become

    def _start(
        self,
        kind: type[Command],
        arguments: tuple[str, ...],
        terminal: str | None,
        settings: Mapping[str, str],
    ) -> Command:
        self._count += 1
        streams = self.folder / f"{self._count}.output", self.folder / f"{self._count}.errors"
        process = fork(
            self.program,
            arguments,
            environment=self.environment(settings),
            folder=self.folder,
            output=terminal or streams[0],
            errors=streams[1],
        )
        started = kind(process, *streams)
        self.running.append(started)
        return started

    def close(self) -> None:
        for one in self.running:
            if one.process.exitcode is None:
                one.kill()

    # --- behind its back -------------------------------------------------------------------------

    @contextmanager
    def database(self) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
        """Statements behind Keyturn's back, each committed, with `?` for parameters."""
        if self.engine == "sqlite":
            with sqlite3.connect(self.home / "keyturn.db", isolation_level=None) as connection:
                connection.text_factory = partial(str, errors="surrogateescape")
                yield lambda statement, *values: connection.execute(statement, values).fetchall()
            connection.close()
            return
        with psycopg.connect(self.settings["KEYTURN_DATABASE_URL"], autocommit=True) as own:

            def ask(statement: str, *values: object) -> list[tuple[Any, ...]]:
                cursor = own.execute(statement.replace("?", "%s").encode(), values or None)
                return [] if cursor.description is None else cursor.fetchall()

            yield ask
