"""The trial of rotations under load:

    python -m tests.rotations_live.trial --engine sqlite --rotations 200 --seed 1 --kill-every 30

Twenty services, each with a steady consumer, pods that come and go under one name, and a batch job;
new tokens are delivered late, and at times not at first; some old keys are in the hands of thieves;
the server gets SIGKILL again and again. The callers know what they hold, so that every refusal of a
healthy one is seen. Prints one table; ends with 1 where anybody was harmed, or too much waited.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.kills.grounds import Grounds, own_postgres
from tests.kills.sites import Site
from tests.rotations_live.callers import World
from tests.rotations_live.figures import Figures
from tests.rotations_live.service import Service
from tests.rotations_live.watch import Sight, Watcher
from tests.rotations_live.wire import Wire

SERVICES = 20
SHARE_IN_TIME = 0.95
BREATH_SECONDS = 0.05


class Trial:
    """So many rotations on one site. `seed` decides all that chance decides here."""

    def __init__(
        self, site: Site, folder: Path, *, rotations: int, services: int, seed: int, every: float
    ) -> None:
        self.figures = Figures()
        self._site = site
        self._folder = folder
        self._rotations = rotations
        self._services = services
        self._seed = seed
        self._every = every
        self._numbers = itertools.count(1)
        self._watcher: Watcher | None = None
        self._slots: list[Service] = []

    def run(self) -> Figures:
        site, figures = self._site, self.figures
        site.start()
        gateway = site.place.token
        made = site.ask("POST", "/v1/workspaces", gateway, {"name": "trial"})
        self._watcher = Watcher(site.place, made["id"], self._holding, figures)
        asyncio.run(self._play(gateway, made["api_key"], self._watcher))
        figures.readiness_seconds = max(site.readiness)
        figures.faults += site.faults()
        site.kill()
        return figures

    def _holding(self) -> list[tuple[str, str, str]]:
        return [
            (caller.name, service.name, caller.held.key_id)
            for service in self._slots
            for consumer in service.consumers
            for caller in list(consumer.callers)
            if not caller.is_gone
        ]

    def _sight(self) -> Sight:
        assert self._watcher is not None
        return self._watcher.sight

    async def _play(self, gateway: str, admin: str, watcher: Watcher) -> None:
        figures, wire = self.figures, Wire()
        assert self._site.server is not None
        wire.port = self._site.server.port
        world = World(wire=wire, figures=figures, gateway=gateway)
        for number in range(self._services):
            chance = random.Random(f"{self._seed} {number}")
            one = Service(world, number, self._folder, admin, chance, self._sight)
            await one.open()
            self._slots.append(one)
        watcher.start()
        began = time.monotonic()
        others = [asyncio.create_task(self._kill(wire)), asyncio.create_task(self._breathe())]
        await asyncio.gather(*(self._rotate(one) for one in self._slots))
        others[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await others[0]
        world.over = True
        await asyncio.gather(*(one.end() for slot in self._slots for one in slot.consumers))
        others[1].cancel()
        watcher.over.set()
        await asyncio.to_thread(watcher.join, 10.0)
        figures.seconds = time.monotonic() - began
        figures.unanswered = wire.unanswered + wire.refused_503
        wire.close()

    async def _rotate(self, service: Service) -> None:
        """One rotation after the other, until there have been enough."""
        chance = random.Random(f"{self._seed} {service.name} moments")
        await asyncio.sleep(chance.uniform(2.0, 6.0))
        while (number := next(self._numbers)) <= self._rotations:
            try:
                await service.rotate(number)
            except AssertionError as fault:
                self.figures.faults.append(f"{service.name}: {fault}")
                return
            await asyncio.sleep(chance.uniform(0.5, 2.0))

    async def _kill(self, wire: Wire) -> None:
        chance = random.Random(f"{self._seed} kills")
        while self._every:
            await asyncio.sleep(self._every * chance.uniform(0.8, 1.2))
            # One that has begun is carried out, whatever ends meanwhile.
            await asyncio.shield(asyncio.create_task(self._kill_once(wire)))

    async def _kill_once(self, wire: Wire) -> None:
        await asyncio.to_thread(self._site.kill)
        self.figures.kills += 1
        server = await asyncio.to_thread(self._site.start)
        wire.port = server.port

    async def _breathe(self) -> None:
        """Notes how late the harness itself is: what it sees then is of its own making."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(BREATH_SECONDS)
            lag = time.monotonic() - began - BREATH_SECONDS
            self.figures.lag_seconds = max(self.figures.lag_seconds, lag)


def is_sound(figures: Figures) -> bool:
    return not figures.faults and figures.share_in_time >= SHARE_IN_TIME


def main() -> int:
    options = _options()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"{options.engine}, seed {seed}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = None
        if options.engine == "postgresql":
            postgres = stack.enter_context(own_postgres()).server
        grounds = Grounds(folder, postgres)
        stack.callback(grounds.close)
        figures = Trial(
            grounds.site(),
            folder,
            rotations=options.rotations,
            services=options.services,
            seed=seed,
            every=options.kill_every,
        ).run()
    print(figures.table())
    for fault in figures.faults:
        print(f"FAULT {fault}")
    return 0 if is_sound(figures) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.rotations_live.trial")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rotations", type=int, default=200)
    parser.add_argument("--services", type=int, default=SERVICES)
    parser.add_argument("--seed", type=int, help="of what chance decides; default: any")
    parser.add_argument(
        "--kill-every", type=float, default=30.0, metavar="SECONDS", help="0 for never"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
