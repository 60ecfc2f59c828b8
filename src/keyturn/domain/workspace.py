"""The workspace: a tenant. Every slot, key, request and activity entry belongs to one."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from keyturn.domain.instant import SECOND
from keyturn.domain.runtime import NamedNetwork


class WorkspaceStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


# How long at most a node that is late may go on answering for a workspace.
MOST_GRACE_SECONDS = 300
# So long after a shorter grace was committed a node may yet have had a lease by which it has not
# heard of it: no lease is longer.
_LONGEST_LEASE_SECONDS = 60


class Reveal(StrEnum):
    """Whether a new token is answered to who asks for it. `never`: it goes to destinations alone,
    so that no person need ever see one."""

    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The record of a tenant. While it is suspended, every key in it is. `policy` is JSON
    text, None where it has none of its own. `grace_seconds`: for how long a node that has lost the
    database goes on verifying its keys by what it knows. `grace_before` is a longer one that it
    had until `grace_lowered_at`, which a node that is cut off since before then goes by."""

    id: UUID
    name: str
    status: WorkspaceStatus
    networks: tuple[NamedNetwork, ...]
    created_at: int
    updated_at: int
    version: int
    policy: str | None = None
    resumed_at: int | None = None
    reveal: Reveal = Reveal.ALWAYS
    grace_seconds: int = 0
    grace_before: int = 0
    grace_lowered_at: int | None = None

    def reckoned_grace(self, now: int) -> int:
        """How long a node that is cut off may go on answering by its grace, whenever it was cut
        off."""
        if self.grace_lowered_at is None:
            return self.grace_seconds
        known_by = self.grace_lowered_at + (self.grace_before + _LONGEST_LEASE_SECONDS) * SECOND
        return max(self.grace_seconds, self.grace_before if now < known_by else 0)

    @property
    def is_suspended(self) -> bool:
        return self.status is not WorkspaceStatus.ACTIVE
