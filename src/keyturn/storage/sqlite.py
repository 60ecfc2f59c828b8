"""SQLite: one file, one process, durable changes, and credentials read on the spot.

Facts that this module leans on (https://sqlite.org/wal.html, /pragma.html#pragma_synchronous):
in WAL mode readers never wait for the writer; `synchronous=FULL` syncs the log at each commit, so
an answered change survives a power cut; `NORMAL` does not, and is for requests only. A
transaction that reads first and writes later must begin IMMEDIATE, or two of them interleave.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from keyturn.domain.ambience import Clock
from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.storage.contract import (
    Credential,
    CredentialFill,
    CredentialReading,
    OnDamage,
    Reference,
)
from keyturn.storage.credentials import (
    POSITION_STATEMENT,
    REMEMBERED,
    CredentialDecoder,
    fill_statement,
    key_statement,
    operator_statement,
    position_of,
)
from keyturn.storage.engine import Transactions, Turn
from keyturn.storage.memory import Memory

BUSY_TIMEOUT_MS = 5_000
READERS = 40
READ_SECONDS = 8.0

# What a hostile editor left need not be valid text; it must reach the seal's check all the same.
_CLOCK = "SELECT julianday('now'), (SELECT count(*) FROM change_head)"
_EPOCH_JULIAN = 2_440_587.5
_WAL = "journal_mode=WAL"
# How many steps of SQLite's machine lie between two looks at the time: some milliseconds.
_STEPS = 100_000

_as_text = partial(str, encoding="utf-8", errors="surrogateescape")


class SqliteStore(Transactions):
    """The database in one file. Raises `InstallationFault` where the file is no database.

    With a clock each `read` ends after `READ_SECONDS`, so that no question, however costly, keeps
    a connection for long; a check of the whole log goes without.
    """

    engine = "sqlite"

    def __init__(
        self, path: Path, sealer: Sealer, on_damage: OnDamage, *, clock: Clock | None = None
    ) -> None:
        self._path = path
        self._queue = Turn()
        super().__init__(
            reader=_engine(
                path,
                begin="BEGIN",
                pragmas=("query_only=ON",),
                size=READERS,
                elapsed=None if clock is None else clock.elapsed,
            ),
            changer=_engine(path, begin="BEGIN IMMEDIATE", pragmas=("synchronous=FULL",), size=1),
            recorder=_engine(
                path, begin="BEGIN IMMEDIATE", pragmas=("synchronous=NORMAL",), size=1
            ),
            sealer=sealer,
            on_damage=on_damage,
            turn=self._queue,
        )
        try:
            self.credentials = SqliteCredentials(path, sealer, on_damage, self.memory)
        except sqlite3.DatabaseError as error:
            raise InstallationFault(
                f"The file {path} cannot be used as a database: {error}.",
                remedy="Name another file in KEYTURN_DATABASE_URL, or restore a backup.",
            ) from error

    def ping(self) -> int:
        return self.credentials.clock()

    def hurry(self) -> None:
        self._queue.is_over = True

    def close(self) -> None:
        super().close()
        self.credentials.close()


class SqliteCredentials:
    """Reads credentials in a few microseconds, so inline on the event loop.

    `PRAGMA data_version` changes whenever any other connection commits anything at all. As long as
    it has not, the database would answer what it answered before, and is not asked again.
    """

    is_instant = True

    def __init__(self, path: Path, sealer: Sealer, on_damage: OnDamage, memory: Memory) -> None:
        self._connection = _connect(path, pragmas=("query_only=ON",))
        self._decoder = CredentialDecoder(sealer, on_damage, memory)
        dialect = SQLiteDialect_pysqlite(paramstyle="named")
        self._key = key_statement(dialect)
        self._operator = operator_statement(dialect)
        self._lock = threading.Lock()
        self._version: int | None = None
        self._position = 0
        self._known: dict[tuple[UUID, bool], Credential | None] = {}

    def read(self, references: Iterable[Reference]) -> CredentialReading:
        found: dict[UUID, Credential] = {}
        try:
            with self._lock:
                self._catch_up()
                for reference in references:
                    credential = self._credential(reference)
                    if credential is not None:
                        found[reference.id] = credential
                return CredentialReading(found=found, position=self._position)
        except sqlite3.Error as error:
            raise StorageUnavailable("The database cannot be read now; try again.") from error

    def fill(self, reference: Reference) -> CredentialFill:
        statement = fill_statement(self._operator if reference.is_operators else self._key)
        try:
            with self._lock:
                mark = self._decoder.mark()
                cells = self._connection.execute(statement, {"id": str(reference.id)}).fetchone()
        except sqlite3.Error as error:
            raise StorageUnavailable("The database cannot be read now; try again.") from error
        return self._decoder.fill(reference, cells, mark)

    def _catch_up(self) -> None:
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._known.clear()
            self._version = version
            # Before the rows: what is read after it is at least as new.
            self._position = position_of(self._connection.execute(POSITION_STATEMENT).fetchone())

    def _credential(self, reference: Reference) -> Credential | None:
        identity = (reference.id, reference.is_operators)
        try:
            return self._known[identity]
        except KeyError:
            pass
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        mark = self._decoder.mark()
        credential = self._decoder.decode(reference, self._row(reference), mark)
        self._known[identity] = credential
        return credential

    def _row(self, reference: Reference) -> tuple[str | int | float | bytes | None, ...] | None:
        statement = self._operator if reference.is_operators else self._key
        row = self._connection.execute(statement, {"id": str(reference.id)}).fetchone()
        return None if row is None else tuple(row)

    def clock(self) -> int:
        try:
            with self._lock:
                days = self._connection.execute(_CLOCK).fetchone()[0]
        except sqlite3.Error as error:
            raise StorageUnavailable("The database cannot be read now; try again.") from error
        return int((days - _EPOCH_JULIAN) * 86_400_000_000)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _connect(path: Path, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1_000
    )
    _prepare(connection, (_WAL, *pragmas))
    return connection


def _prepare(connection: sqlite3.Connection, pragmas: tuple[str, ...]) -> None:
    connection.isolation_level = None
    connection.text_factory = _as_text
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


def sqlite_engine(path: Path) -> Engine:
    """An engine for migrations and checks: durable, one connection at a time.

    It leaves the journal mode as it is, since what it looks at may turn out to be none of ours.
    """
    return _engine(path, begin="BEGIN IMMEDIATE", pragmas=("synchronous=FULL",), size=0)


def _engine(
    path: Path,
    *,
    begin: str,
    pragmas: tuple[str, ...],
    size: int,
    elapsed: Callable[[], float] | None = None,
) -> Engine:
    # Not as a text: what follows a `?` in a folder's name would be read as options.
    url = URL.create("sqlite", database=str(path))
    engine = (
        create_engine(url, poolclass=NullPool, hide_parameters=True)
        if size == 0
        else create_engine(
            url,
            poolclass=QueuePool,
            hide_parameters=True,
            pool_size=size,
            max_overflow=0,
            pool_timeout=5,
            connect_args={"check_same_thread": False},
        )
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        _prepare(connection, pragmas if size == 0 else (_WAL, *pragmas))

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        if elapsed is not None:
            _bound(connection, elapsed)
        connection.exec_driver_sql(begin)

    return engine


def _bound(connection: Connection, elapsed: Callable[[], float]) -> None:
    """Has SQLite break off whatever runs on the connection once its time is up."""
    end = elapsed() + READ_SECONDS
    raw = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        raw.set_progress_handler(lambda: elapsed() > end, _STEPS)
