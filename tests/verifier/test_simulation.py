"""The promise under a simulation of everything that may go wrong.

A schedule is repeated by its seed and its number, which a fault names. More of them:
`python -m tests.verifier.trial --schedules 1000000 --seed 7`.
"""

import pytest

from tests.verifier.mutants import MUTANTS
from tests.verifier.schedule import play
from tests.verifier.trial import first_caught, run
from tests.verifier.world import Variant

SEED = 1
SCHEDULES = 20_000
# So that several workers share them.
PARTS = 10
MUTANT_SCHEDULES = 2_000


@pytest.mark.parametrize("part", range(PARTS))
def test_no_order_of_faults_lets_in_what_was_revoked(part: int) -> None:
    size = SCHEDULES // PARTS
    accepted, graced, denied, faults = run(SEED, range(part * size, (part + 1) * size))
    assert faults == []
    # It is no proof of anything where hardly anything was let in.
    assert accepted > 15 * size
    assert graced > size // 10
    assert denied > size


@pytest.mark.parametrize("variant", MUTANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_a_wrong_variant_is_found_out(variant: Variant) -> None:
    assert first_caught(SEED, variant, MUTANT_SCHEDULES) is not None


def test_a_schedule_is_repeated_by_its_number() -> None:
    assert play(3, 14) == play(3, 14)
    assert play(3, 14) != play(3, 15)
