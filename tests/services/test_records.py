"""What is recorded beside: requests through the meter, chores, damage, refusals."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from keyturn.domain.activity import ActivityStatus, ActorType
from keyturn.domain.error import GrantExceeded, KeyturnError, StorageUnavailable
from keyturn.domain.instant import DAY
from keyturn.services.journal import Subject, note_refusal
from keyturn.services.meter import BATCH, ROOM, Meter
from keyturn.services.tidy import ONCE, Tidier, tidy
from keyturn.services.watch import DamageWatch
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.contract import Cluster, CredentialReader, Store
from keyturn.storage.idempotency import IdempotencyScope, StoredAnswer
from keyturn.storage.memory import Memory
from keyturn.storage.requests import RequestFilter
from keyturn.storage.sealed import Damage
from keyturn.storage.transaction import Reading, Writing
from keyturn.testing.storage import making
from tests.houses import House


@dataclass(slots=True)
class Unreliable:
    """A store that fails to record, before it did or after."""

    store: Store
    fails_before: int = 0
    fails_after: int = 0

    @property
    def engine(self) -> str:
        return self.store.engine

    @property
    def credentials(self) -> CredentialReader:
        return self.store.credentials

    @property
    def cluster(self) -> Cluster | None:
        return self.store.cluster

    def read(self) -> AbstractContextManager[Reading]:
        return self.store.read()

    def change(self) -> AbstractContextManager[Writing]:
        return self.store.change()

    def record(self) -> AbstractContextManager[Reading]:
        if self.fails_before:
            self.fails_before -= 1
            raise StorageUnavailable("The disk is full.")
        return self.store.record() if not self.fails_after else self._lost()

    def _lost(self) -> AbstractContextManager[Reading]:
        self.fails_after -= 1
        return _AnswerLost(self.store.record())

    def create(self) -> AbstractContextManager[Reading]:
        return self.store.create()

    def ping(self) -> int:
        return self.store.ping()

    @property
    def memory(self) -> Memory:
        return self.store.memory

    def hurry(self) -> None:
        self.store.hurry()

    def close(self) -> None:
        self.store.close()


class _AnswerLost(AbstractContextManager[Reading]):
    """A transaction that commits, and whose answer never comes."""

    def __init__(self, inner: AbstractContextManager[Reading]) -> None:
        self._inner = inner

    def __enter__(self) -> Reading:
        return self._inner.__enter__()

    def __exit__(self, *failure: object) -> None:
        self._inner.__exit__(None, None, None)
        raise StorageUnavailable("The connection broke.")


def kept(house: House) -> int:
    with house.store.read() as reading:
        return reading.requests.count(house.workspace_id, RequestFilter())


def note_some(meter: Meter, house: House, count: int, key_id: UUID | None = None) -> None:
    for number in range(count):
        meter.note(making.request(number, workspace_id=house.workspace_id, key_id=key_id))


# --- the meter ------------------------------------------------------------------------------------


def test_a_flush_keeps_everything_noted_in_batches(house: House) -> None:
    meter = Meter(house.context)
    assert meter.flush() == 0
    note_some(meter, house, 2 * BATCH + 5)
    assert (meter.waiting, meter.has_room) == (2 * BATCH + 5, True)
    assert meter.flush() == 2 * BATCH + 5
    assert (meter.waiting, kept(house)) == (0, 2 * BATCH + 5)


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_batch_that_failed_is_kept_once_by_the_next_flush(house: House, failure: str) -> None:
    """After: it was committed, and nobody heard of it."""
    key_id = house.issue().token.id
    store = Unreliable(house.store, **{f"fails_{failure}": 2})
    meter = Meter(replace(house.context, store=store))
    note_some(meter, house, BATCH + 5, key_id)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            meter.flush()
        assert meter.waiting == BATCH + 5
    note_some(meter, house, 1, key_id)
    assert meter.flush() == BATCH + 6
    assert kept(house) == BATCH + 6
    with house.store.read() as reading:
        [bucket] = reading.usage.series(key_id, since=0, until=DAY, bucket=DAY)
    assert bucket.allowed == BATCH + 6


def test_what_the_end_could_not_keep_is_counted(house: House) -> None:
    store = Unreliable(house.store, fails_before=3)
    meter = Meter(replace(house.context, store=store))
    note_some(meter, house, BATCH + 5)
    assert meter.flush_finally(2) == BATCH + 5
    assert meter.flush_finally(2) == 0
    assert kept(house) == BATCH + 5


def test_a_full_buffer_says_so_and_drops_nothing(house: House) -> None:
    meter = Meter(house.context)
    one = making.request(1, workspace_id=house.workspace_id)
    for _ in range(ROOM - 1):
        meter.note(one)
    seen = []
    for _ in range(3):
        seen.append((meter.waiting - ROOM, meter.has_room))
        meter.note(one)
    assert seen == [(-1, True), (0, False), (1, False)]


def test_many_who_note_and_flush_at_once_lose_and_double_nothing(house: House) -> None:
    meter = Meter(house.context)

    def work(number: int) -> None:
        note_some(meter, house, 50)
        if number % 2:
            meter.flush()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    meter.flush()
    assert (meter.waiting, kept(house)) == (0, 16 * 50)


# --- chores ---------------------------------------------------------------------------------------


def test_tidying_takes_what_has_outlived_its_retention_and_nothing_else(house: House) -> None:
    context = replace(house.context, activity_retention_days=10, request_retention_days=5)
    start = house.clock.now()
    requests = [making.request(start + day * DAY) for day in range(8)]
    making.record(house.store, *requests)
    scope = IdempotencyScope(
        caller_id=making.NOBODY, workspace_id=making.HOME, route="r", idempotency_key="k"
    )
    answer = StoredAnswer(body_hash=b"", status=201, headers={}, body="")
    with house.store.change() as transaction:
        transaction.idempotency.keep(scope, answer, start)
    note_refusal(
        context,
        house.act(),
        action="api_key.created",
        subject=Subject(workspace_id=house.workspace_id, type="slot", id="scheduler-prod"),
        error=GrantExceeded("No."),
    )
    assert tidy(context, house.clock.now()) == replace(
        tidy(context, house.clock.now()), requests=0, entries=0, answers=0
    )
    house.clock.advance(8 * DAY)
    tidied = tidy(context, house.clock.now())
    assert (tidied.requests, tidied.entries, tidied.answers) == (3, 0, 1)
    assert tidied.is_done
    house.clock.advance(2 * DAY)
    assert tidy(context, house.clock.now()).entries == 1
    assert house.attest().is_sound
    assert house.attest().blanked == 1


def test_tidying_says_when_more_is_waiting(house: House) -> None:
    meter = Meter(house.context)
    note_some(meter, house, ONCE + 10)
    meter.flush()
    assert not tidy(house.context, house.clock.now()).is_done
    second = tidy(house.context, house.clock.now())
    assert (second.requests, second.is_done) == (10, True)


class _OwnClock:
    """A store whose database has a clock of its own."""

    def __init__(self, house: House) -> None:
        self._store = house.store
        self.now = house.clock.now()

    def ping(self) -> int:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_clock_that_jumped_ahead_takes_no_history_with_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    start = house.clock.now()
    making.record(house.store, making.request(start))
    store = _OwnClock(house)
    context = replace(house.context, store=store, request_retention_days=5)
    tidier = Tidier(context)
    for jumped in ("this machine", "both"):
        if jumped == "this machine":
            house.clock.jump(1_000 * DAY)
        else:
            store.now += 1_000 * DAY
        tidied = tidier.tidy()
        assert (tidied.requests, tidied.entries, tidied.is_done) == (0, 0, True), jumped
    assert tidier.supported_now() == start + DAY
    assert len([one for one in caplog.records if one.name == "keyturn.tidy"]) == 1
    making.record(house.store, making.request(house.clock.now()))  # what it records proves nothing
    assert tidier.tidy().requests == 0
    house.clock.advance(5 * DAY)  # it has run that long
    store.now += 5 * DAY
    assert tidier.supported_now() == start + 6 * DAY
    assert tidier.tidy().requests == 1
    assert tidier.tidy().entries == 0


def test_a_clock_that_is_right_is_gone_by(house: House) -> None:
    start = house.clock.now()
    making.record(house.store, making.request(start))
    store = _OwnClock(house)
    tidier = Tidier(replace(house.context, store=store, request_retention_days=5))
    for _ in range(6):
        house.clock.advance(DAY)
        store.now += DAY
        assert tidier.supported_now() == house.clock.now()
    assert tidier.tidy().requests == 1


# --- the activity log -----------------------------------------------------------------------------


def test_damage_is_told_of_once_in_the_log_of_its_workspace(house: House) -> None:
    issued = house.issue()
    key_id = issued.token.id
    watch = DamageWatch()
    house.run("UPDATE keys SET scopes = '[\"*\"]' WHERE id = :id", id=str(key_id))
    for _ in range(3):
        house.verdict(issued.token)
        with house.store.read() as reading, pytest.raises(KeyturnError):
            reading.keys.find(house.workspace_id, key_id)
    assert len(house.damage) > 3 or house.engine == "sqlite"
    for damage in house.damage:
        watch.report(damage)
    assert watch.seen == len(house.damage)
    assert watch.write_down(house.context) == 1
    for damage in house.damage:
        watch.report(damage)
    assert watch.write_down(house.context) == 0
    wanted = ActivityFilter(action="integrity.failed")
    with house.store.read() as reading:
        [(_, entry)] = reading.activity.list(house.workspace_id, wanted, limit=10, before=None)
    assert (entry.resource_type, entry.resource_id) == ("api_key", str(key_id))
    assert (entry.status, entry.actor.type) == (ActivityStatus.FAILED, ActorType.SYSTEM)


def test_damage_waits_while_it_cannot_be_written_down(house: House) -> None:
    watch = DamageWatch()
    watch.report(Damage("operator", str(house.installed.operator_id)))
    watch.report(Damage("slot", f"{house.workspace_id}/scheduler-prod"))
    [(position,)] = house.run("SELECT position FROM change_head")
    house.run("UPDATE change_head SET position = 1000")
    assert watch.write_down(house.context) == 0
    house.run("UPDATE change_head SET position = :position", position=position)
    assert watch.write_down(house.context) == 2
    assert watch.write_down(house.context) == 0
    assert house.attest().is_sound


def test_a_refusal_is_told_of_and_changes_no_position(house: House) -> None:
    issued = house.issue(permissions=("keys:write",))
    caller = house.caller(issued.token)
    with pytest.raises(GrantExceeded) as refusal:
        house.issue(by=caller, scopes=("write",))
    before = house.position()
    note_refusal(
        house.context,
        house.act(caller, request_id="request-7"),
        action="api_key.created",
        subject=Subject(workspace_id=house.workspace_id, type="slot", id="scheduler-prod"),
        error=refusal.value,
    )
    assert house.position() == before
    with house.store.read() as reading:
        [(_, entry)] = reading.activity.list(
            house.workspace_id, ActivityFilter(request_id="request-7"), limit=10, before=None
        )
    assert (entry.status, entry.message) == (ActivityStatus.FAILED, refusal.value.detail)
    assert entry.actor.type is ActorType.API_KEY
    assert entry.metadata == {"code": "grant.exceeded", "actor_key_id": str(issued.token.id)}
    assert house.attest().is_sound


def test_every_act_is_told_of_with_its_caller_and_request_id(house: House) -> None:
    issued = house.issue(permissions=("admin",))
    caller = house.caller(issued.token)
    house.issue(by=caller, slot="other-prod")
    with house.store.read() as reading:
        entries = reading.activity.list(
            house.workspace_id,
            ActivityFilter(actor=str(issued.token.id)),
            limit=10,
            before=None,
        )
    assert [entry.action for _, entry in entries] == ["api_key.created", "slot.created"]
    assert {entry.request_id for _, entry in entries} == {"request-1"}
    secrets = [issued.token.reveal(), issued.token.secret().decode()]
    for table in ("activity", "changes", "keys", "requests"):
        text = str(house.run(f"SELECT * FROM {table}"))
        assert not [secret for secret in secrets if secret in text], table


def test_traffic_outlives_the_requests_by_far_and_goes_as_well(house: House) -> None:
    key_id = house.issue().token.id
    making.record(
        house.store,
        making.request(house.clock.now(), key_id=key_id, workspace_id=house.workspace_id),
    )
    house.clock.advance(399 * DAY)
    assert tidy(house.context, house.clock.now()).requests == 1
    with house.store.read() as reading:
        assert reading.traffic.begins_at(key_id) is not None
    house.clock.advance(2 * DAY)
    assert tidy(house.context, house.clock.now()).traffic == 1
    with house.store.read() as reading:
        assert reading.traffic.begins_at(key_id) is None
