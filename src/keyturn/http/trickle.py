"""A bound on what strangers can make us write: so many at once, and so many a second."""

import threading


class Trickle:
    """A token bucket a name. Names are forgotten, the oldest first, when there are too many."""

    def __init__(self, *, burst: int, per_second: float, names: int = 1_000) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._names = names
        self._levels: dict[object, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def lets(self, name: object, elapsed: float) -> bool:
        """Whether one more of `name` may pass at `elapsed` seconds of a clock that only runs on."""
        with self._lock:
            level, since = self._levels.pop(name, (self._burst, elapsed))
            level = min(self._burst, level + (elapsed - since) * self._per_second)
            passes = level >= 1
            if len(self._levels) >= self._names:
                self._levels.pop(next(iter(self._levels)))
            self._levels[name] = (level - 1 if passes else level, elapsed)
            return passes
