"""Records that were read: which are kept, which are used once, which are read again."""

import pytest

from keyturn.verifier import Admission, Standing
from tests.verifier.samples import (
    KEY,
    KEY_REF,
    LEASE,
    OPERATOR,
    fill,
    found,
    looked,
    point,
    started,
    step,
)


def test_a_record_is_kept_where_it_was_read_at_the_point_that_is_applied() -> None:
    verifier = started()
    assert verifier.admit(fill(3), 0.0) is Admission.KEPT
    assert found(verifier) == "record"


def test_a_record_from_before_what_is_applied_is_read_again() -> None:
    verifier = started()
    looked(verifier, step(4, ("key", KEY_REF)))
    assert verifier.admit(fill(3), 0.0) is Admission.TOO_OLD
    assert found(verifier) is None


def test_a_record_from_ahead_is_used_and_kept_nowhere() -> None:
    """What it tells may be lost in a failover, and no step would ever come to let it go."""
    verifier = started()
    assert verifier.admit(fill(4), 0.0) is Admission.USABLE
    assert found(verifier) is None
    assert verifier.applied == point(3)


def test_a_record_from_ahead_counts_from_before_it_was_asked_for() -> None:
    verifier = started()
    looked(verifier, now=9.0)
    assert verifier.admit(fill(4, asked_at=5.0), 9.999) is Admission.USABLE
    assert verifier.admit(fill(4, asked_at=5.0), 10.0) is Admission.TOO_OLD


def test_a_record_that_was_held_over_a_wait_is_admitted_again() -> None:
    verifier = started()
    read = fill(4)
    assert verifier.admit(read, 0.0) is Admission.USABLE
    looked(verifier, step(4), step(5, ("key", KEY_REF)), now=1.0)
    assert verifier.admit(read, 1.0) is Admission.TOO_OLD


def test_a_record_of_another_history_at_the_same_position_is_a_fork() -> None:
    verifier = started()
    assert verifier.admit(fill(3, history="b"), 0.0) is Admission.FORKED
    assert verifier.standing(0.0) is Standing.FORKED


def test_a_damaged_row_is_never_kept() -> None:
    verifier = started()
    assert verifier.admit(fill(3, None, is_keepable=False), 0.0) is Admission.USABLE
    assert verifier.find(KEY, 0.0) is None


def test_that_there_is_no_such_key_is_kept_until_one_is_made() -> None:
    verifier = started()
    assert verifier.admit(fill(3, None), 0.0) is Admission.KEPT
    kept = verifier.find(KEY, 0.0)
    assert kept is not None
    assert kept.record is None
    looked(verifier, step(4, ("key", KEY_REF)))
    assert verifier.find(KEY, 0.0) is None


def test_a_made_up_operator_with_the_id_of_a_key_neither_finds_nor_hides_it() -> None:
    verifier = started()
    verifier.admit(fill(3), 0.0)
    assert verifier.find(OPERATOR, 0.0) is None
    verifier.admit(fill(3, None, id_=OPERATOR), 0.0)
    assert found(verifier) == "record"


def test_a_record_is_read_again_after_a_while() -> None:
    verifier = started()
    verifier.admit(fill(3), 0.0)
    looked(verifier, now=29.9)
    assert found(verifier, 29.99) == "record"
    assert found(verifier, 30.0) is None


def test_a_record_that_is_in_use_is_to_be_read_again_after_the_length_of_a_lease() -> None:
    """While the database can be asked; meanwhile it is good."""
    verifier = started()
    verifier.admit(fill(3), 0.0)
    kept = verifier.find(KEY, 0.0)
    assert kept is not None
    assert not verifier.is_old(kept, LEASE - 0.01)
    assert not verifier.is_old(kept, LEASE)  # the lease is over
    looked(verifier, now=1.0)
    assert verifier.is_old(kept, LEASE)
    assert found(verifier, LEASE) == "record"
    verifier.admit(fill(3), LEASE)
    again = verifier.find(KEY, LEASE)
    assert again is not None
    assert not verifier.is_old(again, LEASE)


def test_a_record_that_was_damaged_since_is_not_kept() -> None:
    verifier = started()
    verifier.admit(fill(3), 0.0)
    assert verifier.admit(fill(3, None, is_keepable=False), 1.0) is Admission.USABLE
    assert found(verifier, 1.0) is None


def test_records_do_not_age_while_the_database_cannot_be_asked() -> None:
    verifier = started()
    looked(verifier, now=26.0)
    verifier.admit(fill(3), 1.0)  # to be kept until 31, and the lease ends at 31
    assert verifier.standing(100.0) is Standing.LATE
    assert found(verifier, 100.0) is None
    verifier.admit(fill(3), 2.0)
    assert found(verifier, 100.0) == "record"
    looked(verifier, now=100.0)
    assert found(verifier, 100.0) is None


@pytest.mark.parametrize("now", [0.0, LEASE - 0.001])
def test_a_fresh_lease_is_fresh_until_it_ends(now: float) -> None:
    assert started().standing(now) is Standing.FRESH
