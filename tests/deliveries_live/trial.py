"""The trial of rotations without a hand:

    python -m tests.deliveries_live.trial --engine sqlite --rotations 200 --seed 1 --kill-every 30

Services whose tokens are delivered into files, and callers that take them from there. A fifth of
the time a folder takes nothing; the server gets SIGKILL again and again. Nobody sees a token, and
nobody does more for a rotation than to start it. Prints one table; ends with 1 where a request
failed, or a rotation did not end by itself.
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

from tests.deliveries_live.figures import Figures
from tests.deliveries_live.service import Service, World
from tests.kills.grounds import Grounds, own_postgres
from tests.kills.sites import Site
from tests.rotations_live.wire import Wire

SERVICES = 10


class Trial:
    """So many rotations on one site. `seed` decides all that chance decides here."""

    def __init__(
        self, site: Site, *, rotations: int, services: int, seed: int, every: float
    ) -> None:
        self.figures = Figures()
        self._site = site
        self._rotations = rotations
        self._services = services
        self._seed = seed
        self._every = every
        self._numbers = itertools.count(1)

    def run(self) -> Figures:
        site, figures = self._site, self.figures
        site.start()
        gateway = site.place.token
        made = site.ask("POST", "/v1/workspaces", gateway, {"name": "trial", "reveal": "never"})
        draft = {"name": "files", "kind": "file", "config": {"path": "{slot}/token"}}
        destination = site.ask("POST", "/v1/destinations", made["api_key"], draft)
        assert destination["state"] == "proven", destination["fault"]
        world = World(
            wire=Wire(),
            figures=figures,
            gateway=gateway,
            admin=made["api_key"],
            folder=site.place.home / "delivered" / made["id"],
        )
        asyncio.run(self._play(world))
        figures.readiness_seconds = max(site.readiness)
        site.kill()
        site.start()
        figures.faults += site.faults()
        self._look_for_what_is_left()
        site.kill()
        return figures

    def _look_for_what_is_left(self) -> None:
        """When all has ended, nothing secret lies in the outbox any more."""
        with self._site.place.database() as ask:
            [(left,)] = ask(
                "SELECT count(*) FROM deliveries WHERE token IS NOT NULL OR previous IS NOT NULL"
            )
        if left:
            self.figures.faults.append(f"{left} deliveries hold a token still")

    async def _play(self, world: World) -> None:
        assert self._site.server is not None
        world.wire.port = self._site.server.port
        services = [
            Service(world, number, random.Random(f"{self._seed} {number}"))
            for number in range(self._services)
        ]
        await asyncio.gather(*(one.open() for one in services))
        began = time.monotonic()
        killing = asyncio.create_task(self._kill(world.wire))
        await asyncio.gather(*(self._rotate(one) for one in services))
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
        world.over = True
        await asyncio.gather(*(one.end() for one in services))
        self.figures.seconds = time.monotonic() - began
        self.figures.unanswered = world.wire.unanswered + world.wire.refused_503
        world.wire.close()

    async def _rotate(self, service: Service) -> None:
        """One rotation after the other, until there have been enough."""
        chance = random.Random(f"{self._seed} {service.name} moments")
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        while (number := next(self._numbers)) <= self._rotations:
            try:
                await service.rotate(number)
            except AssertionError as fault:
                self.figures.faults.append(f"{service.name}: {fault}")
                return
            await asyncio.sleep(chance.uniform(0.2, 1.0))

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
            rotations=options.rotations,
            services=options.services,
            seed=seed,
            every=options.kill_every,
        ).run()
    print(figures.table())
    for fault in figures.faults:
        print(f"FAULT {fault}")
    return 0 if figures.is_sound else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.deliveries_live.trial")
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
