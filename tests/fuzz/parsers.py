"""Every parser, fed with random and with changed valid inputs, and judged each time.

`python -m tests.fuzz.parsers --inputs 1000000 [--only token] [--seconds 480] [--seed 1]` prints a
table and the seed; the same seed gives the same inputs.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.calls import READERS as OF_CALLS
from tests.fuzz.leaks import READERS as OF_LEAKS
from tests.fuzz.reader import Reader
from tests.fuzz.texts import READERS as OF_TEXTS
from tests.fuzz.ways import READERS as OF_WAYS

READERS: tuple[Reader[Any], ...] = (*OF_TEXTS, *OF_CALLS, *OF_WAYS, *OF_LEAKS)
MOST_FAULTS = 5
# Below this a slow input is noise of the machine.
_NOISE_SECONDS = 0.0002


@dataclass(kw_only=True)
class Tally:
    """What one parser made of its inputs."""

    name: str
    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_per_unit: float = 0.0
    slowest_length: int = 0
    faults: list[str] = field(default_factory=list)

    def time(self, reader: Reader[Any], given: str | bytes, seconds: float) -> None:
        """Keeps the slowest input relative to its length. What looks slow is judged once more: the
        machine is seldom busy elsewhere twice."""
        if seconds < _NOISE_SECONDS or seconds / max(1, len(given)) <= self.slowest_per_unit:
            return
        for _ in range(2):
            started = time.perf_counter()
            with suppress(Exception):
                reader.judge(given)
            seconds = min(seconds, time.perf_counter() - started)
        if seconds >= _NOISE_SECONDS and seconds / max(1, len(given)) > self.slowest_per_unit:
            self.slowest_per_unit, self.slowest_length = seconds / max(1, len(given)), len(given)

    def line(self) -> str:
        outcomes = ", ".join(f"{word} {n}" for word, n in self.outcomes.most_common(6))
        slowest = f"{self.slowest_per_unit * 1e6:.1f} µs a unit at {self.slowest_length}"
        return (
            f"{self.name:16} {self.tried:>9,} {len(self.outcomes):>3} {slowest:>28} "
            f"{len(self.faults):>3}   {outcomes}"
        )


def feed(reader: Reader[Any], inputs: int, seed: int, seconds: float = float("inf")) -> Tally:
    """Makes and judges so many inputs, or as many as the time allows."""
    source = random.Random(f"{reader.name} {seed}")
    tally = Tally(name=reader.name)
    ends = time.perf_counter() + seconds
    for _ in range(inputs):
        given = reader.make(source)
        started = time.perf_counter()
        try:
            outcome = reader.judge(given)
        except Exception as fault:  # noqa: BLE001  (a parser may raise only what its judge awaits)
            tally.faults.append(f"{type(fault).__name__}: {given!r:.500}")
            outcome = "fault"
        ended = time.perf_counter()
        tally.tried += 1
        tally.outcomes[outcome] += 1
        tally.time(reader, given, ended - started)
        if ended > ends or len(tally.faults) >= MOST_FAULTS:
            break
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.parsers")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--only", choices=[reader.name for reader in READERS], action="append")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="in all")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args(arguments)
    chosen = [one for one in READERS if given.only is None or one.name in given.only]
    print(f"seed {given.seed}\n{'parser':16} {'inputs':>9} {'out':>3} {'slowest':>28} {'bad':>3}")
    faults, ends = 0, time.monotonic() + given.seconds
    for index, reader in enumerate(chosen):
        share = (ends - time.monotonic()) / (len(chosen) - index)
        tally = feed(reader, given.inputs, given.seed, share)
        print(tally.line(), flush=True)
        for fault in tally.faults:
            print(f"    {fault}")
        faults += len(tally.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
