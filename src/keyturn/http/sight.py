"""What this node may verify by, and whether a change is effective everywhere.

With one process a database both are plain: each verification asks the database, and what is
committed is effective. With several, a node verifies by records that it keeps, for as long as its
lease says that they are new enough, and a change is effective once no node goes by older ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from keyturn.storage.contract import CredentialReading, Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """How far a change has got. Of `nodes` so many have `confirmed`, and so many were counted out
    since they accept nothing any more (`expired`). While it is pending, `effective_by` is the
    latest moment by which nothing is accepted that the change has taken away (microseconds)."""

    state: Literal["complete", "pending"]
    nodes: int
    confirmed: int
    expired: int
    took_ms: int
    effective_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStanding:
    """Where a change stands at one node, which has come as far as `position`."""

    id: str
    name: str
    state: Literal["confirmed", "waiting", "expired"]
    position: int


class Sight(Protocol):
    """One node's sight of the installation. To be used on its event loop."""

    async def look(self, references: Iterable[Reference], at_least: int) -> CredentialReading:
        """The credentials that are to be judged by, as of the log's position `at_least`, or later.
        Raises `FreshnessLost`, `StorageUnavailable`."""
        ...

    def require_fresh(self, grace_seconds: int) -> int | None:
        """To be asked last, with nothing waited for between it and the answer: None where what was
        looked at is new enough, else how many whole seconds it is late, where that is less than
        `grace_seconds`. Raises `FreshnessLost`."""
        ...

    async def effective(self, grace_seconds: int, within: float) -> Propagation:
        """Waits, `within` so many seconds, until everything that this process has committed up to
        now is effective on every node, those in grace included. Raises `StorageUnavailable`."""
        ...

    async def nodes(self, position: int, grace_seconds: int) -> tuple[NodeStanding, ...]:
        """Where the change at a position stands on each node. Raises `StorageUnavailable`."""
        ...

    def fault(self) -> str | None:
        """Why this node verifies nothing now, None where it does."""
        ...
