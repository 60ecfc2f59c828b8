"""The judgement of a rotation: what counts as evidence, one clause of the contract at a time."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from keyturn.domain.evidence import (
    BEHIND,
    CONFLICT,
    HISTORY,
    LIFTED,
    NOT_MOVED,
    ROAMING,
    STILL_ON_OLD,
    SUSPENDED,
    UNUSABLE,
    Use,
)
from keyturn.domain.key import KeyState
from keyturn.domain.place import place_of
from keyturn.domain.rotation import Standing
from keyturn.domain.runtime import identify_runtime
from tests.rotation.scene import (
    AWAY,
    DAY_SECONDS,
    HOME,
    LOOKBACK,
    NEW,
    OLD,
    QUIET,
    STARTED,
    Scene,
    browned_out,
    check_in,
    moment,
    new_use,
    old_use,
    refused,
    registered,
    said,
)

# The worker has moved at 100 s, and last used the old key at 50 s.
MOVED = (old_use("worker", -1000, 50), new_use("worker", 100, 400))
WEEK = 7 * DAY_SECONDS


# --- rule 1: who blocks, and until when ----------------------------------------------------------


def test_who_used_the_old_key_blocks_until_it_is_allowed_on_the_new_one() -> None:
    scene = Scene(at=1000, uses=[old_use("worker", -1000, -10)])
    assert scene.blockers() == {(NOT_MOVED, "worker")}
    assert scene.later(1000, uses=MOVED).blockers() == set()


def test_to_be_refused_the_new_key_is_not_to_be_allowed_on_it() -> None:
    tried = replace(
        new_use("worker", 100, 100), first_seen_at=None, last_seen_at=None, allowed=0, denied=9
    )
    scene = Scene(at=1000, uses=[old_use("worker", -1000, 50), tried])
    assert scene.blockers() == {(NOT_MOVED, "worker")}


def test_one_who_moved_does_not_speak_for_another() -> None:
    scene = Scene(at=1000, uses=[*MOVED, old_use("reader", -1000, 50)])
    assert scene.blockers() == {(NOT_MOVED, "reader")}


def test_the_old_key_must_rest_for_the_whole_quiet() -> None:
    scene = Scene(at=50 + QUIET - 1, uses=MOVED)
    assert scene.blockers() == {(STILL_ON_OLD, "worker")}
    assert scene.later(50 + QUIET).blockers() == set()


def test_who_goes_back_to_the_old_key_blocks_again() -> None:
    uses = [old_use("worker", -1000, 900), new_use("worker", 100, 400)]
    assert Scene(at=1000, uses=uses).blockers() == {(STILL_ON_OLD, "worker")}


def test_who_was_silent_for_the_whole_look_back_blocks_nothing() -> None:
    uses = [old_use("yearly", -2 * LOOKBACK, -LOOKBACK + 20)]
    scene = Scene(at=20, uses=uses, watched_since=-LOOKBACK)
    assert scene.blockers() == {(NOT_MOVED, "yearly")}
    assert scene.later(21).blockers() == set()


def test_a_declared_interval_is_waited_for_in_place_of_the_look_back() -> None:
    weekly = registered("batch", seconds=WEEK)
    scene = Scene(at=0, uses=[old_use("batch", -LOOKBACK, 10)], expected=weekly)
    assert scene.later(10 + WEEK).blockers() == {(NOT_MOVED, "batch")}
    assert scene.later(11 + WEEK).blockers() == set()


def test_a_declared_interval_longer_than_the_look_back_is_waited_for() -> None:
    quarterly = registered("batch", seconds=3 * LOOKBACK)
    scene = Scene(at=10, uses=[old_use("batch", -4 * LOOKBACK, -2 * LOOKBACK)], expected=quarterly)
    assert scene.blockers() == {(NOT_MOVED, "batch")}


def test_a_runtime_that_is_expected_blocks_before_it_ever_called() -> None:
    young = replace(OLD, created_at=moment(-DAY_SECONDS))
    weekly = registered("batch", seconds=WEEK)
    scene = Scene(at=10, old=young, expected=weekly)
    assert scene.blockers() == {(NOT_MOVED, "batch")}
    assert scene.later(WEEK).blockers() == set()


def test_an_interval_declared_for_a_name_is_not_that_of_an_inferred_namesake() -> None:
    daily = registered("worker", seconds=60)
    namesake = old_use("worker", -1000, 50, declared=False)
    assert Scene(at=1000, uses=[namesake], expected=daily).blockers() == {(NOT_MOVED, "worker")}


def test_each_environment_of_the_old_key_must_be_seen_on_the_new_one() -> None:
    uses = [
        old_use("worker", -1000, 50, environment="prod"),
        old_use("worker", -1000, 50, environment="staging"),
        new_use("worker", 100, 400, environment="prod"),
    ]
    scene = Scene(at=1000, uses=uses)
    assert scene.blockers() == {(NOT_MOVED, "worker")}
    staging = new_use("worker", 100, 400, environment="staging")
    assert scene.later(1000, uses=[*uses, staging]).blockers() == set()


def test_an_environment_of_before_the_look_back_is_not_waited_for() -> None:
    uses = [*MOVED, old_use("worker", -3 * LOOKBACK, -2 * LOOKBACK, environment="staging")]
    assert Scene(at=1000, uses=uses).blockers() == set()


def test_a_quiet_that_nobody_watched_is_none() -> None:
    scene = Scene(at=10_000, uses=MOVED, watched_since=10_000 - QUIET + 1)
    assert scene.blockers() == {(STILL_ON_OLD, "worker")}
    assert scene.later(10_001).blockers() == set()


def test_a_silence_within_a_day_must_be_watched_without_a_break() -> None:
    often = registered("batch", seconds=600)
    uses = [*MOVED, old_use("batch", -1000, 0)]
    assert Scene(at=601, uses=uses, expected=often).blockers() == set()
    restarted = Scene(at=1190, uses=uses, expected=often, watched_since=590)
    assert restarted.blockers() == {(NOT_MOVED, "batch")}
    assert restarted.later(1191).blockers() == set()


def test_a_use_lost_with_a_process_is_reckoned_with() -> None:
    weekly = registered("batch", seconds=WEEK)
    uses = [*MOVED, old_use("batch", -LOOKBACK, 0)]
    scene = Scene(at=WEEK + 60, uses=uses, expected=weekly, watched_since=DAY_SECONDS)
    assert scene.blockers() == {(NOT_MOVED, "batch")}
    assert scene.later(WEEK + 61).blockers() == set()


def test_while_nobody_looks_on_nobody_is_silent() -> None:
    weekly = registered("batch", seconds=WEEK)
    uses = [*MOVED, old_use("batch", -LOOKBACK, 0)]
    back = 3 * DAY_SECONDS
    scene = Scene(
        at=WEEK + back, uses=uses, expected=weekly, watched_since=back, unbroken_since=back
    )
    assert scene.blockers() == {(NOT_MOVED, "batch")}
    assert scene.later(WEEK + back + 1).blockers() == set()


def test_a_clock_that_jumps_ahead_makes_no_silence() -> None:
    weekly = registered("batch", seconds=WEEK)
    uses = [*MOVED, old_use("batch", -LOOKBACK, 10)]
    jump = 90 * DAY_SECONDS
    jumped = Scene(
        at=jump + 1000, uses=uses, expected=weekly, watched_since=jump, unbroken_since=jump
    )
    assert jumped.blockers() == {(NOT_MOVED, "batch")}
    assert jumped.later(jump + 1000, expected=()).blockers() == {(NOT_MOVED, "batch")}


def test_missing_records_within_the_look_back_block() -> None:
    scene = Scene(at=1000, uses=MOVED, complete_since=-10 * DAY_SECONDS)
    assert scene.blockers() == {(HISTORY, None)}
    assert scene.later(1000, complete_since=-LOOKBACK).blockers() == set()


def test_records_from_before_the_old_key_are_not_missed() -> None:
    young = replace(OLD, created_at=moment(-DAY_SECONDS))
    scene = Scene(at=1000, uses=MOVED, complete_since=-10 * DAY_SECONDS, old=young)
    assert scene.blockers() == set()


# --- rule 2: time alone retires nothing ----------------------------------------------------------


def test_time_alone_retires_nothing() -> None:
    young = replace(OLD, created_at=moment(-DAY_SECONDS))
    long_after = Scene(at=30 * DAY_SECONDS, old=young).judged()
    assert long_after.allows_person
    assert not long_after.may_end_by_itself


def test_an_old_key_that_is_suspended_is_silent_for_no_reason_of_its_callers() -> None:
    scene = Scene(at=1000, uses=MOVED, old=replace(OLD, state=KeyState.SUSPENDED))
    assert scene.blockers() == {(SUSPENDED, None)}
    assert scene.judged().allows_person
    assert not scene.judged().may_end_by_itself


@pytest.mark.parametrize(
    "new",
    [
        replace(NEW, state=KeyState.SUSPENDED),
        replace(NEW, state=KeyState.REVOKED),
        replace(NEW, expires_at=moment(999)),
    ],
    ids=["suspended", "revoked", "expired"],
)
def test_a_new_key_that_does_not_work_blocks(new: object) -> None:
    scene = Scene(at=1000, uses=MOVED, new=new)  # type: ignore[arg-type]
    assert scene.blockers() == {(UNUSABLE, None)}


# --- rule 3: up to when it is known --------------------------------------------------------------


def test_evidence_that_lags_behind_blocks() -> None:
    scene = Scene(at=1000, uses=MOVED, until=989)
    assert scene.blockers() == {(BEHIND, None)}
    assert scene.later(1000, until=990).blockers() == set()


def test_what_is_not_known_yet_is_no_silence() -> None:
    assert Scene(at=355, until=349, uses=MOVED).blockers() == {(STILL_ON_OLD, "worker")}


# --- rule 4: strangers, conflicts, and a person's word -------------------------------------------


def test_a_stranger_blocks_nothing_and_is_told() -> None:
    scene = Scene(at=1000, uses=[*MOVED, old_use("thief", 10, 999, place=AWAY)])
    assert scene.blockers() == set()
    assert scene.judged().strangers == ("thief",)


def test_any_number_of_strangers_blocks_nothing() -> None:
    thieves = [old_use(f"thief-{n}", 10, 999, place=AWAY) for n in range(200)]
    scene = Scene(at=1000, uses=[*MOVED, *thieves, old_use("other", 10, 999)])
    assert scene.blockers() == set()
    assert len(scene.judged().strangers) == 201


def test_those_who_are_told_apart_no_more_block_as_one() -> None:
    scene = Scene(at=1000, uses=[*MOVED, old_use("other", -1000, 50)])
    assert scene.blockers() == {(NOT_MOVED, "other")}


def test_who_is_registered_is_no_stranger() -> None:
    late = old_use("batch", 10, 50)
    scene = Scene(at=1000, uses=[*MOVED, late], expected=registered("batch"))
    assert scene.blockers() == {(NOT_MOVED, "batch")}


def test_a_person_can_say_that_a_stranger_is_ours() -> None:
    scene = Scene(at=1000, uses=[*MOVED, old_use("batch", 10, 50)])
    assert scene.later(1000, decisions=(said(Standing.OURS, "batch"),)).blockers() == {
        (NOT_MOVED, "batch")
    }


def test_a_known_name_from_elsewhere_blocks_until_a_person_decides() -> None:
    scene = Scene(at=1000, uses=[*MOVED, old_use("worker", 10, 999, place=AWAY)])
    assert scene.blockers() == {(CONFLICT, "worker")}
    assert scene.judged().conflicts == ("worker",)
    for place in (AWAY, None):
        decided = scene.later(1000, decisions=(said(Standing.INTRUDER, "worker", place),))
        assert decided.blockers() == set()


def test_a_thief_under_a_known_name_does_not_end_it_early() -> None:
    thief = new_use("worker", 100, 400, place=AWAY)
    scene = Scene(at=1000, uses=[old_use("worker", -1000, 50), thief])
    assert scene.blockers() == {(CONFLICT, "worker"), (NOT_MOVED, "worker")}
    decided = scene.later(1000, decisions=(said(Standing.INTRUDER, "worker", AWAY),))
    assert decided.blockers() == {(NOT_MOVED, "worker")}


def test_a_thief_who_goes_on_does_not_hold_it_open_once_it_is_known() -> None:
    thief = old_use("worker", 10, 1_000_000, place=AWAY)
    scene = Scene(
        at=1_000_000, uses=[*MOVED, thief], decisions=(said(Standing.INTRUDER, "worker", AWAY),)
    )
    assert scene.blockers() == set()


def test_an_intruder_at_one_place_is_not_trusted_at_the_next() -> None:
    uses = [
        *MOVED,
        old_use("worker", 10, 999, place=AWAY),
        old_use("worker", 10, 999, place="192.0.0.0/16"),
    ]
    scene = Scene(at=1000, uses=uses, decisions=(said(Standing.INTRUDER, "worker", AWAY),))
    assert scene.blockers() == {(CONFLICT, "worker")}


def test_a_new_place_that_is_ours_counts() -> None:
    uses = [*MOVED, old_use("worker", 10, 999, place=AWAY)]
    scene = Scene(at=1000, uses=uses, decisions=(said(Standing.OURS, "worker", AWAY),))
    assert scene.blockers() == {(STILL_ON_OLD, "worker")}
    assert scene.later(999 + QUIET).blockers() == set()


def test_where_it_was_before_the_start_is_no_conflict() -> None:
    uses = [*MOVED, old_use("worker", -500, 20, place=AWAY)]
    assert Scene(at=1000, uses=uses).blockers() == set()


def test_who_roams_cannot_be_told_by_its_place() -> None:
    homes = [old_use("worker", -1000, -10, place=f"{n + 20}.1.0.0/16") for n in range(ROAMING)]
    uses = [*homes, new_use("worker", 100, 400, place=AWAY)]
    assert Scene(at=1000, uses=uses).blockers() == set()
    assert (CONFLICT, "worker") in Scene(at=1000, uses=uses[1:]).blockers()


def test_who_came_from_nowhere_known_cannot_be_told_by_its_place() -> None:
    uses = [old_use("worker", -1000, 50, place=None), new_use("worker", 100, 400, place=AWAY)]
    assert Scene(at=1000, uses=uses).blockers() == set()


def test_who_is_waived_is_left_out() -> None:
    scene = Scene(at=1000, uses=[*MOVED, old_use("retired", -1000, 999)])
    waived = scene.later(1000, decisions=(said(Standing.WAIVED, "retired"),))
    assert scene.blockers() == {(NOT_MOVED, "retired")}
    assert waived.blockers() == set()


def test_a_check_in_counts_once_a_person_says_so() -> None:
    uses = [old_use("batch", -1000, 50), check_in("batch", 100)]
    scene = Scene(at=1000, uses=uses)
    assert scene.blockers() == {(NOT_MOVED, "batch")}
    taken = scene.later(1000, decisions=(said(Standing.CHECKED_IN, "batch"),))
    assert taken.blockers() == set()


def test_a_word_on_a_check_in_that_never_was_counts_for_nothing() -> None:
    scene = Scene(
        at=1000,
        uses=[old_use("batch", -1000, 50)],
        decisions=(said(Standing.CHECKED_IN, "batch"),),
    )
    assert scene.blockers() == {(NOT_MOVED, "batch")}


def test_fifty_pods_behind_one_address_are_one_runtime() -> None:
    uses = [_pod(OLD.id, n, -1000 + n, 50, "2.31.0") for n in range(50)]
    moved = [_pod(NEW.id, n, 100, 400, f"2.32.{n}") for n in range(50, 100)]
    scene = Scene(at=1000, uses=_merged([*uses, *moved]))
    assert {one.runtime for one in scene.judged().runtimes} == {"ua:fetcher"}
    assert scene.blockers() == set()
    assert scene.later(1000, uses=_merged(uses)).blockers() == {(NOT_MOVED, "ua:fetcher")}


def _pod(key_id: object, number: int, first: float, last: float, version: str) -> Use:
    """What one pod leaves behind: it has an address and a release, and no name of its own."""
    address = ip_address(f"10.3.{number}.7")
    runtime = identify_runtime(None, f"fetcher/{version} (linux)", address, ())
    made = old_use(runtime.name, first, last, declared=runtime.declared, place=place_of(address))
    return replace(made, key_id=key_id)  # type: ignore[arg-type]


def _merged(uses: list[Use]) -> list[Use]:
    """One row for each key, runtime and place, as the table has them."""
    rows: dict[tuple[object, str, str | None], Use] = {}
    for use in uses:
        place = (use.key_id, use.runtime, use.place)
        known = rows.setdefault(place, use)
        rows[place] = replace(
            known,
            first_seen_at=min(known.first_seen_at or 0, use.first_seen_at or 0),
            last_seen_at=max(known.last_seen_at or 0, use.last_seen_at or 0),
        )
    return list(rows.values())


# --- rule 5: the brown-out -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "is_met"),
    [
        (refused("worker", 1005, first=-1000, last=50), True),
        (refused("worker", 995, first=-1000, last=50), False),
        (refused("thief", 1005, first=10, last=900), False),
        (replace(refused("worker", 1005, first=10, last=50), place=AWAY), False),
    ],
    ids=["ours", "before it began", "a stranger", "a known name from elsewhere"],
)
def test_a_brownout_is_met_by_ours_alone(use: Use, *, is_met: bool) -> None:
    known = old_use("worker", -1000, 50, environment="prod")
    scene = Scene(at=1010, uses=[known, use], rotation=browned_out(1000))
    assert bool(scene.judged().met) is is_met


def test_who_is_waived_meets_no_brownout() -> None:
    use = refused("worker", 1005, first=-1000, last=50)
    scene = Scene(at=1010, uses=[use], rotation=browned_out(1000))
    assert scene.judged().met == ("worker",)
    waived = scene.later(1010, decisions=(said(Standing.WAIVED, "worker"),))
    assert waived.judged().met == ()


def test_after_two_lifts_a_person_decides() -> None:
    lifted = replace(STARTED, lifts=2, lifted_at=moment(200), met=("batch",))
    evidence = Scene(at=1000, uses=MOVED, rotation=lifted).judged()
    assert [one.code for one in evidence.blocked_by] == [LIFTED]
    assert evidence.allows_person
    assert not evidence.may_end_by_itself


def test_a_quiet_begins_anew_where_a_brownout_was_lifted() -> None:
    lifted = replace(STARTED, lifts=1, lifted_at=moment(900), met=("worker",))
    scene = Scene(at=899 + QUIET, uses=MOVED, rotation=lifted)
    assert scene.blockers() == {(STILL_ON_OLD, "worker")}
    assert scene.later(900 + QUIET).blockers() == set()


# --- the way back --------------------------------------------------------------------------------


def test_who_uses_the_new_key_alone_stands_in_the_way_of_a_rollback() -> None:
    assert Scene(at=1000, uses=MOVED).judged().only_on_new == ("worker",)
    unmoved = [old_use("worker", -1000, 50)]
    assert Scene(at=1000, uses=unmoved).judged().only_on_new == ()


def test_who_has_gone_back_stands_in_nobodys_way() -> None:
    uses = [old_use("worker", -1000, 900), new_use("worker", 100, 400)]
    assert Scene(at=1000, uses=uses).judged().only_on_new == ()
    assert Scene(at=650, uses=[old_use("worker", -1, 600), *uses[1:]]).judged().only_on_new == (
        "worker",
    )


def test_home_is_where_the_samples_are() -> None:
    assert place_of(ip_address("10.3.4.7")) == HOME
    assert place_of(ip_address("203.0.113.9")) == AWAY
