"""Callers that hold tokens: steady ones, pods that come and go, batch jobs, and thieves.

Each holds the token that it read last from the file of its consumer, as a process does that reads
its environment at its start. What a caller holds is the truth that the trial judges by.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from tests.rotations_live.figures import Figures
from tests.rotations_live.wire import Wire

AGAIN_SECONDS = 0.2
POD_LIFE_SECONDS = 6.0
STRAGGLER_SECONDS = 5.0


@dataclass(slots=True)
class World:
    """What all callers share. `gateway` is the token of who asks for them."""

    wire: Wire
    figures: Figures
    gateway: str = field(repr=False)
    over: bool = False

    async def verdict(self, token: str, **members: str) -> str:
        """The code of a verification, asked again until there is one."""
        while True:
            heard = await self.wire.call(
                "POST", "/v1/verify", self.gateway, {"api_key": token, **members}
            )
            if heard is not None and heard.status == 200:
                self.figures.calls += 1
                return str(heard.body["code"])
            if heard is not None:
                self.figures.faults.append(f"a verification was answered {heard.status}")
            await asyncio.sleep(AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Held:
    """A token, and the id of its key."""

    key_id: str
    token: str = field(repr=False)


class Caller:
    """One process that calls, as its consumer names itself."""

    def __init__(
        self,
        world: World,
        name: str,
        held: Held,
        tell: Callable[[], dict[str, str]],
        period: tuple[float, float],
        chance: random.Random,
    ) -> None:
        self.world = world
        self.name = name
        self.held = held
        self.tell = tell
        self.period = period
        self.chance = chance
        self.is_gone = False
        self._refused_since: float | None = None

    async def live(self) -> None:
        while not (self.world.over or self.is_gone):
            is_refused = self._refused_since is not None
            await asyncio.sleep(AGAIN_SECONDS if is_refused else self.chance.uniform(*self.period))
            await self.call()

    async def call(self) -> None:
        held, figures = self.held, self.world.figures
        code = await self.world.verdict(held.token, **self.tell())
        now = time.monotonic()
        if code == "suspended":
            figures.browned_out += 1
            self._refused_since = self._refused_since or now
        elif code != "valid":
            figures.denied += 1
            figures.faults.append(f"{self.name} holds {held.key_id} and is denied: {code}")
        elif self._refused_since is not None:
            figures.refused_seconds.append(now - self._refused_since)
            self._refused_since = None


class Consumer(ABC):
    """A workload that reads its token from a file: `callers` are its processes."""

    def __init__(
        self, world: World, name: str, folder: Path, held: Held, chance: random.Random
    ) -> None:
        self.world = world
        self.name = name
        self.chance = chance
        self.callers: list[Caller] = []
        self._file = folder / f"{name}.token"
        self._tasks: set[asyncio.Task[None]] = set()
        self.write(held)

    def write(self, held: Held) -> None:
        """What a delivery does."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{held.key_id}\n{held.token}\n")
        draft.rename(self._file)

    def read(self) -> Held:
        return Held(*self._file.read_text().split())

    def holds_only(self, key_id: str) -> bool:
        """Whether a process of it has no other token than that key's."""
        return any(caller.held.key_id == key_id for caller in self.callers if not caller.is_gone)

    def begin(self) -> None:
        self.run(self._live())

    def run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        await asyncio.gather(*self._tasks)

    @abstractmethod
    async def reload(self) -> None:
        """Its processes take up what is in the file now."""

    @abstractmethod
    async def _live(self) -> None: ...


class Steady(Consumer):
    """One process that declares its name and calls all the time."""

    async def _live(self) -> None:
        name = self.name
        caller = Caller(
            self.world,
            name,
            self.read(),
            lambda: {"runtime": name, "ip": "10.1.0.7", "environment": "prod"},
            (0.1, 0.2),
            self.chance,
        )
        self.callers = [caller]
        await caller.live()

    async def reload(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        self.callers[0].held = self.read()


class Rolling(Consumer):
    """Pods behind one address, which come and go, and whose user agents carry the release. With a
    `straggler`, one of them calls more seldom than the quiet lasts, and is rolled last."""

    release = 1
    straggler = False

    def _pod(self, number: int) -> Caller:
        name, release = self.name, f"{self.name}/2.{self.release}.{number}"
        is_slow = self.straggler and number == 0
        return Caller(
            self.world,
            f"{name} #{number}",
            self.read(),
            lambda: {"user_agent": release, "ip": "10.2.0.1"},
            (2.2, 3.0) if is_slow else (0.2, 0.4),
            self.chance,
        )

    async def _live(self) -> None:
        for number in range(3):
            self.callers.append(self._pod(number))
            self.run(self.callers[-1].live())
        while not self.world.over:
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * POD_LIFE_SECONDS)
            if not self.world.over:
                self._replace(self.chance.randrange(1, 3))

    def _replace(self, number: int) -> None:
        """A pod goes, and one that has read the file anew comes in its place."""
        self.callers[number].is_gone = True
        self.callers[number] = self._pod(number)
        self.run(self.callers[number].live())

    async def reload(self) -> None:
        self.release += 1
        for number in (2, 1, 0):
            lag = STRAGGLER_SECONDS if self.straggler and number == 0 else 1.0
            await asyncio.sleep(self.chance.uniform(0.2, lag))
            if not (self.straggler and number == 0):
                self._replace(number)
            else:
                self.callers[0].held = self.read()


class Batch(Consumer):
    """A job that runs again and again, reads the file each time, and is silent in between."""

    interval = 8

    async def _live(self) -> None:
        name = self.name
        job = Caller(
            self.world,
            name,
            self.read(),
            lambda: {"runtime": name, "ip": "10.3.0.9"},
            (0.0, 0.0),
            self.chance,
        )
        self.callers = [job]
        while not self.world.over:
            job.held = self.read()
            await job.call()
            await asyncio.sleep(self.chance.uniform(0.4, 0.8) * self.interval)

    async def reload(self) -> None:
        self.callers[0].held = self.read()


async def steal(
    world: World, held: Held, chance: random.Random, is_retired: Callable[[], bool]
) -> None:
    """A thief with the old key, under a new name each time, until it has been refused for good."""
    world.figures.thieves += 1
    for number in range(1_000_000):
        retired = is_retired()
        code = await world.verdict(
            held.token, runtime=f"thief-{number % 40}", ip=f"203.0.113.{number % 250}"
        )
        if code == "valid":
            world.figures.thefts += 1
            if retired:
                world.figures.thefts_after += 1
                world.figures.faults.append("a thief was let in after the end")
        if retired or world.over:
            return
        await asyncio.sleep(chance.uniform(0.2, 0.6))
