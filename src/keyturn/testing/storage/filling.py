"""What a cache is filled with: a credential, and exactly the place in the log that it is of."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import update

from keyturn.storage.contract import (
    START,
    CredentialFill,
    KeyCredential,
    LogPoint,
    OperatorCredential,
    Reference,
    Store,
)
from keyturn.storage.schema import keys
from keyturn.storage.sealed import Damage
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

TURNS = 60


def reference_to(number: int) -> Reference:
    return Reference(id=making.id_of(number), is_operators=False)


def last_point(store: Store) -> LogPoint:
    """The end of the log, as the activity log has it."""
    return store.credentials.fill(reference_to(0)).point


class FillContract(StorageBase):
    """The row and the point are of one snapshot."""

    def test_what_is_not_there_is_filled_with_the_point_that_it_is_missing_at(
        self, store: Store
    ) -> None:
        for is_operators in (False, True):
            asked = Reference(id=making.NOBODY, is_operators=is_operators)
            nothing = CredentialFill(credential=None, is_damaged=False, point=START)
            assert store.credentials.fill(asked) == nothing
        making.add_workspaces(store, making.workspace())
        for is_operators in (False, True):
            fill = store.credentials.fill(Reference(id=making.NOBODY, is_operators=is_operators))
            assert (fill.credential, fill.is_damaged, fill.point.position) == (None, False, 1)
            assert len(fill.point.seal) == 33

    def test_a_credential_is_filled_as_it_is_read(self, store: Store) -> None:
        made, staff = making.key(1), making.operator(2)
        making.add_workspaces(store, making.workspace())
        making.add_slots(store, making.slot("scheduler-prod", owner="ada"))
        making.add_keys(store, made)
        with store.change() as transaction:
            transaction.operators.add(staff)
            making.log_operator(transaction, staff)
        of_key = reference_to(1)
        of_operator = Reference(id=staff.id, is_operators=True)
        for asked, kind in ((of_key, KeyCredential), (of_operator, OperatorCredential)):
            fill = store.credentials.fill(asked)
            assert isinstance(fill.credential, kind)
            assert fill.credential == store.credentials.read([asked]).found[asked.id]
            assert (fill.is_damaged, fill.point) == (False, last_point(store))
            assert fill.point.position == 4

    def test_a_damaged_row_is_told_from_none(self, store: Store, damage: list[Damage]) -> None:
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, making.key(1))
        with store.create() as reading:
            reading.session.connection.execute(update(keys).values(name="another"))
        fill = store.credentials.fill(reference_to(1))
        assert (fill.credential, fill.is_damaged, fill.point.position) == (None, True, 2)
        assert Damage("key", str(making.id_of(1))) in damage

    def test_the_point_is_the_one_that_the_row_is_of_while_it_is_written_again_and_again(
        self, store: Store
    ) -> None:
        """Each change of the key is the next of the log: its version tells the position."""
        made = making.key(1)
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, made)
        done = [False]

        def write() -> None:
            for version in range(2, TURNS):
                changed = replace(made, version=version)
                with store.change() as transaction:
                    transaction.keys.replace(changed, version - 1)
                    making.log_key(transaction, changed)
            done[0] = True

        def read() -> int:
            several = set()
            while not done[0]:
                fill = store.credentials.fill(reference_to(1))
                assert isinstance(fill.credential, KeyCredential)
                assert fill.point.position == fill.credential.key.version + 1
                several.add(fill.point.position)
            return len(several)

        with ThreadPoolExecutor(3) as pool:
            reading = [pool.submit(read) for _ in range(2)]
            pool.submit(write).result()
            assert sum(one.result() for one in reading) > 0
        assert last_point(store).position == TURNS

    @pytest.mark.parametrize("version", [1, 2])
    def test_an_old_row_that_was_put_back_is_filled_as_damage(
        self, store: Store, damage: list[Damage], version: int
    ) -> None:
        made = making.key(1)
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, made)
        with store.read() as reading:
            old = reading.session.connection.execute(keys.select()).mappings().one()
        if version == 2:
            changed = replace(made, version=2)
            with store.change() as transaction:
                transaction.keys.replace(changed, 1)
                making.log_key(transaction, changed)
        with store.create() as reading:
            reading.session.connection.execute(update(keys).values(**old))
        fill = store.credentials.fill(reference_to(1))
        assert (fill.credential is None, fill.is_damaged) == (version == 2, version == 2)
        assert (Damage("key", str(made.id)) in damage) == (version == 2)
