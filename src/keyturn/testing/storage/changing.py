"""Rule 1 and the change log: one order, no gaps, all or nothing, and nothing that is not told."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, select, text, update

from keyturn.domain.error import IntegrityFailed, StorageUnavailable, VersionMoved
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.workspace import Reveal, WorkspaceStatus
from keyturn.storage.contract import KeyCredential, Reference, Store
from keyturn.storage.log import create_head
from keyturn.storage.schema import activity, change_head, changes, keys
from keyturn.storage.sealed import Damage
from keyturn.storage.transaction import Writing
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making

WRITERS = 8
EACH = 15
CONTENDERS = {
    "keys": 64,
    "slots": 12,
    "workspaces": 12,
    "operators": 12,
    "rotations": 12,
    "findings": 12,
    "channels": 12,
}


class _Stop(Exception):
    """Ends a change on purpose."""


class StorageBase:
    """What every part of the suite begins with: the head of an installation with no entry yet."""

    @pytest.fixture(autouse=True)
    def _begun(self, store: Store) -> None:
        with store.create() as reading:
            create_head(reading.session, UUID(int=1))


class ChangeContract(StorageBase):
    """Changes stand in one order, and each happens with its entry or not at all."""

    def test_positions_have_no_gaps_at_any_instant_under_writers_that_roll_back(
        self, store: Store
    ) -> None:
        """Whoever reads position n reads every change up to n: none commits later under a smaller
        number."""
        done = [False]

        def write(writer: int) -> list[int]:
            positions = []
            for turn in range(EACH):
                number = writer * EACH + turn
                try:
                    with store.change() as transaction:
                        made = making.key(number)
                        transaction.keys.add(made)
                        position = making.log_key(transaction, made)
                        if number % 3 == 0:
                            raise _Stop
                except _Stop:
                    continue
                positions.append(position)
            return positions

        def watch() -> int:
            looks = 0
            while not done[0]:
                with store.read() as reading:
                    seen = self._positions(reading)
                    assert seen == list(range(1, reading.head().position + 1))
                looks += 1
            return looks

        with ThreadPoolExecutor(WRITERS + 1) as pool:
            watching = pool.submit(watch)
            written = list(pool.map(write, range(WRITERS)))
            done[0] = True
            assert watching.result() > 0
        told = [position for positions in written for position in positions]
        assert sorted(told) == list(range(1, len(told) + 1))
        assert all(positions == sorted(positions) for positions in written)
        with store.read() as reading:
            numbers = [link.number for link in reading.activity.links(after=None, limit=1_000)]
            assert numbers == self._positions(reading) == sorted(told)

    @staticmethod
    def _positions(reading: Any) -> list[int]:
        return [change.position for change in reading.activity.changes(after=None, limit=1_000)]

    def test_a_change_that_is_left_by_an_exception_leaves_nothing(self, store: Store) -> None:
        made = making.key(1)
        with store.read() as reading:
            before = reading.head()

        def fail() -> None:
            with store.change() as transaction:
                transaction.keys.add(made)
                making.log_key(transaction, made)
                raise _Stop

        with pytest.raises(_Stop):
            fail()
        with store.read() as reading:
            assert reading.head() == before
            assert reading.keys.find(making.HOME, made.id) is None
            assert reading.activity.count() == 0
            assert self._positions(reading) == []

    def test_what_was_answered_is_read_by_everybody_at_once(self, store: Store) -> None:
        made = making.key(1)
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, made)
        with store.read() as reading:
            assert reading.keys.find(making.HOME, made.id) == made
        reading_of_credentials = store.credentials.read([_reference(made.id)])
        found = reading_of_credentials.found[made.id]
        assert isinstance(found, KeyCredential)
        assert (found.key, found.workspace) == (made, making.workspace())
        assert reading_of_credentials.position == 2

    def test_a_workspace_is_kept_with_every_member(self, store: Store) -> None:
        plain = making.workspace()
        full = replace(
            making.workspace(making.ABROAD, "other"),
            status=WorkspaceStatus.SUSPENDED,
            networks=(NamedNetwork(name="office", cidrs=("10.0.0.0/8",)),),
            policy="{}",
            resumed_at=SOME_TIME,
            reveal=Reveal.NEVER,
            grace_seconds=300,
            grace_before=200,
            grace_lowered_at=SOME_TIME,
        )
        making.add_workspaces(store, plain, full)
        with store.read() as reading:
            for one in (plain, full):
                assert reading.workspaces.find(one.id) == one

    def test_a_change_that_cannot_be_told_of_does_not_happen(self, store: Store) -> None:
        made = making.key(1)
        with store.create() as reading:  # the next entry's place is taken
            reading.session.connection.execute(
                insert(activity).values(
                    number=1,
                    id="",
                    retention_days=1,
                    created_at=1,
                    expires_at=1,
                    content_hash=b"",
                    hash=b"",
                )
            )
        with pytest.raises(StorageUnavailable):
            making.add_keys(store, made)
        with store.read() as reading:
            assert reading.keys.find(making.HOME, made.id) is None
            assert reading.head().position == 0
            assert self._positions(reading) == []

    def test_without_the_activity_log_nothing_can_be_changed(self, store: Store) -> None:
        with store.create() as reading:
            reading.session.connection.execute(text("DROP TABLE activity"))
        with pytest.raises(StorageUnavailable):
            making.add_keys(store, making.key(1))
        with store.read() as reading:
            assert reading.keys.find(making.HOME, making.id_of(1)) is None
            assert reading.head().position == 0

    def test_what_cannot_be_changed_is_not_told_of(self, store: Store) -> None:
        making.add_keys(store, making.key(1))
        again = making.key(1)

        def tell_first() -> None:
            with store.change() as transaction:
                making.log_key(transaction, again)
                transaction.keys.add(again)

        with pytest.raises(StorageUnavailable):
            tell_first()
        with store.read() as reading:
            assert reading.activity.count() == 1
            assert self._positions(reading) == [1]
            assert reading.head().position == 1

    def test_an_entry_without_a_change_keeps_the_position(self, store: Store) -> None:
        making.add_keys(store, making.key(1))
        with store.change() as transaction:
            assert transaction.log.append(making.entry(1)) == 1
        with store.read() as reading:
            assert (reading.head().position, reading.head().activity_number) == (1, 2)

    def test_the_last_change_of_an_object_is_found(self, store: Store) -> None:
        made = making.key(1)
        making.add_keys(store, made, making.key(2))
        with store.change() as transaction:
            following = replace(made, name="renamed", version=2)
            transaction.keys.replace(following, 1)
            making.log_key(transaction, following)
        with store.read() as reading:
            assert reading.activity.last_change("key", str(made.id)) == (3, SOME_TIME)
            assert reading.activity.last_change("slot", str(made.id)) is None

    @pytest.mark.parametrize("moved", [-1, 1, 1_000])
    def test_a_head_that_was_set_elsewhere_stops_every_change(
        self, store: Store, moved: int
    ) -> None:
        making.add_keys(store, making.key(1), making.key(2))
        with store.create() as reading:
            reading.session.connection.execute(
                update(change_head).values(position=change_head.c.position + moved)
            )
        with pytest.raises(IntegrityFailed):
            making.add_keys(store, making.key(3))
        with store.read() as reading, pytest.raises(IntegrityFailed):
            reading.head()

    def test_without_a_head_nothing_can_be_changed(self, store: Store) -> None:
        with store.create() as reading:
            reading.session.connection.execute(delete(change_head))
        with pytest.raises(IntegrityFailed):
            making.add_keys(store, making.key(1))


class SwapContract(StorageBase):
    """A record is written over the version that was read, or not at all."""

    @pytest.mark.parametrize("noun", CONTENDERS)
    def test_many_who_change_one_record_make_one_history(self, store: Store, noun: str) -> None:
        """Each reads in one transaction and writes in another: nobody's change is lost."""
        read, write = self._counter(store, noun)
        contenders = CONTENDERS[noun]

        def raise_once(_: int) -> int:
            attempts = 0
            while True:
                attempts += 1
                version = read()
                try:
                    write(version)
                except VersionMoved:
                    continue
                return attempts

        with ThreadPoolExecutor(contenders) as pool:
            attempts = list(pool.map(raise_once, range(contenders)))
        assert read() == contenders + 1
        assert sum(attempts) >= contenders
        with store.read() as reading:
            versions = [
                change.version for change in reading.activity.changes(after=None, limit=1_000)
            ]
        assert versions == list(range(1, contenders + 2))

    @pytest.mark.parametrize("noun", CONTENDERS)
    def test_a_version_that_was_never_there_is_not_written_over(
        self, store: Store, noun: str
    ) -> None:
        read, write = self._counter(store, noun)
        write(1)
        for version in (0, 1, 3):
            with pytest.raises(VersionMoved):
                write(version)
        assert read() == 2

    def test_what_was_never_added_cannot_be_written_over(self, store: Store) -> None:
        with pytest.raises(VersionMoved), store.change() as transaction:
            transaction.keys.replace(making.key(1), 1)

    @staticmethod
    def _counter(store: Store, noun: str) -> tuple[Callable[[], int], Callable[[int], None]]:
        """How to read a record's version, and how to write the next one over a given one."""
        made: Any
        log: Callable[[Writing, Any], int]
        where: tuple[Any, ...]
        match noun:
            case "keys":
                made, log = making.key(1), making.log_key
                where = (making.HOME, made.id)
                making.add_keys(store, made)
            case "slots":
                made, log = making.slot("scheduler-prod"), making.log_slot
                where = (making.HOME, made.name)
                making.add_slots(store, made)
            case "workspaces":
                made, log = making.workspace(), making.log_workspace
                where = (made.id,)
                making.add_workspaces(store, made)
            case "rotations":
                made, log = making.rotation(1), making.log_rotation
                where = (making.HOME, made.id)
                making.add_rotations(store, made)
            case "findings":
                made, log = making.finding(1), making.log_finding
                where = (making.HOME, made.id)
                making.add_findings(store, made)
            case "channels":
                made, log = making.channel(1), making.log_channel
                where = (making.HOME, made.id)
                making.add_channels(store, made)
            case _:
                made, log = making.operator(1), making.log_operator
                where = (made.id,)
                making.add_operators(store, made)

        def read() -> int:
            with store.read() as reading:
                return int(getattr(reading, noun).find(*where).version)

        def write(version: int) -> None:
            with store.change() as transaction:
                following = replace(made, version=version + 1)
                getattr(transaction, noun).replace(following, version)
                log(transaction, following)

        return read, write


class ReadContract(StorageBase):
    """Rules 2, 4 and 5: one view, nothing written; the database's own answer; damage told late."""

    def test_a_reading_cannot_write(self, store: Store) -> None:
        making.add_keys(store, making.key(1))

        def write() -> None:
            with store.read() as reading:
                reading.session.connection.execute(update(keys).values(name="renamed"))

        with pytest.raises(StorageUnavailable):
            write()
        with store.read() as reading:
            assert reading.keys.find(making.HOME, making.id_of(1)) == making.key(1)

    def test_a_reading_sees_one_state_from_beginning_to_end(self, store: Store) -> None:
        with store.read() as reading:
            before = reading.head()
            making.add_keys(store, making.key(1))
            assert reading.head() == before
            assert reading.keys.find(making.HOME, making.id_of(1)) is None
        with store.read() as reading:
            assert reading.head().position == 1

    def test_a_credential_is_read_from_the_database_each_time(self, store: Store) -> None:
        made = making.key(1)
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, made)
        asked = [_reference(made.id)]
        assert set(store.credentials.read(asked).found) == {made.id}
        for version in range(2, 6):
            with store.change() as transaction:
                following = replace(made, name=f"version {version}", version=version)
                transaction.keys.replace(following, version - 1)
                making.log_key(transaction, following)
            reading = store.credentials.read(asked)
            found = reading.found[made.id]
            assert isinstance(found, KeyCredential)
            assert found.key == following
            assert reading.position == version + 1
        with store.create() as transaction_behind:
            transaction_behind.session.connection.execute(delete(keys))
        assert store.credentials.read(asked).found == {}

    def test_credentials_of_nobody_are_not_found(self, store: Store) -> None:
        making.add_operators(store, making.operator(1))
        making.add_workspaces(store, making.workspace())
        making.add_keys(store, making.key(2))
        asked = [
            Reference(id=making.id_of(1), is_operators=False),
            Reference(id=making.id_of(2), is_operators=True),
            Reference(id=making.NOBODY, is_operators=False),
        ]
        assert store.credentials.read(asked).found == {}
        assert store.credentials.read([]).found == {}

    def test_damage_is_told_once_its_transaction_is_over(
        self, store: Store, damage: list[Damage]
    ) -> None:
        making.add_keys(store, making.key(1), making.key(2))
        with store.create() as reading:
            reading.session.connection.execute(
                update(keys).where(keys.c.id == str(making.id_of(1))).values(name="forged")
            )
        told = [Damage("key", str(making.id_of(1)))]

        def meet_it() -> None:
            with store.read() as reading:
                with pytest.raises(IntegrityFailed):
                    reading.keys.find(making.HOME, making.id_of(1))
                assert damage == []
                raise _Stop

        with pytest.raises(_Stop):
            meet_it()
        assert damage == told
        with pytest.raises(IntegrityFailed), store.change() as transaction:
            transaction.keys.find(making.HOME, making.id_of(1))
        assert damage == told * 2

    def test_what_the_engine_raises_is_storage_unavailable_with_its_cause(
        self, store: Store
    ) -> None:
        for opened in (store.read, store.change, store.record, store.create):
            with pytest.raises(StorageUnavailable) as refusal, opened() as transaction:
                transaction.session.connection.execute(text("SELECT nothing FROM nowhere"))
            assert refusal.value.__cause__ is not None
            assert "nowhere" not in refusal.value.detail
        with store.create() as reading:
            reading.session.connection.execute(text("DROP TABLE keys"))
        with pytest.raises(StorageUnavailable):
            store.credentials.read([_reference(making.id_of(1))])

    def test_the_database_tells_its_own_time(self, store: Store) -> None:
        first, second = store.ping(), store.ping()
        assert 1_700_000_000_000_000 < first <= second + 10_000

    def test_every_session_is_given_back(self, store: Store) -> None:
        """Many more transactions than there are connections, a third of which fail."""

        def use(number: int) -> None:
            opened = (store.read, store.change, store.record)[number % 3]
            try:
                with opened() as transaction:
                    transaction.session.connection.execute(select(changes.c.position))
                    if number % 2:
                        raise _Stop
            except _Stop:
                return

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(use, range(240)))


def _reference(id_: UUID) -> Reference:
    return Reference(id=id_, is_operators=False)
