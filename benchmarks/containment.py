"""How long containment takes: from the call to its answer, when the keys are refused everywhere.

One key a call, many times over, for the median and the 99th percentile; then thousands in one call,
by selection and by their ids. After each the keys are tried.

    python -m benchmarks.containment [--engine sqlite|postgresql] [--keys 5000] [--single 200]
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from tests.servers.postgres import create_run_folder, obtain_server, remove_run

from benchmarks.deliveries import served

MAKERS = 8
TRIED = 500
PATIENCE_SECONDS = 300.0


@contextmanager
def database(engine: str) -> Iterator[str | None]:
    if engine == "sqlite":
        yield None
        return
    folder = create_run_folder()
    try:
        yield obtain_server(folder).create_database()
    finally:
        remove_run(folder)


def make(client: httpx2.Client, slot: str, count: int) -> list[dict[str, Any]]:
    def one(_: int) -> dict[str, Any]:
        made = client.post("/v1/api-keys", json={"name": slot, "scopes": ["read"]})
        made.raise_for_status()
        found: dict[str, Any] = made.json()
        return found

    with ThreadPoolExecutor(MAKERS) as pool:
        return list(pool.map(one, range(count)))


def contain(client: httpx2.Client, body: dict[str, Any], count: int) -> float:
    """Milliseconds from the call to its answer."""
    began = time.perf_counter()
    answer = client.post("/v1/incidents", json=body)
    took = (time.perf_counter() - began) * 1_000
    assert answer.status_code == 201, answer.status_code
    assert answer.json()["keys_total"] == count
    return took


def require_refused(client: httpx2.Client, keys: list[dict[str, Any]]) -> None:
    for key in random.Random(1).sample(keys, min(TRIED, len(keys))):
        verdict = client.post("/v1/verify", json={"api_key": key["api_key"]}).json()
        assert verdict["code"] == "revoked", verdict["code"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--keys", type=int, default=5_000)
    parser.add_argument("--single", type=int, default=200)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        database(asked.engine) as url,
        served(Path(folder), url) as keyturn,
        httpx2.Client(base_url=keyturn.url, timeout=PATIENCE_SECONDS, trust_env=False) as client,
    ):
        token = (Path(folder) / "home" / "operator.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {token}"
        singles = make(client, "single-prod", asked.single)
        took = [contain(client, {"tokens": [one["api_key"]]}, 1) for one in singles]
        require_refused(client, singles)
        cuts = statistics.quantiles(took, n=100)
        print(f"one key a call, {asked.engine}: median {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")
        for way in ("select", "key_ids"):
            slot = f"batch{way.replace('_', '')}-prod"
            keys = make(client, slot, asked.keys)
            body: dict[str, Any] = {"select": {"slot": slot}, "expected_count": len(keys)}
            if way == "key_ids":
                body = {"key_ids": [one["id"] for one in keys]}
            ms = contain(client, body, len(keys))
            require_refused(client, keys)
            print(f"{len(keys)} keys in one call by {way}, {asked.engine}: {ms:.0f} ms")


if __name__ == "__main__":
    main()
