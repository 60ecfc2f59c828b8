"""Tidying: what has outlived its retention goes, a little at a time."""

from dataclasses import dataclass

from keyturn.domain.instant import DAY
from keyturn.services.context import Context

ONCE = 2_000
IDEMPOTENCY_DAYS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """What went. `is_done` is False where more is waiting."""

    requests: int
    entries: int
    answers: int

    @property
    def is_done(self) -> bool:
        return self.requests < ONCE and self.entries < ONCE


def tidy(context: Context) -> Tidied:
    """Removes at most a few thousand requests, and blanks as many activity entries."""
    now = context.clock.now()
    with context.store.record() as transaction:
        requests = transaction.requests.purge(
            now - context.request_retention_days * DAY, limit=ONCE
        )
        entries = transaction.activity.blank_expired(now, limit=ONCE)
        answers = transaction.idempotency.purge(now - IDEMPOTENCY_DAYS * DAY)
    return Tidied(requests=requests, entries=entries, answers=answers)
