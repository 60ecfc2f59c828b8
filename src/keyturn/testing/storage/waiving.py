"""Waivers of the checklist: kept whole, until their time, and none that was tampered with."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.posture.check import CheckId
from keyturn.storage.contract import Store
from keyturn.storage.schema import posture_waivers
from keyturn.storage.sealed import Damage
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

NARROW = ("a-*",)


class WaiverContract(StorageBase):
    """A waiver is there for ever, and holds until its time."""

    def test_a_waiver_is_kept_with_every_member(self, store: Store) -> None:
        of_key = making.waiver(1, key_id=making.id_of(9), reason="é")
        of_all = making.waiver(2, slot=None, check=CheckId.LOG)
        making.add_waivers(store, of_key, of_all)
        ended = of_key.ended("bob", SOME_TIME + 5)
        with store.change() as transaction:
            transaction.posture_waivers.replace(ended, 1)
            making.log_waiver(transaction, ended)
        with store.read() as reading:
            kept = reading.posture_waivers
            assert kept.find(making.HOME, of_key.id) == ended
            assert kept.find(making.HOME, of_all.id) == of_all
            assert kept.find(making.ABROAD, of_all.id) is None
            assert kept.workspace_of(of_all.id) == making.HOME
            assert kept.workspace_of(making.NOBODY) is None
            listed = kept.list(making.HOME, slots=("*",), limit=9, before=None)
            assert list(listed) == [of_all, ended]
            assert list(kept.list(making.HOME, slots=("*",), limit=9, before=of_all.id)) == [ended]
            assert list(kept.list(making.ABROAD, slots=("*",), limit=9, before=None)) == []
            assert kept.count(making.HOME, slots=("*",)) == 2

    def test_what_holds_is_told_by_time_and_what_held_by_period(self, store: Store) -> None:
        made = making.waiver(1, until=SOME_TIME + 100)
        over = making.waiver(2, until=SOME_TIME + 100).ended("bob", SOME_TIME + 50)
        making.add_waivers(store, made, over)
        with store.read() as reading:
            kept = reading.posture_waivers
            assert list(kept.holding(making.HOME, SOME_TIME + 99)) == [made]
            assert list(kept.holding(making.HOME, SOME_TIME + 100)) == []
            assert kept.count_holding(making.HOME, SOME_TIME + 99) == 1
            assert list(kept.held(making.HOME, SOME_TIME, SOME_TIME + 9)) == [over, made]
            assert list(kept.held(making.HOME, SOME_TIME + 50, SOME_TIME + 60)) == [made]
            assert list(kept.held(making.HOME, SOME_TIME + 100, SOME_TIME + 200)) == []
            assert list(kept.held(making.HOME, SOME_TIME - 9, SOME_TIME - 1)) == []

    def test_who_sees_some_slots_sees_their_waivers_and_those_of_all(self, store: Store) -> None:
        mine, other = making.waiver(1, slot="a-prod"), making.waiver(2, slot="b-prod")
        general = making.waiver(3, slot=None)
        making.add_waivers(store, mine, other, general)
        with store.read() as reading:
            kept = reading.posture_waivers
            assert list(kept.holding(making.HOME, SOME_TIME, NARROW)) == [general, mine]
            listed = kept.list(making.HOME, slots=NARROW, limit=9, before=None)
            assert list(listed) == [general, mine]
            assert kept.count(making.HOME, slots=NARROW) == 2

    def test_a_damaged_waiver_waives_nothing(self, store: Store, damage: list[Damage]) -> None:
        made = making.waiver(1)
        making.add_waivers(store, made)
        with store.create() as reading:
            reading.session.connection.execute(
                update(posture_waivers)
                .where(posture_waivers.c.id == str(made.id))
                .values(until=replace(made, until=SOME_TIME * 2).until)
            )
        with store.read() as reading:
            with pytest.raises(IntegrityFailed):
                reading.posture_waivers.find(making.HOME, made.id)
            assert list(reading.posture_waivers.holding(making.HOME, SOME_TIME)) == []
        assert Damage("posture_waiver", str(made.id)) in damage
