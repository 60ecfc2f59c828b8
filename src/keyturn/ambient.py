"""The real clock and the operating system's generator; nothing else in Keyturn may touch either."""

import os
import time


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        return time.time_ns() // 1_000

    def elapsed(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SystemEntropy:
    """The operating system's generator, safe after a fork because nothing is buffered here."""

    def take(self, size_bytes: int) -> bytes:
        return os.urandom(size_bytes)
