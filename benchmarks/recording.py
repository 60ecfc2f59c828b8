"""What recording costs: a batch of requests kept, with every count that follows from it.

    python -m benchmarks.recording [--batches 50] [--keys 20]

On SQLite, in a folder that is gone afterwards. The first line is batches of a thousand requests of
twenty keys with a few callers each, as a busy installation has them; the second the same requests
spread over a hundred paths, as somebody makes them who tries things out. What it is to be held
against is the whole of a verification: `python -m benchmarks.http_rates`.
"""

import argparse
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine

from keyturn.domain.instant import SECOND
from keyturn.domain.request import Request
from keyturn.domain.runtime import Runtime
from keyturn.domain.seal import Sealer
from keyturn.storage.migrate import migrate
from keyturn.storage.sqlite import SqliteStore, sqlite_engine

BATCH = 1_000
BEGIN = 1_760_000_000 * SECOND
WORKSPACE = UUID(int=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="What recording requests costs.")
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--keys", type=int, default=20)
    given = parser.parse_args()
    for name, paths in (("a busy installation", 5), ("a hundred paths a key", 100)):
        seconds = measure(given.batches, given.keys, paths)
        rate = given.batches * BATCH / seconds
        print(f"{name}: {rate:,.0f} requests/s, {1e6 / rate:.1f} µs each")


def measure(batches: int, keys: int, paths: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keyturn.db"
        engine: Engine = sqlite_engine(path)
        migrate(engine)
        engine.dispose()
        store = SqliteStore(path, Sealer(bytes(32)), lambda _: None)
        spent = 0.0
        try:
            for number in range(batches):
                made = [
                    (str(UUID(int=number * BATCH + one + 1)), request(number, one, keys, paths))
                    for one in range(BATCH)
                ]
                began = time.process_time()
                with store.record() as transaction:
                    transaction.requests.record(made)
                spent += time.process_time() - began
        finally:
            store.close()
    return spent


def request(batch: int, number: int, keys: int, paths: int) -> Request:
    caller = number // keys % 3
    return Request(
        at=BEGIN + (batch * BATCH + number) * SECOND // 1_000,
        request_id=f"request-{number}",
        workspace_id=WORKSPACE,
        key_id=UUID(int=number % keys + 1),
        code="valid" if number % 50 else "scope_denied",
        runtime=Runtime(("worker", "nightly", "ua:python-httpx")[caller], declared=caller < 2),
        address=ip_address(f"203.0.113.{caller + 1}"),
        user_agent="python-httpx/0.28",
        method="GET",
        path=f"/pins/{number * 7 % paths}",
        scopes=("read",),
        environment="prod",
        place="203.0.0.0/16",
    )


if __name__ == "__main__":
    main()
