"""Real server processes for tests: an installation of their own, a free port, a clean stop."""

import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from tests.servers.forked import become, fork
from tests.servers.founded import Foundations
from tests.servers.postgres import Postgres

ENGINES = ("sqlite", "postgresql")
# For what is decided before a database is asked, and so by the same code over either.
on_one_engine = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
START_SECONDS = 30
STOP_SECONDS = 10
COMMAND_SECONDS = 60
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)\b.*\n")


@dataclass(kw_only=True)
class Installation:
    """A home on the disk with its database. It may be served, stopped, and served again."""

    engine: str
    home: Path
    database_url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def make(self) -> None:
        done = self.command("init")
        assert done.returncode == 0, done.stderr

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            name: value for name, value in os.environ.items() if not name.startswith("KEYTURN_")
        }
        return mine | {
            "KEYTURN_HOME": str(self.home),
            "KEYTURN_DATABASE_URL": self.database_url,
            "KEYTURN_PORT": "0",
            **self.settings,
        }

    @property
    def log(self) -> Path:
        """What its servers wrote to standard error."""
        return self.home.parent / "server.log"

    def operator_token(self) -> str:
        return (self.home / "operator.token").read_text().strip()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `keyturn` on this installation, beside its server if there is one."""
        output, errors = self.stream(), self.stream()
        process = self.start(*arguments, output=output, errors=errors)
        process.join(COMMAND_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, COMMAND_SECONDS)
        return subprocess.CompletedProcess(
            arguments, process.exitcode, output.read_text(), errors.read_text()
        )

    def start(self, *arguments: str, output: Path, errors: Path) -> ForkServerProcess:
        return fork(
            become,
            arguments,
            environment=self.environment,
            folder=self.home.parent,
            output=output,
            errors=errors,
        )

    def stream(self) -> Path:
        """A file that is new, for a standard stream."""
        while (path := self.home.parent / f"{next(self._numbers)}.stream").exists():
            pass
        path.touch(mode=0o600)
        return path

    def operator_token_of(self, name: str, *options: str) -> str:
        """The token of a new operator, or with `--verify-only` of a gateway."""
        done = self.command("operators", "create", "--name", name, "--output", "-", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class Server:
    """One `keyturn serve` process, listening on a port of its own."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.engine = installation.engine
        self._output = installation.stream()
        self._process = installation.start("serve", output=self._output, errors=installation.log)
        try:
            self.port = self._await_port()
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def id(self) -> int:
        process_id = self._process.pid
        assert process_id is not None  # it was started when this was made
        return process_id

    def terminate(self) -> None:
        """Asks it to end, and does not wait."""
        self._process.terminate()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code, once it has ended. Raises `TimeoutExpired`."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("serve", seconds)
        return code

    def stop(self) -> int:
        self.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends it with no chance to do anything."""
        self._process.kill()
        self._process.join()

    def _await_port(self) -> int:
        deadline = time.monotonic() + START_SECONDS
        while (match := _ADDRESS.search(self._output.read_text())) is None:
            if self._process.exitcode is not None or time.monotonic() > deadline:
                log = self.installation.log
                told = log.read_text() if log.exists() else "it says nothing"
                raise AssertionError(f"the server did not start: {told}")
            time.sleep(0.01)
        return int(match.group(1))


class Estate:
    """Makes installations, by copies where it has `foundations`, and stops what it started."""

    def __init__(
        self,
        folder: Path,
        postgres: Callable[[], Postgres],
        foundations: Foundations | None = None,
    ) -> None:
        self._folder = folder
        self._postgres = postgres
        self._foundations = foundations
        self._databases: list[tuple[Postgres, str]] = []
        self._count = 0

    def install(self, engine: str, **settings: str) -> Installation:
        """A new installation; `settings` are named as in the environment, without the prefix."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        home = folder / "home"
        laid = None if self._foundations is None else self._foundations.lay(engine, home)
        database_url = f"sqlite:///{home / 'keyturn.db'}"
        if engine == "postgresql":
            postgres = self._postgres()
            database_url = laid or postgres.create_database()
            self._databases.append((postgres, database_url))
        made = Installation(
            engine=engine,
            home=home,
            database_url=database_url,
            settings={f"KEYTURN_{name.upper()}": value for name, value in settings.items()},
        )
        if self._foundations is None:
            made.make()
        return made

    def clear(self) -> None:
        for postgres, database in self._databases:
            postgres.drop_database(database)


@contextmanager
def serving(installation: Installation) -> Iterator[Server]:
    """A server of the installation, stopped at the end unless the test has ended it."""
    server = Server(installation)
    try:
        yield server
    finally:
        server.stop()


def until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
