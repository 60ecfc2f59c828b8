"""What the world gives, as arguments: time and chance. `keyturn.ambient` has the real ones."""

from typing import Protocol


class Clock(Protocol):
    """Tells the time. Production has `SystemClock`; tests have `keyturn.testing.FakeClock`."""

    def now(self) -> int:
        """Wall-clock time, in microseconds since the epoch, UTC."""
        ...

    def elapsed(self) -> float:
        """Seconds of a clock that never runs backwards; only differences mean something."""
        ...

    def boot(self) -> float:
        """Seconds of a clock that never runs backwards, cannot be set, and goes on while the
        machine sleeps: what a lease is measured by. Only differences mean something."""
        ...


class Entropy(Protocol):
    """Gives unpredictable bytes."""

    def take(self, size_bytes: int) -> bytes: ...
