"""A place in the log of changes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=False)
class Point:
    """A position, and the seal of the change that stands there.

    Two histories that part (a failover that lost its last changes, a restored backup) give out the
    same positions again, but not the same seals: a seal covers the moment of its change. So two
    points are of one history where both agree, and a position alone says nothing of that.
    """

    position: int  # 0 before the first change
    seal: bytes  # the MAC of the change there; empty at position 0


ORIGIN = Point(0, b"")
