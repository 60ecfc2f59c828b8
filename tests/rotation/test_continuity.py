"""The invariants as predicates: each of them sees the fault that it is there for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.domain.continuity import (
    broken_by_step,
    broken_key_move,
    broken_move,
    broken_pair,
    broken_slots,
    broken_state,
)
from keyturn.domain.error import InvariantBroken
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.rotation import Ending, Rotation, RotationAct
from keyturn.domain.slot import SlotName
from keyturn.services.conclude import keep_rotation
from keyturn.services.journal import Author
from keyturn.services.rotate import RotationDraft, start_rotation
from tests.domain.samples import sample_id
from tests.houses import House
from tests.rotation.scene import NEW, OLD, STARTED, browned_out, moment

NOW = moment(1000)
ENDING = Ending(at=NOW, by="", reason="", is_forced=False, evidence="{}", evidence_until=NOW)
REVOKED = OLD.revoked(RevocationReason.SUPERSEDED, NOW)
ENDED = STARTED.ended(RotationAct.COMPLETE, ENDING)


def names(broken: list[str]) -> set[str]:
    return {one.partition(":")[0] for one in broken}


def test_a_step_as_it_should_be_breaks_nothing() -> None:
    assert broken_by_step(None, STARTED, OLD, NEW, NOW) == []
    assert broken_by_step(STARTED, ENDED, REVOKED, NEW, NOW) == []
    browned = browned_out(1000)
    assert broken_by_step(STARTED, browned, OLD.suspended(NOW), NEW, NOW) == []


def test_a_step_that_leaves_no_key_is_broken() -> None:
    for dead in (
        NEW.suspended(NOW),
        replace(NEW, expires_at=NOW),
        replace(NEW, not_before=NOW + 1),
    ):
        assert names(broken_by_step(STARTED, ENDED, REVOKED, dead, NOW)) == {"S2"}
    for living in (OLD, OLD.suspended(NOW)):
        assert names(broken_by_step(STARTED, ENDED, living, NEW, NOW)) == {"S2"}


def test_an_end_without_evidence_is_broken() -> None:
    blind = STARTED.ended(RotationAct.COMPLETE, replace(ENDING, evidence=None))
    assert names(broken_by_step(STARTED, blind, REVOKED, NEW, NOW)) == {"S5"}


def test_a_wider_key_is_broken() -> None:
    wider = replace(NEW, scopes=("read", "write"))
    assert names(broken_by_step(None, STARTED, OLD, wider, NOW)) == {"S8"}


def test_a_brownout_of_a_key_that_works_is_broken() -> None:
    assert names(broken_state(browned_out(1000), OLD, NEW)) == {"S2"}
    assert names(broken_state(STARTED, REVOKED, NEW)) == {"S2"}
    assert names(broken_state(replace(browned_out(1000), brownout=None), OLD.suspended(NOW), NEW))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, replace(NEW, slot=SlotName(service="other", environment="prod"))),
        (OLD, replace(NEW, workspace_id=sample_id(99))),
        (OLD, replace(NEW, id=sample_id(99))),
        (NEW, OLD),
    ],
    ids=["another slot", "another workspace", "another key", "the wrong way round"],
)
def test_a_key_of_another_slot_is_broken(old: Key, new: Key) -> None:
    assert names(broken_pair(STARTED, old, new)) == {"S15"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ENDED, replace(ENDED, version=ENDED.version + 1)),
        (ENDED, replace(STARTED, version=ENDED.version + 1)),
        (STARTED, replace(STARTED, old_key_id=NEW.id, version=2)),
        (STARTED, replace(STARTED, started_at=NOW, version=2)),
        (STARTED, replace(STARTED, deadline=NOW)),
    ],
    ids=["changed", "opened again", "of other keys", "begun later", "the same version"],
)
def test_what_has_ended_stays_as_it_is(before: Rotation, after: Rotation) -> None:
    assert names(broken_move(before, after)) == {"S7"}


def test_a_key_that_comes_back_is_broken() -> None:
    assert names(broken_key_move(REVOKED, replace(OLD, version=9))) == {"S7"}
    leaked = OLD.revoked(RevocationReason.COMPROMISED, NOW)
    assert names(broken_key_move(leaked, replace(leaked, compromised=False))) == {"S7"}
    assert broken_key_move(OLD, leaked) == []


def test_two_open_rotations_of_a_slot_are_broken() -> None:
    other = replace(STARTED, id=sample_id(99))
    assert names(broken_slots([STARTED, other])) == {"S4"}
    assert broken_slots([STARTED, ENDED, replace(other, workspace_id=sample_id(98))]) == []


def test_a_step_that_would_break_an_invariant_is_undone(house: House) -> None:
    """The old key is retired in the record alone: nothing of it is kept."""
    issued = house.issue(slot="scheduler-prod")
    started = start_rotation(
        house.context, house.act(), house.workspace_id, issued.view.key.id, RotationDraft()
    ).rotation
    position = house.position()
    ended = started.ended(RotationAct.COMPLETE, replace(ENDING, at=house.clock.now()))
    author = Author.of(house.act())

    def end() -> None:
        with house.store.change() as transaction:
            version = started.version
            keep_rotation(house.context, transaction, author, ended, version, "completed", {})

    with pytest.raises(InvariantBroken, match="S2"):
        end()
    with house.store.read() as reading:
        assert reading.rotations.find(house.workspace_id, started.id) == started
    assert house.position() == position
    assert house.view(issued.view.key.id).key.state is KeyState.ACTIVE


def test_the_page_of_invariants_names_tests_that_are_there() -> None:
    project = Path(__file__).parents[2]
    page = (project / "docs" / "explanation" / "rotation-invariants.md").read_text("utf-8")
    rows = re.findall(r"^\| (S\d+) \|", page, re.MULTILINE)
    assert rows == [f"S{n}" for n in range(1, 17)]
    tests = "".join(one.read_text("utf-8") for one in Path(__file__).parent.glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in tests, name
    for path in re.findall(r"`((?:tests|src)/[\w/.]+)`", page):
        assert (project / path).exists(), path
