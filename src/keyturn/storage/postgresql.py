"""PostgreSQL: durable changes whatever the server's default, and bounds on every wait.

A session that hangs while it holds the change head would stop every revocation of the
installation, so each wait has its end: for a lock, for a statement, for an idle transaction. The
server keeps these while it can be heard; a server that cannot (a network that swallows packets, a
proxy that holds them) is given up on from our side, after a silence.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from uuid import UUID

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.pool import ConnectionPoolEntry

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.storage.contract import Credential, CredentialReading, OnDamage, Reference
from keyturn.storage.credentials import (
    POSITION_STATEMENT,
    CredentialDecoder,
    key_statement,
    operator_statement,
    position_of,
)
from keyturn.storage.engine import TURN_SECONDS, Transactions
from keyturn.storage.memory import Memory

CONNECT_TIMEOUT_SECONDS = 3
READERS = 20
CHANGERS = 10
RECORDERS = 2
CREDENTIAL_READERS = 8
WAIT_FOR_CONNECTION_SECONDS = 4.0

Answer = TypeVar("Answer")

_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_TICK_SECONDS = 0.1
# What a dead network leaves of a connection that nobody speaks on is found out by these.
_LIVENESS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


@dataclass(slots=True)
class Patience:
    """How long to wait for a server: for a statement, by its own clock, and in silence, by ours.
    None is for ever.

    Once it `is_over`, no wait of whoever shares it goes on for more than a moment.
    """

    statement_ms: int | None = 8_000
    silence_seconds: float | None = 9.0
    is_over: bool = field(default=False)

    @property
    def options(self) -> str:
        bound = "" if self.statement_ms is None else f" -c statement_timeout={self.statement_ms}"
        idle = "" if self.statement_ms is None else " -c idle_in_transaction_session_timeout=8000"
        return f"-c lock_timeout=4000 -c timezone=UTC{bound}{idle}"

    def ends_after(self, silent_seconds: float) -> bool:
        return self.is_over or (
            self.silence_seconds is not None and silent_seconds >= self.silence_seconds
        )


def unbounded() -> Patience:
    """For what takes its time: a migration, a check of the whole log."""
    return Patience(statement_ms=None, silence_seconds=None)


class ServerSilent(psycopg.OperationalError):
    """The server has not been heard of for too long; its connection is closed."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a silent server."""

    patience = Patience()

    def wait(
        self, gen: PQGen[Answer], interval: float = _TICK_SECONDS, timeout: float | None = None
    ) -> Answer:
        return super().wait(self._bounded(gen), interval=interval, timeout=timeout)

    def _bounded(self, gen: PQGen[Answer]) -> PQGen[Answer]:
        """The same steps; where the server gave none for too long, the end."""
        silent = 0
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # The driver reports each tick in which nothing came.
                silent = 0 if ready else silent + 1
                if silent and self.patience.ends_after(silent * _TICK_SECONDS):
                    self.close()
                    raise ServerSilent("the server is silent")
                wanted = gen.send(ready)
        except StopIteration as end:
            return cast(Answer, end.value)


def _connect(url: str, patience: Patience, name: str) -> Connection:
    """A connection of our own, in autocommit."""
    if patience.is_over:
        raise ServerSilent("this process is ending")
    connection = Connection.connect(
        url, autocommit=True, options=patience.options, application_name=name, **_LIVENESS
    )
    connection.patience = patience
    return connection


class PostgresStore(Transactions):
    """The database behind a `postgresql://` address."""

    engine = "postgresql"

    def __init__(
        self,
        url: str,
        sealer: Sealer,
        on_damage: OnDamage,
        *,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience or Patience()
        super().__init__(
            reader=_engine(
                url,
                READERS,
                self._patience,
                "-c default_transaction_read_only=on",
                "REPEATABLE READ",
            ),
            changer=_engine(
                url,
                CHANGERS,
                self._patience,
                "-c synchronous_commit=on",
                "READ COMMITTED",
                # Changes go one after another on either engine, so a crowd waits as long for both.
                wait_seconds=TURN_SECONDS,
            ),
            recorder=_engine(
                url, RECORDERS, self._patience, "-c synchronous_commit=off", "READ COMMITTED"
            ),
            sealer=sealer,
            on_damage=on_damage,
        )
        self.credentials = PostgresCredentials(url, sealer, on_damage, self.memory)

    def ping(self) -> int:
        with self.read() as reading:
            return int(reading.session.connection.execute(text(_CLOCK)).scalar_one())

    def hurry(self) -> None:
        self._patience.is_over = True
        self.credentials.patience.is_over = True

    def close(self) -> None:
        super().close()
        self.credentials.close()


class PostgresCredentials:
    """Reads credentials on a few connections of its own, in autocommit, whoever asks."""

    is_instant = False

    def __init__(self, url: str, sealer: Sealer, on_damage: OnDamage, memory: Memory) -> None:
        self.patience = Patience(statement_ms=3_000, silence_seconds=4.0)
        self._url = url
        self._decoder = CredentialDecoder(sealer, on_damage, memory)
        dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
        self._key = key_statement(dialect)
        self._operator = operator_statement(dialect)
        self._idle: deque[Connection] = deque()
        self._places = threading.BoundedSemaphore(CREDENTIAL_READERS)

    def read(self, references: Iterable[Reference]) -> CredentialReading:
        wanted = list(references)
        mark = self._decoder.mark()
        position, rows = self._asked(lambda connection: self._fetch(connection, wanted))
        found: dict[UUID, Credential] = {}
        for reference, cells in rows:
            credential = self._decoder.decode(reference, cells, mark)
            if credential is not None:
                found[reference.id] = credential
        return CredentialReading(found=found, position=position)

    def _fetch(
        self, connection: Connection, wanted: list[Reference]
    ) -> tuple[int, list[tuple[Reference, tuple[Any, ...]]]]:
        # One round trip for all; the position first, so that what follows is at least as new.
        with connection.pipeline():
            head = connection.execute(POSITION_STATEMENT)
            cursors = [
                (
                    one,
                    connection.execute(
                        self._operator if one.is_operators else self._key, {"id": str(one.id)}
                    ),
                )
                for one in wanted
            ]
            position = head.fetchone()
            rows = [(one, row) for one, cursor in cursors if (row := cursor.fetchone())]
        return position_of(position), rows

    def _asked(self, ask: Callable[[Connection], Answer]) -> Answer:
        """What `ask` gives. Where a connection turns out to be broken, a new one is tried, once:
        after a restart of the server they all are."""
        if not self._places.acquire(timeout=WAIT_FOR_CONNECTION_SECONDS):
            raise StorageUnavailable("The database does not answer fast enough; try again.")
        try:
            try:
                return self._ask(ask, self._taken())
            except ServerSilent:
                raise
            except psycopg.OperationalError:
                self._discard()
                return self._ask(ask, self._opened())
        except psycopg.Error as error:
            raise StorageUnavailable("The database cannot be read now; try again.") from error
        finally:
            self._places.release()

    def _ask(self, ask: Callable[[Connection], Answer], connection: Connection) -> Answer:
        try:
            answer = ask(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def _taken(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._opened()

    def _opened(self) -> Connection:
        return _connect(self._url, self.patience, "keyturn verify")

    def _discard(self) -> None:
        while self._idle:
            with suppress(IndexError):  # another thread may take the last one
                self._idle.pop().close()

    def close(self) -> None:
        self.patience.is_over = True
        self._discard()


def postgres_engine(url: str, *, patience: Patience | None = None) -> Engine:
    """An engine for checks, and, with an `unbounded` patience, for migrations."""
    return _engine(url, 1, patience or Patience(), "-c synchronous_commit=on", "READ COMMITTED")


def _engine(
    url: str,
    size: int,
    patience: Patience,
    options: str,
    isolation: str,
    *,
    wait_seconds: float = WAIT_FOR_CONNECTION_SECONDS,
) -> Engine:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_pre_ping=True,
        isolation_level=isolation,
        hide_parameters=True,
        connect_args={
            "options": f"{patience.options} {options}",
            "application_name": "keyturn",
            **_LIVENESS,
        },
    )

    @event.listens_for(engine, "do_connect")
    def on_connect(
        _dialect: object, _entry: ConnectionPoolEntry, arguments: Any, options: Any
    ) -> Connection:
        if patience.is_over:
            raise ServerSilent("this process is ending")
        connection: Connection = Connection.connect(*arguments, **options)
        connection.patience = patience
        return connection

    return engine


class DatabaseLock:
    """Held while a server runs: this version serves a database from one process.

    The server gives the lock back by itself when the connection ends, so a crash leaves nothing.
    """

    _NUMBER = 0x6B657974  # "keyt"

    def __init__(self, url: str) -> None:
        self._url = url
        self._patience = Patience(silence_seconds=4.0)
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Takes the lock, or makes sure of it. False where another process has it."""
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("SELECT 1")
                return True
            connection = _connect(self._url, self._patience, "keyturn lock")
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (self._NUMBER,)).fetchone()
        except psycopg.Error as error:
            self.release()
            raise StorageUnavailable("The database cannot be reached; try again.") from error
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def is_held(self) -> bool:
        """Whether any process has the lock. Raises `StorageUnavailable`."""
        query = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND classid = 0 AND objid = %s AND objsubid = 1 AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        try:
            with _connect(self._url, self._patience, "keyturn lock") as connection:
                row = connection.execute(query, (self._NUMBER,)).fetchone()
        except psycopg.Error as error:
            raise StorageUnavailable("The database cannot be reached; try again.") from error
        return row is not None and bool(row[0])

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
