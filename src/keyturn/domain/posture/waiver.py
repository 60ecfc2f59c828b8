"""The waiver: a person's word that a check may fail, of one key, of one slot, or altogether.

It ends by itself at a stated time, and may be ended before. Its record stays: an auditor asks what
was waived, by whom and why.
"""

from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.error import RequestInvalid
from keyturn.domain.instant import SECOND
from keyturn.domain.posture.check import CheckId, Subject
from keyturn.domain.slot import SlotName
from keyturn.domain.text import TEXT_LENGTH, check_text

LONGEST_SECONDS = 366 * 86_400
MOST_WAIVERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureWaiver:
    """The record of a waiver. With neither a key nor a slot it is of the whole check; with a key,
    `slot` is that key's."""

    id: UUID
    workspace_id: UUID
    check: CheckId
    key_id: UUID | None
    slot: SlotName | None
    reason: str
    until: int
    created_at: int
    created_by: str
    ended_at: int | None
    ended_by: str | None
    updated_at: int
    version: int

    def holds(self, now: int) -> bool:
        return self.ended_at is None and now < self.until

    def is_of(self, check: CheckId, subject: Subject) -> bool:
        """Whether it speaks of this subject of this check."""
        if check is not self.check:
            return False
        if self.key_id is not None:
            return subject.key_id == self.key_id
        return self.slot is None or subject.slot == self.slot

    def ended(self, by: str, now: int) -> "PostureWaiver":
        """Over from now on. One that is over already stays as it is."""
        if not self.holds(now):
            return self
        return replace(self, ended_at=now, ended_by=by, updated_at=now, version=self.version + 1)


def check_terms(reason: str, until: int, now: int) -> str:
    """The reason as it is kept. Raises `RequestInvalid` where a waiver cannot have these terms."""
    if until <= now:
        raise RequestInvalid.at("/until", "A waiver ends in the future.")
    if until > now + LONGEST_SECONDS * SECOND:
        raise RequestInvalid.at("/until", "A waiver lasts a year at most; it can be given again.")
    return check_text(reason, "/reason", longest=TEXT_LENGTH)
