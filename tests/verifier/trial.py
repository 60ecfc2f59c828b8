"""The simulation at length:

    python -m tests.verifier.trial --schedules 1000000 --seed 1
    python -m tests.verifier.trial --mutants --schedules 2000

Random schedules of changes and faults through the verifier that production runs. Prints what was
let in and denied, and each schedule that broke the promise; ends with 1 where one did. With
`--mutants` each wrong variant is run until it is caught; ends with 1 where one was not.
"""

import argparse
import random
import sys
import time

from tests.verifier.mutants import MUTANTS
from tests.verifier.schedule import play
from tests.verifier.world import Variant

MOST_SHOWN = 20


def run(seed: int, numbers: range) -> tuple[int, int, int, list[str]]:
    """So many schedules: accepted, of those in grace, denied, and what was broken."""
    accepted = graced = denied = 0
    faults: list[str] = []
    for number in numbers:
        outcome = play(seed, number)
        accepted += outcome.accepted
        graced += outcome.graced
        denied += outcome.denied
        if outcome.fault is not None:
            faults.append(f"seed {seed}, schedule {number}: {outcome.fault}")
    return accepted, graced, denied, faults


def first_caught(seed: int, variant: Variant, most: int) -> tuple[int, str] | None:
    """After how many schedules a mutant is caught, and how."""
    for number in range(most):
        fault = play(seed, number, variant).fault
        if fault is not None and fault.startswith(variant.breaks):
            return number + 1, fault
    return None


def main() -> int:
    options = _options()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    began = time.process_time()
    is_sound = _mutants(seed, options) if options.mutants else _schedules(seed, options)
    print(f"{time.process_time() - began:.1f} s of CPU")
    return 0 if is_sound else 1


def _schedules(seed: int, options: argparse.Namespace) -> bool:
    accepted, graced, denied, faults = run(
        seed, range(options.first, options.first + options.schedules)
    )
    print(
        f"{options.schedules} schedules: {accepted} let in, {graced} of them in a time of grace, "
        f"{denied} denied; {len(faults)} broke the promise"
    )
    for fault in faults[:MOST_SHOWN]:
        print(f"FAULT {fault}")
    return not faults


def _mutants(seed: int, options: argparse.Namespace) -> bool:
    missed = 0
    print(f"{'wrong variant':<58}{'caught after':>13}  by")
    for variant in MUTANTS:
        caught = first_caught(seed, variant, options.schedules)
        missed += caught is None
        after, how = ("never", "") if caught is None else (str(caught[0]), caught[1])
        print(f"{variant.name:<58}{after:>13}  {how}", flush=True)
    return not missed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.verifier.trial")
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first schedule")
    parser.add_argument("--seed", type=int, help="of all that chance decides; default: any")
    parser.add_argument("--mutants", action="store_true", help="the wrong variants instead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
