"""The real clock and the operating system's generator; nothing else in Keyturn may touch either."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Production has `SystemClock`; tests have `keyturn.testing.FakeClock`."""

    def now(self) -> int:
        """Wall-clock time, in microseconds since the epoch, UTC."""
        ...

    def elapsed(self) -> float:
        """Seconds of a clock that never runs backwards; only differences mean something."""
        ...


class Entropy(Protocol):
    """Gives unpredictable bytes."""

    def take(self, size_bytes: int) -> bytes: ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        return time.time_ns() // 1_000

    def elapsed(self) -> float:
        return time.monotonic()


class SystemEntropy:
    """The operating system's generator, safe after a fork because nothing is buffered here."""

    def take(self, size_bytes: int) -> bytes:
        return os.urandom(size_bytes)
