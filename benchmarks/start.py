"""How soon a node serves: S10, and what happens where all nodes start at once: F19.

From the start of a process (`keyturn serve`, with nothing imported before) to its first answer that
a key is valid, on PostgreSQL with few keys and with many; then several nodes that are killed and
started again together, with the most connections that the database had of them, and the processor
time that a start costs. The many keys are copies of one row under other ids: a node reads no key
before it is asked for, so what they could cost is the table's size.

    python -m benchmarks.start [--keys 100000] [--nodes 8] [--times 5]
"""

import argparse
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
from tests.acceptance.servers import Estate
from tests.nodes.nodes import Group, Node

from benchmarks.deliveries import PROGRAM
from benchmarks.revocation import database_on_disk

PATIENCE_SECONDS = 120.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.01

_COPIES = """
INSERT INTO keys SELECT (jsonb_populate_record(one, jsonb_build_object(
    'id', gen_random_uuid()::text, 'digest', '\\x' || encode(sha256(number::text::bytea), 'hex')
))).* FROM keys AS one, generate_series(1, %(count)s) AS number WHERE one.id = %(id)s
"""


class Started:
    """A node's process, from nothing. `seconds` until it let `subject` in."""

    def __init__(self, node: Node, caller: str, subject: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environ = {**node.installation.environment, "KEYTURN_PORT": str(port)}
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*PROGRAM, "serve"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.seconds = _await(port, caller, subject) - began

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STOP_SECONDS)


def _await(port: int, caller: str, subject: str) -> float:
    """When it first says that a key is valid."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    headers = {"Authorization": f"Bearer {caller}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=5) as client:
        while time.monotonic() < deadline:
            try:
                answer = client.post("/v1/verify", json={"api_key": subject})
            except httpx2.TransportError:
                pass
            else:
                if answer.status_code == 200 and answer.json()["code"] == "valid":
                    return time.monotonic()
            time.sleep(LOOK_SECONDS)
    raise SystemExit("the node does not serve")


@contextmanager
def counted(url: str) -> Iterator[list[int]]:
    """How many connections there are of nodes, looked at all the time; the last is the most."""
    most, over = [0], threading.Event()

    def count() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.wait(LOOK_SECONDS):
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name LIKE 'keyturn%'"
                ).fetchone()
                most[0] = max(most[0], row[0] if row else 0)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield most
    finally:
        over.set()
        counting.join()


def one_node(name: str, node: Node, caller: str, subject: str, times: int) -> None:
    took, spent = [], []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = Started(node, caller, subject)
        started.stop()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(started.seconds)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(
        f"{name:<36}{statistics.median(took):>7.2f} s{max(took):>9.2f} s"
        f"{statistics.median(spent):>9.2f} s",
        flush=True,
    )


def herd(group: Group, url: str, count: int, subject: str) -> None:
    nodes = [group.prepare() for _ in range(count)]
    name = f"{count} nodes killed and started at once"
    with ThreadPoolExecutor(count) as pool:

        def start_all() -> list[Started]:
            return list(pool.map(lambda node: Started(node, group.operator, subject), nodes))

        running = start_all()
        for one in running:
            one.kill()
        with counted(url) as most:
            again = start_all()
        took = [one.seconds for one in again]
        print(
            f"{name:<36}{statistics.median(took):>7.2f} s{max(took):>9.2f} s{'':>11}"
            f"  at most {most[0]} connections",
            flush=True,
        )
        for one in again:
            one.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database_on_disk() as postgres:
        estate = Estate(Path(folder), lambda: postgres)
        installation = estate.install("postgresql")
        group, url = Group(installation, postgres.port), installation.database_url
        first = group.start()
        key = group.key(first)
        first.close()
        node = group.prepare()
        print(
            f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores,"
            f" load {os.getloadavg()[0]:.1f}"
        )
        print(f"{'to the first verified request':<36}{'median':>9}{'longest':>11}{'processor':>11}")
        one_node("one node, one key", node, group.operator, key["api_key"], given.times)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_COPIES.encode(), {"count": given.keys, "id": key["id"]})
            connection.execute("ANALYZE keys")
        name = f"one node, {given.keys:,} keys"
        one_node(name, node, group.operator, key["api_key"], given.times)
        herd(group, url, given.nodes, key["api_key"])
        estate.clear()


if __name__ == "__main__":
    main()
