"""The barrier: when a change is in effect on every node, by what the database knows of them."""

from dataclasses import dataclass, replace

import pytest

from keyturn.verifier import (
    Through,
    Waiting,
    how_through,
    is_through,
    may_grant,
    over_at,
    reckoned_micros,
)

SECOND = 1_000_000


@dataclass(frozen=True)
class Row:
    id: str = "a"
    applied: int = 3
    lease_until: int = 10 * SECOND
    left_at: int | None = None


@pytest.mark.parametrize(
    ("row", "clock", "expected"),
    [
        (Row(applied=4), 0, Through.CONFIRMED),
        (Row(applied=5), 0, Through.CONFIRMED),
        (Row(left_at=1), 2, Through.LEFT),
        (Row(), 10 * SECOND, Through.WAITING),
        (Row(), 10 * SECOND + 1, Through.EXPIRED),
    ],
)
def test_a_node_is_through_by_confirming_or_leaving_or_by_the_end_of_its_lease(
    row: Row, clock: int, expected: Through
) -> None:
    assert how_through(row, 4, 0.0, clock) is expected
    assert is_through(row, 4, 0.0, clock) is (expected is not Through.WAITING)


def test_a_time_of_grace_is_waited_for_too_and_stretched_like_the_lease() -> None:
    end = over_at(Row(), 300.0)
    assert end > 10 * SECOND + 300 * SECOND * 1.002
    assert not is_through(Row(), 4, 300.0, end)
    assert is_through(Row(), 4, 300.0, end + 1)


def test_the_database_reckons_with_a_longer_lease_than_the_node_does() -> None:
    # The node's clock is the slowest, the database's the fastest that is reckoned with.
    assert reckoned_micros(5.0) >= 5 / 0.999 * 1.001 * SECOND
    assert reckoned_micros(5.0) < 5.02 * SECOND


def test_a_node_that_does_not_confirm_gets_no_second_lease() -> None:
    assert may_grant(0, None)
    assert may_grant(7, 7)
    assert not may_grant(6, 7)


def test_who_waits_waits_for_each_node() -> None:
    assert Waiting(4, 0.0).effective_by is None
    waiting = Waiting(4, 0.0)
    rows = [Row("a"), Row("b"), Row("c", lease_until=1), Row("d", left_at=5)]
    assert not waiting.see(rows, 2)
    assert (waiting.confirmed, waiting.expired, waiting.waiting) == (0, 1, ("a", "b"))
    assert waiting.effective_by == 10 * SECOND
    assert not waiting.see([replace(rows[0], applied=4), *rows[1:]], 3)
    assert (waiting.confirmed, waiting.waiting) == (1, ("b",))
    assert waiting.see(rows, 10 * SECOND + 1)
    assert (waiting.confirmed, waiting.expired, waiting.waiting) == (1, 2, ())


def test_who_waits_waits_neither_for_newcomers_nor_for_leases_that_come_later() -> None:
    """Both look at the log after the change, so what they serve has it."""
    waiting = Waiting(4, 0.0)
    assert not waiting.see([Row("a")], 2)
    later = [Row("a", lease_until=99 * SECOND), Row("b", lease_until=99 * SECOND)]
    assert waiting.see(later, 10 * SECOND + 1)


def test_who_waits_is_through_with_one_that_says_goodbye_and_not_with_one_that_is_lost() -> None:
    waiting = Waiting(4, 0.0)
    assert not waiting.see([Row("a"), Row("b")], 2)
    assert not waiting.see([Row("a", left_at=3, lease_until=3)], 4)
    assert waiting.waiting == ("b",)
    assert waiting.see([], 10 * SECOND + 1)


def test_without_any_node_nobody_is_waited_for() -> None:
    assert Waiting(4, 0.0).see([], 0)
