"""Incidents: kept whole with their keys, found by these, and none of them changed unseen."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update

from keyturn.domain.error import IntegrityFailed, VersionMoved
from keyturn.domain.incident import (
    CallerStanding,
    ContainedKey,
    Containment,
    Incident,
    IncidentReason,
    IncidentState,
    Outcome,
    Placement,
    Waiver,
)
from keyturn.domain.instant import SECOND
from keyturn.storage.contract import Store
from keyturn.storage.incidents import IncidentFilter
from keyturn.storage.schema import incident_keys, incidents
from keyturn.storage.sealed import Damage
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

CONTENDERS = 8
CLOSED = IncidentState.CLOSED


def _full(number: int, *keys: ContainedKey) -> Incident:
    """One with every member."""
    return replace(
        making.incident(number, *keys, state=CLOSED),
        detail="It stood in a log.",
        found_url="https://logs.example/é",
        exposed_since=SOME_TIME - 5,
        counted_at=SOME_TIME + 6,
        placements=(
            Placement(
                runtime="worker",
                network=None,
                standing=CallerStanding.OURS,
                by="operator 1",
                at=SOME_TIME,
            ),
            Placement(
                runtime="ua:curl",
                network="198.51.100.9",
                standing=CallerStanding.INTRUDER,
                by="operator 1",
                at=SOME_TIME + 1,
            ),
        ),
        unreached=(making.id_of(77),),
    )


def _full_key(number: int) -> ContainedKey:
    waiver = Waiver(reason="Gone.", until=SOME_TIME + SECOND, by="operator 1", at=SOME_TIME)
    return replace(
        making.contained(number),
        replacement_key_id=making.id_of(88),
        replaced_at=SOME_TIME + 2,
        recovered_at=SOME_TIME + 3,
        waiver=waiver,
    )


class IncidentContract(StorageBase):
    """An incident and its keys are one thing: who changes one of its parts is seen."""

    def test_an_incident_is_kept_with_every_member_and_its_keys(self, store: Store) -> None:
        keys = (making.contained(2), _full_key(3))
        made = _full(1, *keys)
        making.add_incident(store, made, *keys)
        with store.read() as reading:
            assert reading.incidents.find(making.HOME, made.id) == made
            assert reading.incidents.find(making.ABROAD, made.id) is None
            assert reading.incidents.workspace_of(made.id) == making.HOME
            assert reading.incidents.workspace_of(making.NOBODY) is None
            assert tuple(reading.incidents.keys_of(making.HOME, made.id)) == keys
            assert reading.incidents.keys_of(making.ABROAD, made.id) == ()

    def test_a_change_is_of_both_or_is_damage(self, store: Store, damage: list[Damage]) -> None:
        keys = (making.contained(2), making.contained(3))
        made = making.incident(1, *keys)
        making.add_incident(store, made, *keys)
        changed = keys[0].replaced(making.id_of(9), SOME_TIME + 5)
        with pytest.raises(VersionMoved), store.change() as transaction:
            transaction.incidents.replace_key(changed, 7)
        following = made.over((changed, keys[1]), SOME_TIME + 5)
        with store.change() as transaction:
            transaction.incidents.replace_key(changed, 1)
            transaction.incidents.replace(following, 1)
            making.log_incident(transaction, following)
        with store.read() as reading:
            assert tuple(reading.incidents.keys_of(making.HOME, made.id)) == (changed, keys[1])
        assert damage == []
        with store.change() as transaction:
            again = changed.judged(recovered=True, now=SOME_TIME + 6)
            transaction.incidents.replace_key(again, 2)
        with pytest.raises(IntegrityFailed), store.read() as reading:
            reading.incidents.keys_of(making.HOME, made.id)
        assert Damage("incident", str(made.id)) in damage

    def test_a_key_is_taken_away_or_edited_by_nobody_unseen(
        self, store: Store, damage: list[Damage]
    ) -> None:
        keys = (making.contained(2), making.contained(3))
        beside = (making.contained(2, incident=4),)
        made, other = making.incident(1, *keys), making.incident(4, *beside)
        making.add_incident(store, made, *keys)
        making.add_incident(store, other, *beside)
        mine = incident_keys.c.incident_id == str(made.id)
        with store.change() as transaction:
            transaction.session.connection.execute(
                update(incident_keys)
                .where(mine, incident_keys.c.key_id == str(keys[0].key_id))
                .values(recovered_at=SOME_TIME)
            )
        with store.read() as reading:
            found = reading.incidents.keys_of_each((made, other))
            assert found == {made.id: None, other.id: list(beside)}
            with pytest.raises(IntegrityFailed):
                reading.incidents.keys_within(made)
        assert Damage("incident_key", f"{made.id}/{keys[0].key_id}") in damage
        with store.change() as transaction:
            transaction.session.connection.execute(delete(incident_keys).where(mine))
        with pytest.raises(IntegrityFailed), store.read() as reading:
            reading.incidents.keys_within(made)

    def test_an_open_incident_is_found_by_its_keys(self, store: Store) -> None:
        first = (making.contained(2), making.contained(3))
        over = (making.contained(2, incident=4),)
        abroad = (making.contained(5, incident=6, workspace_id=making.ABROAD),)
        made = making.incident(1, *first)
        closed = making.incident(4, *over, state=CLOSED)
        other = making.incident(6, *abroad, workspace_id=making.ABROAD)
        for incident, keys in ((made, first), (closed, over), (other, abroad)):
            making.add_incident(store, incident, *keys)
        ids = [making.id_of(number) for number in (2, 3, 5, 9)]
        with store.read() as reading:
            found = reading.incidents.open_of_keys(making.HOME, ids)
            assert found == {ids[0]: made, ids[1]: made}
            assert reading.incidents.open_of_key(making.HOME, ids[0]) == made
            assert reading.incidents.open_of_key(making.HOME, ids[2]) is None
            assert reading.incidents.of_key(making.HOME, ids[0]) == [closed, made]
            assert reading.incidents.of_key(making.ABROAD, ids[0]) == []
            assert reading.incidents.open(after=None, limit=10) == [made, other]
            assert reading.incidents.open(after=made.id, limit=10) == [other]

    def test_what_a_damaged_incident_contained_is_not_given_back(
        self, store: Store, damage: list[Damage]
    ) -> None:
        keys = (making.contained(2),)
        made = making.incident(1, *keys)
        making.add_incident(store, made, *keys)
        with store.change() as transaction:
            transaction.session.connection.execute(update(incidents).values(reason="other"))
        with store.read() as reading:
            with pytest.raises(IntegrityFailed):
                reading.incidents.find(making.HOME, made.id)
            with pytest.raises(IntegrityFailed):
                reading.incidents.open_of_key(making.HOME, keys[0].key_id)
            assert reading.incidents.open_of_keys(making.HOME, [keys[0].key_id]) == {}
            assert reading.incidents.open(after=None, limit=10) == []
            assert (
                reading.incidents.list(making.HOME, IncidentFilter(), limit=10, before=None) == []
            )
        assert {one.kind for one in damage} == {"incident"}

    def test_incidents_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        moved = replace(making.contained(8, incident=3), slot=making.slot_name("api-prod"))
        made = {
            1: (making.contained(2), making.contained(3)),
            2: (making.contained(2, incident=2),),
            3: (moved,),
        }
        one = making.incident(1, *made[1], state=CLOSED)
        two = making.incident(2, *made[2], reason=IncidentReason.SUSPECTED)
        three = making.incident(3, *made[3])
        for incident in (one, two, three):
            making.add_incident(
                store, incident, *made[{one.id: 1, two.id: 2, three.id: 3}[incident.id]]
            )
        cases: list[tuple[dict[str, Any], list[Incident]]] = [
            ({}, [three, two, one]),
            ({"states": (CLOSED,)}, [one]),
            ({"states": ()}, []),
            ({"key_id": making.id_of(2)}, [two, one]),
            ({"key_id": making.id_of(3)}, [one]),
            ({"reason": IncidentReason.LEAKED}, [three, one]),
            ({"since": two.opened_at}, [three, two]),
            ({"until": two.opened_at}, [one]),
            ({"slots": ("api-*",)}, [three]),
            ({"slots": ()}, []),
            ({"slots": ("scheduler-prod",), "states": (IncidentState.CONTAINED,)}, [two]),
        ]
        with store.read() as reading:
            for wanted, expected in cases:
                asked = IncidentFilter(**wanted)
                listed = reading.incidents.list(making.HOME, asked, limit=10, before=None)
                assert listed == expected, wanted
                assert reading.incidents.count(making.HOME, asked) == len(expected), wanted
            page = reading.incidents.list(making.HOME, IncidentFilter(), limit=1, before=three.id)
            assert page == [two]

    def test_what_comes_after_the_end_is_found(self, store: Store) -> None:
        def incident(number: int, outcome: Outcome, key: ContainedKey) -> Incident:
            return replace(making.incident(number, key, state=CLOSED), outcome=outcome)

        keys = {number: making.contained(number * 10, incident=number) for number in range(1, 6)}
        ended = Waiver(reason="x", until=SOME_TIME + 9, by="x", at=SOME_TIME)
        for number in (2, 4, 5):
            keys[number] = replace(keys[number], waiver=ended)
        given_back = incident(5, Outcome.FALSE_ALARM, keys[5])
        made = [
            incident(1, Outcome.CONFIRMED, keys[1]),
            incident(2, Outcome.CONFIRMED, keys[2]),
            incident(3, Outcome.FALSE_ALARM, keys[3]),
            incident(4, Outcome.FALSE_ALARM, keys[4]),
            replace(given_back, containment=Containment.SUSPEND),
        ]
        for one, key in zip(made, keys.values(), strict=True):
            making.add_incident(store, one, key)
        for first, number in enumerate((10, 20, 30)):
            at = SOME_TIME + 100 if number != 20 else SOME_TIME - 100
            denied = making.request(at, key_id=making.id_of(number), code="revoked")
            making.record(store, denied, first=1 + first)
        with store.read() as reading:
            over = reading.incidents.ended(after=None, limit=10)
            assert over == [made[0].id, made[1].id]
            assert reading.incidents.ended(after=over[0], limit=10) == over[1:]
            (late,) = reading.incidents.late_uses(incident_ids=over)
            assert (late.incident_id, late.key_id) == (made[0].id, making.id_of(10))
            assert (late.workspace_id, late.last_at) == (making.HOME, SOME_TIME + 100)
            assert not late.was_allowed
            every = [making.id_of(one) for one in (10, 20, 30, 40)]
            assert reading.incidents.late_uses(key_ids=every) == [late]
            assert reading.incidents.late_uses(key_ids=()) == []
            assert reading.incidents.run_out(SOME_TIME + 8, limit=10) == []
            assert reading.incidents.run_out(SOME_TIME + 9, limit=10) == [keys[2], keys[4]]

    def test_of_many_who_open_one_at_once_over_a_key_one_does(self, store: Store) -> None:
        key_id = making.id_of(2)

        def contain(number: int) -> bool:
            with store.change() as transaction:
                if transaction.incidents.open_of_key(making.HOME, key_id) is not None:
                    return False
                key = making.contained(2, incident=number)
                made = making.incident(number, key)
                transaction.incidents.add(made)
                transaction.incidents.add_keys([key])
                making.log_incident(transaction, made)
                return True

        with ThreadPoolExecutor(CONTENDERS) as pool:
            assert sum(pool.map(contain, range(1, 1 + CONTENDERS))) == 1
