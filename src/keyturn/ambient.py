"""The real clock and the operating system's generator; nothing else in Keyturn may touch either."""

import os
import sys
import time

# The one that counts a suspend too: on Linux CLOCK_MONOTONIC stands still while the machine sleeps,
# on macOS it goes on (there `time.monotonic` is the one that stands still).
_BOOT = time.CLOCK_MONOTONIC if sys.platform == "darwin" else time.CLOCK_BOOTTIME


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        return time.time_ns() // 1_000

    def elapsed(self) -> float:
        return time.monotonic()

    def boot(self) -> float:
        return time.clock_gettime(_BOOT)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SystemEntropy:
    """The operating system's generator, safe after a fork because nothing is buffered here."""

    def take(self, size_bytes: int) -> bytes:
        return os.urandom(size_bytes)
