"""S12: no clock that is set, in whichever direction and order, makes a quiet out of nothing."""

import pytest

from keyturn.domain.instant import DAY, SECOND
from keyturn.services.meter import Meter
from keyturn.services.steady import DOUBT_SECONDS
from keyturn.services.witness import Witness
from tests.houses import House

QUIET = 300 * SECOND


def watched(witness: Witness, since: int) -> int:
    """The longest quiet that the witness would vouch for after a use at `since`."""
    seen = witness.observe()
    return seen.until - max(since, seen.watched_since)


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    "jumps",
    [[QUIET], [10 * DAY], [-QUIET], [-QUIET, QUIET], [-10 * DAY, 10 * DAY], [QUIET, -QUIET, QUIET]],
    ids=lambda jumps: " ".join(str(one // SECOND) for one in jumps),
)
def test_no_clock_that_is_set_makes_a_quiet(house: House, jumps: list[int]) -> None:
    witness = Witness(house.context, Meter(house.context))
    house.clock.advance(1_000 * SECOND)
    ran = 0
    house.clock.jump(jumps[0])
    used_at = house.clock.now()
    for jump in [0, *jumps[1:]]:
        house.clock.jump(jump)
        assert watched(witness, used_at) <= ran
        for _ in range(8):
            house.clock.advance(int(DOUBT_SECONDS / 4) * SECOND)
            ran += int(DOUBT_SECONDS / 4) * SECOND
            assert watched(witness, used_at) <= ran, "a quiet longer than the time that has run"


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_quiet_is_vouched_for_again_after_every_jump(house: House) -> None:
    witness = Witness(house.context, Meter(house.context))
    for jump in (QUIET, -QUIET, -QUIET, QUIET):
        house.clock.jump(jump)
        used_at = house.clock.now()
        for _ in range(80):
            house.clock.advance(QUIET // 40)
            witness.observe()
        assert watched(witness, used_at) >= QUIET
