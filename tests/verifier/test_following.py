"""Following the log: what extends the lease, and what ends it."""

import math

import pytest

from keyturn.verifier import (
    MOST_STEPS,
    ORIGIN,
    Admission,
    Answer,
    Point,
    Standing,
    Step,
    Taken,
    Verifier,
)
from tests.verifier.samples import KEY, KEY_REF, LEASE, fill, found, looked, point, started, step


def test_a_node_answers_nothing_before_its_first_look() -> None:
    verifier: Verifier[str] = Verifier(lease_seconds=LEASE)
    assert verifier.standing(0.0) is Standing.NEW
    assert verifier.late_seconds(0.0) == math.inf
    assert verifier.admit(fill(3), 0.0) is Admission.USABLE
    assert found(verifier) is None


def test_a_lease_counts_from_the_question_and_not_from_the_answer() -> None:
    verifier: Verifier[str] = Verifier(lease_seconds=LEASE)
    question = verifier.ask(10.0)
    verifier.take(question, Answer(point(3), (), is_all=True), granted=True, now=13.0)
    assert verifier.standing(14.999) is Standing.FRESH
    assert verifier.standing(15.0) is Standing.LATE
    assert verifier.late_seconds(15.5) == 0.5
    assert verifier.lease_seconds_left(12.0) == 3.0


def test_an_answer_that_was_not_granted_is_applied_and_extends_nothing() -> None:
    verifier = started()
    assert looked(verifier, step(4), now=1.0, granted=False) is Taken.CAUGHT_UP
    assert verifier.applied == point(4)
    assert verifier.standing(LEASE) is Standing.LATE


def test_an_answer_that_does_not_reach_the_end_extends_nothing() -> None:
    verifier = started()
    assert looked(verifier, step(4), now=1.0, is_all=False) is Taken.MORE
    assert verifier.applied == point(4)
    assert verifier.standing(LEASE) is Standing.LATE


def test_a_gap_stops_before_it_and_extends_nothing() -> None:
    verifier = started()
    assert looked(verifier, step(4), step(6), now=1.0) is Taken.GAP
    assert verifier.applied == point(4)
    assert verifier.standing(LEASE) is Standing.LATE


def test_an_answer_to_an_earlier_question_counts_for_nothing() -> None:
    verifier = started()
    first = verifier.ask(1.0)
    verifier.ask(2.0)
    answer = Answer(point(3), (step(4),), is_all=True)
    assert verifier.take(first, answer, granted=True, now=2.1) is Taken.MORE
    assert verifier.applied == point(3)
    assert verifier.standing(LEASE) is Standing.LATE


def test_an_answer_counts_once() -> None:
    verifier = started()
    question = verifier.ask(1.0)
    answer = Answer(point(3), (step(4),), is_all=True)
    assert verifier.take(question, answer, granted=True, now=1.1) is Taken.CAUGHT_UP
    assert verifier.take(question, answer, granted=True, now=1.2) is Taken.MORE
    assert verifier.applied == point(4)


@pytest.mark.parametrize("anchor", [None, point(3, "b"), point(2), ORIGIN])
def test_a_log_that_parts_from_what_was_applied_is_a_fork_for_good(anchor: Point | None) -> None:
    verifier = started()
    assert verifier.admit(fill(3), 0.0) is Admission.KEPT
    answer = Answer(anchor, (), is_all=True)
    assert verifier.take(verifier.ask(1.0), answer, granted=True, now=1.0) is Taken.FORKED
    assert found(verifier) is None
    assert verifier.standing(1.0) is Standing.FORKED
    assert verifier.late_seconds(1.0) == math.inf
    assert looked(verifier, now=2.0) is Taken.FORKED
    assert verifier.admit(fill(3), 2.0) is Admission.FORKED
    assert verifier.standing(2.0) is Standing.FORKED


@pytest.mark.parametrize("anchor", [None, ORIGIN])
def test_an_empty_log_is_followed_from_its_beginning(anchor: Point | None) -> None:
    verifier: Verifier[str] = Verifier(lease_seconds=LEASE)
    nothing = Answer(anchor, (), is_all=True)
    assert verifier.take(verifier.ask(0.0), nothing, granted=True, now=0.0) is Taken.CAUGHT_UP
    assert verifier.applied == ORIGIN
    answer = Answer(anchor, (step(1),), is_all=True)
    assert verifier.take(verifier.ask(1.0), answer, granted=True, now=1.0) is Taken.CAUGHT_UP
    assert verifier.applied == point(1)


def test_a_log_that_has_something_at_its_beginning_is_a_fork() -> None:
    verifier: Verifier[str] = Verifier(lease_seconds=LEASE)
    verifier.take(verifier.ask(0.0), Answer(None, (), is_all=True), granted=True, now=0.0)
    answer = Answer(point(1), (), is_all=True)
    assert verifier.take(verifier.ask(1.0), answer, granted=True, now=1.0) is Taken.FORKED


def test_using_a_record_extends_nothing() -> None:
    verifier = started()
    verifier.admit(fill(3), 0.0)
    for tenth in range(50):
        assert found(verifier, tenth / 10) == "record"
        assert verifier.standing(tenth / 10) is Standing.FRESH
    assert verifier.standing(LEASE) is Standing.LATE


def test_a_step_that_cannot_be_trusted_lets_everything_go() -> None:
    verifier = started()
    verifier.admit(fill(3), 0.0)
    looked(verifier, Step(4, point(4).seal, None))
    assert found(verifier) is None
    assert len(verifier) == 0


def test_a_change_lets_go_of_its_record_and_of_no_other() -> None:
    verifier = started()
    other = ("key", 8)
    verifier.admit(fill(3), 0.0)
    verifier.admit(fill(3, "other", id_=other), 0.0)
    looked(verifier, step(4, ("key", KEY_REF)))
    assert found(verifier) is None
    assert found(verifier, id_=other) == "other"
    assert verifier.find(KEY, 0.0) is None


def test_a_log_is_read_in_pieces_of_a_size() -> None:
    assert MOST_STEPS == 500
