"""The workspace: a tenant. Every slot, key, request and activity entry belongs to one."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from keyturn.domain.runtime import NamedNetwork


class WorkspaceStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Reveal(StrEnum):
    """Whether a new token is answered to who asks for it. `never`: it goes to destinations alone,
    so that no person need ever see one."""

    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The record of a tenant. While it is suspended, every key in it is. `policy` is JSON
    text, None where it has none of its own."""

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

    @property
    def is_suspended(self) -> bool:
        return self.status is not WorkspaceStatus.ACTIVE
