"""The machine of deliveries: every step that there is, and none that there is not."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product

import pytest

from keyturn.domain.delivery import (
    BACKOFF_SECONDS,
    ENDED_STATES,
    LOOK_AGAIN,
    LOOKED_WITHIN,
    OPEN_STATES,
    SEEN_WITHIN,
    TOLD_FROM,
    TRANSITIONS,
    Delivery,
    DeliveryAct,
    DeliveryState,
    Tenant,
    may_write_over,
)
from keyturn.domain.error import DeliveryClosed
from keyturn.domain.instant import SECOND
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making

NOW = SOME_TIME + 1_000
STEPS: dict[DeliveryAct, Callable[[Delivery], Delivery]] = {
    DeliveryAct.DELIVER: lambda one: one.delivered("7", "a/b", NOW),
    DeliveryAct.LOSE: lambda one: one.lost(NOW),
    DeliveryAct.SUPERSEDE: lambda one: one.ended(DeliveryAct.SUPERSEDE, "Newer.", NOW),
    DeliveryAct.RESTORE: lambda one: one.ended(DeliveryAct.RESTORE, None, NOW),
    DeliveryAct.CANCEL: lambda one: one.ended(DeliveryAct.CANCEL, "Enough.", NOW),
    DeliveryAct.TAKE_BACK: lambda one: one.taken_back(NOW),
}


def delivery(state: DeliveryState, *, is_rotations: bool = True) -> Delivery:
    made = making.delivery(1, state=state, rotation=7 if is_rotations else None)
    if state in ENDED_STATES:
        return replace(made, token=None, ended_at=SOME_TIME)
    return replace(made, previous=b"before", begun_at=SOME_TIME)


def test_the_states_are_open_delivered_or_ended() -> None:
    assert set(DeliveryState) == OPEN_STATES | ENDED_STATES | {DeliveryState.DELIVERED}
    assert not {state for state, _ in TRANSITIONS} & ENDED_STATES, "what has ended stays so"
    assert set(STEPS) == set(DeliveryAct)


@pytest.mark.parametrize(("state", "act"), list(product(DeliveryState, DeliveryAct)))
def test_each_step_leads_where_the_table_says_or_is_refused_and_changes_nothing(
    state: DeliveryState, act: DeliveryAct
) -> None:
    before = delivery(state)
    copy = replace(before)
    if (state, act) in TRANSITIONS:
        assert before.after(act) is TRANSITIONS[state, act]
        assert STEPS[act](before).state is TRANSITIONS[state, act]
    else:
        with pytest.raises(DeliveryClosed):
            before.after(act)
        if act is DeliveryAct.TAKE_BACK:  # an end is settled once more without harm
            assert before.taken_back(NOW) is before
        else:
            with pytest.raises(DeliveryClosed):
                STEPS[act](before)
    assert before == copy


@pytest.mark.parametrize("state", sorted(DeliveryState))
def test_only_what_is_open_is_hurried(state: DeliveryState) -> None:
    if state in OPEN_STATES:
        assert delivery(state).hurried(NOW).next_at == NOW
    else:
        with pytest.raises(DeliveryClosed):
            delivery(state).hurried(NOW)


@pytest.mark.parametrize(
    ("state", "act"), [one for one in TRANSITIONS if TRANSITIONS[one] in ENDED_STATES]
)
def test_nothing_secret_is_left_in_what_has_ended(state: DeliveryState, act: DeliveryAct) -> None:
    ended = delivery(state).ended(act, None, NOW)
    assert (ended.token, ended.previous, ended.ended_at) == (None, None, NOW)
    assert not ended.is_open
    assert not ended.is_failing


def test_what_belongs_to_no_rotation_keeps_nothing_once_it_is_delivered() -> None:
    alone = delivery(DeliveryState.WAITING, is_rotations=False).delivered("7", "a", NOW)
    assert (alone.token, alone.previous) == (None, None)
    watched = delivery(DeliveryState.WAITING).delivered("7", "a", NOW)
    assert watched.token is not None
    assert (watched.next_at, watched.fault, watched.failures) == (NOW + LOOK_AGAIN, None, 0)
    assert watched.kept(NOW).token is watched.kept(NOW).previous is None
    open_ = delivery(DeliveryState.WAITING).kept(NOW)
    assert (open_.token is None, open_.previous) == (False, None)


def test_what_was_never_begun_is_not_taken_back_but_cancelled() -> None:
    waiting = replace(delivery(DeliveryState.WAITING), begun_at=None, previous=None)
    assert waiting.taken_back(NOW).state is DeliveryState.CANCELLED
    no_way_back = replace(delivery(DeliveryState.DELIVERED), previous=None)
    cancelled = no_way_back.taken_back(NOW)
    assert cancelled.state is DeliveryState.CANCELLED
    assert cancelled.fault is not None
    assert delivery(DeliveryState.DELIVERED).taken_back(NOW).state is DeliveryState.RESTORING


def test_it_is_tried_more_and_more_rarely_and_never_given_up() -> None:
    one, waits, now = delivery(DeliveryState.WAITING), [], NOW
    for _ in range(len(BACKOFF_SECONDS) + 3):
        one = one.failed("unreachable", "Down.", now)
        waits.append((one.next_at - now) // SECOND)
        now = one.next_at
    assert waits == [*BACKOFF_SECONDS, *(BACKOFF_SECONDS[-1:] * 3)]
    assert (one.attempts, one.failures) == (len(waits), len(waits))
    assert one.is_failing
    assert not replace(one, failures=TOLD_FROM - 1).is_failing
    assert one.hurried(NOW).failures == one.failures


def test_what_stood_there_at_first_is_kept_whatever_stands_there_later() -> None:
    waiting = replace(delivery(DeliveryState.WAITING), begun_at=None, previous=None)
    begun = waiting.begun("m", b"first", "a", NOW).begun("m", b"second", "a", NOW + 1)
    assert (begun.previous, begun.begun_at) == (b"first", NOW)


def test_what_may_be_somebodys_only_copy_is_not_written_over() -> None:
    always = {Tenant.NOBODY, Tenant.OWN, Tenant.REPLACED, Tenant.DEAD}
    for tenant in Tenant:
        assert may_write_over(tenant, is_begun_here=False) is (tenant in always)
        begun = tenant in always or tenant is Tenant.STRANGER
        assert may_write_over(tenant, is_begun_here=True) is begun


def test_a_token_that_was_not_seen_of_late_is_not_said_to_be_there() -> None:
    there = replace(delivery(DeliveryState.DELIVERED), checked_at=NOW)
    assert there.fault_at(NOW + LOOK_AGAIN) is None
    assert there.is_seen_at(NOW + SEEN_WITHIN)
    assert not there.is_seen_at(NOW + SEEN_WITHIN + 1)
    assert not there.is_seen_at(NOW - 1), "by a clock that was ahead"
    assert there.fault_at(NOW + LOOKED_WITHIN + 1) is not None
    assert there.failed("unreachable", "Down.", NOW).fault_at(NOW) == "Down."
    assert there.kept(NOW).fault_at(NOW + 10 * LOOKED_WITHIN) is None, "its rotation has ended"
    assert delivery(DeliveryState.WAITING).fault_at(NOW) is not None


def test_at_another_address_a_token_is_not_known_to_be_there() -> None:
    assert delivery(DeliveryState.DELIVERED).redirected(NOW).state is DeliveryState.WAITING
    alone = delivery(DeliveryState.WAITING, is_rotations=False).delivered("7", "a", NOW)
    assert alone.redirected(NOW) is alone, "nobody could bring it again"


def test_no_token_shows_itself() -> None:
    shown = repr(delivery(DeliveryState.WAITING))
    hidden = {one.name for one in fields(Delivery) if not one.repr}
    assert hidden == {"token", "previous"}
    assert "sealed" not in shown
    assert "before" not in shown
