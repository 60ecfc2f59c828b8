"""Create, revoke and verify over HTTP, on both engines, as ratios to the bare HTTP server.

The server runs on one core and the load (wrk, 32 connections) on the other; the floor is measured
before and after each row, and every figure is the median of three runs.

    python -m benchmarks.http_rates [--seconds 3] [--engine sqlite|postgresql]

Needs wrk on the PATH (Debian: `apt-get install wrk`).
"""

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.servers.postgres import create_run_folder, obtain_server, remove_run

CONNECTIONS = 32
RUNS = 3
KEYS = 1_000
REVOKED = 1_500
THREADS = 16
ROOT = Path(__file__).parents[1]


def pinned(core: int) -> list[str]:
    """The prefix that keeps a command on one core, where the system has one."""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[str], environ: dict[str, str], port: int) -> Iterator[float]:
    """The process while it serves `port`; gives the seconds from its start to its first answer."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*pinned(0), *command],
        env={**os.environ, **environ},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                if process.poll() is not None or time.perf_counter() - started > 30:
                    raise SystemExit(f"{command} did not start") from None
                time.sleep(0.005)
        yield time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def load(url: str, script: str, seconds: int) -> float:
    """Requests a second by wrk. Raises where an answer was no success."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        out = subprocess.run(
            [
                *pinned(1),
                "wrk",
                "-t1",
                f"-c{CONNECTIONS}",
                f"-d{seconds}s",
                "--latency",
                "-s",
                file.name,
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    if "Non-2xx" in out:
        raise SystemExit(f"wrk met errors:\n{out}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if found is None:
        raise SystemExit(f"wrk said nothing that is understood:\n{out}")
    return float(found.group(1))


def lua_post(token: str, bodies: list[str]) -> str:
    """A script that posts the bodies in turn, at random."""
    listed = ",".join(f"[==[{body}]==]" for body in bodies)
    return f"""
local bodies = {{{listed}}}
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {token}"
wrk.headers["Content-Type"] = "application/json"
request = function() return wrk.format(nil, nil, nil, bodies[math.random(#bodies)]) end
"""


def call(url: str, token: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def revoke_rate(port: int, token: str, ids: list[str]) -> float:
    """Revocations a second: each key once, by several connections at a time."""

    def work(mine: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for id_ in mine:
            connection.request(
                "DELETE", f"/v1/api-keys/{id_}", headers={"Authorization": f"Bearer {token}"}
            )
            response = connection.getresponse()
            response.read()
            if response.status != 204:
                raise SystemExit(f"a revocation was answered by {response.status}")

    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, [ids[start::THREADS] for start in range(THREADS)]))
    return len(ids) / (time.perf_counter() - started)


def measure_product(environ: dict[str, str], seconds: int) -> dict[str, float]:
    """One run of the product: rates a second, and the cold start in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environ = {**environ, "KEYTURN_HOME": f"{folder}/home", "KEYTURN_PORT": str(port)}
        keyturn = [str(Path(sys.executable).with_name("keyturn"))]
        subprocess.run(
            [*keyturn, "init"], env={**os.environ, **environ}, check=True, capture_output=True
        )
        token = Path(folder, "home", "operator.token").read_text().strip()
        url = f"http://127.0.0.1:{port}"
        with running([*keyturn, "serve"], environ, port) as cold_start:
            made = [
                call(f"{url}/v1/api-keys", token, {"name": f"worker{n}-prod", "scopes": ["read"]})
                for n in range(max(KEYS, REVOKED))
            ]
            bodies = [
                json.dumps({"api_key": one["api_key"], "scopes": ["read"], "runtime": "bench"})
                for one in made[:KEYS]
            ]
            create = lua_post(token, ['{"name":"bench-prod","scopes":["read"]}'])
            return {
                "verify": load(f"{url}/v1/verify", lua_post(token, bodies), seconds),
                "create": load(f"{url}/v1/api-keys", create, seconds),
                "revoke": revoke_rate(port, token, [str(one["id"]) for one in made[:REVOKED]]),
                "cold start": cold_start,
            }


def measure_floor(seconds: int) -> float:
    """Requests a second of the bare server, asked as a verification asks."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", "--port", str(port)]
    body = json.dumps({"api_key": "x" * 79, "scopes": ["read"], "runtime": "bench"})
    with running(command, {}, port):
        return load(f"http://127.0.0.1:{port}/", lua_post("x" * 79, [body]), seconds)


def measure(engine: str, environ: Callable[[], dict[str, str]], seconds: int) -> None:
    """Prints the rows of one engine."""
    runs, floors = [], []
    for _ in range(RUNS):
        floors.append(measure_floor(seconds))
        runs.append(measure_product(environ(), seconds))
    floor = statistics.median(floors)
    print(f"{engine:<12}{'bare server':<14}{floor:>10,.0f}/s")
    for row in ("verify", "create", "revoke"):
        rate = statistics.median(run[row] for run in runs)
        ratio = statistics.median(run[row] / bare for run, bare in zip(runs, floors, strict=True))
        print(f"{'':<12}{row:<14}{rate:>10,.0f}/s{ratio:>9.3f} of the bare server")
    print(
        f"{'':<12}{'cold start':<14}{statistics.median(run['cold start'] for run in runs):>10.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3, help="length of each wrk run")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), help="only this one")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on the PATH; on Debian: apt-get install wrk")
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    if arguments.engine != "postgresql":
        measure("sqlite", dict, arguments.seconds)
    if arguments.engine != "sqlite":
        folder = create_run_folder()
        try:
            server = obtain_server(folder)
            measure(
                "postgresql",
                lambda: {"KEYTURN_DATABASE_URL": server.create_database(None)},
                arguments.seconds,
            )
        finally:
            remove_run(folder)


if __name__ == "__main__":
    main()
