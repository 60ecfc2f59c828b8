"""The database's clock, and since when it may be believed that a lease is over by it.

The lease of a node that is not heard of is counted by the clock of the database's machine. Were
that set forward by more than a lease, every node would seem to accept nothing any more while it
does. Each node sees that clock twice a second, beside its own, which nobody sets: where it has gone
further than its own, by more than clocks may differ, no lease counts as over before one has gone by
on its own clock. Set backward it makes a wait longer, and nobody accepts more.
"""

import math
import threading

from keyturn.verifier import RATE_ERROR

# What is not noticed is added to each lease instead.
TOLERANCE_SECONDS = 0.1
_MICROS = 1_000_000


class DatabaseClock:
    """As one node sees it. For any number of threads."""

    def __init__(self, started_at: float) -> None:
        self._believed_since = started_at
        self._furthest = math.inf
        self._heard_at = started_at
        self._lock = threading.Lock()

    def note(self, told: int, asked_at: float, heard_at: float) -> None:
        """What the clock told (microseconds) to a question that was sent and answered at these
        moments of the clock that counts suspend."""
        with self._lock:
            # Where the two stood apart at the least and at the most, whenever in between it was.
            least, most = told / _MICROS - heard_at, told / _MICROS - asked_at
            drift = RATE_ERROR * max(0.0, heard_at - self._heard_at)
            furthest = self._furthest + drift
            was_set = least > furthest + TOLERANCE_SECONDS
            if was_set:
                self._believed_since = max(self._believed_since, heard_at)
            # An older answer than the last one says nothing of now. One that was long under way
            # says little, and what was known more exactly still holds.
            if heard_at >= self._heard_at:
                self._furthest = most if was_set else min(furthest, most)
                self._heard_at = heard_at

    def reckon(self, told: int, now: float, seconds: float) -> int:
        """The time to hold leases against that last so many seconds: what the clock told, or one
        by which none is over yet."""
        with self._lock:
            if now - self._believed_since <= seconds * (1 + 2 * RATE_ERROR) + TOLERANCE_SECONDS:
                return 0
        return told - round(TOLERANCE_SECONDS * _MICROS)
