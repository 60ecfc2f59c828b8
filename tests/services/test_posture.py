"""Posture over a real database: what is gathered, how quickly, and by whose clock it is waived."""

from dataclasses import replace
from functools import partial
from time import perf_counter, process_time
from typing import Any

import pytest
from sqlalchemy import event

from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.posture.check import CheckId, Result
from keyturn.domain.posture.facts import LogCheck
from keyturn.domain.posture.judge import JudgedCheck
from keyturn.domain.runtime import Runtime
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.services.judge_posture import read_posture
from keyturn.services.respond import Exposure, open_incident
from keyturn.services.select import Named
from keyturn.services.steady import SteadyTime
from keyturn.services.testify import read_evidence
from keyturn.services.waive import WaiverDraft, end_waiver, list_waivers, waive_check
from keyturn.storage.uses import CallerUse
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from tests.houses import House, Plots

MANY = 10_000


def _given(check: LogCheck) -> LogCheck:
    return check


class Standing(SteadyTime):
    """A steady time that is the house's clock, and that everything speaks for."""

    def __init__(self, house: House) -> None:
        self._house = house

    def now(self) -> int:
        return self._house.clock.now()

    def borne_out(self) -> int:
        return self._house.clock.now()

    @property
    def watched_since(self) -> int:
        return SOME_TIME

    @property
    def set_at(self) -> int | None:
        return None


def judged(house: House, check: CheckId) -> JudgedCheck:
    found = read_posture(house.context, Standing(house), house.operator, house.workspace_id, check)
    (one,) = found.checks
    return one


def draft(check: CheckId, until: int, **members: Any) -> WaiverDraft:
    return WaiverDraft(
        check=check,
        key_id=members.get("key_id"),
        slot=members.get("slot"),
        reason="until the move",
        until=until,
    )


def test_a_waiver_is_over_when_the_clock_says_so(house: House) -> None:
    issued = house.issue(name="scheduler-prod")
    key = issued.view.key
    asked = draft(CheckId.NETWORKS, SOME_TIME + 30 * DAY, key_id=key.id)
    made = waive_check(house.context, house.act(), house.workspace_id, asked)
    house.clock.advance(29 * DAY)
    (one,) = [
        one
        for one in judged(house, CheckId.NETWORKS).concerned
        if one.said.subject.key_id == key.id
    ]
    assert one.waiver == made
    house.clock.advance(DAY)
    (one,) = [
        one
        for one in judged(house, CheckId.NETWORKS).concerned
        if one.said.subject.key_id == key.id
    ]
    assert one.waiver is None
    # It stays on record, and ending what is over changes nothing.
    assert end_waiver(house.context, house.act(), house.workspace_id, made.id) == made
    listed, total = list_waivers(
        house.context, house.operator, house.workspace_id, limit=9, before=None, count=True
    )
    assert (list(listed), total) == ([made], 1)


def test_an_old_key_is_found_unused_idle_and_overdue_by_days(house: House) -> None:
    unused = house.issue(slot="unused-prod", notes=SlotNotes(rotation_period_days=30))
    idle = house.issue(slot="idle-prod")
    with house.store.record() as transaction:
        transaction.uses.note(
            [
                CallerUse(
                    key_id=idle.view.key.id,
                    runtime=Runtime("web", declared=True),
                    environment="prod",
                    place=None,
                    first_at=SOME_TIME,
                    last_at=SOME_TIME,
                    allowed=1,
                )
            ]
        )
    ids = {"unused": unused.view.key.id, "idle": idle.view.key.id}

    def failing(check: CheckId) -> set[str]:
        seen = {
            one.said.subject.key_id
            for one in judged(house, check).concerned
            if one.said.result is Result.FAIL
        }
        return {name for name, id_ in ids.items() if id_ in seen}

    assert failing(CheckId.USED) == failing(CheckId.AWAKE) == failing(CheckId.ROTATED) == set()
    house.clock.advance(8 * DAY)
    assert failing(CheckId.USED) == {"unused"}
    house.clock.advance(23 * DAY)
    assert failing(CheckId.ROTATED) == {"unused"}
    house.clock.advance(60 * DAY)
    assert failing(CheckId.AWAKE) == {"idle"}


def test_the_log_is_verified_when_a_good_check_of_it_still_fits(house: House) -> None:
    found = house.attest([])
    house.context = replace(house.context, log_check=lambda: None)
    assert judged(house, CheckId.LOG).result is Result.UNKNOWN
    good = LogCheck(at=SOME_TIME, is_sound=True, entries=found.entries, hash=found.hash)
    for check, result in (
        (good, Result.PASS),
        (replace(good, is_sound=False), Result.FAIL),
        (replace(good, hash="00" * 32), Result.FAIL),
        (replace(good, entries=found.entries + 9), Result.FAIL),
        (replace(good, at=SOME_TIME - 8 * DAY), Result.FAIL),
    ):
        house.context = replace(house.context, log_check=partial(_given, check))
        assert judged(house, CheckId.LOG).result is result, check


def test_a_record_that_was_changed_from_outside_keeps_the_log_from_passing(house: House) -> None:
    issued = house.issue(slot="mine-prod")
    with house.raw() as raw:
        raw.run("UPDATE keys SET name = 'other' WHERE id = :id", id=str(issued.view.key.id))
    found = house.attest([])
    check = LogCheck(at=SOME_TIME, is_sound=True, entries=found.entries, hash=found.hash)
    house.context = replace(house.context, log_check=lambda: check)
    one = judged(house, CheckId.LOG)
    assert (one.result, "key" in one.concerned[0].said.why) == (Result.FAIL, True)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_ten_thousand_keys_are_judged_with_few_questions_and_in_seconds(
    plots: Plots, engine: str, build_house: Any
) -> None:
    house: House = build_house(engine)
    slots = [
        replace(
            making.slot(f"service{number}-prod", workspace_id=house.workspace_id),
            notes=SlotNotes(owner="ops"),
        )
        for number in range(MANY)
    ]
    keys = [
        making.key(number, workspace_id=house.workspace_id, slot=f"service{number}-prod")
        for number in range(MANY)
    ]
    making.add_slots(house.store, *slots)
    making.add_keys(house.store, *keys)
    for start in range(0, MANY, 1_000):
        batch = [
            replace(
                making.request(0, key_id=key.id, workspace_id=house.workspace_id),
                at=SOME_TIME + hour * 3_600 * SECOND,
            )
            for key in keys[start : start + 1_000]
            for hour in (0, 1)
        ]
        making.record(house.store, *batch, first=1 + 2 * start)
    house.clock.advance(DAY)
    statements: list[str] = []
    with house.store.read() as reading:
        bound = reading.session.connection.engine
    event.listen(bound, "before_cursor_execute", lambda *call: statements.append(call[2]))
    began, worked = perf_counter(), process_time()
    found = read_posture(house.context, Standing(house), house.operator, house.workspace_id)
    seconds, work = perf_counter() - began, process_time() - worked
    began = perf_counter()
    page = read_evidence(
        house.context,
        house.operator,
        house.workspace_id,
        SOME_TIME - DAY,
        SOME_TIME + DAY,
        limit=1_000,
        before=None,
    )
    evidence_seconds = perf_counter() - began
    print(
        f"{engine}: {len(statements)} statements, {seconds:.2f} s, of them {work:.2f} s work; "
        f"evidence {evidence_seconds:.2f} s"
    )
    by_id = {one.check.id: one for one in found.checks}
    assert by_id[CheckId.NETWORKS].total >= MANY
    assert by_id[CheckId.OWNED].counts[Result.PASS] >= MANY
    assert len(page) == 1_000
    assert len(statements) < 100  # some for each 500 keys
    assert work < 10  # not by the clock on the wall: others work here too


def test_a_slot_is_waived_by_its_name(house: House) -> None:
    house.issue(slot="a-prod", notes=SlotNotes(owner="ops"))
    name = SlotName(service="a", environment="prod")
    asked = draft(CheckId.DESTINATION, SOME_TIME + DAY, slot=name)
    waive_check(house.context, house.act(), house.workspace_id, asked)
    concerned = judged(house, CheckId.DESTINATION).concerned
    assert {str(one.said.subject.slot) for one in concerned if one.waiver is not None} == {"a-prod"}


def test_who_reads_the_requests_of_some_slots_is_told_of_no_other_incidents(house: House) -> None:
    mine, other = house.issue(slot="mine-prod"), house.issue(slot="other-prod")
    named = Named(ids=(other.token.id,))
    now = house.clock.now()
    open_incident(house.context, house.act(), house.workspace_id, Exposure(), named, now)
    reader = house.issue(slot="reader-prod", permissions=("keys:read", "requests:read@mine-*"))
    caller = house.caller(reader.token)
    house.clock.advance(DAY)
    lives = read_evidence(
        house.context, caller, house.workspace_id, None, None, limit=99, before=None
    )
    told = {one.key.id: one.incidents for one in lives}
    assert told[mine.token.id] == ()
    assert told[other.token.id] is None
    found = read_posture(
        house.context, Standing(house), caller, house.workspace_id, CheckId.INCIDENTS
    )
    assert [one.result for one in found.checks] == [Result.UNKNOWN]
