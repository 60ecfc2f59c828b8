"""Whether a change has arrived everywhere: by what the nodes have told the database.

A node is through with a change when it has reported a position at or beyond it; when it has said
goodbye; or when its last lease is over, also beyond the longest time of grace. A node gets no
second lease before it has confirmed the end of the log as it stood at the first one (`may_grant`),
so one that asks on and never confirms holds up nobody for longer than a lease.

This is sound because a lease is granted, and that committed, before its holder looks at the log: a
barrier that does not see the lease has read before it was committed, so the look is younger than
the change that the barrier waits for.
"""

import enum
from typing import Protocol

from keyturn.verifier.lease import reckoned_micros


class Node(Protocol):
    """What the database knows of a node. Times are microseconds of the database's clock."""

    @property
    def applied(self) -> int: ...
    @property
    def lease_until(self) -> int: ...
    @property
    def left_at(self) -> int | None: ...


class Through(enum.Enum):
    """How a node stands to a change."""

    CONFIRMED = "confirmed"
    LEFT = "left"
    EXPIRED = "expired"  # it cannot answer any more without asking first
    WAITING = "waiting"


def how_through(node: Node, position: int, grace_seconds: float, clock: int) -> Through:
    """How `node` stands to the change at `position` by the database's clock. `grace_seconds`: the
    longest grace by which any node may still serve what the change is about."""
    if node.applied >= position:
        return Through.CONFIRMED
    if node.left_at is not None:
        return Through.LEFT
    if over_at(node, grace_seconds) < clock:
        return Through.EXPIRED
    return Through.WAITING


def is_through(node: Node, position: int, grace_seconds: float, clock: int) -> bool:
    return how_through(node, position, grace_seconds, clock) is not Through.WAITING


def over_at(node: Node, grace_seconds: float) -> int:
    """The last moment of the database's clock at which the node may answer by its last lease."""
    # The node counts its grace by its own clock, so that is stretched like the lease.
    return node.lease_until + (reckoned_micros(grace_seconds) if grace_seconds else 0)


def may_grant(applied: int, promised: int | None) -> bool:
    """Whether a node that has applied so much gets a lease. `promised`: where the log ended when it
    got its last one, None of a node that had none."""
    return promised is None or applied >= promised
