"""What a verification costs inside a node that keeps its records, part by part.

    python -m benchmarks.verify_in_process [--keys 10000] [--rounds 60]

What it is held against is the floor that nothing which checks a secret gets below: a keyed
HMAC-SHA-256, a look-up in a dict, a comparison in constant time. The ratio is what counts, since
both are measured in the same moments: on a busy machine both are slower. The lease and the
records must cost little beside the proof of the secret.
"""

import argparse
import hmac
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from tests.domain.samples import NOW, SAMPLE_KEY, SAMPLE_WORKSPACE

from keyturn.domain.digest import PepperRing
from keyturn.domain.instant import SECOND
from keyturn.domain.token import Token, make_token, parse_token
from keyturn.domain.verdict import judge
from keyturn.services.identify import proves
from keyturn.storage.contract import KeyCredential
from keyturn.testing import SeededEntropy
from keyturn.verifier import Answer, Fill, Point, Verifier

PEPPER = bytes(range(32))
# Few, so that some round of each part is left alone by whatever else the machine does.
CALLS = 2_000
POINT = Point(1, b"seal")


@dataclass(frozen=True, slots=True)
class Given:
    """A key, and what a call of it brings."""

    text: str
    token: Token
    credential: KeyCredential
    digest: bytes


def main() -> None:
    parser = argparse.ArgumentParser(description="What a verification costs inside a node.")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    floor, parts = measure(given.keys, given.rounds)
    show(floor, parts)


def measure(keys: int, rounds: int) -> tuple[float, dict[str, float]]:
    """Microseconds a call: the floor's, and each part's. Of each the quickest of its rounds."""
    ring = PepperRing({1: PEPPER}, 1)
    all_given = [_given(number, ring) for number in range(keys)]
    verifier: Verifier[KeyCredential] = Verifier(lease_seconds=1e9, keep_seconds=1e9)
    verifier.take(verifier.ask(0.0), Answer(POINT, (), is_all=True), granted=True, now=0.0)
    for one in all_given:
        verifier.admit(_fill(one), 0.0)
    parts = _parts(verifier, ring)
    parts["the floor"] = _floor(all_given)
    best = dict.fromkeys([*parts, "nothing"], float("inf"))
    parts["nothing"] = _nothing
    for _ in range(rounds):
        for name, call in parts.items():
            best[name] = min(best[name], _time(call, itertools.cycle(all_given)))
    empty = best.pop("nothing")
    spent = {name: seconds - empty for name, seconds in best.items()}
    return spent.pop("the floor"), spent


def _parts(
    verifier: Verifier[KeyCredential], ring: PepperRing
) -> dict[str, Callable[[Given], object]]:
    find, standing = verifier.find, verifier.standing
    boot = _boot

    def whole(one: Given) -> bool:
        token = parse_token(one.text)
        if token is None:
            return False
        kept = find(("key", token.id.int), boot())
        if kept is None or kept.record is None or not proves(ring, token, kept.record):
            return False
        record = kept.record
        judge(record.key, record.workspace, now=NOW, address=None, scopes=("read",))
        standing(boot())
        return True

    def asked_last(one: Given) -> object:
        return standing(boot())

    return {
        "parse token": lambda one: parse_token(one.text),
        "find": lambda one: find(("key", one.token.id.int), boot()),
        "proof": lambda one: proves(ring, one.token, one.credential),
        "judge": lambda one: judge(
            one.credential.key,
            one.credential.workspace,
            now=NOW,
            address=None,
            scopes=("read",),
        ),
        "standing": asked_last,
        "all of it": whole,
    }


def _nothing(one: Given) -> None:
    """What a call costs by itself; it is taken off."""


def _floor(all_given: Iterable[Given]) -> Callable[[Given], object]:
    keyed = hmac.new(PEPPER, digestmod="sha256")
    records = {one.token.id.int: one.digest for one in all_given}

    def floor(one: Given) -> bool:
        made = keyed.copy()
        made.update(one.text.encode())
        return hmac.compare_digest(made.digest(), records[one.token.id.int])

    return floor


def _time(call: Callable[[Given], object], all_given: Iterator[Given]) -> float:
    """Microseconds of one call."""
    chosen = [next(all_given) for _ in range(CALLS)]
    began = time.process_time()
    for one in chosen:
        call(one)
    return (time.process_time() - began) / CALLS * SECOND


def _boot() -> float:
    """The clock that counts suspend costs a call as this one does."""
    return time.monotonic()


def _given(number: int, ring: PepperRing) -> Given:
    entropy = SeededEntropy(number)
    id_ = UUID(bytes=entropy.take(16))
    made = make_token(brand="kt", environment="prod", id=id_, secret=entropy.take(32))
    token = parse_token(made.reveal())
    assert token is not None
    digest, peppers = ring.make(workspace_id=SAMPLE_KEY.workspace_id, id=id_, secret=token.secret())
    key = replace(SAMPLE_KEY, id=id_, digest=digest, peppers=peppers)
    credential = KeyCredential(key=key, workspace=SAMPLE_WORKSPACE, owner=None)
    return Given(made.reveal(), token, credential, digest)


def _fill(one: Given) -> Fill[KeyCredential]:
    return Fill(
        id=("key", one.token.id.int),
        record=one.credential,
        workspace=str(one.credential.workspace.id),
        slot=f"{one.credential.workspace.id}/scheduler-prod",
        point=POINT,
        asked_at=0.0,
    )


def show(floor: float, parts: dict[str, float]) -> None:
    print(f"{'part':<14}{'µs':>8}{'of the floor':>15}")
    print(f"{'the floor':<14}{floor:>8.2f}{'1.00':>15}")
    for name, micros in parts.items():
        print(f"{name:<14}{micros:>8.2f}{micros / floor:>15.2f}")


if __name__ == "__main__":
    main()
