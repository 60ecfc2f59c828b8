"""A leak rehearsed: of thousands of keys one has leaked, and a thief calls with it among its owner.
How long from the report to containment, to the new token in its destination, to the end; whether
the incident's report has every call of the thief; and that it does not close before.

    python -m benchmarks.incident_drill [--keys 5000] [--leaks 50] [--engine sqlite|postgresql]
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.containment import database
from benchmarks.deliveries import delivered, served
from keyturn.client import ExpectedRuntime, IssuedKey, KeysOpen, Keyturn

SLOTS = 50
MAKERS = 8
OWNER, THIEF = "203.0.113.7", "198.51.100.9"
OWNERS_CALLS, THIEFS_CALLS = 3, 7
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Figures:
    """Seconds, one of each kind for a leak, and what was wrong."""

    contained: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def make(keyturn: Keyturn, count: int) -> None:
    """The others, among whom the leaked one is one."""

    def one(number: int) -> None:
        keyturn.keys.create(f"service{number % SLOTS}-staging", scopes=["read"])

    with ThreadPoolExecutor(MAKERS) as pool:
        list(pool.map(one, range(count)))


def use(keyturn: Keyturn, token: str) -> None:
    for address, runtime, calls in ((OWNER, "worker", OWNERS_CALLS), (THIEF, None, THIEFS_CALLS)):
        for number in range(calls):
            path = f"/v1/things/{number}"
            keyturn.verify(token, scopes=["read"], ip=address, runtime=runtime, path=path).require()
    time.sleep(1.1)  # a request is visible within a second


def may_not_close(keyturn: Keyturn, incident_id: str) -> bool:
    with suppress(KeysOpen):
        keyturn.incidents.close(incident_id, outcome="confirmed")
        return False
    return True


def drill(keyturn: Keyturn, leaked: IssuedKey, figures: Figures) -> None:
    token = leaked.token.reveal()
    use(keyturn, token)
    began = time.monotonic()
    opened = keyturn.incidents.open(tokens=[token], reason="leaked")
    figures.contained.append(time.monotonic() - began)
    if keyturn.verify(token).valid:
        figures.wrong.append("let in after the answer")
    if not may_not_close(keyturn, opened.id):
        figures.wrong.append("closed before it was replaced")
        return
    thief = sum(
        one.allowed for one in keyturn.incidents.report(opened.id).runtimes if one.network == THIEF
    )
    if thief != THIEFS_CALLS:
        figures.wrong.append(f"{thief} of the thief's {THIEFS_CALLS} calls in the report")
    replaced = keyturn.incidents.replace(opened.id)
    location = delivered(keyturn, replaced.replacements[0].id)
    figures.delivered.append(time.monotonic() - began)
    if not may_not_close(keyturn, opened.id):
        figures.wrong.append("closed before its worker was healthy")
        return
    new = Path(location).read_text().strip()
    keyturn.verify(new, scopes=["read"], ip=OWNER, runtime="worker").require()
    while may_not_close(keyturn, opened.id):
        if time.monotonic() - began > PATIENCE_SECONDS:
            figures.wrong.append("not closed in time")
            return
        time.sleep(0.05)
    figures.closed.append(time.monotonic() - began)


def told(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"{name:<12} median {statistics.median(ordered):6.3f} s   p99 {p99:6.3f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--keys", type=int, default=5_000)
    parser.add_argument("--leaks", type=int, default=50)
    asked = parser.parse_args()
    figures = Figures()
    with (
        tempfile.TemporaryDirectory() as folder,
        database(asked.engine) as url,
        served(Path(folder), url) as keyturn,
    ):
        make(keyturn, asked.keys)
        keyturn.destinations.create("files", kind="file")
        for number in range(asked.leaks):
            slot = f"worker{number}-prod"
            keyturn.slots.define(
                slot, destinations=["files"], runtimes=[ExpectedRuntime(name="worker")]
            )
            leaked = keyturn.keys.create(slot, scopes=["read"], deliver_to=[])
            drill(keyturn, leaked, figures)
    print(f"{asked.leaks} leaks, each of 1 of {asked.keys + 1} keys, {asked.engine}")
    print(told("contained", figures.contained))
    print(told("delivered", figures.delivered))
    print(told("closed", figures.closed))
    print(f"what was wrong: {figures.wrong or 'nothing'}")


if __name__ == "__main__":
    main()
