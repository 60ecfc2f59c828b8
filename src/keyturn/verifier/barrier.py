"""Whether a change is in effect everywhere: by what the nodes have told the database.

A node is through with a change when it has reported a position at or beyond it; when it has said
goodbye; or when its lease is over, beyond the longest time of grace too.

This is sound because a lease is granted, and that committed, before its holder looks at the log. A
barrier reads the nodes after its change was committed. A lease that it does not see there was
granted later, so its holder's look has the change. Hence a `Waiting` goes by the nodes and the
leases of its first look: who comes later need not be waited for, nor a lease that is granted later,
and it is over within one lease whatever the nodes do.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Protocol

from keyturn.verifier.lease import reckoned_micros


class Node(Protocol):
    """What the database knows of a node. Times are microseconds of the database's clock."""

    @property
    def id(self) -> str: ...
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
    got its last one, None of a node that had none. So one that asks on and never confirms gets no
    second lease, and whoever looks at the nodes at any time sees it expire."""
    return promised is None or applied >= promised


class Waiting:
    """A wait until the change at `position` is in effect everywhere. `see` is to be given what the
    database knows of the nodes, again and again; each time by a look that began after the commit,
    so not by one that others have under way already."""

    def __init__(self, position: int, grace_seconds: float) -> None:
        self.position = position
        self.confirmed = 0
        self.expired = 0
        self._grace_seconds = grace_seconds
        self._over_at: dict[str, int] | None = None

    def see(self, nodes: Iterable[Node], clock: int) -> bool:
        """Whether it is over."""
        by_id = {node.id: node for node in nodes}
        if self._over_at is None:
            self._over_at = {
                node.id: over_at(node, self._grace_seconds)
                for node in by_id.values()
                if node.left_at is None
            }
        waiting = self._over_at
        for id_ in [*waiting]:
            self._see(id_, by_id, waiting, clock)
        return not waiting

    def _see(
        self, id_: str, nodes: Mapping[str, Node], waiting: dict[str, int], clock: int
    ) -> None:
        node = nodes.get(id_)
        if node is not None and node.applied >= self.position:
            self.confirmed += 1
        elif waiting[id_] < clock:
            self.expired += 1
        elif node is None or node.left_at is None:
            return
        del waiting[id_]

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that are still waited for."""
        return tuple(self._over_at or ())

    @property
    def effective_by(self) -> int | None:
        """When it is over at the latest, by the database's clock; None before the first look, and
        where nobody is waited for."""
        return max((self._over_at or {}).values(), default=None)
