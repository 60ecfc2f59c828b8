"""The links between the nodes and the database, and all that they do to messages."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.verifier.loop import Loop

QUICKEST_SECONDS = 0.001
QUICK_SECONDS = 0.012


@dataclass(slots=True)
class Weather:
    """How bad the links are, as chances of one message."""

    lost: float = 0.0
    slow: float = 0.0
    doubled: float = 0.0
    slowest_seconds: float = 0.0
    lost_hints: float = 0.3


CALM = Weather(lost_hints=0.0)


class Network:
    """One link for each place where a node runs."""

    __slots__ = ("_chance", "_loop", "_weather", "cut_until", "hung_until", "looks_lost_until")

    def __init__(self, loop: Loop, chance: Random, weather: Weather, places: int) -> None:
        self._loop = loop
        self._chance = chance
        self._weather = weather
        self.cut_until = [0.0] * places
        self.hung_until = [0.0] * places
        self.looks_lost_until = [0.0] * places

    def calm(self) -> None:
        self._weather = CALM

    def send(self, place: int, act: Callable[..., None], *arguments: Any) -> None:
        """Carries a message, or loses it, or is late with it, or brings it twice."""
        loop, weather, draw = self._loop, self._weather, self._chance.random
        if self.cut_until[place] > loop.now:
            return
        # One draw decides what happens to it: it is asked for half a thousand times a schedule.
        moment, fate = loop.now + QUICKEST_SECONDS + QUICK_SECONDS * draw(), draw()
        if fate < weather.lost:
            return
        fate -= weather.lost
        if fate < weather.slow:
            moment += weather.slowest_seconds * draw()
        elif fate < weather.slow + weather.doubled:
            loop.at(moment + weather.slowest_seconds * draw(), act, *arguments)
        loop.at(moment, act, *arguments)

    def reply(self, place: int, act: Callable[..., None], *arguments: Any) -> None:
        """Carries what a statement has brought; one that hangs does so after it was executed."""
        if self.hung_until[place] > self._loop.now:
            delay = self._weather.slowest_seconds * (0.3 + 0.7 * self._chance.random())
            self._loop.at(self._loop.now + delay, act, *arguments)
        else:
            self.send(place, act, *arguments)

    def hint(self, place: int, act: Callable[..., None]) -> None:
        if self._chance.random() >= self._weather.lost_hints:
            self.send(place, act)
