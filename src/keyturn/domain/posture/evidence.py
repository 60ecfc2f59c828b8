"""The auditor's question: which keys lived in a period, and what was done with each.

What is said of a slot (owner, runbook, period) is as it stands now; the activity log has what it
was. A key's age counts from when it was made: what replaces it is another key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyturn.domain.incident import Incident
from keyturn.domain.instant import DAY
from keyturn.domain.key import Key
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.rotation import Rotation
from keyturn.domain.slot import SlotNotes

EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLife:
    """A key in a period. `greatest_age` is in microseconds, at the end of the period or of the key,
    whichever came first. `ended_at` and `ended_by` (`expired`, or the reason of its revocation) are
    as they are known now, after the period too. `incidents` is None for who may not read them."""

    key: Key
    notes: SlotNotes | None
    period_days: int | None
    last_used_at: int | None
    greatest_age: int
    ended_at: int | None
    ended_by: str | None
    rotations: tuple[Rotation, ...]
    incidents: tuple[Incident, ...] | None
    waivers: tuple[PostureWaiver, ...]

    @property
    def was_overdue(self) -> bool | None:
        """Whether it grew older than its period allows; None where there is no period."""
        return None if self.period_days is None else self.greatest_age > self.period_days * DAY


def life_of(
    key: Key,
    notes: SlotNotes | None,
    period_days: int | None,
    last_used_at: int | None,
    *,
    until: int,
    now: int,
    rotations: Sequence[Rotation],
    incidents: Sequence[Incident] | None,
    waivers: Iterable[PostureWaiver],
) -> KeyLife:
    """What a key's life was up to `until`."""
    ended_at, ended_by = _end(key, now)
    last = min(until, now) if ended_at is None else min(until, now, ended_at)
    return KeyLife(
        key=key,
        notes=notes,
        period_days=period_days,
        last_used_at=last_used_at,
        greatest_age=max(0, last - key.created_at),
        ended_at=ended_at,
        ended_by=ended_by,
        rotations=tuple(rotations),
        incidents=None if incidents is None else tuple(incidents),
        waivers=tuple(
            one
            for one in waivers
            if one.key_id == key.id or (one.key_id is None and one.slot in (None, key.slot))
        ),
    )


def _end(key: Key, now: int) -> tuple[int | None, str | None]:
    """A key that expired before it was revoked had come to its end already."""
    expired = key.expires_at if key.is_expired(now) else None
    revoked = key.revoked_at
    if revoked is not None and (expired is None or revoked <= expired):
        reason = key.revocation_reason
        return revoked, None if reason is None else reason.value
    return (None, None) if expired is None else (expired, EXPIRED)
