"""Activity: one management action, in a log that shows tampering.

1. Entries are numbered without gaps from 1, over the whole installation.
2. `content_hash = SHA-256(0x00 ‖ canonical JSON of the entry)`.
3. `hash = SHA-256(0x01 ‖ previous hash ‖ number ‖ expiry ‖ content_hash ‖ change)`, from 32 zero
   bytes on (the leading bytes part the two uses, as RFC 9162, 2.1 does). `change` is the canonical
   JSON of the row that the entry's change has in the change log, nothing where it changed nothing.
4. When an entry's retention ends its content goes and its `content_hash` stays, so the chain holds.
   The expiry is in the chain: content that is gone before it was to go is a fault. So is the
   change: which version an object has last is held by the chain for ever.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

GENESIS = bytes(32)


class ActorType(StrEnum):
    USER = "user"
    API_KEY = "api_key"
    SYSTEM = "system"
    WORKER = "worker"


class Category(StrEnum):
    SECURITY = "security"
    CONFIGURATION = "configuration"
    INTEGRATION = "integration"


class ActivityStatus(StrEnum):
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acted. `id` is a key's or an operator's, None for Keyturn itself."""

    type: ActorType
    id: UUID | None
    label: str

    @property
    def user_id(self) -> UUID | None:
        return self.id if self.type is ActorType.USER else None


SYSTEM = Actor(type=ActorType.SYSTEM, id=None, label="keyturn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is said of one action, before it has its place in the chain.

    `workspace_id` is None for an act on the installation. `request_id` is None only for `system`
    and `worker`. `position` is the change head's after the change, None where nothing changed.
    """

    id: UUID
    workspace_id: UUID | None
    actor: Actor
    action: str
    category: Category
    resource_type: str
    resource_id: str
    resource_version: int | None
    status: ActivityStatus
    message: str
    metadata: dict[str, object]
    request_id: str | None
    retention_days: int
    created_at: int
    expires_at: int
    position: int | None

    def content(self) -> bytes:
        """The canonical JSON of the entry: members sorted, ASCII, no white space."""
        return json.dumps(
            {
                "action": self.action,
                "actor_id": None if self.actor.id is None else str(self.actor.id),
                "actor_label": self.actor.label,
                "actor_type": self.actor.type,
                "category": self.category,
                "created_at": self.created_at,
                "expires_at": self.expires_at,
                "id": str(self.id),
                "message": self.message,
                "metadata": self.metadata,
                "position": self.position,
                "request_id": self.request_id,
                "resource_id": self.resource_id,
                "resource_type": self.resource_type,
                "resource_version": self.resource_version,
                "retention_days": self.retention_days,
                "status": self.status,
                "workspace_id": None if self.workspace_id is None else str(self.workspace_id),
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode("ascii")

    def content_hash(self) -> bytes:
        return hashlib.sha256(b"\x00" + self.content()).digest()


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """One row of the change log. As it stands in a database its cells may be of any type."""

    position: int
    kind: str
    ref: str
    version: int
    workspace_id: str | None
    at: int

    def spelled(self) -> bytes:
        """The canonical JSON. Raises `TypeError` where a cell cannot be spelled."""
        cells = (self.position, self.kind, self.ref, self.version, self.workspace_id, self.at)
        return json.dumps(cells, separators=(",", ":")).encode("ascii")


def chain(
    previous: bytes,
    number: int,
    expires_at: int,
    content_hash: bytes,
    change: LoggedChange | None = None,
) -> bytes:
    """The hash of entry `number`, given that of the entry before it, and the change it tells of."""
    return hashlib.sha256(
        b"\x01"
        + previous
        + number.to_bytes(8, "big")
        + expires_at.to_bytes(8, "big")
        + content_hash
        + (b"" if change is None else change.spelled())
    ).digest()
