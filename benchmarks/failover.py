"""What nodes and their callers see of a PostgreSQL that restarts, is killed, and hands over.

A primary and a synchronous standby that write to their disks, and nodes behind an address that
moves; keys are used and revoked at every node all the while. Of each stroke: how long the database
was away, for how long each node let in nothing, what was let in too late, and what was lost of what
had been answered. Both of the latter are to be none.

    python -m benchmarks.failover [--nodes 2] [--revocations 20] [--freshness 1]
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.servers import Estate
from tests.nodes.history import History
from tests.nodes.storm import Place
from tests.nodes.test_failover import fail_over, kill, restart, weather_of
from tests.nodes.trial import Trial, places_of
from tests.servers.pair import Pair, run_pair
from tests.servers.postgres import Postgres

Strike = Callable[[Pair, list[Place]], None]
NAMES: dict[str, Strike] = {
    "restart (fast)": restart,
    "kill -9, started again": kill,
    "kill -9, standby promoted": fail_over,
}


def measure(name: str, strike: Strike, nodes: int, revocations: int, freshness: int) -> bool:
    with tempfile.TemporaryDirectory() as folder, run_pair(synchronous=True, durable=True) as pair:
        postgres = Postgres(port=pair.primary.port, socket_folder=pair.primary.folder / "socket")
        estate = Estate(Path(folder), lambda: postgres)
        with places_of(estate, postgres.port, nodes, freshness) as (found, group, _):
            history = History(lease_seconds=freshness)
            Trial(
                found,
                history,
                weather_of(history, pair, found, strike),
                operator=group.operator,
                revocations=revocations,
                seed=1,
            ).run()
    away = max(one.healed - one.began for one in history.episodes)
    denied = [history.denied_seconds(place.name) for place in found]
    healing = max((one for one, _ in history.healing()), default=float("inf"))
    late, lost = len(history.let_in_after()), len(history.lost)
    print(
        f"{name:<28}{away:>8.1f} s{' / '.join(f'{one:.1f}' for one in denied):>18} s"
        f"{healing:>10.1f} s{late:>10}{lost:>8} of {len(history.changes)}",
        flush=True,
    )
    return late == lost == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--revocations", type=int, default=20)
    parser.add_argument("--freshness", type=int, default=1)
    given = parser.parse_args()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}; {given.nodes} nodes, freshness {given.freshness} s"
    )
    print(f"{'':<28}{'away':>10}{'denied, each node':>20}{'healed':>12}{'let in':>10}{'lost':>8}")
    are_sound = [
        measure(name, strike, given.nodes, given.revocations, given.freshness)
        for name, strike in NAMES.items()
    ]
    return 0 if all(are_sound) else 1


if __name__ == "__main__":
    sys.exit(main())
