"""The pace of following: sooner where others wait, and never for long without asking."""

import pytest

from keyturn.verifier import (
    Next,
    Taken,
    pause_seconds,
    poll_seconds,
    statement_seconds,
    what_next,
)

HEALED_WITHIN_SECONDS = 2.0


@pytest.mark.parametrize(
    ("taken", "has_moved", "is_hurried", "has_reported", "expected"),
    [
        (Taken.CAUGHT_UP, False, False, True, Next.AFTER_POLL),
        (Taken.CAUGHT_UP, False, False, False, Next.AT_ONCE),
        (Taken.CAUGHT_UP, True, False, True, Next.AT_ONCE),
        (Taken.CAUGHT_UP, False, True, True, Next.AT_ONCE),
        (Taken.MORE, False, False, True, Next.AT_ONCE),
        (Taken.GAP, False, False, True, Next.AFTER_PAUSE),
        (Taken.GAP, True, False, True, Next.AT_ONCE),
        (Taken.FORKED, True, True, False, Next.NEVER),
    ],
)
def test_what_comes_next(
    taken: Taken, has_moved: bool, is_hurried: bool, has_reported: bool, expected: Next
) -> None:
    following = what_next(
        taken, has_moved=has_moved, is_hurried=is_hurried, has_reported=has_reported
    )
    assert following is expected


@pytest.mark.parametrize("lease", [1.0, 5.0, 30.0])
def test_a_lease_has_room_for_several_rounds(lease: float) -> None:
    assert poll_seconds(lease) + 2 * statement_seconds(lease) < lease


@pytest.mark.parametrize("lease", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("failures", [1, 2, 5, 1_000])
def test_a_link_that_has_healed_serves_within_two_seconds(lease: float, failures: int) -> None:
    """At the worst, a question was lost on it just before."""
    lost = statement_seconds(lease)
    assert lost + pause_seconds(failures, lost) < HEALED_WITHIN_SECONDS
    assert pause_seconds(failures, 0.0) <= 0.5
    assert pause_seconds(failures, 0.0) > 0.0
