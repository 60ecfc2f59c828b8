"""Signals as things that are waited for, beside other news, and not as interruptions."""

import contextlib
import math
import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

# What is passed on to the command. Those that stop and continue (Ctrl-Z) reach it by itself.
PASSED_ON = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM")
)
_SIZE_BYTES = 512


class Bell:
    """Rings for each signal, and when another thread rings it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for descriptor in (self._read, self._write):
            os.set_blocking(descriptor, False)

    def ring(self) -> None:
        """From any thread. A pipe that is full has enough in it to be heard."""
        with contextlib.suppress(OSError):
            os.write(self._write, b"\0")

    def wait(self, seconds: float | None) -> Iterator[int]:
        """The signals that came, after so many seconds at most."""
        ready = select.poll()  # `select` knows no descriptor above 1023
        ready.register(self._read, select.POLLIN)
        if not ready.poll(None if seconds is None else math.ceil(seconds * 1_000)):
            return
        with contextlib.suppress(BlockingIOError):
            yield from (number for number in os.read(self._read, _SIZE_BYTES) if number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hears signals meanwhile. What was ignored (`nohup`) stays so."""
        before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        heard = [*_not_ignored(PASSED_ON), signal.SIGCHLD]
        handlers = {number: signal.signal(number, _hear) for number in heard}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            os.close(self._read)
            os.close(self._write)


def _not_ignored(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    return [one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN]


def _hear(number: int, frame: FrameType | None) -> None:
    """Nothing: the interpreter has written its number to the bell by then."""


def is_typed(number: int) -> bool:
    """Whether such a signal comes from the terminal, which sends it to the command as well: we and
    the command are in the group that has it."""
    if number not in (signal.SIGINT, signal.SIGQUIT):
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
