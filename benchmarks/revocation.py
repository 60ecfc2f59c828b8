"""How soon a revocation is effective at several nodes: S6.

Nodes on one PostgreSQL that writes to its disk as it does in production, keys that are revoked at
one node after the other, and what the client waits for each; idle, and with callers that use every
key at every node all the while. Then what a revocation does by its parts, each alone in the same
run: a commit of the database, a notification to a listener, a round trip, an HTTP answer.

    python -m benchmarks.revocation [--nodes 4] [--revocations 200] [--callers 1] [--freshness 5]
"""

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from tests.acceptance.servers import Estate
from tests.nodes.history import VALID
from tests.nodes.line import Line
from tests.nodes.nodes import Group, Node
from tests.servers.pair import Member, disk_settings
from tests.servers.postgres import Postgres, create_run_folder, remove_run

BREATH_SECONDS = 0.005
WARM_SECONDS = 0.15
PART_TIMES = 200
COSTED = 50
BASE_SECONDS = 3.0


@contextmanager
def database_on_disk() -> Iterator[Postgres]:
    """A server of its own, with the cost of a disk."""
    folder = create_run_folder()
    member = Member(folder, disk_settings())
    try:
        member.make()
        member.start()
        yield Postgres(port=member.port, socket_folder=folder / "socket")
    finally:
        member.stop()
        remove_run(folder)


@contextmanager
def nodes_on(postgres: Postgres, count: int, freshness: int) -> Iterator[tuple[Group, str]]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        estate = Estate(Path(folder), lambda: postgres)
        stack.callback(estate.clear)
        installation = estate.install("postgresql", freshness_seconds=str(freshness))
        group = Group(installation, postgres.port)
        stack.callback(group.close)
        for _ in range(count):
            group.start()
        yield group, installation.database_url


class Callers:
    """Loops that use the present key at each node, one call after the other."""

    def __init__(self, group: Group, each: int) -> None:
        self._group = group
        self._each = each
        self.token = ""
        self.calls = 0
        self.let_in: list[tuple[float, float]] = []  # sent, received
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._use(node))
            for node in self._group.nodes
            for _ in range(self._each)
        ]

    async def _use(self, node: Node) -> None:
        line = Line(node.server.port)
        try:
            while True:
                sent = time.perf_counter()
                token = self.token
                heard = await line.call(
                    "POST", "/v1/verify", self._group.operator, {"api_key": token}
                )
                received = time.perf_counter()
                self.calls += 1
                if token == self.token and heard is not None and heard.body["code"] == VALID:
                    self.let_in.append((sent, received))
                await asyncio.sleep(BREATH_SECONDS)
        finally:
            line.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def revoke_all(group: Group, revocations: int, callers: int) -> None:
    """Prints a row: what clients waited, and the last that was let in."""
    lines = [Line(node.server.port) for node in group.nodes]
    using = Callers(group, callers)
    took, seen, late, told, makes = [], [], 0, [], []
    began = 0.0
    for number in range(revocations):
        at, other = lines[number % len(lines)], lines[(number + 1) % len(lines)]
        start = time.perf_counter()
        made = await at.call(
            "POST", "/v1/api-keys", group.operator, {"name": f"bench{number}-prod"}
        )
        makes.append(time.perf_counter() - start)
        assert made is not None
        using.token, using.let_in = made.body["api_key"], []
        if number == 0:
            using.start()
            began = time.perf_counter()
        await asyncio.sleep(WARM_SECONDS)
        sent = time.perf_counter()
        heard = await other.call("DELETE", f"/v1/api-keys/{made.body['id']}", group.operator)
        answered = time.perf_counter()
        assert heard is not None
        told.append(int(heard.headers["keyturn-propagation"].partition("ms=")[2].split(";")[0]))
        took.append(answered - sent)
        await asyncio.sleep(WARM_SECONDS / 3)
        if using.let_in:
            seen.append(max(0.0, max(one for one, _ in using.let_in) - sent))
        late += sum(one > answered for one, _ in using.let_in)
    await using.stop()
    for line in lines:
        line.close()
    rate = using.calls / (time.perf_counter() - began)
    name = "idle" if callers == 0 else f"{rate:.0f} calls/s"
    row(f"{name}: DELETE, by the client", took)
    row("  of it the barrier, as told", [one / 1_000 for one in told])
    row("  making a key, no barrier", makes)
    if callers:
        row("  last let in, after DELETE was sent", seen)
        print(f"{'  let in that was sent after its answer':<40}{late:>8}")


def parts(url: str, group: Group) -> None:
    """Prints what the parts of a revocation take, each alone."""
    with (
        psycopg.connect(url, autocommit=True) as one,
        psycopg.connect(url, autocommit=True) as other,
    ):
        one.execute("CREATE TEMPORARY TABLE part (number integer)")
        one.execute("CREATE TABLE IF NOT EXISTS bench_part (number integer)")
        other.execute("LISTEN bench_hints")
        row("a round trip to the database", timed(lambda: one.execute("SELECT 1")))
        row("  a commit", timed(lambda: one.execute("INSERT INTO bench_part VALUES (1)")))

        def hint() -> None:
            one.execute("NOTIFY bench_hints")
            next(other.notifies(timeout=5, stop_after=1))

        row("  a notification, commit to listener", timed(hint))
        one.execute("DROP TABLE bench_part")
    client = group.nodes[0].client
    row("an answer over HTTP (/healthz)", timed(lambda: client.get("/healthz")))


def processor(group: Group) -> None:
    """Prints what a revocation costs the node that is asked, and each other one: however busy the
    machine is, that is nearly the same."""
    asked, others = group.nodes[0], group.nodes[1:]
    keys = [group.key(asked) for _ in range(COSTED)]
    began, before = time.monotonic(), _spent(group.nodes)
    time.sleep(BASE_SECONDS)
    base = [
        (after - one) / (time.monotonic() - began)
        for one, after in zip(before, _spent(group.nodes), strict=True)
    ]
    began, before = time.monotonic(), _spent(group.nodes)
    for key in keys:
        asked.call("DELETE", f"/v1/api-keys/{key['id']}", group.operator)
    took = time.monotonic() - began
    costs = [
        (after - one - idle * took) / COSTED * 1_000
        for one, after, idle in zip(before, _spent(group.nodes), base, strict=True)
    ]
    print(f"{'processor time, the node that is asked':<40}{costs[0]:>8.1f} ms")
    if others:
        print(f"{'  each other node':<40}{statistics.mean(costs[1:]):>8.1f} ms")
    print(f"{'  a node with nothing to do':<40}{statistics.mean(base):>8.1%} of a core")


def _spent(nodes: list[Node]) -> list[float]:
    """Seconds of the processor that each has had. Linux's."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for node in nodes:
        cells = Path(f"/proc/{node.server.id}/stat").read_text().rpartition(")")[2].split()
        found.append((int(cells[11]) + int(cells[12])) / ticks)
    return found


def timed(work: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(PART_TIMES):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return took


def row(name: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(
        f"{name:<40}{cuts[49] * 1_000:>8.1f} ms{cuts[98] * 1_000:>9.1f} ms"
        f"{max(seconds) * 1_000:>9.1f} ms",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--revocations", type=int, default=200)
    parser.add_argument("--callers", type=int, default=1, help="at each node")
    parser.add_argument("--freshness", type=int, default=5)
    given = parser.parse_args()
    with (
        database_on_disk() as postgres,
        nodes_on(postgres, given.nodes, given.freshness) as (group, url),
    ):
        with psycopg.connect(url) as connection:
            version = connection.info.server_version
        print(
            f"{platform.platform()}, Python {platform.python_version()}, PostgreSQL "
            f"{version // 10_000}.{version % 10_000}, {os.cpu_count()} cores, load "
            f"{os.getloadavg()[0]:.1f}; {given.nodes} nodes"
        )
        print(f"{'':<40}{'p50':>11}{'p99':>12}{'longest':>12}")
        parts(url, group)
        if Path("/proc/self/stat").exists():
            processor(group)
        for callers in (0, given.callers):
            asyncio.run(revoke_all(group, given.revocations, callers))
        print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
