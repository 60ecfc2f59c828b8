"""What the rest of Keyturn may ask of storage. `keyturn.testing.storage` is its exported suite.

1. `change` runs one change at a time over the whole installation, and commits durably before it
   returns; when its block raises, nothing of it remains.
2. `read` gives one consistent view, and cannot write.
3. `record` keeps what may be kept a moment later than it happened (requests, purges); it never
   waits for a change to be durable, and no verdict depends on it.
4. `credentials` answers what the database would answer at that moment, edits from outside
   included: an earlier answer serves only while the engine says that nothing was committed since.
5. A row that fails its seal is reported to `on_damage` once its transaction is over.
6. `fill` gives a credential and the place in the log that it is of, from one snapshot.
7. What the engine raises becomes `StorageUnavailable`, with the cause behind it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from keyturn.domain.key import Key
from keyturn.domain.operator import Operator
from keyturn.domain.workspace import Workspace
from keyturn.storage.cluster import (
    MOST_STEPS,
    START,
    Cluster,
    Grant,
    LogLook,
    LogPoint,
    LogStep,
    NodeReport,
    NodeRow,
    NodesSeen,
)
from keyturn.storage.memory import Memory
from keyturn.storage.sealed import Damage
from keyturn.storage.transaction import Reading, Writing

__all__ = [
    "MOST_STEPS",
    "START",
    "Cluster",
    "Credential",
    "CredentialFill",
    "CredentialReader",
    "CredentialReading",
    "Deprecation",
    "Grant",
    "KeyCredential",
    "LogLook",
    "LogPoint",
    "LogStep",
    "NodeReport",
    "NodeRow",
    "NodesSeen",
    "OnDamage",
    "OperatorCredential",
    "Reference",
    "Store",
]

OnDamage = Callable[[Damage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """That a key is being replaced: by which rotation, since when, and until when at the latest."""

    rotation_id: UUID
    since: int
    sunset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCredential:
    """A key as a verdict needs it. `deprecation` is there while an open rotation replaces it."""

    key: Key
    workspace: Workspace
    owner: str | None
    deprecation: Deprecation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCredential:
    operator: Operator


Credential = KeyCredential | OperatorCredential


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a token names: an operator's id or a key's."""

    id: UUID
    is_operators: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialReading:
    """The credentials found, by id, and a log position that they are at least as new as.

    A damaged row is not among them.
    """

    found: Mapping[UUID, Credential]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialFill:
    """A credential as it stood at exactly this point of the log. A damaged row is no credential."""

    credential: Credential | None
    is_damaged: bool
    point: LogPoint


class CredentialReader(Protocol):
    """Looks up what tokens name. `is_instant` readers may be called on an event loop."""

    is_instant: bool

    def read(self, references: Iterable[Reference]) -> CredentialReading: ...

    def fill(self, reference: Reference) -> CredentialFill:
        """What a cache is filled with: the row and the last point of the log in one snapshot."""
        ...


class Store(Protocol):
    """One database."""

    @property
    def engine(self) -> str: ...

    @property
    def credentials(self) -> CredentialReader: ...

    @property
    def memory(self) -> Memory: ...

    @property
    def cluster(self) -> Cluster | None:
        """What several nodes need of this database, None where it is one process's."""
        ...

    def read(self) -> AbstractContextManager[Reading]: ...

    def change(self) -> AbstractContextManager[Writing]: ...

    def record(self) -> AbstractContextManager[Reading]: ...

    def create(self) -> AbstractContextManager[Reading]:
        """A transaction that may write while there is no change head yet: for `init` alone."""
        ...

    def ping(self) -> int:
        """The database's own clock, in microseconds. Raises `StorageUnavailable`."""
        ...

    def hurry(self) -> None:
        """Whoever waits for the database now, or would, is told that it is unavailable: the process
        is about to end."""
        ...

    def close(self) -> None: ...
