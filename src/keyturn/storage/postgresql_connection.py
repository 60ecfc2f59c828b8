"""A connection to PostgreSQL on which no wait is without end.

The server keeps bounds while it can be heard. One that cannot (a network that swallows packets, a
proxy that holds them) is given up on from our side, after a silence.
"""

from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg.abc import PQGen, PQGenConn
from psycopg.generators import execute
from psycopg.pq import ConnStatus

CONNECT_TIMEOUT_SECONDS = 3

Answer = TypeVar("Answer")

_TICK_SECONDS = 0.1
# A connection that nobody has spoken on may be dead for long: whoever takes it up asks first, with
# less patience than for an answer. A server that is only slow costs no more than a new connection.
ANSWER_SECONDS = 1.0
# What a dead network leaves of a connection that nobody speaks on is found out by these.
LIVENESS: dict[str, Any] = {
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
    connect_seconds: float = CONNECT_TIMEOUT_SECONDS
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

    def ends_connecting_after(self, silent_seconds: float) -> bool:
        return self.is_over or silent_seconds >= self.connect_seconds


def unbounded() -> Patience:
    """For what takes its time: a migration, a check of the whole log."""
    return Patience(statement_ms=None, silence_seconds=None)


class ServerSilent(psycopg.OperationalError):
    """The server has not been heard of for too long; its connection is closed."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a silent server."""

    patience = Patience()
    _silence_seconds: float | None = None  # for the moment, less than the patience says

    def answers(self) -> bool:
        """Whether there is still a server at the other end; where not, this is closed."""
        self._silence_seconds = ANSWER_SECONDS
        try:
            with self.lock:
                self.pgconn.send_query(b"")
                self.wait(execute(self.pgconn))
        except psycopg.Error:
            self.close()
        finally:
            self._silence_seconds = None
        # A server that ends a session says so in an answer, and then closes it.
        if self.pgconn.status != ConnStatus.OK:
            self.close()
        return not self.closed

    def _is_given_up(self, silent_seconds: float) -> bool:
        own = self._silence_seconds
        return self.patience.ends_after(silent_seconds) or (
            own is not None and silent_seconds >= own
        )

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """The driver's steps; where the server gave none for too long, the end. (The driver's own
        bound on them cannot be shorter than two seconds, and knows of no process that ends.)"""
        silent = 0
        steps = super()._connect_gen(conninfo)
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                silent = 0 if ready else silent + 1
                if silent and cls.patience.ends_connecting_after(silent * _TICK_SECONDS):
                    raise ServerSilent("the server is silent")
                wanted = steps.send(ready)
        except StopIteration as end:
            return cast(Self, end.value)

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
                if silent and self._is_given_up(silent * _TICK_SECONDS):
                    self.close()
                    raise ServerSilent("the server is silent")
                wanted = gen.send(ready)
        except StopIteration as end:
            return cast(Answer, end.value)


def connect(url: str, patience: Patience, name: str, options: str = "") -> Connection:
    """A connection of our own, in autocommit."""
    if patience.is_over:
        raise ServerSilent("this process is ending")
    # A class of its own, since a connection must be patient before it is one.
    patient = type(Connection.__name__, (Connection,), {"patience": patience})
    return cast(type[Connection], patient).connect(
        url,
        autocommit=True,
        options=f"{patience.options} {options}",
        application_name=name,
        **LIVENESS,
    )
