"""The bigger trial: `python -m tests.kills.trial --engine sqlite --kills 300 --seed 1`.

Every named point, then so many kills at random moments, and on PostgreSQL kills of the database
too. Prints the figures; ends with 1 where anything was lost, half or otherwise wrong.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kills.automation import SCENES, AutomationKills, survey_scene
from tests.kills.commands import Command, Init, OperatorsCreate, Start, run_command
from tests.kills.figures import Figures
from tests.kills.grounds import Grounds, OwnPostgres, own_postgres
from tests.kills.named import NamedKills, is_weighty, survey
from tests.kills.operations import OPERATIONS
from tests.kills.rotations import ROTATIONS
from tests.kills.storm import crash_database, kill_backends, kill_servers

KILLS_A_STORM = 50
CRASHES = 3


def main() -> int:
    options = _options()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"{options.engine}, seed {seed}", flush=True)
    total = Figures()
    with (
        tempfile.TemporaryDirectory() as folder,
        _grounds(options.engine, Path(folder)) as (
            grounds,
            postgres,
        ),
    ):
        if options.points != "none":
            _report("named points", _named(grounds, options.points == "all"), total)
        _report("random moments", _random(grounds, seed, options.kills), total)
        if postgres is not None:
            _report("PostgreSQL killed", _database(grounds, postgres, seed, options.kills), total)
    print(f"\nAll together\n{total.table()}")
    return 1 if total.faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kills.trial", description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, default=300, help="at random moments")
    parser.add_argument("--seed", type=int, help="of the random moments; default: any")
    parser.add_argument(
        "--points",
        choices=("all", "weighty", "none"),
        default="all",
        help="named ones: all, or without those between which nothing is written",
    )
    return parser.parse_args()


@contextmanager
def _grounds(engine: str, folder: Path) -> Iterator[tuple[Grounds, OwnPostgres | None]]:
    if engine == "sqlite":
        grounds = Grounds(folder, None)
        try:
            yield grounds, None
        finally:
            grounds.close()
        return
    with own_postgres() as postgres:
        grounds = Grounds(folder, postgres.server)
        try:
            yield grounds, postgres
        finally:
            grounds.close()


def _report(what: str, figures: Figures, total: Figures) -> None:
    print(f"\n{what}\n{figures.table()}", flush=True)
    for fault in figures.faults:
        print(f"FAULT {fault}", flush=True)
    total.add(figures)


def _named(grounds: Grounds, is_all: bool) -> Figures:
    figures = Figures()
    site = grounds.site()
    operations = (*OPERATIONS, *ROTATIONS)
    points = survey(site, operations)
    for operation in operations:
        chosen = [one for one in points[operation.name] if is_all or is_weighty(one)]
        NamedKills(site, figures).run(operation, chosen)
        print(f"{operation.name}: {len(chosen)} points", flush=True)
    for name in SCENES:
        own = grounds.site()
        chosen = survey_scene(own, name)
        AutomationKills(own, figures).run(name, chosen)
        print(f"{name}: {len(chosen)} points", flush=True)
    site.start()
    commands: tuple[Command, ...] = (
        Init(grounds.place),
        OperatorsCreate(site),
        Start(grounds.old_site()),
    )
    for command in commands:
        passed = command.survey()
        chosen = [one for one in passed if is_all or is_weighty(one)]
        run_command(command, chosen, figures)
        print(f"{command.name}: {len(chosen)} points", flush=True)
    site.kill()
    return figures


def _random(grounds: Grounds, seed: int, kills: int) -> Figures:
    figures = Figures()
    for number, begun in enumerate(range(0, kills, KILLS_A_STORM)):
        count = min(KILLS_A_STORM, kills - begun)
        kill_servers(grounds.site(), seed + number, count, figures)
    return figures


def _database(grounds: Grounds, postgres: OwnPostgres, seed: int, kills: int) -> Figures:
    figures = Figures()
    kill_backends(grounds.site(), postgres, seed, max(1, kills // 10), figures)
    for number in range(CRASHES):
        crash_database(grounds.site(), postgres, seed + number, figures)
    return figures


if __name__ == "__main__":
    sys.exit(main())
