"""PostgreSQL: durable changes whatever the server's default, and bounds on every wait.

A session that hangs while it holds the change head would stop every revocation of the
installation, so each wait has its end: for a lock, for a statement, for an idle transaction, and
for a server that is silent (`postgresql_connection.py`).
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from keyturn.domain.error import IntegrityFailed, StorageUnavailable
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
    CredentialDecoder,
    fill_statement,
    key_statement,
    operator_statement,
    position_of,
)
from keyturn.storage.engine import TURN_SECONDS, Transactions
from keyturn.storage.memory import Memory
from keyturn.storage.postgresql_cluster import PostgresCluster
from keyturn.storage.postgresql_connection import (
    LIVENESS,
    Connection,
    Patience,
    ServerSilent,
    connect,
    unbounded,
)
from keyturn.storage.postgresql_durability import ask_durability
from keyturn.storage.postgresql_lock import LEADING, SERVING, DatabaseLock

__all__ = [
    "CREDENTIAL_READERS",
    "LEADING",
    "READERS",
    "RECORDERS",
    "SERVING",
    "DatabaseLock",
    "Patience",
    "PostgresStore",
    "ask_durability",
    "postgres_engine",
    "unbounded",
]

READERS = 20
CHANGERS = 10
RECORDERS = 2
CREDENTIAL_READERS = 8
WAIT_FOR_CONNECTION_SECONDS = 4.0

Answer = TypeVar("Answer")

_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


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
        self.cluster: PostgresCluster = PostgresCluster(url, sealer, self.memory)

    def _require_fitting(self) -> None:
        if self.cluster.misfit is not None:
            raise IntegrityFailed(self.cluster.misfit)

    def ping(self) -> int:
        with self.read() as reading:
            return int(reading.session.connection.execute(text(_CLOCK)).scalar_one())

    def hurry(self) -> None:
        self._patience.is_over = True
        self.credentials.patience.is_over = True
        self.cluster.end()

    def close(self) -> None:
        super().close()
        self.credentials.close()
        self.cluster.close()


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
        self._fill_key = fill_statement(self._key)
        self._fill_operator = fill_statement(self._operator)
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

    def fill(self, reference: Reference) -> CredentialFill:
        statement = self._fill_operator if reference.is_operators else self._fill_key
        mark = self._decoder.mark()
        cells = self._asked(
            lambda connection: connection.execute(statement, {"id": str(reference.id)}).fetchone()
        )
        if cells is None:
            raise StorageUnavailable("The database gave no answer; try again.")
        return self._decoder.fill(reference, cells, mark)

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
        after a restart of the server, or of something in between, they all are."""
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
            connection = self._idle.pop()
        except IndexError:
            return self._opened()
        if connection.answers():
            return connection
        self._discard()
        return self._opened()

    def _opened(self) -> Connection:
        return connect(self._url, self.patience, "keyturn verify")

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
        isolation_level=isolation,
        hide_parameters=True,
        connect_args={
            "options": f"{patience.options} {options}",
            "application_name": "keyturn",
            **LIVENESS,
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

    @event.listens_for(engine, "checkout")
    def on_checkout(connection: Connection, _entry: ConnectionPoolEntry, _proxy: object) -> None:
        if not connection.answers():
            # None that is as old is taken up without being made anew.
            raise InvalidatePoolError

    return engine
