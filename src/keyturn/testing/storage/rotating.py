"""Rotations and findings: kept whole, at most one open of each, listed as their filters say."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.domain.finding import FindingKind, FindingState, Severity
from keyturn.domain.rotation import Brownout, Decision, Rotation, RotationState, Standing
from keyturn.storage.contract import Deprecation, KeyCredential, Reference, Store
from keyturn.storage.findings import FindingFilter
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.schema import findings, rotations
from keyturn.storage.sealed import Damage
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

CONTENDERS = 8
COMPLETED = RotationState.COMPLETED


def _full(number: int) -> Rotation:
    """One with every member."""
    return replace(
        making.rotation(number),
        state=RotationState.BROWNOUT,
        brownout=Brownout(began_at=SOME_TIME, seconds=60, is_trial=True, is_ours=False),
        lifts=1,
        lifted_at=SOME_TIME + 5,
        met=("a", "é"),
        decisions=(
            Decision(
                runtime="a",
                standing=Standing.WAIVED,
                place=None,
                reason="It is gone.",
                by="operator 1",
                at=SOME_TIME,
            ),
        ),
    )


class RotationContract(StorageBase):
    """At most one rotation of a slot is open, and the key that it replaces says so."""

    def test_a_rotation_is_kept_with_every_member(self, store: Store) -> None:
        full = _full(1)
        making.add_rotations(store, full)
        ended = replace(full, state=COMPLETED, brownout=None, ending=making.ending(), version=2)
        for following, expected in ((full, None), (ended, 1)):
            if expected is not None:
                with store.change() as transaction:
                    transaction.rotations.replace(following, expected)
                    making.log_rotation(transaction, following)
            with store.read() as reading:
                assert reading.rotations.find(making.HOME, full.id) == following
                assert reading.rotations.find(making.ABROAD, full.id) is None
                assert reading.rotations.workspace_of(full.id) == making.HOME
                assert reading.rotations.workspace_of(making.NOBODY) is None

    def test_a_slot_has_at_most_one_open_rotation(self, store: Store) -> None:
        making.add_rotations(
            store,
            making.rotation(1, state=COMPLETED),
            making.rotation(2, state=COMPLETED),
            making.rotation(3),
            making.rotation(4, slot="scheduler-test"),
            making.rotation(5, workspace_id=making.ABROAD),
        )
        for state in (RotationState.OVERLAPPING, RotationState.BROWNOUT):
            with pytest.raises(StorageUnavailable):
                making.add_rotations(store, making.rotation(6, state=state))
        with store.read() as reading:
            slot = making.slot_name("scheduler-prod")
            assert reading.rotations.open_of_slot(making.HOME, slot) == making.rotation(3)
            assert reading.rotations.count(making.HOME, RotationFilter()) == 4

    def test_of_many_who_start_a_rotation_at_once_one_does(self, store: Store) -> None:
        slot = making.slot_name("scheduler-prod")

        def start(number: int) -> bool:
            with store.change() as transaction:
                if transaction.rotations.open_of_slot(making.HOME, slot) is not None:
                    return False
                made = making.rotation(number)
                transaction.rotations.add(made)
                making.log_rotation(transaction, made)
                return True

        with ThreadPoolExecutor(CONTENDERS) as pool:
            assert sum(pool.map(start, range(CONTENDERS))) == 1

        def add(number: int) -> bool:
            try:
                making.add_rotations(store, making.rotation(number, slot="worker-prod"))
            except StorageUnavailable:
                return False
            return True

        with ThreadPoolExecutor(CONTENDERS) as pool:
            assert sum(pool.map(add, range(100, 100 + CONTENDERS))) == 1

    def test_the_open_rotation_of_a_key_is_found_by_either_key(self, store: Store) -> None:
        made = making.rotation(1, old=11, new=12)
        over = making.rotation(2, old=10, new=11, state=COMPLETED)
        making.add_rotations(store, made, over)
        with store.read() as reading:
            found = {
                number: reading.rotations.open_of_key(making.HOME, making.id_of(number))
                for number in (10, 11, 12)
            }
            assert found == {10: None, 11: made, 12: made}
            assert reading.rotations.open_of_key(making.ABROAD, making.id_of(11)) is None

    def test_rotations_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        one = making.rotation(1, slot="api-prod", state=COMPLETED)
        two = making.rotation(2, slot="api-prod", old=7)
        three = making.rotation(3, slot="apix-test", new=7)
        making.add_rotations(store, one, two, three, making.rotation(4, workspace_id=making.ABROAD))
        cases: list[tuple[dict[str, Any], list[Rotation]]] = [
            ({}, [three, two, one]),
            ({"states": (COMPLETED,)}, [one]),
            ({"states": ()}, []),
            ({"states": (COMPLETED, RotationState.OVERLAPPING)}, [three, two, one]),
            ({"slots": ("api-*",)}, [two, one]),
            ({"slots": ("apix-test", "nobody-*")}, [three]),
            ({"slots": ()}, []),
            ({"slot": making.slot_name("api-prod")}, [two, one]),
            ({"key_id": making.id_of(7)}, [three, two]),
        ]
        with store.read() as reading:
            for wanted, expected in cases:
                asked = RotationFilter(**wanted)
                listed = reading.rotations.list(making.HOME, asked, limit=10, before=None)
                assert listed == expected, wanted
                assert reading.rotations.count(making.HOME, asked) == len(expected)
            page = reading.rotations.list(making.HOME, RotationFilter(), limit=1, before=three.id)
            assert page == [two]
            everywhere = reading.rotations.open(after=None, limit=10)
            assert [rotation.id for rotation in everywhere] == [
                making.id_of(number) for number in (2, 3, 4)
            ]
            assert reading.rotations.open(after=two.id, limit=1) == [three]

    def test_a_key_that_is_being_replaced_says_so(self, store: Store) -> None:
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, making.key(1), making.key(2))
        assert _deprecations(store) == {1: None, 2: None}
        made = making.rotation(9)
        making.add_rotations(store, made)
        told = Deprecation(rotation_id=made.id, since=made.started_at, sunset=made.deadline)
        assert _deprecations(store) == {1: told, 2: None}
        with store.change() as transaction:
            ended = replace(made, state=COMPLETED, ending=making.ending(), version=2)
            transaction.rotations.replace(ended, 1)
            making.log_rotation(transaction, ended)
        assert _deprecations(store) == {1: None, 2: None}

    def test_a_damaged_rotation_decides_nothing_and_can_be_set_aside(
        self, store: Store, damage: list[Damage]
    ) -> None:
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, making.key(1), making.key(2))
        made, beside = making.rotation(9), making.rotation(8, slot="worker-prod")
        making.add_rotations(store, made, beside)
        with store.create() as reading:
            reading.session.connection.execute(
                update(rotations).where(rotations.c.id == str(made.id)).values(deadline=5)
            )
        assert _deprecations(store) == {1: None, 2: None}
        assert Damage("rotation", str(made.id)) in damage
        with store.read() as reading:
            with pytest.raises(IntegrityFailed):
                reading.rotations.find(making.HOME, made.id)
            with pytest.raises(IntegrityFailed):
                reading.rotations.open_of_slot(making.HOME, made.slot)
            with pytest.raises(IntegrityFailed):
                reading.rotations.open_of_key(making.HOME, made.old_key_id)
            assert reading.rotations.open(after=None, limit=10) == [beside]
            listed = reading.rotations.list(making.HOME, RotationFilter(), limit=10, before=None)
            assert listed == [beside]
        later = making.rotation(10)
        with store.change() as transaction:
            assert transaction.rotations.bury_open(making.HOME, beside.slot, 7) == []
            buried = transaction.rotations.bury_open(making.HOME, made.slot, 7)
            assert buried == [(made.id, 2)]
            making.log_rotation(transaction, replace(made, version=2))
            transaction.rotations.add(later)
            making.log_rotation(transaction, later)
        with store.read() as reading:
            tombstone = reading.rotations.find(making.HOME, made.id)
            assert tombstone is not None
            assert (tombstone.state, tombstone.version) == (RotationState.CANCELLED, 2)
            assert reading.rotations.open_of_slot(making.HOME, made.slot) == later


def _deprecations(store: Store) -> dict[int, Deprecation | None]:
    numbers = {making.id_of(number): number for number in (1, 2)}
    reading = store.credentials.read([Reference(id=id_, is_operators=False) for id_ in numbers])
    found = {}
    for id_, number in numbers.items():
        credential = reading.found[id_]
        assert isinstance(credential, KeyCredential)
        found[number] = credential.deprecation
    return found


class FindingContract(StorageBase):
    """Of findings that are the same at most one is not resolved."""

    def test_a_finding_is_kept_with_every_member(self, store: Store) -> None:
        made = making.finding(1, mark="é")
        making.add_findings(store, made)
        known = made.acknowledged("operator 1", "It is known.", SOME_TIME + 1)
        for following in (known, known.resolved(SOME_TIME + 2)):
            with store.change() as transaction:
                transaction.findings.replace(following, following.version - 1)
                making.log_finding(transaction, following)
            with store.read() as reading:
                assert reading.findings.find(making.HOME, made.id) == following
                assert reading.findings.find(making.ABROAD, made.id) is None
                assert reading.findings.workspace_of(made.id) == making.HOME

    def test_the_same_is_found_once_until_it_is_resolved(self, store: Store) -> None:
        making.add_findings(
            store,
            making.finding(1, state=FindingState.RESOLVED),
            making.finding(2, state=FindingState.RESOLVED),
            making.finding(3),
            making.finding(4, mark="m"),
            making.finding(5, workspace_id=making.ABROAD),
        )
        for state in (FindingState.OPEN, FindingState.ACKNOWLEDGED):
            with pytest.raises(StorageUnavailable):
                making.add_findings(store, making.finding(6, state=state))

        def add(number: int) -> bool:
            try:
                making.add_findings(store, making.finding(number, mark="contended"))
            except StorageUnavailable:
                return False
            return True

        with ThreadPoolExecutor(CONTENDERS) as pool:
            assert sum(pool.map(add, range(100, 100 + CONTENDERS))) == 1

    def test_what_is_not_resolved_is_found_by_kind_and_subject(self, store: Store) -> None:
        due, unowned = FindingKind.KEY_ROTATION_DUE, FindingKind.UNOWNED
        one = making.finding(1, kind=due, subject_id="a")
        two = making.finding(2, subject_id="a", state=FindingState.ACKNOWLEDGED)
        three = making.finding(3, subject_id="b")
        gone = making.finding(4, kind=due, subject_id="b", state=FindingState.RESOLVED, mark="m")
        making.add_findings(store, one, two, three, gone)
        with store.read() as reading:
            kept = reading.findings
            assert kept.unresolved(making.HOME) == [one, two, three]
            assert kept.unresolved(making.ABROAD) == []
            assert kept.unresolved_of(making.HOME, {due, unowned}) == [one, two, three]
            assert kept.unresolved_of(making.HOME, {due}) == [one]
            assert kept.unresolved_of(making.HOME, {unowned}, {"b"}) == [three]
            assert kept.unresolved_of(making.HOME, None, {"a"}) == [one, two]
            assert kept.unresolved_of(making.HOME, {unowned}, set()) == []
            assert kept.has_ever(making.HOME, due, "b", "m")
            assert kept.has_ever(making.HOME, due, "a", "")
            assert not kept.has_ever(making.HOME, due, "b", "")
            assert not kept.has_ever(making.ABROAD, due, "b", "m")

    def test_findings_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        due = FindingKind.KEY_ROTATION_DUE
        one = making.finding(1, slot="api-prod", severity=Severity.CRITICAL)
        two = making.finding(2, slot="api-prod", kind=due, subject_id="key")
        three = making.finding(3, slot="apix-test", state=FindingState.RESOLVED)
        making.add_findings(store, one, two, three)
        cases: list[tuple[dict[str, Any], list[object]]] = [
            ({}, [three, two, one]),
            ({"states": (FindingState.OPEN,)}, [two, one]),
            ({"states": ()}, []),
            ({"kinds": (due,)}, [two]),
            ({"severity": Severity.CRITICAL}, [one]),
            ({"slots": ("api-*",)}, [two, one]),
            ({"slot": making.slot_name("apix-test")}, [three]),
            ({"subject_id": "key"}, [two]),
        ]
        with store.read() as reading:
            for wanted, expected in cases:
                asked = FindingFilter(**wanted)
                listed = reading.findings.list(making.HOME, asked, limit=10, before=None)
                assert listed == expected, wanted
                assert reading.findings.count(making.HOME, asked) == len(expected)
            page = reading.findings.list(making.HOME, FindingFilter(), limit=1, before=three.id)
            assert page == [two]

    def test_a_damaged_finding_is_left_out(self, store: Store, damage: list[Damage]) -> None:
        made, beside = making.finding(1), making.finding(2, mark="m")
        making.add_findings(store, made, beside)
        with store.create() as reading:
            reading.session.connection.execute(
                update(findings).where(findings.c.id == str(made.id)).values(severity="critical")
            )
        with store.read() as reading:
            assert reading.findings.unresolved(making.HOME) == [beside]
            listed = reading.findings.list(making.HOME, FindingFilter(), limit=10, before=None)
            assert listed == [beside]
            with pytest.raises(IntegrityFailed):
                reading.findings.find(making.HOME, made.id)
        assert damage == [Damage("finding", str(made.id))] * 3
