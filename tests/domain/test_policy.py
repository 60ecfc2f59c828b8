"""The rotation policy: what is asked for is kept as it is, and each fault is named in its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.policy import (
    MOST_AT_ONCE,
    MOST_WINDOWS,
    WEEK,
    RotationPolicy,
    Weekday,
    WindowDraft,
    make_policy,
    read_policy,
)
from keyturn.domain.slot import LONGEST_PERIOD_DAYS
from tests.domain.samples import policies


def draft(
    days: tuple[str, ...] = ("mon",), starts: str = "02:00", minutes: int = 60
) -> WindowDraft:
    return WindowDraft(days=days, starts=starts, minutes=minutes)


def pointers(period: int | None, most: int, *windows: WindowDraft) -> list[str]:
    with pytest.raises(RequestInvalid) as refused:
        make_policy(rotation_period_days=period, most_at_once=most, windows=windows)
    assert refused.value.detail == refused.value.faults[0].detail
    return [fault.pointer.removeprefix("/rotation_policy") for fault in refused.value.faults]


@given(policies)
def test_a_policy_is_read_back_from_its_text_as_it_was(policy: RotationPolicy) -> None:
    assert read_policy(policy.text()) == policy


@given(policies)
def test_what_a_policy_spells_is_accepted_as_given(policy: RotationPolicy) -> None:
    members = json.loads(policy.text())
    drafts = [
        draft(tuple(one["days"]), one["starts"], one["minutes"])
        for one in members["maintenance_windows"]
    ]
    made = make_policy(
        rotation_period_days=members["rotation_period_days"],
        most_at_once=members["most_at_once"],
        windows=drafts,
    )
    assert made == policy


def test_the_text_is_canonical() -> None:
    one, other = (
        make_policy(rotation_period_days=90, most_at_once=2, windows=[draft(days, "22:05", 180)])
        for days in (("tue", "mon", "tue"), ("mon", "tue"))
    )
    assert one.windows[0].days == (Weekday.MONDAY, Weekday.TUESDAY)
    assert (
        one.text()
        == other.text()
        == (
            '{"maintenance_windows":[{"days":["mon","tue"],"minutes":180,"starts":"22:05"}],'
            '"most_at_once":2,"rotation_period_days":90}'
        )
    )


def test_no_text_is_no_policy() -> None:
    assert read_policy(None) is None


def test_a_policy_is_empty_only_where_it_says_nothing() -> None:
    assert RotationPolicy().is_empty
    assert make_policy(rotation_period_days=None, most_at_once=1, windows=()).is_empty
    assert not RotationPolicy(rotation_period_days=1).is_empty
    assert not RotationPolicy(most_at_once=2).is_empty
    assert not make_policy(rotation_period_days=None, most_at_once=1, windows=[draft()]).is_empty


@pytest.mark.parametrize("period", [0, -1, LONGEST_PERIOD_DAYS + 1])
def test_a_period_is_a_day_to_ten_years(period: int) -> None:
    assert pointers(period, 1) == ["/rotation_period_days"]


@pytest.mark.parametrize("most", [0, -1, MOST_AT_ONCE + 1])
def test_at_least_one_rotation_is_open_at_once(most: int) -> None:
    assert pointers(None, most) == ["/most_at_once"]


@pytest.mark.parametrize(
    ("window", "pointer"),
    [
        (draft(days=()), "/days"),
        (draft(days=("mon", "Tue")), "/days/1"),
        (draft(days=("monday",)), "/days/0"),
        (draft(starts="24:00"), "/starts"),
        (draft(starts="2:00"), "/starts"),
        (draft(starts="02:60"), "/starts"),
        (draft(starts="02:00\n"), "/starts"),
        (draft(starts="\u0660\u0662:\u0660\u0660"), "/starts"),
        (draft(starts=""), "/starts"),
        (draft(minutes=14), "/minutes"),
        (draft(minutes=1_441), "/minutes"),
    ],
)
def test_a_fault_in_a_window_is_named_in_its_place(window: WindowDraft, pointer: str) -> None:
    assert pointers(None, 1, draft(), window) == [f"/maintenance_windows/1{pointer}"]


def test_all_faults_are_told_at_once() -> None:
    first = draft(days=("x", "mon", "y"), starts="x", minutes=0)
    assert pointers(0, 0, first, draft(), draft(starts="y")) == [
        "/rotation_period_days",
        "/most_at_once",
        "/maintenance_windows/0/days/0",
        "/maintenance_windows/0/days/2",
        "/maintenance_windows/0/starts",
        "/maintenance_windows/0/minutes",
        "/maintenance_windows/2/starts",
    ]


def test_there_is_an_end_to_windows() -> None:
    assert pointers(None, 1, *[draft()] * (MOST_WINDOWS + 1)) == ["/maintenance_windows"]
    made = make_policy(rotation_period_days=1, most_at_once=1, windows=[draft()] * MOST_WINDOWS)
    assert len(made.windows) == MOST_WINDOWS


@given(st.sampled_from(WEEK), st.integers(0, 1_439), st.integers(15, 1_440))
def test_each_minute_of_the_week_can_begin_a_window(day: str, minute: int, minutes: int) -> None:
    spelled = f"{minute // 60:02}:{minute % 60:02}"
    made = make_policy(
        rotation_period_days=None, most_at_once=1, windows=[draft((day,), spelled, minutes)]
    )
    assert made.windows[0].starts_minute == minute
    assert made.windows[0].starts == spelled
