"""Simulated time: what happens, in the order of its moments."""

import heapq
from collections.abc import Callable
from typing import Any


class Loop:
    """True time, which nobody in the simulated world can read, and what is to happen when."""

    __slots__ = ("_count", "_due", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        self._count += 1  # of one moment, what was planned first comes first
        heapq.heappush(self._due, (moment, self._count, act, arguments))

    def run(self, until: float) -> None:
        due, pop = self._due, heapq.heappop
        while due and due[0][0] <= until:
            self.now, _, act, arguments = pop(due)
            act(*arguments)
        self.now = until
