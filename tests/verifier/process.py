"""A simulated process on a simulated machine: its clock, and how it is stopped and goes on."""

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.verifier.loop import Loop


class Machine:
    """Where a process runs. Its clock counts suspend; how it is set is nobody's business."""

    __slots__ = ("loop", "offset", "place", "rate", "suspended", "wall_offset")

    def __init__(self, loop: Loop, place: int, *, offset: float, rate: float) -> None:
        self.loop = loop
        self.place = place
        self.offset = offset
        self.rate = rate
        self.suspended = 0.0
        self.wall_offset = 0.0

    def boot(self) -> float:
        return self.offset + self.rate * self.loop.now

    def awake(self) -> float:
        """A clock that does not count suspend: CLOCK_MONOTONIC of Linux."""
        return self.offset + self.rate * (self.loop.now - self.suspended)

    def wall(self) -> float:
        return self.boot() + self.wall_offset


class Process:
    """Acts come one after the other, and none while it is stopped (SIGSTOP, suspend)."""

    def __init__(self, loop: Loop, machine: Machine) -> None:
        self.loop = loop
        self.machine = machine
        self.is_gone = False
        self.is_stopped = False
        self._deferred: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def receive(self, act: Callable[..., None], *arguments: Any) -> None:
        """Something that is to be done here: a message that has come, a time that is up."""
        if self.is_stopped:
            self._deferred.append((act, arguments))
        elif not self.is_gone:
            act(*arguments)

    def later(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        self.loop.at(self.loop.now + seconds, self.receive, act, *arguments)

    def stop(
        self, seconds: float, then: Callable[..., None] | None = None, *arguments: Any
    ) -> None:
        """Stops it for so long. `then` is what it was in the midst of: that comes first."""
        if self.is_stopped or self.is_gone:
            return
        self.is_stopped = True
        if then is not None:
            self._deferred.appendleft((then, arguments))
        self.loop.at(self.loop.now + seconds, self._go_on)

    def suspend(self, seconds: float) -> None:
        """Its machine sleeps for so long, where the process is not stopped as it is."""
        if self.is_stopped or self.is_gone:
            return
        self.stop(seconds)
        self.machine.suspended += seconds

    def _go_on(self) -> None:
        self.is_stopped = False
        while self._deferred and not self.is_stopped:
            act, arguments = self._deferred.popleft()
            if not self.is_gone:
                act(*arguments)
