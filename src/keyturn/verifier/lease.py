"""How long a node may answer by what it has, and how long others must reckon with that.

A node counts from the moment before it asked, by its own clock, and only by that clock's rate. The
database cannot know that moment; it counts from the later one when it was asked, and stretches the
length, so that its idea of the lease ends after the node's.
"""

import math

# By how much the rate of a clock may be wrong. Quartz is within 0.02 %, and a clock that is being
# slewed by NTP within 0.05 % more.
RATE_ERROR = 0.001
STRETCH = (1 + RATE_ERROR) / (1 - RATE_ERROR)
MICROS = 1_000_000
_GRAIN_MICROS = 1_000


def reckoned_micros(seconds: float) -> int:
    """How long, by another clock, what takes so long by the clock of a node may last."""
    return math.ceil(seconds * STRETCH * MICROS) + _GRAIN_MICROS


class Lease:
    """The right to answer, until a moment of the clock that counts suspend."""

    __slots__ = ("_seconds", "fresh_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.fresh_until = -math.inf

    @property
    def was_had(self) -> bool:
        return self.fresh_until != -math.inf

    def extend(self, asked_at: float) -> None:
        """From a look that was asked for then. Never from an answer's arrival: what the answer
        says may have been read long before it."""
        self.fresh_until = max(self.fresh_until, asked_at + self._seconds)

    def covers(self, asked_at: float, now: float) -> bool:
        """Whether what was asked for at `asked_at` is still good by itself."""
        return now < asked_at + self._seconds

    def drop(self) -> None:
        self.fresh_until = -math.inf
