"""How long a new token takes: from the start of a rotation until it lies in its destination, read
back, and until the process that uses it has it.

The process runs under `keyturn run` at its usual pace (a file is looked at twice a second, any
other place every five seconds). Secrets managers are the real ones where they install (OpenBao,
ministack for AWS), else the fakes of the tests, whose own time is next to nothing; a mounted
Secret of Kubernetes follows at the pace of its node. Google and Azure are left out: their fakes
answer under the vendors' own names only.

    python -m benchmarks.deliveries [--rotations 5] [--engine sqlite|postgresql]
"""

import argparse
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from tests.servers.kubernetes import Cluster, run_cluster
from tests.servers.ministack import run_ministack
from tests.servers.openbao import run_openbao
from tests.servers.postgres import create_run_folder, obtain_server, remove_run

from keyturn.client import Keyturn

PROGRAM = [sys.executable, "-c", "from keyturn.cli import main; main()"]
PATIENCE_SECONDS = 30.0
PACE_SECONDS = 5.0
# What is run under `keyturn run`: it says which token it has, without its secret, and stays.
SERVICE = 'printf "%.30s\\n" "$KEYTURN_API_KEY"; exec sleep 1000'


@dataclass(frozen=True, kw_only=True)
class Place:
    """A destination, and how a process takes its token from there; None where none here can."""

    kind: str
    about: str
    config: dict[str, object] = field(default_factory=dict)
    credential: dict[str, str] = field(default_factory=dict, repr=False)
    source: Callable[[str], str] | None = None
    environ: dict[str, str] = field(default_factory=dict, repr=False)


def places(stack: ExitStack, folder: Path) -> Iterator[Place]:
    yield Place(kind="file", about="a file", source=lambda location: f"file:{location}")
    bao = stack.enter_context(run_openbao(_made(folder / "bao")))
    yield Place(
        kind="vault",
        about="OpenBao 2.7, real",
        config={"address": bao.address},
        credential={"token": bao.root_token},
        source=lambda location: f"vault:{location}",
        environ={"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token},
    )
    aws = f"http://127.0.0.1:{stack.enter_context(run_ministack(_made(folder / 'aws')))}"
    yield Place(
        kind="aws",
        about="ministack",
        config={"region": "eu-central-1", "endpoint": aws, "sts_endpoint": aws},
        credential={
            "access_key_id": "AKIATESTS00000000001",
            "secret_access_key": "benchmark-" + "s" * 30,
        },
        source=lambda location: "aws:" + location.rpartition(":")[2],
        environ={
            "AWS_ENDPOINT_URL": aws,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIATESTS00000000001",
            "AWS_SECRET_ACCESS_KEY": "benchmark-" + "s" * 30,
        },
    )
    cluster = Cluster(tokens={"benchmark-account": frozenset({"get", "create", "patch"})})
    port = stack.enter_context(run_cluster(cluster))
    yield Place(
        kind="kubernetes",
        about="a fake API server",
        config={"address": f"http://127.0.0.1:{port}", "namespace": "default"},
        credential={"token": "benchmark-account"},
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@contextmanager
def served(folder: Path, database: str | None) -> Iterator[Keyturn]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        **os.environ,
        "KEYTURN_HOME": str(folder / "home"),
        "KEYTURN_PORT": str(port),
        "KEYTURN_OUTBOUND_NETWORKS": "127.0.0.0/8,::1/128",
        **({} if database is None else {"KEYTURN_DATABASE_URL": database}),
    }
    process = subprocess.Popen(
        [*PROGRAM, "dev"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    token = folder / "home" / "operator.token"
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                keyturn = Keyturn(f"http://127.0.0.1:{port}", api_key_file=token)
                keyturn.workspaces.list()
                list(keyturn.workspaces.list())
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        with keyturn:
            yield keyturn
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextmanager
def running(place: Place, location: str) -> Iterator["Queue[tuple[float, str]]"]:
    """A service under `keyturn run`; what it says, and when."""
    said: Queue[tuple[float, str]] = Queue()
    if place.source is None:
        yield said
        return
    process = subprocess.Popen(
        [*PROGRAM, "run", "--from", place.source(location), "--", "sh", "-c", SERVICE],
        env={**os.environ, **place.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def listen() -> None:
        for line in process.stdout or ():
            said.put((time.monotonic(), line.strip()))

    Thread(target=listen, daemon=True).start()
    try:
        yield said
    finally:
        process.terminate()
        process.wait(20)


def heard(said: "Queue[tuple[float, str]]", hint: str) -> float | None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            at, word = said.get(timeout=1)
        except Empty:
            continue
        if word == hint:
            return at
    return None


def delivered(keyturn: Keyturn, key_id: str) -> str:
    """Waits until the key's token is delivered; where it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for one in keyturn.deliveries.list(key_id=key_id):
            if one.state == "delivered" and one.location is not None:
                return one.location
            if one.fault is not None:
                raise AssertionError(one.fault)
        time.sleep(0.005)
    raise AssertionError("it is not delivered")


def measure(keyturn: Keyturn, place: Place, rotations: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the delivery, and to the process."""
    name = f"{place.kind}-destination"
    made = keyturn.destinations.create(
        name, kind=place.kind, config=place.config, credential=place.credential
    )
    assert made.state == "proven", made.fault
    key = keyturn.keys.create(f"{place.kind}-prod", scopes=["read"], destinations=[name])
    location = delivered(keyturn, key.id)
    to_place, to_process = [], []
    with running(place, location) as said:
        if place.source is not None:
            assert heard(said, key.hint) is not None, "the service does not start"
        for _ in range(rotations):
            # At any moment of the pace at which the process looks.
            time.sleep(random.uniform(0, PACE_SECONDS) if place.source is not None else 0)
            began = time.monotonic()
            started = keyturn.rotations.start(key.id)
            delivered(keyturn, started.new_key_id)
            to_place.append((time.monotonic() - began) * 1_000)
            if place.source is not None:
                at = heard(said, started.new_key.hint)
                assert at is not None, "the service does not follow"
                to_process.append((at - began) * 1_000)
            keyturn.rotations.complete(started.id, force=True, reason="It was measured.")
            key = keyturn.keys.read(started.new_key_id)  # type: ignore[assignment]
    return to_place, to_process


def told(figures: list[float]) -> str:
    if not figures:
        return f"{'-':>9}  {'-':>9}"
    return f"{statistics.median(figures):>6,.0f} ms  {max(figures):>6,.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rotations", type=int, default=5)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, ")
    print(f"{os.cpu_count()} cores, {asked.engine}, {asked.rotations} rotations each")
    print(f"{'destination':<30}  delivered, median, worst   in the process, median, worst")
    run = create_run_folder()
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            database = obtain_server(run).create_database() if asked.engine != "sqlite" else None
            keyturn = stack.enter_context(served(Path(folder), database))
            for place in places(stack, Path(folder)):
                to_place, to_process = measure(keyturn, place, asked.rotations)
                title = f"{place.kind} ({place.about})"
                print(f"{title:<30}  {told(to_place)}      {told(to_process)}", flush=True)
    finally:
        remove_run(run)


if __name__ == "__main__":
    main()
