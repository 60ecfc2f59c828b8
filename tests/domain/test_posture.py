"""The checklist: each line fails, passes and is unknown for the right facts, and nothing that is
unknown passes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyturn.domain.channel import Channel, ChannelKind, ChannelState
from keyturn.domain.error import RequestInvalid
from keyturn.domain.evidence import Use
from keyturn.domain.incident import Containment, Incident, IncidentReason, IncidentState
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.posture.check import CheckId, Known, Result
from keyturn.domain.posture.evidence import life_of
from keyturn.domain.posture.facts import (
    ClockFacts,
    KeyFacts,
    KeyTraffic,
    LogCheck,
    Snapshot,
)
from keyturn.domain.posture.judge import CHECKS, MOST_CONCERNED, JudgedCheck, judge_posture
from keyturn.domain.posture.key_checks import KEY_CHECKS
from keyturn.domain.posture.waiver import LONGEST_SECONDS, PostureWaiver, check_terms
from keyturn.domain.rotation import Ending, Rotation, RotationState, RotationTerms
from keyturn.domain.slot import NOTHING_NOTED, ExpectedRuntime, SlotName, SlotNotes
from tests.domain.samples import NOW, SAMPLE_KEY, sample_id

TODAY = NOW + 400 * DAY
BORN = NOW + 300 * DAY  # a hundred days old
SLOT = SAMPLE_KEY.slot
WORKSPACE = SAMPLE_KEY.workspace_id
GOOD_NOTES = SlotNotes(
    owner="ops@example.com",
    runbook_url="https://wiki.example.com/a",
    rotation_period_days=365,
    runtimes=(ExpectedRuntime(name="web", max_call_interval_seconds=None),),
    destinations=("vault",),
)
CLOCK = ClockFacts(watched_since=TODAY - DAY, set_at=None, skew=0, ahead=0)
UNSET: Any = object()


def use(name: str = "web", **members: Any) -> Use:
    sample: dict[str, Any] = {
        "key_id": SAMPLE_KEY.id,
        "runtime": name,
        "declared": True,
        "environment": "prod",
        "place": None,
        "first_seen_at": TODAY - 3 * DAY,
        "last_seen_at": TODAY - DAY,
        "last_denied_at": None,
        "checked_in_at": None,
        "longest_gap": None,
        "allowed": 5,
        "denied": 0,
    }
    return Use(**sample | members)


def facts(
    notes: SlotNotes | None = GOOD_NOTES,
    uses: tuple[Use, ...] = (use(),),
    traffic: KeyTraffic | None = UNSET,
    last_used_at: int | None = TODAY - DAY,
    is_rotating: bool = False,
    **members: Any,
) -> KeyFacts:
    """A key with which nothing is wrong, but for what is given."""
    good: dict[str, Any] = {"created_at": BORN, "allowed_cidrs": ("10.0.0.0/8",)}
    if traffic is UNSET:
        traffic = KeyTraffic(scopes=frozenset({"read"}), with_agent=9)
    return KeyFacts(
        key=replace(SAMPLE_KEY, **good | members),
        notes=notes,
        last_used_at=last_used_at,
        uses=uses,
        traffic=traffic,
        is_rotating=is_rotating,
    )


def rotation(
    state: RotationState = RotationState.COMPLETED,
    *,
    slot: SlotName = SLOT,
    began: int = TODAY - 2 * DAY,
    ended: int | None = TODAY - DAY,
    forced: bool = False,
    number: int = 50,
) -> Rotation:
    ending = None
    if ended is not None:
        ending = Ending(
            at=ended, by="ops", reason="-", is_forced=forced, evidence=None, evidence_until=None
        )
    return Rotation(
        id=sample_id(number),
        workspace_id=WORKSPACE,
        slot=slot,
        old_key_id=sample_id(1),
        new_key_id=sample_id(number + 1),
        state=state,
        terms=RotationTerms(
            quiet_seconds=1, brownout_seconds=1, lookback_seconds=1, auto_complete=True
        ),
        started_at=began,
        started_by="ops",
        deadline=began + DAY,
        brownout=None,
        lifts=0,
        lifted_at=None,
        met=(),
        decisions=(),
        ending=ending,
        updated_at=began,
        version=1,
    )


DRILL_SLOT = SlotName(service="drill-0a1b2c", environment="drill")


def drill(days_ago: int = 3) -> tuple[Rotation, ...]:
    at = TODAY - days_ago * DAY
    return (
        rotation(slot=DRILL_SLOT, began=at - 9, ended=at - 5, number=60),
        rotation(RotationState.ROLLED_BACK, slot=DRILL_SLOT, began=at - 4, ended=at, number=70),
    )


def channel(state: ChannelState = ChannelState.ACTIVE, *events: str) -> Channel:
    return Channel(
        id=sample_id(80),
        workspace_id=WORKSPACE,
        kind=ChannelKind.WEBHOOK,
        name="hooks",
        url="https://hooks.example.com",
        addresses=(),
        to_owners=False,
        events=events or ("*",),
        state=state,
        reason=None,
        secrets=(),
        since=1,
        created_at=NOW,
        created_by="ops",
        updated_at=NOW,
        version=1,
    )


def incident() -> Incident:
    return Incident(
        id=sample_id(90),
        workspace_id=WORKSPACE,
        state=IncidentState.REPLACING,
        reason=IncidentReason.LEAKED,
        detail=None,
        found_url=None,
        exposed_since=None,
        containment=Containment.REVOKE,
        opened_at=TODAY - DAY,
        opened_by="ops",
        contained_at=TODAY - DAY,
        counted_at=None,
        placements=(),
        unreached=(),
        keys_hash="",
        closed_at=None,
        closed_by=None,
        outcome=None,
        updated_at=TODAY,
        version=1,
    )


def checked(days_ago: int = 1, is_sound: bool = True) -> LogCheck:
    return LogCheck(at=TODAY - days_ago * DAY, is_sound=is_sound, entries=9, hash="00")


def snapshot(*keys: KeyFacts, **members: Any) -> Snapshot:
    """A workspace with which nothing is wrong, but for what is given."""
    good: dict[str, Any] = {
        "workspace_id": WORKSPACE,
        "now": TODAY,
        "is_whole": True,
        "policy": None,
        "keys": keys or (facts(),),
        "rotations": drill(),
        "channels": (channel(),),
        "incidents": (),
        "log": checked(),
        "clock": CLOCK,
    }
    return Snapshot(**good | members)


def waiver(check: CheckId, **members: Any) -> PostureWaiver:
    sample: dict[str, Any] = {
        "id": sample_id(99),
        "workspace_id": WORKSPACE,
        "check": check,
        "key_id": None,
        "slot": None,
        "reason": "until the move",
        "until": TODAY + DAY,
        "created_at": TODAY - DAY,
        "created_by": "ada",
        "ended_at": None,
        "ended_by": None,
        "updated_at": TODAY - DAY,
        "version": 1,
    }
    return PostureWaiver(**sample | members)


def judged(check: CheckId, seen: Snapshot, *waivers: PostureWaiver) -> JudgedCheck:
    (one,) = judge_posture(seen, waivers, check)
    return one


Make = Callable[[], Snapshot]
YOUNG: dict[str, Any] = {"created_at": TODAY - 3 * DAY}
Case = tuple[CheckId, Make]


def named(cases: list[Case]) -> list[str]:
    return [f"{check} {index}" for index, (check, _) in enumerate(cases)]


FAILING: list[Case] = [
    (CheckId.SEPARATE, lambda: snapshot(facts(uses=(use(), use("batch"))))),
    (CheckId.SEPARATE, lambda: snapshot(facts(uses=(use("ua:curl", declared=False), use("x"))))),
    (CheckId.NAMED, lambda: snapshot(facts(slot=SlotName(service="a", environment="default")))),
    (CheckId.OWNED, lambda: snapshot(facts(notes=replace(GOOD_NOTES, owner=None)))),
    (CheckId.OWNED, lambda: snapshot(facts(notes=NOTHING_NOTED))),
    (CheckId.RUNBOOK, lambda: snapshot(facts(notes=replace(GOOD_NOTES, runbook_url=None)))),
    (
        CheckId.SCHEDULED,
        lambda: snapshot(facts(notes=replace(GOOD_NOTES, rotation_period_days=None))),
    ),
    (
        CheckId.ROTATED,
        lambda: snapshot(facts(notes=replace(GOOD_NOTES, rotation_period_days=100))),
    ),
    (CheckId.LASTING, lambda: snapshot(facts(expires_at=TODAY + 13 * DAY))),
    (CheckId.USED, lambda: snapshot(facts(last_used_at=None, created_at=TODAY - 7 * DAY))),
    (CheckId.AWAKE, lambda: snapshot(facts(last_used_at=TODAY - 90 * DAY - 1))),
    (CheckId.SCOPES, lambda: snapshot(facts(scopes=("read", "write")))),
    (CheckId.SCOPES, lambda: snapshot(facts(scopes=("pins:*", "read")))),
    (CheckId.PERMISSIONS, lambda: snapshot(facts(permissions=("admin",)))),
    (CheckId.PERMISSIONS, lambda: snapshot(facts(permissions=("admin",), traffic=None))),
    (
        CheckId.PERMISSIONS,
        lambda: snapshot(facts(permissions=("keys:write",), traffic=KeyTraffic(read_at=TODAY))),
    ),
    (CheckId.NETWORKS, lambda: snapshot(facts(allowed_cidrs=()))),
    (
        CheckId.BACKEND_ONLY,
        lambda: snapshot(facts(traffic=KeyTraffic(browsers={"origin": TODAY - DAY}))),
    ),
    (
        CheckId.ONE_ENVIRONMENT,
        lambda: snapshot(facts(uses=(use(), use(environment="staging")))),
    ),
    (CheckId.ONE_ENVIRONMENT, lambda: snapshot(facts(uses=(use(environment="staging"),)))),
    (CheckId.FEW_KEYS, lambda: snapshot(*(facts(id=sample_id(n)) for n in range(3)))),
    (CheckId.DESTINATION, lambda: snapshot(facts(notes=replace(GOOD_NOTES, destinations=())))),
    (
        CheckId.SHORT_OVERLAP,
        lambda: snapshot(
            rotations=(rotation(RotationState.OVERLAPPING, began=TODAY - 8 * DAY, ended=None),)
        ),
    ),
    (CheckId.EVIDENCED, lambda: snapshot(rotations=(rotation(forced=True),))),
    (CheckId.REVERSIBLE, lambda: snapshot(rotations=())),
    (
        CheckId.REVERSIBLE,
        lambda: snapshot(rotations=(rotation(RotationState.ROLLED_BACK, ended=NOW),)),
    ),
    (CheckId.DRILLED, lambda: snapshot(rotations=())),
    (CheckId.DRILLED, lambda: snapshot(rotations=drill(days_ago=91))),
    (CheckId.DRILLED, lambda: snapshot(rotations=drill()[:1])),
    (CheckId.DRILLED, lambda: snapshot(rotations=(drill()[1], rotation()))),
    (CheckId.INCIDENTS, lambda: snapshot(incidents=(incident(),))),
    (CheckId.LOG, lambda: snapshot(log=checked(days_ago=8))),
    (CheckId.LOG, lambda: snapshot(log=checked(is_sound=False))),
    (CheckId.LOG, lambda: snapshot(damaged=("key",))),
    (CheckId.LOG, lambda: snapshot(has_checked_entry=False)),
    (CheckId.CLOCK, lambda: snapshot(clock=replace(CLOCK, set_at=TODAY - DAY + 1))),
    (CheckId.CLOCK, lambda: snapshot(clock=replace(CLOCK, skew=-6 * SECOND))),
    (CheckId.CHANNEL, lambda: snapshot(channels=())),
    (CheckId.CHANNEL, lambda: snapshot(channels=(channel(ChannelState.DISABLED),))),
    (CheckId.CHANNEL, lambda: snapshot(channels=(channel(ChannelState.ACTIVE, "rotation.*"),))),
]

PASSING: list[Case] = [
    *((check.id, snapshot) for check in CHECKS),
    (CheckId.SEPARATE, lambda: snapshot(facts(uses=(use("ua:curl", declared=False),)))),
    (
        CheckId.SEPARATE,
        lambda: snapshot(facts(uses=(use(), use("old", last_seen_at=TODAY - 36 * DAY)))),
    ),
    (
        CheckId.SCHEDULED,
        lambda: snapshot(
            facts(notes=NOTHING_NOTED), policy=RotationPolicy(rotation_period_days=90)
        ),
    ),
    (CheckId.LASTING, lambda: snapshot(facts(expires_at=TODAY + DAY, is_rotating=True))),
    (CheckId.LASTING, lambda: snapshot(facts(expires_at=TODAY + DAY, **YOUNG))),
    (CheckId.USED, lambda: snapshot(facts(last_used_at=None, **YOUNG))),
    (CheckId.AWAKE, lambda: snapshot(facts(last_used_at=None, **YOUNG))),
    (CheckId.SCOPES, lambda: snapshot(facts(scopes=()))),
    (
        CheckId.SCOPES,
        lambda: snapshot(
            facts(scopes=("pins:*",), traffic=KeyTraffic(scopes=frozenset({"pins:add"})))
        ),
    ),
    (CheckId.PERMISSIONS, lambda: snapshot(facts(permissions=("verify",), traffic=None))),
    (
        CheckId.PERMISSIONS,
        lambda: snapshot(facts(permissions=("admin",), traffic=KeyTraffic(wrote_at=TODAY))),
    ),
    (
        CheckId.PERMISSIONS,
        lambda: snapshot(facts(permissions=("keys:read",), traffic=KeyTraffic(read_at=TODAY))),
    ),
    (
        CheckId.SHORT_OVERLAP,
        lambda: snapshot(rotations=(rotation(RotationState.OVERLAPPING, ended=None),)),
    ),
    (CheckId.EVIDENCED, lambda: snapshot(rotations=(rotation(forced=True, ended=NOW),))),
]

UNKNOWN: list[Case] = [
    (CheckId.SEPARATE, lambda: snapshot(facts(uses=()))),
    (CheckId.SEPARATE, lambda: snapshot(facts(notes=None))),
    (CheckId.SEPARATE, lambda: snapshot(facts(uses=(use("ua:unknown@a", declared=False),)))),
    (CheckId.OWNED, lambda: snapshot(facts(notes=None))),
    (CheckId.RUNBOOK, lambda: snapshot(facts(notes=None))),
    (CheckId.SCHEDULED, lambda: snapshot(facts(notes=None))),
    (CheckId.ROTATED, lambda: snapshot(facts(notes=NOTHING_NOTED))),
    (CheckId.ROTATED, lambda: snapshot(facts(notes=None))),
    (CheckId.AWAKE, lambda: snapshot(facts(last_used_at=None))),
    (CheckId.SCOPES, lambda: snapshot(facts(traffic=None))),
    (CheckId.SCOPES, lambda: snapshot(facts(traffic=KeyTraffic(with_agent=3)))),
    (CheckId.SCOPES, lambda: snapshot(facts(scopes=("read", "write"), **YOUNG))),
    (
        CheckId.SCOPES,
        lambda: snapshot(
            facts(scopes=("a", "b"), traffic=KeyTraffic(scopes=frozenset("a"), is_cut=True))
        ),
    ),
    (CheckId.PERMISSIONS, lambda: snapshot(facts(permissions=("admin",), **YOUNG))),
    (
        CheckId.PERMISSIONS,
        lambda: snapshot(facts(permissions=("admin",), traffic=KeyTraffic(are_paths_cut=True))),
    ),
    (CheckId.BACKEND_ONLY, lambda: snapshot(facts(traffic=None))),
    (CheckId.BACKEND_ONLY, lambda: snapshot(facts(traffic=KeyTraffic()))),
    (CheckId.ONE_ENVIRONMENT, lambda: snapshot(facts(uses=()))),
    (CheckId.ONE_ENVIRONMENT, lambda: snapshot(facts(uses=(use(environment=None),)))),
    (
        CheckId.ONE_ENVIRONMENT,
        lambda: snapshot(facts(uses=(use(), use("batch", environment=None)))),
    ),
    (CheckId.DESTINATION, lambda: snapshot(facts(notes=None))),
    *((check.id, lambda: snapshot(damaged=("key",))) for check in KEY_CHECKS),
    (CheckId.FEW_KEYS, lambda: snapshot(damaged=("key",))),
    (CheckId.SHORT_OVERLAP, lambda: snapshot(damaged=("rotation",))),
    (CheckId.EVIDENCED, lambda: snapshot(damaged=("rotation",))),
    (CheckId.CHANNEL, lambda: snapshot(damaged=("channel",))),
    (CheckId.REVERSIBLE, lambda: snapshot(rotations=(), is_whole=False)),
    (CheckId.DRILLED, lambda: snapshot(rotations=(), is_whole=False)),
    (CheckId.INCIDENTS, lambda: snapshot(incidents=None)),
    (CheckId.INCIDENTS, lambda: snapshot(sees_all_incidents=False)),
    (CheckId.INCIDENTS, lambda: snapshot(damaged=("incident",))),
    (CheckId.LOG, lambda: snapshot(log=None)),
    (CheckId.CLOCK, lambda: snapshot(clock=None)),
    (CheckId.CLOCK, lambda: snapshot(clock=replace(CLOCK, ahead=2 * DAY))),
    (CheckId.CHANNEL, lambda: snapshot(channels=None)),
]


@pytest.mark.parametrize(("check", "make"), FAILING, ids=named(FAILING))
def test_a_check_fails_where_the_guide_is_not_kept(check: CheckId, make: Make) -> None:
    one = judged(check, make())
    assert one.result is Result.FAIL
    assert one.known in (Known.MEASURED, Known.DECLARED)
    assert one.remedy
    assert "{" not in one.remedy
    assert one.concerned[0].said.why
    assert one.total >= one.counts[Result.FAIL] > 0


@pytest.mark.parametrize(("check", "make"), PASSING, ids=named(PASSING))
def test_a_check_passes_where_the_guide_is_kept(check: CheckId, make: Make) -> None:
    one = judged(check, make())
    assert (one.result, one.total, one.remedy) == (Result.PASS, 0, "")


@pytest.mark.parametrize(("check", "make"), UNKNOWN, ids=named(UNKNOWN))
def test_a_check_that_cannot_know_does_not_pass(check: CheckId, make: Make) -> None:
    one = judged(check, make())
    assert (one.result, one.known) == (Result.UNKNOWN, Known.UNKNOWN)
    assert one.concerned[0].said.why
    assert "revoke" not in one.remedy


def test_each_check_is_seen_to_fail_and_to_be_unknown() -> None:
    assert {check for check, _ in FAILING} == set(CheckId)
    assert {check for check, _ in UNKNOWN} == set(CheckId)
    assert [check.id for check in CHECKS] == list(CheckId)


@pytest.mark.parametrize("check", [one for one in CHECKS if one.counts_days], ids=lambda c: c.id)
def test_no_check_counts_days_by_a_clock_in_doubt(check: Any) -> None:
    """Nor does it fail by one: a clock that is ahead would call each key overdue."""
    doubtful = replace(CLOCK, ahead=DAY + 1)
    makes = [make for id_, make in (*FAILING, *PASSING) if id_ is check.id]
    for make in makes:
        seen = replace(make(), clock=doubtful)
        one = judged(check.id, seen)
        assert one.counts[Result.PASS] == one.counts[Result.FAIL] == 0


def test_one_key_that_is_unknown_keeps_all_from_passing_and_one_that_fails_fails_all() -> None:
    good = [facts(id=sample_id(number)) for number in range(40)]
    silent = facts(id=sample_id(50), uses=())
    shared = facts(id=sample_id(51), uses=(use(), use("b")))
    one = judged(CheckId.SEPARATE, snapshot(*good, silent))
    assert (one.result, one.total, one.counts[Result.PASS]) == (Result.UNKNOWN, 1, 40)
    one = judged(CheckId.SEPARATE, snapshot(*good, silent, shared))
    assert (one.result, one.total, one.checked) == (Result.FAIL, 2, 42)
    assert one.concerned[0].said.subject.key_id == shared.key.id


def test_what_is_concerned_is_bounded_and_counted() -> None:
    many = [facts(id=sample_id(number), allowed_cidrs=()) for number in range(50)]
    one = judged(CheckId.NETWORKS, snapshot(*many))
    assert (len(one.concerned), one.total, one.since) == (MOST_CONCERNED, 50, BORN)
    assert str(one.concerned[0].said.subject.id) in one.remedy


def test_failing_checks_stand_first() -> None:
    results = [one.result for one in judge_posture(snapshot(facts(uses=(), allowed_cidrs=())), ())]
    order = [Result.FAIL, Result.UNKNOWN, Result.WAIVED, Result.PASS]
    assert results == sorted(results, key=order.index)
    assert len(results) == len(CheckId)


# --- waivers --------------------------------------------------------------------------------------


def test_a_waiver_is_of_its_key_its_slot_or_all_of_its_check_and_makes_no_pass() -> None:
    elsewhere = SlotName(service="other", environment="prod")
    mine = facts(id=sample_id(1), allowed_cidrs=())
    other = facts(id=sample_id(2), allowed_cidrs=(), slot=elsewhere)
    seen = snapshot(mine, other)

    def results(*waivers: PostureWaiver) -> tuple[Result, int, int]:
        one = judged(CheckId.NETWORKS, seen, *waivers)
        return one.result, one.counts[Result.FAIL], one.counts[Result.WAIVED]

    of_key = waiver(CheckId.NETWORKS, key_id=mine.key.id, slot=SLOT)
    of_slot = waiver(CheckId.NETWORKS, slot=elsewhere)
    assert results() == (Result.FAIL, 2, 0)
    assert results(of_key) == (Result.FAIL, 1, 1)
    assert results(of_key, of_slot) == (Result.WAIVED, 0, 2)
    assert results(waiver(CheckId.NETWORKS)) == (Result.WAIVED, 0, 2)
    assert results(waiver(CheckId.OWNED)) == (Result.FAIL, 2, 0)
    said = judged(CheckId.NETWORKS, seen, of_key, waiver(CheckId.NETWORKS)).concerned
    closest = {one.said.subject.key_id: one.waiver for one in said}
    assert closest[mine.key.id] == of_key


def test_a_waiver_is_over_at_its_time_and_when_it_is_ended() -> None:
    seen = snapshot(facts(allowed_cidrs=()))
    held = waiver(CheckId.NETWORKS, until=TODAY + 1)
    assert judged(CheckId.NETWORKS, seen, held).result is Result.WAIVED
    assert judged(CheckId.NETWORKS, replace(seen, now=TODAY + 1), held).result is Result.FAIL
    ended = held.ended("bob", TODAY)
    assert judged(CheckId.NETWORKS, seen, ended).result is Result.FAIL
    assert (ended.ended_by, ended.version) == ("bob", 2)
    assert ended.ended("eve", TODAY + 5) is ended


def test_what_is_unknown_can_be_waived_and_what_passes_stays_a_pass() -> None:
    held = waiver(CheckId.LOG)
    assert judged(CheckId.LOG, snapshot(log=None), held).result is Result.WAIVED
    assert judged(CheckId.LOG, snapshot(), held).result is Result.PASS


@pytest.mark.parametrize(
    ("reason", "until"),
    [
        ("why", TODAY),
        ("why", TODAY + LONGEST_SECONDS * SECOND + 1),
        ("", TODAY + 1),
        ("x" * 1_001, TODAY + 1),
    ],
)
def test_a_waiver_needs_a_reason_and_an_end_within_a_year(reason: str, until: int) -> None:
    with pytest.raises(RequestInvalid):
        check_terms(reason, until, TODAY)


# --- the auditor's question -----------------------------------------------------------------------


def life(key: Key, until: int = TODAY, now: int = TODAY, *waivers: PostureWaiver) -> Any:
    return life_of(
        key,
        GOOD_NOTES,
        90,
        None,
        until=until,
        now=now,
        rotations=(),
        incidents=None,
        waivers=waivers,
    )


def test_the_greatest_age_ends_with_the_period_or_the_key() -> None:
    key = replace(SAMPLE_KEY, created_at=BORN)
    assert life(key).greatest_age == 100 * DAY
    assert life(key, until=BORN + DAY).greatest_age == DAY
    assert life(key, until=TODAY + 9 * DAY).greatest_age == 100 * DAY
    assert (life(key).was_overdue, life(key, until=BORN + DAY).was_overdue) == (True, False)
    revoked = replace(
        key,
        state=KeyState.REVOKED,
        revoked_at=BORN + 5 * DAY,
        revocation_reason=RevocationReason.COMPROMISED,
    )
    told = life(revoked)
    assert (told.greatest_age, told.ended_at) == (5 * DAY, BORN + 5 * DAY)
    assert told.ended_by == "compromised"
    expired = life(replace(revoked, expires_at=BORN + 2 * DAY))
    assert (expired.greatest_age, expired.ended_by) == (2 * DAY, "expired")


def test_the_waivers_of_a_key_are_those_of_it_of_its_slot_and_of_the_whole_check() -> None:
    key = replace(SAMPLE_KEY, created_at=BORN)
    mine = waiver(CheckId.OWNED, key_id=key.id, slot=SLOT)
    slots = waiver(CheckId.OWNED, slot=SLOT)
    general = waiver(CheckId.OWNED)
    others = waiver(CheckId.OWNED, key_id=sample_id(7), slot=SLOT)
    elsewhere = waiver(CheckId.OWNED, slot=SlotName(service="other", environment="prod"))
    told = life(key, TODAY, TODAY, mine, slots, general, others, elsewhere)
    assert told.waivers == (mine, slots, general)
