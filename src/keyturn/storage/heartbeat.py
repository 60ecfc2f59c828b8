"""Keeping the heartbeat: when a process last looked on, and since when without a long break.

It is no more trusted than the uses are: it makes somebody's silence longer or shorter.
"""

from dataclasses import dataclass

from sqlalchemy import select, text

from keyturn.domain.instant import is_instant
from keyturn.storage.schema import heartbeat
from keyturn.storage.session import Session

_KEEP = text(
    "INSERT INTO heartbeat (id, seen_at, unbroken_since) VALUES (1, :seen_at, :unbroken_since)"
    " ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at,"
    " unbroken_since = excluded.unbroken_since"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """When somebody last looked on, and since when there was no break longer than a moment."""

    seen_at: int
    unbroken_since: int


class HeartbeatRow:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self) -> Heartbeat | None:
        """The last one, None where there is none, or what stands there is none."""
        query = select(heartbeat.c.seen_at, heartbeat.c.unbroken_since).where(heartbeat.c.id == 1)
        row = self._session.connection.execute(query).first()
        if row is None or not all(is_instant(cell) for cell in row):
            return None
        return Heartbeat(seen_at=row[0], unbroken_since=row[1])

    def keep(self, beat: Heartbeat) -> None:
        self._session.connection.execute(
            _KEEP, {"seen_at": beat.seen_at, "unbroken_since": beat.unbroken_since}
        )
