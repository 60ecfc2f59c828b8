"""Time and chance under a test's control."""

import hashlib
import threading

SOME_TIME = 1_790_000_000_000_000


class FakeClock:
    """A clock that moves only when it is told to. Times are microseconds since the epoch, UTC."""

    def __init__(self, now: int = SOME_TIME) -> None:
        self._now = now
        self._elapsed = 0.0
        self._suspended = 0.0

    def now(self) -> int:
        return self._now

    def elapsed(self) -> float:
        return self._elapsed

    def boot(self) -> float:
        return self._elapsed + self._suspended

    def advance(self, micros: int) -> None:
        """All clocks move on."""
        self._now += micros
        self._elapsed += micros / 1_000_000

    def jump(self, micros: int) -> None:
        """The wall clock alone is set, forwards or backwards."""
        self._now += micros

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: what the process has run stands still, and nothing else does."""
        self._suspended += seconds
        self._now += round(seconds * 1_000_000)


class SeededEntropy:
    """Bytes that follow from a seed: the same test makes the same ids and tokens each time."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._count = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bytes:
        with self._lock:
            self._count += 1
            label = f"{self._seed}/{self._count}".encode()
        return hashlib.shake_256(label).digest(size_bytes)
