"""The database's clock is believed for as long as it goes as a node's own does."""

import pytest

from keyturn.domain.instant import SECOND
from keyturn.server.database_clock import TOLERANCE_SECONDS, DatabaseClock

EPOCH = 1_790_000_000 * SECOND
LEASE_SECONDS = 5.0
MARGIN = round(TOLERANCE_SECONDS * SECOND)


def told(now: float, ahead: float = 0.0) -> int:
    return EPOCH + round((now + ahead) * SECOND)


def followed(until: float, *, ahead: float = 0.0, rate: float = 0.0) -> DatabaseClock:
    """Seen twice a second since the moment 0, from a clock that goes fast by `rate`."""
    clock = DatabaseClock(0.0)
    for number in range(int(until * 2) + 1):
        now = number / 2
        clock.note(told(now, ahead + now * rate), now - 0.01, now)
    return clock


def test_it_is_believed_once_a_lease_has_gone_by_since_the_start() -> None:
    clock = followed(4.5)
    assert clock.reckon(told(4.5), 4.5, LEASE_SECONDS) == 0
    assert followed(6.0).reckon(told(6.0), 6.0, LEASE_SECONDS) == told(6.0) - MARGIN


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0, 3_600.0, 86_400.0 * 30])
def test_set_forward_it_is_not_believed_for_the_length_of_a_lease(seconds: float) -> None:
    clock = followed(20.0)
    clock.note(told(20.5, seconds), 20.49, 20.5)
    for number in range(42, 51):
        now = number / 2
        clock.note(told(now, seconds), now - 0.01, now)
        assert clock.reckon(told(now, seconds), now, LEASE_SECONDS) == 0
    clock.note(told(25.7, seconds), 25.69, 25.7)
    assert clock.reckon(told(25.7, seconds), 25.7, LEASE_SECONDS) == told(25.7, seconds) - MARGIN


def test_it_is_noticed_though_nothing_was_heard_for_a_while() -> None:
    clock = followed(20.0)
    clock.note(told(80.0, 10.0), 79.9, 80.0)
    assert clock.reckon(told(80.0, 10.0), 80.0, LEASE_SECONDS) == 0


def test_a_slow_answer_is_no_jump() -> None:
    clock = followed(20.0)
    clock.note(told(20.1), 20.0, 21.0)  # told at once, and long on its way back
    clock.note(told(21.9), 21.0, 22.0)  # long on its way there
    assert clock.reckon(told(22.0), 22.0, LEASE_SECONDS) > 0


def test_a_slow_answer_does_not_hide_a_jump() -> None:
    clock = followed(20.0)
    clock.note(told(21.2), 20.0, 21.2)  # long on its way there
    clock.note(told(21.7, 1.0), 21.69, 21.7)
    assert clock.reckon(told(21.7, 1.0), 21.7, LEASE_SECONDS) == 0


def test_nor_is_a_clock_that_is_being_slewed() -> None:
    clock = followed(120.0, rate=0.000_5)
    assert clock.reckon(told(120.0, 0.06), 120.0, LEASE_SECONDS) > 0


def test_set_backward_it_is_believed() -> None:
    clock = followed(20.0)
    clock.note(told(20.5, -30.0), 20.49, 20.5)
    assert clock.reckon(told(20.5, -30.0), 20.5, LEASE_SECONDS) == told(20.5, -30.0) - MARGIN


def test_what_took_long_to_arrive_does_not_hide_a_jump() -> None:
    clock = followed(20.0)
    clock.note(told(20.2, 2.0), 20.1, 20.2)
    clock.note(told(19.9), 19.8, 20.1)  # of before the jump, noted after it
    assert clock.reckon(told(20.3, 2.0), 20.3, LEASE_SECONDS) == 0
