"""A PostgreSQL with a standby that streams from it, both to be stopped, killed and promoted.

The standby begins as a copy of the primary's files while that is stopped. It streams through a
proxy, so that what it does not get is decided here.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers.faulty import FaultyProxy
from tests.servers.postgres import (
    SETTINGS,
    USER,
    PostgresUnavailable,
    create_run_folder,
    find_programs,
    free_port,
    initialise,
    is_ready,
    launch,
    reachable,
    server_account,
    tail_of,
)

# A standby that lost its primary tries again soon: until then no commit of a synchronous pair ends.
STREAMING = {
    "wal_retrieve_retry_interval": "100ms",
    "max_wal_senders": "10",
    "wal_level": "replica",
    "hot_standby": "on",
}
STREAMING_SECONDS = 20.0
STOP_SECONDS = 30.0
# What a killed one leaves behind takes a while to notice.
CHILDREN_SECONDS = 20.0


def disk_settings() -> dict[str, str]:
    """As a server is run that is to keep what it has confirmed, for figures."""
    return {
        **SETTINGS,
        "fsync": "on",
        "full_page_writes": "on",
        "log_statement": "none",
        "synchronous_commit": "on",
    }


class Member:
    """One of the two servers. Its process is a child of ours."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.settings = settings
        self.port = free_port()
        self._account = server_account()
        self._programs = reachable(find_programs(), folder, self._account)
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        for name in ("data", "socket"):
            (self.folder / name).mkdir(mode=0o700)
            self._give(self.folder / name)
        initialise(self._programs, self.folder / "data", self.folder / "log", self._account)

    def start(self) -> None:
        """Raises `PostgresUnavailable`."""
        deadline = time.monotonic() + CHILDREN_SECONDS
        while True:  # what a killed one left behind ends soon
            process = launch(self._programs, self.folder, self.port, self._account, self.settings)
            if is_ready(process, self.port):
                self._process = process
                return
            if time.monotonic() > deadline:
                raise PostgresUnavailable(tail_of(self.folder / "log"))
            time.sleep(0.1)

    def copy_to(self, other: "Member") -> None:
        shutil.copytree(self.folder / "data", other.folder / "data")
        (other.folder / "socket").mkdir(mode=0o700)
        (other.folder / "data").chmod(0o700)
        for path in [other.folder / "socket", other.folder / "data"]:
            self._give(path)
            for one in path.rglob("*"):
                self._give(one)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast stop, SIGKILL what it is for any process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.wait(STOP_SECONDS)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def ask(self, statement: str) -> object:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = None if cursor.description is None else cursor.fetchone()
        return None if row is None else row[0]

    def _give(self, path: Path) -> None:
        if self._account.user is not None and self._account.group is not None:
            os.chown(path, self._account.user, self._account.group)


class Pair:
    """The primary and its standby. `stream` is between them."""

    def __init__(self, primary: Member, standby: Member, stream: FaultyProxy) -> None:
        self.primary = primary
        self.standby = standby
        self.stream = stream

    def create_database(self, name: str) -> str:
        self.primary.ask(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.primary.url(name)

    def promote(self) -> None:
        self.standby.ask("SELECT pg_promote(true, 30)")

    def await_streaming(self) -> None:
        deadline = time.monotonic() + STREAMING_SECONDS
        asked = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        while self.primary.ask(asked) != 1:
            if time.monotonic() > deadline:
                raise PostgresUnavailable(tail_of(self.standby.folder / "log"))
            time.sleep(0.05)


@contextmanager
def run_pair(*, synchronous: bool, durable: bool = False) -> Iterator[Pair]:
    """`durable`: with the cost of a disk, for figures. Raises `PostgresUnavailable`."""
    settings = {**disk_settings(), **STREAMING}
    if not durable:
        settings |= {"fsync": "off", "full_page_writes": "off"}
    folders = create_run_folder(), create_run_folder()
    primary, standby = Member(folders[0], dict(settings)), Member(folders[1], dict(settings))
    try:
        primary.make()
        primary.copy_to(standby)
        if synchronous:
            primary.settings["synchronous_standby_names"] = "*"
        (standby.folder / "data" / "standby.signal").touch()
        with FaultyProxy(primary.port) as stream:
            standby.settings["primary_conninfo"] = (
                f"host=127.0.0.1 port={stream.port} user={USER} sslmode=disable gssencmode=disable"
            )
            primary.start()
            standby.start()
            pair = Pair(primary, standby, stream)
            pair.await_streaming()
            yield pair
            # A standby first, or a primary would wait for it with what it still has to send.
            standby.stop(signal.SIGQUIT)
            primary.stop(signal.SIGQUIT)
    finally:
        for member in (standby, primary):
            with contextlib.suppress(ProcessLookupError):
                member.stop(signal.SIGQUIT)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
