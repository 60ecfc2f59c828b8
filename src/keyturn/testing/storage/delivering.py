"""Destinations and deliveries: kept whole, one destination of a name, what is due in its order."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from keyturn.domain.delivery import Delivery, DeliveryAct, DeliveryState
from keyturn.domain.error import IntegrityFailed, StorageUnavailable, VersionMoved
from keyturn.storage.contract import Store
from keyturn.storage.deliveries import DeliveryFilter, Tally
from keyturn.storage.schema import deliveries, destinations
from keyturn.storage.sealed import Damage
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

CONTENDERS = 8


class DestinationContract(StorageBase):
    """A name is one destination's until that is removed."""

    def test_a_destination_is_kept_with_every_member(self, store: Store) -> None:
        made = making.destination(1)
        making.add_destinations(store, made)
        steps = [made, made.disproved("Down, é.", SOME_TIME + 1)]
        steps.append(steps[-1].proved(SOME_TIME + 2))
        steps.append(
            steps[-1].changed(
                config='{"a":1}', credential=b"\x00\xff", nonce="1" * 32, now=SOME_TIME + 3
            )
        )
        for following in steps:
            if following is not made:
                with store.change() as transaction:
                    transaction.destinations.replace(following, following.version - 1)
                    making.log_destination(transaction, following)
            with store.read() as reading:
                kept = reading.destinations
                assert kept.find(making.HOME, made.id) == following
                assert kept.named(making.HOME, "vault") == following
                assert kept.find(making.ABROAD, made.id) is None
                assert kept.named(making.ABROAD, "vault") is None
                assert kept.workspace_of(made.id) == making.HOME
                assert kept.workspace_of(making.NOBODY) is None
        with pytest.raises(VersionMoved), store.change() as transaction:
            transaction.destinations.replace(made.removed(SOME_TIME), 1)

    def test_a_name_is_free_again_once_its_destination_is_removed(self, store: Store) -> None:
        made = making.destination(1)
        making.add_destinations(store, made, making.destination(2, workspace_id=making.ABROAD))
        with pytest.raises(StorageUnavailable):
            making.add_destinations(store, making.destination(3))
        removed = made.removed(SOME_TIME + 1)
        with store.change() as transaction:
            transaction.destinations.replace(removed, 1)
            making.log_destination(transaction, removed)
        again = making.destination(4)
        making.add_destinations(store, again)
        with store.read() as reading:
            assert reading.destinations.named(making.HOME, "vault") == again
            assert reading.destinations.find(making.HOME, made.id) == removed
            listed = reading.destinations.list(making.HOME, None, limit=10, before=None)
            assert listed == [again]
            assert reading.destinations.count(making.HOME, None) == 1

    def test_of_many_at_once_one_has_the_name(self, store: Store) -> None:
        def add(number: int) -> bool:
            try:
                making.add_destinations(store, making.destination(number))
            except StorageUnavailable:
                return False
            return True

        with ThreadPoolExecutor(CONTENDERS) as pool:
            assert sum(pool.map(add, range(1, 1 + CONTENDERS))) == 1

    def test_destinations_are_listed_newest_first(self, store: Store) -> None:
        one = making.destination(1, name="a")
        two = making.destination(2, name="b", kind="file")
        three = making.destination(3, name="c")
        making.add_destinations(store, one, two, three)
        with store.read() as reading:
            kept = reading.destinations
            assert kept.list(making.HOME, None, limit=2, before=None) == [three, two]
            assert kept.list(making.HOME, None, limit=2, before=two.id) == [one]
            assert kept.list(making.HOME, "file", limit=2, before=None) == [two]
            assert kept.count(making.HOME, "vault") == 2
            assert kept.list(making.ABROAD, None, limit=2, before=None) == []

    def test_a_damaged_destination_is_none(self, store: Store, damage: list[Damage]) -> None:
        made, beside = making.destination(1), making.destination(2, name="beside")
        making.add_destinations(store, made, beside)
        with store.create() as reading:
            reading.session.connection.execute(
                update(destinations).where(destinations.c.id == str(made.id)).values(config="[]")
            )
        with store.read() as reading:
            listed = reading.destinations.list(making.HOME, None, limit=10, before=None)
            assert listed == [beside]
            with pytest.raises(IntegrityFailed):
                reading.destinations.find(making.HOME, made.id)
            with pytest.raises(IntegrityFailed):
                reading.destinations.named(making.HOME, made.name)
        assert damage == [Damage("destination", str(made.id))] * 3


def _full(number: int) -> Delivery:
    """One with every member."""
    return replace(
        making.delivery(number, rotation=7),
        previous=b"\x00before",
        begun_at=SOME_TIME + 1,
        attempts=4,
        failures=3,
        fault_kind="unreachable",
        fault="Down, é.",
        location="secret/é",
        receipt="7",
        delivered_at=SOME_TIME + 2,
        checked_at=SOME_TIME + 3,
        ended_at=SOME_TIME + 4,
    )


class DeliveryContract(StorageBase):
    """What is due is found in the order in which it waited, and of a place the oldest alone."""

    def test_a_delivery_is_kept_with_every_member(self, store: Store) -> None:
        full = _full(1)
        making.add_deliveries(store, full)
        for following in (full, full.ended(DeliveryAct.CANCEL, "Over.", SOME_TIME + 5)):
            with store.change() as transaction:
                transaction.deliveries.replace(following)
            with store.read() as reading:
                kept = reading.deliveries
                assert kept.find(making.HOME, full.id) == following
                assert kept.find(making.ABROAD, full.id) is None
                assert kept.of_key(full.key_id) == [following]
                assert kept.of_key(making.NOBODY) == []
                assert kept.workspace_of(full.id) == making.HOME
                assert kept.workspace_of(making.NOBODY) is None

    def test_what_is_due_is_found_in_the_order_in_which_it_waited(self, store: Store) -> None:
        late = making.delivery(1, slot="a-prod", next_at=SOME_TIME + 5)
        later = making.delivery(2, slot="b-prod", next_at=SOME_TIME + 9)
        early = making.delivery(3, slot="c-prod", next_at=SOME_TIME)
        done = making.delivery(4, slot="d-prod", token=None, state=DeliveryState.DELIVERED)
        watched = making.delivery(5, slot="e-prod", state=DeliveryState.DELIVERED)
        making.add_deliveries(store, late, later, early, done, watched)
        with store.read() as reading:
            due = reading.deliveries.due
            assert due(SOME_TIME + 5, limit=10) == [early, watched, late]
            assert due(SOME_TIME + 5, limit=1) == [early]
            assert due(SOME_TIME - 1, limit=10) == []
            assert reading.deliveries.next_at() == SOME_TIME

    def test_of_a_place_the_oldest_alone_is_due(self, store: Store) -> None:
        first = making.delivery(1, next_at=SOME_TIME + 100)
        second = making.delivery(2)
        elsewhere = making.delivery(3, destination=2)
        other_slot = making.delivery(4, slot="other-prod")
        making.add_deliveries(store, first, second, elsewhere, other_slot)
        with store.read() as reading:
            assert reading.deliveries.due(SOME_TIME, limit=10) == [elsewhere, other_slot]
            assert reading.deliveries.due(SOME_TIME + 100, limit=10) == [
                elsewhere,
                other_slot,
                first,
            ]
        with store.change() as transaction:
            transaction.deliveries.replace(first.ended(DeliveryAct.CANCEL, None, SOME_TIME))
        with store.read() as reading:
            assert second in reading.deliveries.due(SOME_TIME, limit=10)

    def test_those_that_are_at_work_take_no_room_among_what_is_due(self, store: Store) -> None:
        busy = making.delivery(1)
        crowded = making.delivery(2, destination=2, workspace_id=making.ABROAD)
        free = making.delivery(3, destination=3)
        making.add_deliveries(store, busy, crowded, free)
        with store.read() as reading:
            found = reading.deliveries.due(
                SOME_TIME,
                limit=1,
                no_workspaces={making.ABROAD},
                no_destinations={busy.destination_id},
            )
            assert found == [free]

    def test_a_destination_is_in_use_while_a_token_lies_there_for_it(self, store: Store) -> None:
        made = making.delivery(1)
        making.add_deliveries(store, made)
        with store.change() as transaction:
            assert transaction.deliveries.is_in_use(made.destination_id)
            assert not transaction.deliveries.is_in_use(making.NOBODY)
            transaction.deliveries.replace(made.ended(DeliveryAct.CANCEL, None, SOME_TIME))
            assert not transaction.deliveries.is_in_use(made.destination_id)

    def test_those_that_fail_are_found_and_counted(self, store: Store) -> None:
        fine, failing = making.delivery(1), making.delivery(2, slot="b-prod", failures=3)
        abroad = making.delivery(3, workspace_id=making.ABROAD, slot="c-prod", failures=5)
        watched = making.delivery(4, slot="d-prod", state=DeliveryState.DELIVERED, failures=9)
        making.add_deliveries(store, fine, failing, abroad, watched)
        with store.read() as reading:
            kept = reading.deliveries
            assert kept.failing(making.HOME, 3, limit=10) == [failing, watched]
            assert kept.failing(making.HOME, 4, limit=10) == [watched]
            assert kept.failing(making.ABROAD, 3, limit=10) == [abroad]
            assert kept.tally() == Tally(open=3, failing=2)

    def test_deliveries_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        one = making.delivery(1, slot="api-prod", rotation=9)
        two = making.delivery(2, slot="api-prod", key=8, state=DeliveryState.SUPERSEDED, token=None)
        three = making.delivery(3, slot="apix-test", name="file", destination=2)
        making.add_deliveries(store, one, two, three)
        cases: list[tuple[dict[str, Any], list[Delivery]]] = [
            ({}, [three, two, one]),
            ({"states": (DeliveryState.WAITING,)}, [three, one]),
            ({"states": ()}, []),
            ({"slots": ("api-*",)}, [two, one]),
            ({"slots": ()}, []),
            ({"slot": making.slot_name("apix-test")}, [three]),
            ({"key_id": making.id_of(8)}, [two]),
            ({"rotation_id": making.id_of(9)}, [one]),
            ({"destination": "file"}, [three]),
        ]
        with store.read() as reading:
            for members, expected in cases:
                wanted = DeliveryFilter(**members)
                listed = reading.deliveries.list(making.HOME, wanted, limit=10, before=None)
                assert listed == expected, members
                assert reading.deliveries.count(making.HOME, wanted) == len(expected)
            page = reading.deliveries.list(making.HOME, DeliveryFilter(), limit=1, before=three.id)
            assert page == [two]

    def test_what_has_been_done_with_for_long_is_purged_and_nothing_else(
        self, store: Store
    ) -> None:
        ended = [
            replace(
                making.delivery(number, token=None, state=DeliveryState.RESTORED),
                updated_at=SOME_TIME + number,
            )
            for number in range(1, 5)
        ]
        open_ = replace(making.delivery(9), updated_at=SOME_TIME)
        lives = replace(ended[0], id=making.id_of(8), state=DeliveryState.DELIVERED)
        making.add_deliveries(store, open_, lives, *ended)
        with store.record() as transaction:
            assert transaction.deliveries.purge(SOME_TIME + 4, limit=2) == 2
            assert transaction.deliveries.purge(SOME_TIME + 4, limit=2) == 1
            assert transaction.deliveries.purge(SOME_TIME + 4, limit=2) == 0
        with store.read() as reading:
            listed = reading.deliveries.list(making.HOME, DeliveryFilter(), limit=9, before=None)
        assert listed == [open_, lives, ended[3]]

    def test_a_damaged_delivery_is_carried_out_by_nobody_and_blocks_nobody(
        self, store: Store, damage: list[Damage]
    ) -> None:
        made, beside, behind = making.delivery(1), making.delivery(2, slot="b-prod"), 3
        making.add_deliveries(store, made, beside)
        with store.create() as reading:
            reading.session.connection.execute(
                update(deliveries).where(deliveries.c.id == str(made.id)).values(destination="x")
            )
        with store.read() as reading:
            assert reading.deliveries.due(SOME_TIME, limit=10) == [beside]
            listed = reading.deliveries.list(making.HOME, DeliveryFilter(), limit=9, before=None)
            assert listed == [beside]
            with pytest.raises(IntegrityFailed):
                reading.deliveries.find(making.HOME, made.id)
            with pytest.raises(IntegrityFailed):
                reading.deliveries.of_key(made.key_id)
        assert damage == [Damage("delivery", str(made.id))] * 4
        with store.change() as transaction:
            transaction.deliveries.add(making.delivery(behind))
            assert transaction.deliveries.silence(made.destination_id, made.slot) == 1
            assert transaction.deliveries.silence(made.destination_id, made.slot) == 0
        with store.read() as reading:
            due = reading.deliveries.due(SOME_TIME, limit=10)
            assert due == [beside, making.delivery(behind)]
            with pytest.raises(IntegrityFailed):
                reading.deliveries.find(making.HOME, made.id)
