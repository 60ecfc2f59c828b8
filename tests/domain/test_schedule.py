"""The schedule: everybody is reminded in time and once, and a plan keeps to its policy."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.instant import DAY, SECOND, format_instant, parse_instant
from keyturn.domain.key import Key, KeyState
from keyturn.domain.policy import (
    WEEK,
    MaintenanceWindow,
    RotationPolicy,
    Weekday,
)
from keyturn.domain.schedule import (
    ANNOUNCED_WITHIN,
    OPEN_FOR,
    REMINDERS_DAYS,
    Planned,
    Start,
    announcement,
    due_cause,
    expiring_cause,
    next_turn,
    next_window,
    plan,
    rotate_by,
)
from keyturn.domain.slot import NOTHING_NOTED, SlotNotes
from tests.domain.samples import NOW, SAMPLE_KEY, policies, sample_id

HOUR = 3_600 * SECOND
NOTES = SlotNotes(
    owner="ops@example.com",
    runbook_url="https://wiki.example.com/a",
    rotation_period_days=90,
)
DUE = NOW + 90 * DAY
NIGHTLY = RotationPolicy(
    windows=(MaintenanceWindow(days=WEEK, starts_minute=120, minutes=60),), most_at_once=1
)

moments = st.integers(NOW - 400 * DAY, NOW + 400 * DAY)
times_due = st.integers(NOW - 40 * DAY, NOW + 40 * DAY)
many_due = st.lists(times_due, max_size=12)


def at(text: str) -> int:
    return parse_instant(text)


def keys_due(times: list[int]) -> list[tuple[Key, int]]:
    return [(replace(SAMPLE_KEY, id=sample_id(index)), by) for index, by in enumerate(times)]


def told(now: int, notes: SlotNotes | None = NOTES, policy: RotationPolicy | None = None) -> Cause:
    cause = due_cause(SAMPLE_KEY, notes, policy, now)
    assert cause is not None
    return cause


# --- when a key is to be rotated -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("notes", "policy", "days"),
    [
        (None, None, None),
        (NOTHING_NOTED, None, None),
        (NOTHING_NOTED, RotationPolicy(), None),
        (NOTHING_NOTED, RotationPolicy(rotation_period_days=30), 30),
        (None, RotationPolicy(rotation_period_days=30), 30),
        (NOTES, RotationPolicy(rotation_period_days=30), 90),
        (NOTES, RotationPolicy(), 90),
        (NOTES, None, 90),
    ],
)
def test_the_slots_period_goes_before_the_workspaces(
    notes: SlotNotes | None, policy: RotationPolicy | None, days: int | None
) -> None:
    assert rotate_by(SAMPLE_KEY, notes, policy) == (None if days is None else NOW + days * DAY)


def test_a_key_is_counted_from_its_last_rotation() -> None:
    rotated = replace(SAMPLE_KEY, last_rotated_at=NOW + 5 * DAY)
    assert rotate_by(rotated, NOTES, None) == NOW + 95 * DAY


# --- reminders -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "severity"),
    [(30, Severity.INFO), (14, Severity.INFO), (7, Severity.WARNING), (1, Severity.WARNING)],
)
def test_a_key_is_reminded_of_from_that_many_days_before(days: int, severity: Severity) -> None:
    begins = DUE - days * DAY
    before = due_cause(SAMPLE_KEY, NOTES, None, begins - 1)
    assert before is None or before.mark != f"{days}@{DUE}"
    cause = told(begins)
    assert (cause.kind, cause.mark) == (FindingKind.KEY_ROTATION_DUE, f"{days}@{DUE}")
    assert (cause.severity, cause.happens_once) == (severity, True)
    assert cause.evidence["days_left"] == days


def test_a_reminder_says_who_what_when_and_what_to_do() -> None:
    cause = told(DUE - 7 * DAY + 1)
    assert (cause.subject_type, cause.subject_id) == (SubjectType.KEY, str(SAMPLE_KEY.id))
    assert cause.slot == SAMPLE_KEY.slot
    assert json.loads(json.dumps(cause.evidence)) == {
        "key": "scheduler-prod",
        "slot": "scheduler-prod",
        "owner": "ops@example.com",
        "rotate_by": format_instant(DUE),
        "days_left": 7,
        "runbook_url": "https://wiki.example.com/a",
        "next_step": "Start a rotation: `keyturn rotations start scheduler-prod`.",
    }


def test_a_key_past_its_time_is_overdue() -> None:
    assert told(DUE - 1).kind is FindingKind.KEY_ROTATION_DUE
    for late, days_left in ((0, 0), (1, 0), (DAY, -1), (400 * DAY, -400)):
        cause = told(DUE + late)
        assert (cause.kind, cause.mark) == (FindingKind.KEY_ROTATION_OVERDUE, f"{DUE}")
        assert (cause.severity, cause.happens_once) == (Severity.WARNING, True)
        assert cause.evidence["days_left"] == days_left


@pytest.mark.parametrize("period", [1, 2, 7, 8, 14, 15, 30, 31, 400])
def test_no_reminder_is_as_long_as_the_period(period: int) -> None:
    notes = SlotNotes(rotation_period_days=period)
    marks = set()
    for hours in range(period * 24):
        cause = due_cause(SAMPLE_KEY, notes, None, NOW + hours * HOUR)
        if cause is not None:
            marks.add(int(cause.mark.partition("@")[0]))
    assert marks == {one for one in REMINDERS_DAYS if one < period}


def test_a_key_that_was_just_made_is_not_reminded_of() -> None:
    for period in (1, 7, 14, 30, 31):
        policy = RotationPolicy(rotation_period_days=period)
        assert due_cause(SAMPLE_KEY, None, policy, SAMPLE_KEY.created_at) is None


@given(st.integers(0, 100 * DAY))
def test_only_the_nearest_reminder_is_given_after_an_outage(age: int) -> None:
    now = NOW + age
    left = DUE - now
    cause = due_cause(SAMPLE_KEY, NOTES, None, now)
    if left > 30 * DAY:
        assert cause is None
        return
    assert cause is not None
    if left <= 0:
        assert cause.kind is FindingKind.KEY_ROTATION_OVERDUE
        return
    days = int(cause.mark.partition("@")[0])
    assert left <= days * DAY
    assert not [one for one in REMINDERS_DAYS if one < days and left <= one * DAY]


@given(st.lists(moments, max_size=40))
def test_a_clock_that_jumps_reminds_of_nothing_twice(times: list[int]) -> None:
    found = [due_cause(SAMPLE_KEY, NOTES, None, now) for now in times]
    causes = [cause for cause in found if cause is not None]
    given_once = {cause.identity for cause in causes}
    assert len(given_once) <= len(REMINDERS_DAYS) + 1
    assert len(given_once) == len({(cause.kind, cause.mark) for cause in causes})
    assert all(cause.happens_once for cause in causes)


def test_a_key_that_was_rotated_is_reminded_of_anew() -> None:
    rotated = replace(SAMPLE_KEY, last_rotated_at=DUE)
    assert due_cause(rotated, NOTES, None, DUE) is None
    again = due_cause(rotated, NOTES, None, DUE + 83 * DAY)
    assert again is not None
    assert again.identity != told(DUE - 7 * DAY).identity


@pytest.mark.parametrize(
    "key",
    [
        replace(SAMPLE_KEY, state=KeyState.SUSPENDED),
        replace(SAMPLE_KEY, state=KeyState.REVOKED),
        replace(SAMPLE_KEY, expires_at=DUE),
    ],
)
def test_nobody_is_told_to_rotate_a_key_that_does_not_work(key: Key) -> None:
    assert due_cause(SAMPLE_KEY, NOTES, None, DUE) is not None
    assert due_cause(key, NOTES, None, DUE) is None


def test_nobody_is_reminded_of_a_key_that_is_being_rotated() -> None:
    assert due_cause(SAMPLE_KEY, NOTES, None, DUE - 7 * DAY) is not None
    assert due_cause(SAMPLE_KEY, NOTES, None, DUE - 7 * DAY, is_rotating=True) is None


@pytest.mark.parametrize("now", [DUE, DUE + DAY])
def test_an_overdue_key_is_told_of_until_it_is_replaced(now: int) -> None:
    cause = due_cause(SAMPLE_KEY, NOTES, None, now)
    assert cause is not None
    assert due_cause(SAMPLE_KEY, NOTES, None, now, is_rotating=True) == cause


# --- keys that end by themselves -----------------------------------------------------------------

ENDS = NOW + 60 * DAY
ENDING = replace(SAMPLE_KEY, created_at=NOW, expires_at=ENDS)


@pytest.mark.parametrize(
    ("days", "severity"),
    [(30, Severity.INFO), (14, Severity.INFO), (7, Severity.WARNING), (1, Severity.WARNING)],
)
def test_a_key_is_said_to_end_from_that_many_days_before(days: int, severity: Severity) -> None:
    begins = ENDS - days * DAY
    before, cause = (expiring_cause(ENDING, NOTES, now) for now in (begins - 1, begins))
    assert before is None or before.mark != f"{days}@{ENDS}"
    assert cause is not None
    assert (cause.kind, cause.mark) == (FindingKind.KEY_EXPIRING, f"{days}@{ENDS}")
    assert (cause.severity, cause.happens_once) == (severity, True)
    assert cause.evidence["expires_at"] == format_instant(ENDS)
    assert cause.evidence["days_left"] == days
    assert f"keyturn rotations start {ENDING.slot}" in str(cause.evidence["next_step"])


def test_nobody_is_told_that_a_key_ends_where_that_is_no_news() -> None:
    late = ENDS - DAY
    assert expiring_cause(ENDING, None, late) is not None
    assert expiring_cause(ENDING, None, late, is_rotating=True) is None
    assert expiring_cause(ENDING, None, ENDS) is None  # it has ended
    assert expiring_cause(replace(ENDING, expires_at=None), None, late) is None
    assert expiring_cause(replace(ENDING, state=KeyState.SUSPENDED), None, late) is None
    # Made for a week, it is not said at once that it ends in less than two.
    short = replace(SAMPLE_KEY, created_at=NOW, expires_at=NOW + 7 * DAY)
    assert expiring_cause(short, None, NOW) is None
    assert expiring_cause(short, None, NOW + 6 * DAY) is not None


# --- windows -------------------------------------------------------------------------------------


def window(days: tuple[Weekday, ...], starts: int, minutes: int) -> RotationPolicy:
    one = MaintenanceWindow(days=days, starts_minute=starts, minutes=minutes)
    return RotationPolicy(windows=(one,))


@pytest.mark.parametrize(
    ("after", "start", "end"),
    [  # Mondays and Thursdays, 22:30 to 02:30; 2027-02-01 is a Monday
        ("2027-02-01T12:00:00Z", "2027-02-01T22:30:00Z", "2027-02-02T02:30:00Z"),
        ("2027-02-01T22:30:00Z", "2027-02-01T22:30:00Z", "2027-02-02T02:30:00Z"),
        ("2027-02-02T02:29:59Z", "2027-02-01T22:30:00Z", "2027-02-02T02:30:00Z"),
        ("2027-02-02T02:30:00Z", "2027-02-04T22:30:00Z", "2027-02-05T02:30:00Z"),
        ("2027-02-05T03:00:00Z", "2027-02-08T22:30:00Z", "2027-02-09T02:30:00Z"),
        ("2027-12-31T12:00:00Z", "2028-01-03T22:30:00Z", "2028-01-04T02:30:00Z"),
    ],
)
def test_a_window_may_cross_midnight(after: str, start: str, end: str) -> None:
    policy = window((Weekday.MONDAY, Weekday.THURSDAY), 22 * 60 + 30, 240)
    assert next_window(policy, at(after)) == (at(start), at(end))


def test_a_window_may_cross_the_end_of_the_week() -> None:
    policy = window((Weekday.SUNDAY,), 23 * 60, 120)
    sunday, monday = at("2027-02-07T23:00:00Z"), at("2027-02-08T01:00:00Z")
    assert next_window(policy, at("2027-02-08T00:30:00Z")) == (sunday, monday)
    assert next_window(policy, monday) == (sunday + 7 * DAY, monday + 7 * DAY)


def test_without_windows_each_day_is_one() -> None:
    day = at("2027-02-03T00:00:00Z")
    assert next_window(RotationPolicy(), day) == (day, day + DAY)
    assert next_window(RotationPolicy(), day + DAY - 1) == (day, day + DAY)


def openings(policy: RotationPolicy, since: int, until: int) -> set[tuple[int, int]]:
    """The windows that open from `since` to `until`, by the calendar of the standard library."""
    found = set()
    for one in policy.windows or (MaintenanceWindow(days=WEEK, starts_minute=0, minutes=1_440),):
        for number in range(since // DAY, until // DAY + 1):
            day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)
            start = number * DAY + one.starts_minute * 60 * SECOND
            if WEEK[day.weekday()] in one.days and since <= start <= until:
                found.add((start, start + one.minutes * 60 * SECOND))
    return found


@given(policies, moments)
def test_the_next_window_is_the_first_that_has_not_passed(
    policy: RotationPolicy, after: int
) -> None:
    near = openings(policy, after - 2 * DAY, after + 8 * DAY)
    assert next_window(policy, after) == min(one for one in near if one[1] > after)


@given(policies, moments)
def test_the_next_turn_is_the_first_at_which_a_window_opens_or_closes(
    policy: RotationPolicy, after: int
) -> None:
    near = openings(policy, after - 2 * DAY, after + 8 * DAY)
    assert next_turn(policy, after) == min(at for one in near for at in one if at > after)


# --- plans ---------------------------------------------------------------------------------------


def planned_for(
    policy: RotationPolicy, times: list[int], open_count: int, now: int
) -> list[Planned]:
    return list(plan(keys_due(times), policy, open_count, now))


@given(policies, many_due, st.integers(0, 7), moments)
def test_no_plan_has_more_open_at_once_than_may_be(
    policy: RotationPolicy, times: list[int], open_count: int, now: int
) -> None:
    starts = [max(one.start, now) for one in planned_for(policy, times, open_count, now)]
    busy = [now] * min(open_count, policy.most_at_once) + starts
    for moment in starts:
        running = [one for one in busy if one <= moment < one + OPEN_FOR]
        assert len(running) <= policy.most_at_once


@given(policies, many_due, st.integers(0, 7), moments, st.data())
def test_where_nothing_starts_now_nothing_starts_before_the_next_turn(
    policy: RotationPolicy, times: list[int], open_count: int, now: int, data: st.DataObject
) -> None:
    def starting(moment: int) -> bool:
        planned = planned_for(policy, times, open_count, moment)
        return any(one.start <= moment < one.end for one in planned)

    later = data.draw(st.integers(now, next_turn(policy, now) - 1))
    assume(not starting(now))
    assert not starting(later)


@given(policies, many_due, st.integers(0, 7), moments)
def test_a_plan_names_windows_of_the_policy_that_have_not_passed(
    policy: RotationPolicy, times: list[int], open_count: int, now: int
) -> None:
    for one in planned_for(policy, times, open_count, now):
        assert (one.start, one.end) in openings(policy, one.start, one.start)
        assert one.end > now


@given(policies, many_due, st.integers(0, 7), moments)
def test_nobody_is_starved(
    policy: RotationPolicy, times: list[int], open_count: int, now: int
) -> None:
    planned = planned_for(policy, times, open_count, now)
    assert sorted(str(one.key.id) for one in planned) == sorted(
        str(key.id) for key, _ in keys_due(times)
    )
    # Each turn waits for one rotation to end, and for a window to come.
    for turn, one in enumerate(planned, start=1):
        turns = (turn + open_count) // policy.most_at_once + 1
        assert one.start <= max(one.rotate_by, now) + turns * (OPEN_FOR + 7 * DAY)


@given(policies, many_due, st.integers(0, 7), moments)
def test_those_due_soonest_go_first(
    policy: RotationPolicy, times: list[int], open_count: int, now: int
) -> None:
    planned = planned_for(policy, times, open_count, now)
    for sooner, later in pairwise(planned):
        assert sooner.rotate_by <= later.rotate_by
        assert max(sooner.start, now) <= max(later.start, now)


@given(policies, times_due, moments)
def test_a_key_alone_starts_in_the_last_window_before_it_is_due(
    policy: RotationPolicy, due: int, now: int
) -> None:
    (one,) = planned_for(policy, [due], 0, now)
    start, end = max(openings(policy, due - 8 * DAY, due))
    assert (one.start, one.end) == ((start, end) if end > now else next_window(policy, now))


@given(policies, many_due, st.integers(0, 7), moments, st.randoms(use_true_random=False))
def test_a_plan_does_not_hang_on_the_order_in_which_keys_are_read(
    policy: RotationPolicy, times: list[int], open_count: int, now: int, chance: Random
) -> None:
    due = keys_due(times)
    shuffled = chance.sample(due, len(due))
    assert plan(shuffled, policy, open_count, now) == plan(due, policy, open_count, now)


@given(policies, many_due, st.integers(0, 7), moments, st.integers(0, 30 * DAY))
def test_a_plan_that_is_cut_is_the_beginning_of_the_whole(
    policy: RotationPolicy, times: list[int], open_count: int, now: int, ahead: int
) -> None:
    whole = plan(keys_due(times), policy, open_count, now)
    cut = plan(keys_due(times), policy, open_count, now, until=now + ahead)
    assert list(cut) == [one for one in whole if one.start <= now + ahead]


@given(policies, many_due, st.lists(moments, min_size=1, max_size=5))
def test_a_clock_that_jumps_plans_nothing_twice(
    policy: RotationPolicy, times: list[int], nows: list[int]
) -> None:
    for now in nows:
        causes = [announcement(one, None, now) for one in planned_for(policy, times, 0, now)]
        subjects = [cause.subject_id for cause in causes if cause is not None]
        assert len(set(subjects)) == len(subjects)
    assert planned_for(policy, times, 0, nows[0]) == planned_for(policy, times, 0, nows[0])


@given(policies, moments, st.integers(1, 40))
def test_a_key_that_was_rotated_in_a_window_has_no_second_turn_in_it(
    policy: RotationPolicy, now: int, period: int
) -> None:
    rotated_at = max(next_window(policy, now)[0], now)
    key = replace(SAMPLE_KEY, last_rotated_at=rotated_at)
    (one,) = plan([(key, rotated_at + period * DAY)], policy, 0, rotated_at + 1)
    assert one.start > rotated_at


def test_keys_due_on_one_day_go_to_one_window_after_another() -> None:
    now, due = at("2027-02-01T12:00:00Z"), at("2027-02-10T12:00:00Z")
    first = at("2027-02-10T02:00:00Z")
    starts = [one.start for one in planned_for(NIGHTLY, [due, due, due + 1], 0, now)]
    assert starts == [first, first + DAY, first + 2 * DAY]
    two = replace(NIGHTLY, most_at_once=2)
    starts = [one.start for one in planned_for(two, [due, due, due + 1], 0, now)]
    assert starts == [first, first, first + DAY]


def test_a_key_that_is_due_as_a_window_opens_starts_in_it() -> None:
    now, opening = at("2027-02-01T12:00:00Z"), at("2027-02-10T02:00:00Z")
    assert [one.start for one in planned_for(NIGHTLY, [opening], 0, now)] == [opening]
    assert [one.start for one in planned_for(NIGHTLY, [opening - 1], 0, now)] == [opening - DAY]


def test_an_overdue_key_waits_for_the_rotations_that_are_open() -> None:
    now = at("2027-02-01T02:30:00Z")
    night = at("2027-02-01T02:00:00Z")
    assert planned_for(NIGHTLY, [now - DAY], 0, now)[0].start == night
    assert planned_for(NIGHTLY, [now - DAY], 1, now)[0].start == night + 2 * DAY
    assert planned_for(NIGHTLY, [now - DAY], 9, now)[0].start == night + 2 * DAY
    two = replace(NIGHTLY, most_at_once=2)
    assert planned_for(two, [now - DAY], 1, now)[0].start == night


# --- announcements -------------------------------------------------------------------------------


def test_a_planned_rotation_is_announced_a_week_before_and_while_its_window_is_open() -> None:
    now, due = at("2027-02-01T12:00:00Z"), at("2027-02-10T12:00:00Z")
    (one,) = planned_for(NIGHTLY, [due], 0, now)
    assert announcement(one, NOTES, one.start - ANNOUNCED_WITHIN - 1) is None
    first = announcement(one, NOTES, one.start - ANNOUNCED_WITHIN)
    assert first is not None
    assert first == announcement(one, NOTES, one.end - 1)
    assert (first.kind, first.severity) == (FindingKind.ROTATION_ANNOUNCED, Severity.INFO)
    assert (first.mark, first.happens_once) == (f"{one.start}", False)


def test_an_announcement_says_when_and_who_must_start_it() -> None:
    now = at("2027-02-08T12:00:00Z")
    (one,) = planned_for(NIGHTLY, [at("2027-02-10T12:00:00Z")], 0, now)
    cause = announcement(one, NOTES, now)
    assert cause is not None
    evidence = json.loads(json.dumps(cause.evidence))
    next_step = evidence.pop("next_step")
    assert evidence == {
        "key": "scheduler-prod",
        "slot": "scheduler-prod",
        "owner": "ops@example.com",
        "window_starts": "2027-02-10T02:00:00.000000Z",
        "window_ends": "2027-02-10T03:00:00.000000Z",
        "rotate_by": "2027-02-10T12:00:00.000000Z",
        "runbook_url": "https://wiki.example.com/a",
        "command": "keyturn rotations start scheduler-prod",
        "destinations": [],
    }
    assert "by hand" in next_step
    assert "`keyturn rotations start scheduler-prod`" in next_step


@pytest.mark.parametrize("start", list(Start))
def test_an_announcement_is_true_of_how_it_starts(start: Start) -> None:
    now = at("2027-02-08T12:00:00Z")
    (one,) = planned_for(NIGHTLY, [at("2027-02-10T12:00:00Z")], 0, now)
    cause = announcement(one, replace(NOTES, destinations=("vault", "file")), now, start)
    assert cause is not None
    next_step = str(cause.evidence["next_step"])
    assert ("starts by itself in its window" in next_step) is (start is Start.BY_ITSELF)
    assert ("by hand" in next_step) is (start is Start.BY_HAND)
    assert ("vault, file" in next_step) is (start is not Start.BY_HAND)
    assert (cause.severity is Severity.WARNING) is (start is Start.HELD_UP)


def test_what_a_policy_says_of_windows_moves_no_announcement_while_one_is_awaited() -> None:
    due = at("2027-02-10T12:00:00Z")
    start = at("2027-02-10T02:00:00Z")
    marks = set()
    for hour in range(24 * 6):
        now = start - 6 * DAY + hour * HOUR
        (one,) = planned_for(NIGHTLY, [due], 0, now)
        cause = announcement(one, None, now)
        assert cause is not None
        marks.add(cause.mark)
    assert marks == {f"{start}"}
