"""Nodes on one PostgreSQL: two connections of their own, on which no statement takes long.

What a node reports, looks at and waits for goes over one, by one thread; whoever asks for all nodes
has the other. A connection that broke, or on which the server was silent for too long, is closed;
the next call makes a new one, once. Whether and when to call again is for the caller to say.

Hints are PostgreSQL's notifications, on the first connection. Where they do not come through (a
pool of connections in between) nothing is lost but time.
"""

import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg
from psycopg import Notify

from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.storage import nodes as statements
from keyturn.storage.cluster import Grant, LogLook, LogPoint, NodeReport, NodesSeen
from keyturn.storage.memory import Memory
from keyturn.storage.migrate import newest_revision
from keyturn.storage.postgresql_connection import Connection, Patience, ServerSilent, connect
from keyturn.storage.postgresql_lock import SERVING
from keyturn.storage.steps import LAST, LOOK, look_of, point_of

CHANGES, REPORTS = "keyturn_changes", "keyturn_reports"

Answer = TypeVar("Answer")

# Each statement sees what was committed before it, and what it writes is there after a crash.
_OPTIONS = r"-c synchronous_commit=on -c default_transaction_isolation=read\ committed"
_SHORTEST_SECONDS = 0.25
_LONGEST_SECONDS = 1.5
_CONNECT_SECONDS = 1.0
_SLICES = 10
_MISFIT = (
    "The database was migrated meanwhile, and this node is of another version; start it anew with "
    "the version that migrated it."
)


class PostgresCluster:
    """The nodes of one database."""

    def __init__(self, url: str, sealer: Sealer, memory: Memory) -> None:
        self._sealer = sealer
        self._memory = memory
        self._following = _Line(url, "keyturn follower", _patience(5.0), self._listen)
        self._asking = _Line(
            url,
            "keyturn nodes",
            Patience(statement_ms=2_000, silence_seconds=2.5, connect_seconds=_CONNECT_SECONDS),
            lambda _: None,
        )
        self._alarm = _Alarm()
        self._is_hinted = False
        # Why this process may not change the database any more, None while it may.
        self.misfit: str | None = None
        self._on_report: Callable[[], None] = lambda: None

    # --- one thread's ----------------------------------------------------------------------------

    def report(self, node: NodeReport) -> Grant:
        self._following.be_patient(_patience(node.lease_seconds))
        values = statements.report_values(node)
        row = self._following.ask(
            lambda connection: connection.execute(statements.REPORT, values).fetchone()
        )
        if row is None:
            raise StorageUnavailable("The database gave no answer; try again.")
        return Grant(is_granted=bool(row[0]), clock=row[1])

    def look(self, after: LogPoint | None) -> LogLook:
        if after is None:
            last = self._following.ask(lambda connection: connection.execute(LAST).fetchone())
            return LogLook(point_of(*(last or (None, None))), (), is_all=True)
        rows = self._following.ask(
            lambda connection: connection.execute(LOOK, {"after": after.position}).fetchall()
        )
        look, seen = look_of(self._sealer, after, rows)
        self._memory.remember(seen)
        return look

    def wait(self, seconds: float) -> bool:
        for _ in range(_SLICES):  # a report ends a slice of the time, and not all of it
            if self._is_hinted or not self._sleep(seconds / _SLICES):
                break
        was_hinted, self._is_hinted = self._is_hinted, False
        return was_hinted

    def _sleep(self, seconds: float) -> bool:
        """Until something arrives, or so long. False where the connection broke meanwhile."""
        with self._following.lock, selectors.DefaultSelector() as selector:
            connection = self._following.connection
            # What came with the last answer is in no socket any more.
            if connection is not None and not self._take_notices(connection):
                return False
            if self._alarm.is_rung():
                self._is_hinted = True
            if self._is_hinted:
                return True
            if connection is not None:
                selector.register(connection.pgconn.socket, selectors.EVENT_READ)
            selector.register(self._alarm.bell, selectors.EVENT_READ)
            selector.select(seconds)
            self._is_hinted = self._alarm.is_rung()
            return connection is None or self._take_notices(connection)

    def _take_notices(self, connection: Connection) -> bool:
        try:
            connection.pgconn.consume_input()
            while (notice := connection.pgconn.notifies()) is not None:
                self._hint(notice.relname.decode("utf-8", "replace"))
        except psycopg.Error:
            self._following.drop()
            return False
        return True

    def _listen(self, connection: Connection) -> None:
        # Whoever migrates or restores waits for the leases that there are, and no other begins.
        row = connection.execute("SELECT pg_try_advisory_lock_shared(%s)", (SERVING,)).fetchone()
        if row is None or not row[0]:
            raise StorageUnavailable("Another Keyturn has the database for itself; try again.")
        # While this connection was away somebody may have migrated, and no one does from here on.
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if revision is None or revision[0] != newest_revision():
            self.misfit = _MISFIT
            raise IntegrityFailed(_MISFIT)
        connection.add_notify_handler(self._take_notice)
        connection.execute(f"LISTEN {CHANGES}; LISTEN {REPORTS}")

    def _take_notice(self, notice: Notify) -> None:
        self._hint(notice.channel)

    def _hint(self, channel: str) -> None:
        if channel == CHANGES:
            self._is_hinted = True
        elif channel == REPORTS:
            self._on_report()

    # --- anybody's -------------------------------------------------------------------------------

    def heed(self, on_report: Callable[[], None]) -> None:
        self._on_report = on_report

    def hurry(self) -> None:
        self._alarm.ring()

    def nodes(self) -> NodesSeen:
        rows = self._asking.ask_again(
            lambda connection: connection.execute(statements.NODES).fetchall()
        )
        found = tuple(statements.node_of(row[1:]) for row in rows if row[1] is not None)
        return NodesSeen(clock=rows[0][0], rows=found)

    def leave(self, id: str) -> None:  # noqa: A002
        self._asking.ask_again(lambda connection: connection.execute(statements.LEAVE, {"id": id}))

    def bury(self, id: str) -> None:  # noqa: A002
        self._asking.ask_again(lambda connection: connection.execute(statements.BURY, {"id": id}))

    def forget(self, before: int) -> None:
        self._asking.ask_again(
            lambda connection: connection.execute(statements.FORGET, {"before": before})
        )

    def end(self) -> None:
        """As `Store.hurry`: no wait goes on for more than a moment, nor does any later one."""
        self._following.end()
        self._asking.end()
        self.hurry()

    def close(self) -> None:
        self.end()
        self._following.close()
        self._asking.close()
        self._alarm.close()


def _patience(lease_seconds: float) -> Patience:
    """What comes later than a part of the lease is of no use to it; and a link that has healed is
    to be used again within two seconds, also where the last question on it was lost."""
    seconds = min(max(lease_seconds / 4, _SHORTEST_SECONDS), _LONGEST_SECONDS)
    return Patience(
        statement_ms=round(seconds * 1_000),
        silence_seconds=seconds,
        connect_seconds=_CONNECT_SECONDS,
    )


class _Alarm:
    """Wakes who waits on a socket. Rung many times before it is looked at, it was rung once."""

    def __init__(self) -> None:
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._lock = threading.Lock()

    @property
    def bell(self) -> socket.socket:
        """What can be read from once it was rung."""
        return self._sockets()[0]

    def ring(self) -> None:
        with suppress(OSError):  # it is full of calls, or just closed
            self._sockets()[1].send(b"!")

    def is_rung(self) -> bool:
        """Whether it was rung since this was asked."""
        was_rung = False
        with suppress(OSError):
            while self.bell.recv(4_096):
                was_rung = True
        return was_rung

    def _sockets(self) -> tuple[socket.socket, socket.socket]:
        with self._lock:
            if self._pair is None:
                self._pair = socket.socketpair()
                for one in self._pair:
                    one.setblocking(False)
            return self._pair

    def close(self) -> None:
        with self._lock:
            pair, self._pair = self._pair, None
        for one in pair or ():
            one.close()


class _Line:
    """One connection, made when it is needed. One thread at a time has it."""

    def __init__(
        self, url: str, name: str, patience: Patience, prepare: Callable[[Connection], None]
    ) -> None:
        self._url = url
        self._name = name
        self._patience = patience
        self._prepare = prepare
        self.lock = threading.RLock()
        self.connection: Connection | None = None

    def be_patient(self, patience: Patience) -> None:
        """From the next connection on, which is made at once where this changes anything."""
        patience.is_over = self._patience.is_over
        if patience != self._patience:
            with self.lock:
                self.drop()
                self._patience = patience

    def ask(self, ask: Callable[[Connection], Answer]) -> Answer:
        with self.lock:
            try:
                return self._ask(ask)
            except psycopg.Error as error:
                raise StorageUnavailable("The database cannot be reached; try again.") from error

    def ask_again(self, ask: Callable[[Connection], Answer]) -> Answer:
        """As `ask`. Where the connection turns out to be broken, on a new one."""
        with self.lock:
            if self.connection is not None:
                try:
                    return self._ask(ask)
                except ServerSilent as error:
                    raise StorageUnavailable("The database is silent; try again.") from error
                except psycopg.Error:
                    pass
            return self.ask(ask)

    def _ask(self, ask: Callable[[Connection], Answer]) -> Answer:
        try:
            if self.connection is None:
                self.connection = connect(self._url, self._patience, self._name, _OPTIONS)
                self._prepare(self.connection)
            return ask(self.connection)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def end(self) -> None:
        self._patience.is_over = True

    def close(self) -> None:
        self.end()
        with self.lock:
            self.drop()
