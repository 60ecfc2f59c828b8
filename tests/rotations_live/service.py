"""A service of the trial: one slot, three consumers, and one rotation after the other."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.rotations_live.callers import Batch, Consumer, Held, Rolling, Steady, World, steal
from tests.rotations_live.watch import OPEN, Sight

DELIVERY_SECONDS = (0.5, 10.0)
FAILED_DELIVERIES = 0.2
STRAGGLERS = 0.25
THIEVES = 0.25
LATE_SECONDS = 10.0
QUIET_SECONDS = 2
MOST_LIFTS = 2


class Service:
    """`admin` is who rotates; `sight` gives what stands in the tables."""

    def __init__(
        self,
        world: World,
        number: int,
        folder: Path,
        admin: str,
        chance: random.Random,
        sight: Callable[[], Sight],
    ) -> None:
        self.world = world
        self.name = f"svc{number}"
        self.consumers: list[Consumer] = []
        self.held: Held
        self._folder = folder
        self._admin = admin
        self._chance = chance
        self._sight = sight

    async def open(self) -> None:
        """Makes the key and its slot, and lets the consumers begin."""
        slot = f"/v1/slots/{self.name}-prod"
        batch = {"name": f"{self.name}.batch", "max_call_interval_seconds": Batch.interval}
        await self.ask("PUT", slot, {"runtimes": [batch]})
        body = {"name": f"{self.name}-prod", "scopes": ["read"]}
        made = await self.ask("POST", "/v1/api-keys", body)
        self.held = Held(made["id"], made["api_key"])
        for kind in (Steady, Rolling, Batch):
            name = f"{self.name}.{kind.__name__.lower()}"
            consumer = kind(self.world, name, self._folder, self.held, self._chance)
            if isinstance(consumer, Rolling):
                consumer.straggler = self._chance.random() < STRAGGLERS
            consumer.begin()
            self.consumers.append(consumer)

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The body of a call that must go well, sent again until it is answered."""
        while True:
            heard = await self.world.wire.call(method, path, self._admin, body, **headers)
            if heard is not None:
                if heard.status >= 300:
                    raise AssertionError(f"{method} {path}: {heard.status} {heard.body}")
                return heard.body
            await asyncio.sleep(0.2)

    # --- one rotation ----------------------------------------------------------------------------

    async def rotate(self, number: int) -> None:
        """One rotation from its start to its end, watched."""
        figures = self.world.figures
        figures.rotations += 1
        began = time.monotonic()
        started = await self._start(number)
        fresh = Held(started["new_key"]["id"], started["api_key"])
        if self._chance.random() < THIEVES:
            id_ = str(started["id"])
            thief = steal(self.world, self.held, self._chance, lambda: self._has_ended(id_))
            self.consumers[0].run(thief)
        late = [one for one in self.consumers if isinstance(one, Rolling) and one.straggler]
        early = [one for one in self.consumers if one not in late]
        await asyncio.gather(*(self._deliver(one, fresh) for one in early))
        for one in late:  # so that the rotation waits for none but the straggler
            await asyncio.sleep(Batch.interval)
            await self._deliver(one, fresh)
        moved = time.monotonic()
        person = await self._await_end(started, moved)
        await self._count(started, person, began, moved)
        self.held = fresh

    async def _start(self, number: int) -> Any:
        """Until the token has arrived: one whose answer was lost is rolled back with its key."""
        terms = {
            "overlap_seconds": self._chance.randint(60, 120),
            "quiet_seconds": QUIET_SECONDS,
            "brownout_seconds": 2 if self._chance.random() < 0.7 else 1,
        }
        if any(isinstance(one, Rolling) and one.straggler for one in self.consumers):
            terms["brownout_seconds"] = 2  # a straggler must be able to meet it
        path = f"/v1/api-keys/{self.held.key_id}/rotations"
        for attempt in range(100):
            once = f"{self.name}-{number}-{attempt}"
            started = await self.ask("POST", path, terms, **{"Idempotency-Key": once})
            if started["api_key"] is not None:
                return started
            self.world.figures.lost_tokens += 1
            await self.ask("POST", f"/v1/rotations/{started['id']}/rollback")
        raise AssertionError("no token arrives")

    async def _deliver(self, consumer: Consumer, fresh: Held) -> None:
        """A deploy, some time later; one in five fails and is done again."""
        await asyncio.sleep(self._chance.uniform(*DELIVERY_SECONDS))
        while self._chance.random() < FAILED_DELIVERIES:
            self.world.figures.failed_deliveries += 1
            await asyncio.sleep(self._chance.uniform(1.0, 3.0))
        consumer.write(fresh)
        await consumer.reload()

    def _state(self, id_: str) -> tuple[str, int]:
        _, state, lifts = self._sight().rotations.get(id_, ("", OPEN[0], 0))
        return state, lifts

    def _has_ended(self, id_: str) -> bool:
        return self._state(id_)[0] not in OPEN

    async def _await_end(self, started: Any, moved: float) -> str:
        """Waits for the end; says why a person had to bring it about, or nothing."""
        id_, patience = str(started["id"]), started["overlap_seconds"] + LATE_SECONDS
        person = ""
        while not self._has_ended(id_):
            if time.monotonic() > moved + patience:
                return "waited in vain"
            state, lifts = self._state(id_)
            if lifts >= MOST_LIFTS and state == OPEN[0] and not person:
                person = "brownout.lifted"
                await asyncio.sleep(QUIET_SECONDS + 1.0)
                await self.world.wire.call(
                    "POST", f"/v1/rotations/{id_}/complete", self._admin, {"reason": "all moved"}
                )
            await asyncio.sleep(0.1)
        return person

    async def _count(self, started: Any, person: str, began: float, moved: float) -> None:
        figures = self.world.figures
        told = await self.ask("GET", f"/v1/rotations/{started['id']}")
        figures.lifts += told["lifts"]
        if told["state"] != "completed":
            causes = sorted({one["code"] for one in told["blocked_by"]}) or [told["state"]]
            figures.unfinished["+".join(causes)] += 1
            figures.faults.append(f"{self.name}: {told['state']}, {causes}")
            body = {"force": True, "reason": "the trial goes on"}
            await self.ask("POST", f"/v1/rotations/{started['id']}/complete", body)
            return
        figures.completed += 1
        now = time.monotonic()
        figures.took.append(now - began)
        figures.waited.append(max(0.0, now - moved))
        if person:
            figures.by_person[person] += 1
        elif _instant(told["completed_at"]) <= _instant(told["deadline"]):
            figures.in_time += 1


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
