"""Real server processes for tests: an installation of their own, a free port, a clean stop."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.postgres import Postgres

ENGINES = ("sqlite", "postgresql")
START_SECONDS = 30
STOP_SECONDS = 10
_ADDRESS = re.compile(rb"http://(127\.0\.0\.1):(\d+)")
_KEYTURN = "from keyturn.cli.main import main; main()"


@dataclass(kw_only=True)
class Installation:
    """A home on the disk with its database. It may be served, stopped, and served again."""

    engine: str
    home: Path
    database_url: str
    settings: Mapping[str, str] = field(default_factory=dict)

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
        return subprocess.run(
            [sys.executable, "-c", _KEYTURN, *arguments],
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def make(self) -> None:
        done = self.command("init")
        assert done.returncode == 0, done.stderr

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
        self._log = installation.log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _KEYTURN, "serve"],
            env=installation.environment,
            cwd=installation.home.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
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
        return self._process.pid

    def terminate(self) -> None:
        """Asks it to end, and does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code, once it has ended. Raises `TimeoutExpired`."""
        try:
            return self._process.wait(seconds)
        finally:
            if self._process.returncode is not None:
                self._close()

    def stop(self) -> int:
        if self._process.poll() is None:
            self.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends it with no chance to do anything."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _await_port(self) -> int:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], START_SECONDS)
        match = _ADDRESS.search(output.readline()) if ready else None
        if match is None:
            raise AssertionError(f"the server did not start: {self.installation.log.read_text()}")
        return int(match.group(2))


class Estate:
    """Makes installations, and stops what it started."""

    def __init__(self, folder: Path, postgres: Callable[[], Postgres]) -> None:
        self._folder = folder
        self._postgres = postgres
        self._databases: list[tuple[Postgres, str]] = []
        self._count = 0

    def install(self, engine: str, **settings: str) -> Installation:
        """A new installation; `settings` are named as in the environment, without the prefix."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        database_url = f"sqlite:///{folder / 'home' / 'keyturn.db'}"
        if engine == "postgresql":
            postgres = self._postgres()
            database_url = postgres.create_database()
            self._databases.append((postgres, database_url))
        made = Installation(
            engine=engine,
            home=folder / "home",
            database_url=database_url,
            settings={f"KEYTURN_{name.upper()}": value for name, value in settings.items()},
        )
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
