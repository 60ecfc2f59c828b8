"""A service of the trial: a slot that delivers into a file, and callers that take it from there."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deliveries_live.figures import Figures
from tests.rotations_live.wire import Wire

AGAIN_SECONDS = 0.2
CALL_SECONDS = (0.1, 0.3)
CALLERS = 2
PATIENCE_SECONDS = 180.0
TERMS = {"quiet_seconds": 1, "brownout_seconds": 1, "overlap_seconds": 600}
SHARE_FAILING = 0.2
OUTAGE_SECONDS = (0.5, 2.0)


@dataclass(slots=True)
class World:
    wire: Wire
    figures: Figures
    gateway: str = field(repr=False)
    admin: str = field(repr=False)
    folder: Path  # of this workspace's files
    over: bool = False

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The body of a call that must go well, sent again until it is answered."""
        while True:
            heard = await self.wire.call(method, path, self.admin, body, **headers)
            if heard is not None:
                if heard.status >= 300:
                    raise AssertionError(f"{method} {path}: {heard.status}")
                return heard.body
            await asyncio.sleep(AGAIN_SECONDS)


class Service:
    """`chance` decides when its callers call, and when its folder takes nothing."""

    def __init__(self, world: World, number: int, chance: random.Random) -> None:
        self.name = f"svc{number}"
        self._world = world
        self._chance = chance
        self._file = world.folder / f"{self.name}-prod" / "token"
        self._key_id = ""
        self._first_seen: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        slot = f"/v1/slots/{self.name}-prod"
        await self._world.ask("PUT", slot, {"destinations": ["files"]})
        made = await self._world.ask(
            "POST",
            "/v1/api-keys",
            {"name": f"{self.name}-prod", "scopes": ["read"]},
            **{"Idempotency-Key": self.name},
        )
        assert made["api_key"] is None
        self._key_id = made["id"]
        latest = time.monotonic() + PATIENCE_SECONDS
        while not self._file.exists():
            assert time.monotonic() < latest, "the first token does not arrive"
            await asyncio.sleep(AGAIN_SECONDS)
        for number in range(CALLERS):
            self._tasks.append(asyncio.create_task(self._call_on(f"{self.name}.{number}")))
        self._tasks.append(asyncio.create_task(self._fail_at_times()))

    async def end(self) -> None:
        await asyncio.gather(*self._tasks)

    # --- its callers -----------------------------------------------------------------------------

    async def _call_on(self, runtime: str) -> None:
        while not self._world.over:
            await self._request(runtime)
            await asyncio.sleep(self._chance.uniform(*CALL_SECONDS))

    async def _request(self, runtime: str) -> None:
        """One request of a caller that holds what is in its file, and reads that again where it is
        refused, once, as the client does."""
        figures = self._world.figures
        figures.requests += 1
        code = ""
        for attempt in range(2):
            code, key_id = await self._verdict(runtime)
            if code == "valid":
                self._first_seen.setdefault(key_id, time.monotonic())
                figures.refused_at_first += attempt
                return
        figures.failed += 1
        figures.faults.append(f"{runtime} was refused: {code}")

    async def _verdict(self, runtime: str) -> tuple[str, str]:
        world = self._world
        while True:
            token = self._file.read_text(encoding="ascii").removesuffix("\n")
            body = {"api_key": token, "runtime": runtime, "ip": "10.0.0.7"}
            heard = await world.wire.call("POST", "/v1/verify", world.gateway, body)
            if heard is not None and heard.status == 200:
                told = heard.body
                return str(told["code"]), str((told["key"] or {}).get("id"))
            if heard is not None:
                return f"status {heard.status}", ""
            await asyncio.sleep(AGAIN_SECONDS)

    async def _fail_at_times(self) -> None:
        """A fifth of the time nothing can be written in its folder: a folder lies in the way."""
        obstacle = self._file.with_name(f".{self._file.name}.draft")
        while not self._world.over:
            failing = self._chance.uniform(*OUTAGE_SECONDS)
            await self._rest(failing * (1 / SHARE_FAILING - 1) * self._chance.uniform(0.5, 1.5))
            try:
                obstacle.mkdir()
            except FileExistsError:  # a draft is being written at this moment
                continue
            self._world.figures.outages += 1
            await asyncio.sleep(failing)
            obstacle.rmdir()

    async def _rest(self, seconds: float) -> None:
        """Until so many have passed, or the trial is over."""
        for _ in range(int(seconds / AGAIN_SECONDS)):
            if self._world.over:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    # --- its rotations ---------------------------------------------------------------------------

    async def rotate(self, number: int) -> None:
        """Starts one, and does nothing more for it."""
        world, figures = self._world, self._world.figures
        figures.rotations += 1
        began = time.monotonic()
        started = await world.ask(
            "POST",
            f"/v1/api-keys/{self._key_id}/rotations",
            TERMS,
            **{"Idempotency-Key": f"{self.name}-{number}"},
        )
        assert started["api_key"] is None
        new, told = started["new_key_id"], started
        while told["state"] != "completed":
            if time.monotonic() > began + PATIENCE_SECONDS:
                blocked = sorted({one["code"] for one in told["blocked_by"]})
                raise AssertionError(f"waited in vain: {told['state']}, {blocked}")
            await asyncio.sleep(0.3)
            told = await world.ask("GET", f"/v1/rotations/{started['id']}")
        figures.unattended += 1
        figures.ended.append(time.monotonic() - began)
        figures.took.append(self._first_seen[new] - began)
        for delivery in told["deliveries"]:
            figures.failed_attempts += delivery["attempts"] - 1
            assert delivery["state"] == "delivered", delivery["state"]
        self._key_id = new
