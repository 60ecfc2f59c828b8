"""Tidying: what has outlived its retention goes, a little at a time, and by no clock alone.

A clock that jumps ahead would take a history with it that nothing brings back. So the time to tidy
by is the earliest of three: this machine's clock, the database's own, and a day after the newest
entry or request that was there when the process began, plus the time that it has run since. After
a long silence it may thus lie behind, and something goes later than it could; nothing goes earlier.
"""

import logging
from dataclasses import dataclass

from keyturn.domain.instant import DAY, SECOND, format_instant
from keyturn.domain.message import MessageState
from keyturn.services.context import Context
from keyturn.services.expire import expire_messages

ONCE = 2_000
IDEMPOTENCY_DAYS = 1
SENT_DAYS = 30
DEAD_DAYS = 90
TRAFFIC_DAYS = 400

_log = logging.getLogger("keyturn.tidy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """What went. `is_done` is False where more is waiting."""

    requests: int
    entries: int
    answers: int
    deliveries: int = 0
    messages: int = 0
    expired: int = 0
    traffic: int = 0

    @property
    def is_done(self) -> bool:
        most = max(self.requests, self.entries, self.deliveries, self.messages, self.expired)
        return max(most, self.traffic) < ONCE


class Tidier:
    """Tidies for as long as a process runs. Raises `StorageUnavailable`, when made and later."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._began = context.clock.elapsed()
        self._newest = _newest(context)
        self._has_warned = False

    def tidy(self) -> Tidied:
        return tidy(self._context, self.supported_now())

    def supported_now(self) -> int:
        """The latest time that everything known speaks for."""
        local = self._context.clock.now()
        now = min(local, self._context.store.ping())
        if self._newest is not None:
            ran = int((self._context.clock.elapsed() - self._began) * SECOND)
            now = min(now, self._newest + DAY + ran)
        if local - now > DAY and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "the clock says %s, which only up to %s is borne out by the database: what has "
                "outlived its retention since then stays for now",
                format_instant(local),
                format_instant(now),
            )
        return now


def _newest(context: Context) -> int | None:
    with context.store.read() as transaction:
        times = (transaction.activity.newest_at(), transaction.requests.newest_at())
    return max((at for at in times if isinstance(at, int)), default=None)


def tidy(context: Context, now: int) -> Tidied:
    """Removes at most a few thousand requests that have outlived their time at `now`, as many rows
    of traffic, as many deliveries that have been done with for as long, and messages; and blanks as
    many activity entries. As many messages that wait in vain wait no longer."""
    expired = expire_messages(context, now, limit=ONCE)
    with context.store.record() as transaction:
        requests = transaction.requests.purge(
            now - context.request_retention_days * DAY, limit=ONCE
        )
        traffic = transaction.traffic.purge(now - TRAFFIC_DAYS * DAY, limit=ONCE)
        entries = transaction.activity.blank_expired(now, limit=ONCE)
        deliveries = transaction.deliveries.purge(
            now - context.request_retention_days * DAY, limit=ONCE
        )
        answers = transaction.idempotency.purge(now - IDEMPOTENCY_DAYS * DAY)
        messages = sum(
            transaction.messages.purge(state, now - days * DAY, limit=ONCE)
            for state, days in ((MessageState.SENT, SENT_DAYS), (MessageState.DEAD, DEAD_DAYS))
        )
    return Tidied(
        requests=requests,
        entries=entries,
        answers=answers,
        deliveries=deliveries,
        messages=messages,
        expired=expired,
        traffic=traffic,
    )
