"""What an idle server takes of a processor, and whether that grows with its workspaces.

Each workspace has a rotation policy and its first administrator key. A server is left alone until
it has looked everything over once; then its processor time is taken for a while in which nobody
asks it for anything; the middle one of four such times counts.

    python -m benchmarks.idle [--seconds 20] [--workspaces 10,300] [--engine sqlite|postgresql]

Needs /proc (Linux).
"""

import argparse
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.postgres import create_run_folder, obtain_server, remove_run

from benchmarks.http_rates import call, free_port

SETTLES_SECONDS = 30
PIECES = 4
POLICY = {"rotation_period_days": 90}


@contextmanager
def serving(keyturn: list[str], environ: dict[str, str], port: int) -> Iterator[int]:
    """A server while it runs; gives its process."""
    process = subprocess.Popen(
        [*keyturn, "serve"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def processor_seconds(process: int) -> float:
    """What a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(count: int, environ: dict[str, str], seconds: int) -> float:
    """The share of a core that an idle server with so many workspaces takes."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environ = {
            **os.environ,
            **environ,
            "KEYTURN_HOME": f"{folder}/home",
            "KEYTURN_PORT": str(port),
        }
        keyturn = [str(Path(sys.executable).with_name("keyturn"))]
        subprocess.run([*keyturn, "init"], env=environ, check=True, capture_output=True)
        token = Path(folder, "home", "operator.token").read_text().strip()
        with serving(keyturn, environ, port) as process:
            for number in range(1, count):
                workspace = {"name": f"team-{number}", "rotation_policy": POLICY}
                call(f"http://127.0.0.1:{port}/v1/workspaces", token, workspace)
            time.sleep(SETTLES_SECONDS)
            shares = []
            for _ in range(PIECES):
                before = processor_seconds(process)
                time.sleep(seconds / PIECES)
                shares.append((processor_seconds(process) - before) / seconds * PIECES)
            return statistics.median(shares)


def show(
    engine: str, counts: list[int], environ: Callable[[], dict[str, str]], seconds: int
) -> None:
    """Prints the rows of one engine."""
    first: float | None = None
    for count in counts:
        share = measure(count, environ(), seconds)
        first = share if first is None else first
        ratio = share / first if first else float("nan")
        print(f"{engine:<12}{count:>6} workspaces{share:>9.2%} of a core{ratio:>7.2f} of the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="how long it is measured")
    parser.add_argument("--workspaces", default="10,300")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), help="only this one")
    given = parser.parse_args()
    counts = [int(one) for one in given.workspaces.split(",")]
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    if given.engine != "postgresql":
        show("sqlite", counts, dict, given.seconds)
    if given.engine != "sqlite":
        folder = create_run_folder()
        try:
            server = obtain_server(folder)
            show(
                "postgresql",
                counts,
                lambda: {"KEYTURN_DATABASE_URL": server.create_database(None)},
                given.seconds,
            )
        finally:
            remove_run(folder)


if __name__ == "__main__":
    main()
