"""Faults from a seed, at some of several nodes at a time, with calm in between."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tests.nodes.history import Episode, History
from tests.nodes.nodes import Node
from tests.servers.faulty import Cut, FaultyProxy

CALM_SECONDS = (2.5, 5.0)
CUT_SECONDS = (0.2, 4.0)
PAUSE_SECONDS = (0.1, 5.0)
DOWN_SECONDS = (0.0, 1.5)
PAUSED, KILLED, DEAFENED = "paused", "killed", "listener ended"
# Those that take time or bytes, with how much of them.
AMOUNTS = {Cut.DELAYED: (0.05, 2.0), Cut.SLOW: (200.0, 20_000.0)}


@dataclass(kw_only=True)
class Place:
    """A node with its way to the database. `port` is where it listens at present."""

    node: Node
    proxy: FaultyProxy
    port: int = 0

    @property
    def name(self) -> str:
        return self.node.name


class Storm:
    """Plays faults until it is told to end, all of them healed then. `served` waits until a node
    lets in what is in order, and gives when it did."""

    def __init__(
        self,
        places: list[Place],
        database: str,
        history: History,
        chance: random.Random,
    ) -> None:
        self._places = places
        self._database = database
        self._history = history
        self._chance = chance
        self._kinds: list[str] = []

    async def play(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            await asyncio.sleep(self._chance.uniform(*CALM_SECONDS))
            if is_over():
                return
            most = max(1, len(self._places) - 2)
            struck = self._chance.sample(self._places, self._chance.randint(1, most))
            await asyncio.gather(*(self._strike(one, self._next_kind()) for one in struck))

    def _next_kind(self) -> str:
        """Each kind once before any comes again."""
        if not self._kinds:
            cuts = [cut.value for cut in Cut if cut is not Cut.NONE]
            self._kinds = [*cuts, PAUSED, PAUSED, KILLED, DEAFENED]
            self._chance.shuffle(self._kinds)
        return self._kinds.pop()

    async def _strike(self, place: Place, kind: str) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        episode = Episode(node=place.name, kind=kind, began=time.monotonic())
        self._history.episodes.append(episode)
        if kind == PAUSED:
            place.node.pause()
            try:
                await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))
            finally:
                place.node.go_on()
        elif kind == KILLED:
            await asyncio.to_thread(place.node.kill)
            await asyncio.sleep(self._chance.uniform(*DOWN_SECONDS))
            await asyncio.to_thread(place.node.start)
            place.port = place.node.server.port
        elif kind == DEAFENED:
            await asyncio.to_thread(self._end_a_listener)
        else:
            await self._cut(place, Cut(kind))
        episode.healed = time.monotonic()

    async def _cut(self, place: Place, cut: Cut) -> None:
        amount = self._chance.uniform(*AMOUNTS.get(cut, (0, 0)))
        seconds = self._chance.uniform(*CUT_SECONDS)
        await asyncio.to_thread(place.proxy.cut, cut, amount)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(place.proxy.heal)

    def _end_a_listener(self) -> None:
        """As a database does to a connection on which hints are heard. Whose it is, is all one."""
        with psycopg.connect(self._database, autocommit=True) as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'keyturn follower'"
                " AND datname = current_database() ORDER BY pid"
            ).fetchall()
            if found:
                connection.execute("SELECT pg_terminate_backend(%s)", self._chance.choice(found))
