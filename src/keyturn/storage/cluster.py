"""What several nodes on one database tell each other, and how each follows the log of changes.

1. A lease is granted and committed before the look at the log that it is for is asked. So whoever
   has committed a change and then sees no lease of a node knows that the node's next look will
   bring that change.
2. A node that does not confirm what it was promised is granted no second lease: whoever waits for
   it waits for one lease at the most.
3. A look gives the changes in their order, each with its own seal checked. What cannot be trusted
   is given as such, never left out.
4. Hints are hints: whoever goes by them alone misses changes. Looking is the truth.

Times are microseconds by the database's own clock, so no two nodes' clocks are ever compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MOST_STEPS = 500


@dataclass(frozen=True, slots=True)
class LogPoint:
    """A place in the log: a position, and the seal of the change there. The empty log is at 0."""

    position: int
    seal: bytes


START = LogPoint(0, b"")


@dataclass(frozen=True, slots=True)
class LogStep:
    """One change. `touched` are the objects (kind and reference, as in the log) whose verdicts may
    be others from now on; None where the change cannot be trusted: then anything may be."""

    position: int
    seal: bytes
    touched: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True, slots=True)
class LogLook:
    """What one look brought: the point that the log has where it was asked from (None where there
    is none), or its last point where nothing was named; the changes after that, at most
    `MOST_STEPS`; and whether these are all."""

    anchor: LogPoint | None
    steps: tuple[LogStep, ...]
    is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What a node says of itself. `applied` is the position that it verifies by, `settled_until`
    the time up to which every use that it saw is kept."""

    id: str
    name: str
    version: str
    applied: int
    settled_until: int
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Grant:
    """Whether the node may verify for another lease, and the database's clock."""

    is_granted: bool
    clock: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node as the others see it. `promised` is the end of the log when its last lease was
    granted; `left_at` is there once it has said that it verifies no more."""

    id: str
    name: str
    version: str
    started_at: int
    applied: int
    promised: int
    lease_until: int
    settled_until: int
    left_at: int | None
    seen_at: int


@dataclass(frozen=True, slots=True)
class NodesSeen:
    """All nodes, and the database's clock, read after them."""

    clock: int
    rows: tuple[NodeRow, ...]


class Cluster(Protocol):
    """What several nodes on one database need. Whatever fails raises `StorageUnavailable`.

    `report`, `look` and `wait` are one thread's, the follower's; the others are anybody's.
    """

    def report(self, node: NodeReport) -> Grant:
        """Writes the node's row, committed when this returns. A lease is granted where there was no
        row, or the node has applied what it was promised with the last one. This and what follows
        take no longer than a quarter of the lease, or a quarter of a second."""
        ...

    def look(self, after: LogPoint | None) -> LogLook: ...

    def wait(self, seconds: float) -> bool:
        """Waits for a hint that something was changed, or until somebody is in a `hurry`; False
        where none came in that time. Raises nothing."""
        ...

    def hurry(self) -> None:
        """Ends the wait that is going on, or the next one."""
        ...

    def heed(self, on_report: Callable[[], None]) -> None:
        """Names whom to tell, in the follower's thread, that a node has confirmed something: a hint
        too. It must neither wait nor raise."""
        ...

    def nodes(self) -> NodesSeen: ...

    def leave(self, id: str) -> None:  # noqa: A002
        """Says that this node verifies no more, and is granted no lease again."""
        ...

    def bury(self, id: str) -> None:  # noqa: A002
        """Removes a node that is dead for sure and has said no goodbye: nobody waits for it."""
        ...

    def forget(self, before: int) -> None:
        """Removes the rows of nodes that have neither had a lease nor been seen since then."""
        ...

    def close(self) -> None: ...
