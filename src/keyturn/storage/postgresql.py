"""PostgreSQL: durable changes whatever the server's default, and bounds on every wait.

A session that hangs while it holds the change head would stop every revocation of the
installation, so each wait has its end: for a lock, for a statement, for an idle transaction.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

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
from keyturn.storage.engine import Transactions

CONNECT_TIMEOUT_SECONDS = 5
READERS = 20
CHANGERS = 10
RECORDERS = 2

Connection = psycopg.Connection[tuple[Any, ...]]
Answer = TypeVar("Answer")

_BOUNDS = (
    "-c lock_timeout=4000 -c statement_timeout=8000"
    " -c idle_in_transaction_session_timeout=8000 -c timezone=UTC"
)


class PostgresStore(Transactions):
    """The database behind a `postgresql://` address."""

    engine = "postgresql"

    def __init__(self, url: str, sealer: Sealer, on_damage: OnDamage) -> None:
        super().__init__(
            reader=_engine(url, READERS, "-c default_transaction_read_only=on", "REPEATABLE READ"),
            changer=_engine(url, CHANGERS, "-c synchronous_commit=on", "READ COMMITTED"),
            recorder=_engine(url, RECORDERS, "-c synchronous_commit=off", "READ COMMITTED"),
            sealer=sealer,
            on_damage=on_damage,
        )
        self.credentials = PostgresCredentials(url, sealer, on_damage)

    def ping(self) -> int:
        return self.credentials.clock()

    def close(self) -> None:
        super().close()
        self.credentials.close()


class PostgresCredentials:
    """Reads credentials on one connection a thread, in autocommit."""

    is_instant = False

    def __init__(self, url: str, sealer: Sealer, on_damage: OnDamage) -> None:
        self._url = url
        self._decoder = CredentialDecoder(sealer, on_damage)
        dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
        self._key = key_statement(dialect)
        self._operator = operator_statement(dialect)
        self._local = threading.local()
        self._open: set[Connection] = set()
        self._lock = threading.Lock()

    def read(self, references: Iterable[Reference]) -> CredentialReading:
        wanted = list(references)
        position, rows = self._asked(lambda connection: self._fetch(connection, wanted))
        found: dict[UUID, Credential] = {}
        for reference, cells in rows:
            credential = self._decoder.decode(reference, cells)
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

    def clock(self) -> int:
        query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        row = self._asked(lambda connection: connection.execute(query).fetchone())
        return 0 if row is None else int(row[0])

    def _asked(self, ask: Callable[[Connection], Answer]) -> Answer:
        """What `ask` gives; a connection that turns out to be broken is replaced, once."""
        for attempt in (1, 2):
            try:
                return ask(self._connection())
            except psycopg.Error as error:
                self._discard()
                if attempt == 2 or not isinstance(error, psycopg.OperationalError):
                    raise StorageUnavailable(
                        "The database cannot be read now; try again."
                    ) from error
        raise AssertionError("unreachable")

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                options=_BOUNDS,
                application_name="keyturn verify",
            )
            self._local.connection = connection
            with self._lock:
                self._open.add(connection)
        return connection

    def _discard(self) -> None:
        connection: Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def close(self) -> None:
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()


def postgres_engine(url: str) -> Engine:
    """An engine for migrations and checks."""
    return _engine(url, 1, "-c synchronous_commit=on", "READ COMMITTED")


def _engine(url: str, size: int, options: str, isolation: str) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        isolation_level=isolation,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": f"{_BOUNDS} {options}",
            "application_name": "keyturn",
        },
    )


class DatabaseLock:
    """Held while a server runs: this version serves a database from one process.

    The server gives the lock back by itself when the connection ends, so a crash leaves nothing.
    """

    _NUMBER = 0x6B657974  # "keyt"

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Takes the lock, or makes sure of it. False where another process has it."""
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("SELECT 1")
                return True
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name="keyturn lock",
            )
        except psycopg.Error as error:
            self.release()
            raise StorageUnavailable("The database cannot be reached; try again.") from error
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (self._NUMBER,)).fetchone()
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
