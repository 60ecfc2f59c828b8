"""How good the detectors of unusual use are, on synthetic months with labels.

The detectors were developed on the seeds 1 to 20 and, paths and scopes, 2001 to 2040. What is
printed by default is of seeds that nothing was tuned on, 3001 to 3040: look at their details, and
the next who changes a detector must name others.

    python -m benchmarks.detectors [--seeds 3001-3040] [--keys 30] [--details]
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.detectors.quality import KEYS_OF_A_SEED, Quality, measure

WANTED_PRECISION, WANTED_RECALL = 0.9, 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="3001-3040")
    parser.add_argument("--keys", type=int, default=KEYS_OF_A_SEED, help="of each seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--details", action="store_true", help="which lives it is wrong about")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began = time.monotonic()
    quality = Quality()
    with ProcessPoolExecutor(given.processes) as pool:
        for part in pool.map(partial(_of_one, keys=given.keys), seeds):
            _join(quality, part)
    _show(quality, given.seeds, time.monotonic() - began, details=given.details)


def _of_one(seed: int, keys: int) -> Quality:
    found = measure([seed], keys)
    found.wrong, found.missed = dict(found.wrong), dict(found.missed)
    return found


def _join(whole: Quality, part: Quality) -> None:
    whole.keys += part.keys
    whole.most_of_a_key = max(whole.most_of_a_key, part.most_of_a_key)
    for kind, score in part.scores.items():
        mine = whole.scores[kind]
        mine.planted += score.planted
        mine.found += score.found
        mine.right += score.right
        mine.wrong += score.wrong
    for into, of in ((whole.wrong, part.wrong), (whole.missed, part.missed)):
        for name, count in of.items():
            into[name] += count


def _show(quality: Quality, seeds: str, seconds: float, *, details: bool) -> None:
    print(f"{quality.keys} keys with a month each, seeds {seeds}, in {seconds:.0f} s")
    print(f"{'detector':<30}{'planted':>8}{'found':>7}{'false':>7}{'precision':>11}{'recall':>8}")
    below = []
    for kind, one in quality.scores.items():
        precision, recall = one.precision, one.recall
        print(
            f"{kind.value:<30}{one.planted:>8}{one.found:>7}{one.wrong:>7}"
            f"{_spelled(precision):>11}{_spelled(recall):>8}"
        )
        if (precision or 0) < WANTED_PRECISION or (recall or 0) < WANTED_RECALL:
            below.append(kind.value)
    print(f"false findings per 100 keys and month: {quality.wrong_of_100_keys:.1f}")
    print(f"most findings of one key in the month: {quality.most_of_a_key}")
    print(f"below {WANTED_PRECISION} and {WANTED_RECALL}: {', '.join(below) or 'none'}")
    if details:
        for title, counts in (("false", quality.wrong), ("missed", quality.missed)):
            for (life, kind), count in sorted(counts.items(), key=lambda one: -one[1]):
                if count:
                    print(f"{title}: {life:<10} {kind.value:<30}{count:>5}")


def _spelled(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


if __name__ == "__main__":
    main()
