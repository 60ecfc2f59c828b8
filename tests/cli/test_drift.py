"""The plan: what follows from files and a server, and that a plan carried out leaves nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.cli.carry_out import Outcome, carry_out
from keyturn.cli.declaration import Declared, Source, normal, read_declaration
from keyturn.cli.drift import Drift, SlotChange, find_drift
from keyturn.cli.plan_text import plan_json, plan_lines
from keyturn.cli.slot_yaml import exported, yaml_lines
from keyturn.client import ExpectedRuntime as ShownRuntime
from keyturn.client import Forbidden, Slot, Unreachable, VersionMoved
from keyturn.domain.error import RequestInvalid
from keyturn.domain.slot import ExpectedRuntime, SlotName, SlotNotes
from keyturn.domain.text import check_text

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def is_kept(text: str) -> bool:
    try:
        return check_text(text, "") == text
    except RequestInvalid:
        return False


TEXTS = st.text(min_size=1, max_size=20).filter(is_kept) | st.sampled_from(
    ["null", "Yes", "a: b", "a #b", "- a", "~", "7", "1e3", "2001-12-14", "*a", "&a", "!a", "'a'",
     '"a"', "a\\b", "{a}", "[a]", "<<", "=", "a:", ":a", "?", "|", ">-", "%a", "@a", "`a`",
     "\ufeffa", "\uffff", "\U0001f511", "a  b", "0o7", "0x1F", ".inf", "on", "a,b"]
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c-d", "2001-12", "1"]).map(
    lambda service: SlotName(service=service, environment="14")
)
NOTES = st.builds(
    SlotNotes,
    owner=st.none() | TEXTS,
    purpose=st.none() | TEXTS,
    runbook_url=st.none() | st.sampled_from(["https://example.com/a?b=c#d", "http://[::1]:8/é"]),
    rotation_period_days=st.none() | st.integers(1, 3_650),
    runtimes=st.lists(
        st.builds(
            ExpectedRuntime,
            name=st.sampled_from(["nightly", "a:b", "no", "7", "@a", "-", "a/b.c", ":"]),
            max_call_interval_seconds=st.none() | st.integers(1, 1_000_000),
        ),
        unique_by=lambda one: one.name,
        max_size=4,
    ).map(tuple),
)
SAID = st.dictionaries(NAMES, NOTES)


def present(said: Mapping[SlotName, SlotNotes], version: int = 3) -> list[Slot]:
    return [shown(str(name), notes, version) for name, notes in said.items()]


def shown(name: str, notes: SlotNotes, version: int) -> Slot:
    service, _, environment = name.rpartition("-")
    return Slot(
        name=name,
        workspace_id="w",
        service=service,
        environment=environment,
        owner=notes.owner,
        purpose=notes.purpose,
        runbook_url=notes.runbook_url,
        rotation_period_days=notes.rotation_period_days,
        runtimes=[
            ShownRuntime(name=one.name, max_call_interval_seconds=one.max_call_interval_seconds)
            for one in notes.runtimes or ()
        ],
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
        version=version,
    )


def declared(said: Mapping[SlotName, SlotNotes]) -> list[Declared]:
    return [
        Declared(name=name, notes=normal(notes), file="a.yaml", line=1)
        for name, notes in said.items()
    ]


class Shelf:
    """Slots by their names, with the server's rule of versions."""

    def __init__(self, slots: list[Slot]) -> None:
        self.slots = {one.name: one for one in slots}

    def define(self, change: SlotChange) -> None:
        there = self.slots.get(change.slot)
        if (None if there is None else there.version) != change.version:
            raise VersionMoved(status=412, code="version.moved", detail="Moved.", request_id="r")
        self.slots[change.slot] = shown(change.slot, change.notes, (change.version or 0) + 1)


@given(SAID, SAID)
def test_a_plan_carried_out_leaves_nothing_to_do_and_others_alone(
    wanted: dict[SlotName, SlotNotes], there: dict[SlotName, SlotNotes]
) -> None:
    shelf = Shelf(present(there))
    before = dict(shelf.slots)
    drift = find_drift(declared(wanted), before.values())
    carried = carry_out(drift.changes, shelf.define, lambda _: None)
    assert len(carried.of(Outcome.APPLIED)) == len(drift.changes)
    again = find_drift(declared(wanted), shelf.slots.values())
    assert (again.changes, again.unchanged) == ((), len(wanted))
    changed = {one.slot for one in drift.changes}
    assert {name: one for name, one in shelf.slots.items() if name not in changed} == {
        name: one for name, one in before.items() if name not in changed
    }
    others = {*map(str, there)} - {*map(str, wanted)}
    assert again.not_in_file == drift.not_in_file == tuple(sorted(others))


@given(SAID)
def test_what_is_exported_says_the_same_when_it_is_read(said: dict[SlotName, SlotNotes]) -> None:
    slots = present(said)
    text = "\n".join(yaml_lines(exported(slots)))
    assert text == "\n".join(yaml_lines(exported(reversed(slots))))
    found = read_declaration([Source(name="a.yaml", content=text.encode())])
    assert list(found.faults) == []
    drift = find_drift(found.slots, slots)
    assert (drift.changes, drift.not_in_file, drift.unchanged) == ((), (), len(said))


@given(SAID, SAID, st.none() | st.integers(10, 200))
def test_nothing_of_a_plan_is_cut_however_narrow_the_terminal(
    wanted: dict[SlotName, SlotNotes], there: dict[SlotName, SlotNotes], width: int | None
) -> None:
    drift = find_drift(declared(wanted), present(there))
    told = "".join("".join(plan_lines(drift, width)).split())
    for change in drift.changes:
        assert change.slot in told
        for member in change.members:
            for value in (member.old, member.new):
                if isinstance(value, int):
                    assert str(value) in told


A_PROD = SlotName(service="a", environment="prod")


def a_drift() -> Drift:
    new = SlotName(service="new", environment="prod")
    wanted = {A_PROD: SlotNotes(purpose="Publishes"), new: SlotNotes(owner="ops")}
    old = {
        A_PROD: SlotNotes(owner="payments"),
        SlotName(service="z", environment="qa"): SlotNotes(),
    }
    return find_drift(declared(wanted), present(old))


def test_what_the_file_does_not_say_is_shown_to_be_taken_away() -> None:
    assert list(plan_lines(a_drift(), None)) == [
        "change  a-prod    owner: payments → (none)",
        "                  purpose: (none) → Publishes",
        "make    new-prod  owner: ops",
        "1 to make, 1 to change, 0 unchanged, 1 not in the file.",
        "Not in the file, and left as they are: z-qa.",
    ]


def test_a_program_is_told_the_same() -> None:
    assert plan_json(a_drift()) == {
        "differs": True,
        "changes": [
            {
                "slot": "a-prod",
                "action": "change",
                "version": 3,
                "members": [
                    {"member": "owner", "old": "payments", "new": None},
                    {"member": "purpose", "old": None, "new": "Publishes"},
                ],
            },
            {
                "slot": "new-prod",
                "action": "make",
                "version": None,
                "members": [{"member": "owner", "old": None, "new": "ops"}],
            },
        ],
        "unchanged": 0,
        "not_in_file": ["z-qa"],
    }


def test_on_a_narrow_terminal_each_slot_stands_above_its_members() -> None:
    lines = list(plan_lines(a_drift(), 40))
    assert lines[:2] == ["change  a-prod", "    owner: payments → (none)"]
    assert lines[3] == "make    new-prod"
    assert all(len(line) <= 40 for line in lines)


CHANGES = [
    SlotChange(slot=f"s{index}-prod", version=1, members=(), notes=SlotNotes())
    for index in range(40)
]


def refusal(kind: type[Forbidden | VersionMoved]) -> Forbidden | VersionMoved:
    return kind(status=403, code="x", detail="No.", request_id="r")


@pytest.mark.parametrize(
    ("kind", "outcome"), [(Forbidden, Outcome.REFUSED), (VersionMoved, Outcome.MOVED)]
)
def test_one_slot_that_is_refused_or_has_moved_holds_no_other_up(
    kind: type[Forbidden | VersionMoved], outcome: Outcome
) -> None:
    def define(change: SlotChange) -> None:
        if change.slot == "s3-prod":
            raise refusal(kind)

    carried = carry_out(CHANGES, define, lambda _: None)
    assert [one.change for one in carried.results] == CHANGES
    assert [one.change.slot for one in carried.of(outcome)] == ["s3-prod"]
    assert len(carried.of(Outcome.APPLIED)) == len(CHANGES) - 1
    assert carried.stopped_by is None


def test_where_no_answer_comes_the_rest_is_not_tried() -> None:
    asked: list[str] = []

    def define(change: SlotChange) -> None:
        asked.append(change.slot)
        if len(asked) > 5:
            raise Unreachable("No answer came.", was_sent=True, request_id="r")

    carried = carry_out(CHANGES, define, lambda _: None)
    assert len(carried.of(Outcome.APPLIED)) == 5
    unknown = carried.of(Outcome.UNKNOWN)
    assert {one.change.slot for one in unknown} == set(asked[5:])
    assert len(carried.of(Outcome.NOT_TRIED)) == len(CHANGES) - len(asked)
    assert isinstance(carried.stopped_by, Unreachable)
