"""Steady time: nothing grows old because somebody set a clock.

1. It goes on with the time that the process has run, from the earlier of this machine's clock and
   the database's; it never runs ahead of the clock.
2. A clock that has jumped ahead is followed once it has stayed there for `DOUBT_SECONDS` (a machine
   that slept is no fault), one that was set back at once. From then on quiet has to be watched
   anew (`watched_since`); else a clock set back and forth would make one.
3. What takes days is measured by `borne_out`: no jump, and no start after a long silence, moves it
   by more than a day at once. It catches up a day in each hour that the process runs.
"""

import threading
from dataclasses import dataclass

from keyturn.domain.instant import DAY, SECOND
from keyturn.services.context import Context

TOLERANCE = 5 * SECOND
DOUBT_SECONDS = 30.0
CATCH_UP = 24


@dataclass(frozen=True, slots=True)
class _Anchor:
    """Where the time is counted from. `known` is the newest time that anything spoke for."""

    began: int
    elapsed: float
    known: int | None


class SteadyTime:
    """One process's steady time. Raises `StorageUnavailable` when it is made."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._lock = threading.Lock()
        self._doubted_at: float | None = None
        began = min(context.clock.now(), context.store.ping())
        self._anchor = _Anchor(began, context.clock.elapsed(), newest_known(context))
        self._first = began

    def now(self) -> int:
        """The present, in microseconds since the epoch."""
        with self._lock:
            wall, elapsed = self._clock.now(), self._clock.elapsed()
            expected = self._ran_from(self._anchor.began, elapsed)
            if wall < expected - TOLERANCE:
                self._doubted_at = None
                self._anchor = _Anchor(wall, elapsed, self._capped(wall, elapsed))
                return wall
            if wall <= expected + TOLERANCE:
                self._doubted_at = None
                return min(wall, expected)
            if self._doubted_at is None:
                self._doubted_at = elapsed
            if elapsed - self._doubted_at < DOUBT_SECONDS:
                return expected
            self._doubted_at = None
            self._anchor = _Anchor(wall, elapsed, min(expected, self._capped(expected, elapsed)))
            return wall

    def borne_out(self) -> int:
        """The present as far as what was written down speaks for it."""
        now = self.now()
        with self._lock:
            return self._capped(now, self._clock.elapsed())

    @property
    def watched_since(self) -> int:
        """From when on this process has watched, without a jump."""
        return self._anchor.began

    @property
    def set_at(self) -> int | None:
        """When the clock was last seen to jump, None where it never did while this process ran."""
        began = self._anchor.began
        return None if began == self._first else began

    def _capped(self, now: int, elapsed: float) -> int:
        known = self._anchor.known
        if known is None:
            return now
        # An hour of running makes up for a day of silence before the start.
        ran = int((elapsed - self._anchor.elapsed) * SECOND)
        return min(now, known + DAY + CATCH_UP * ran)

    def _ran_from(self, moment: int, elapsed: float) -> int:
        return moment + int((elapsed - self._anchor.elapsed) * SECOND)


def newest_known(context: Context) -> int | None:
    """When the newest thing was written down, None where nothing was."""
    with context.store.read() as transaction:
        times = (transaction.activity.newest_at(), transaction.requests.newest_at())
    return max((at for at in times if isinstance(at, int)), default=None)
