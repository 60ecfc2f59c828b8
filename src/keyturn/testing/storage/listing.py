"""Finding and listing: tenants apart, each filter, pages that are complete, counts that agree."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import update

from keyturn.domain.activity import ActivityStatus, Category, Entry
from keyturn.domain.key import Key, KeyState, KeyStatus, RevocationReason
from keyturn.domain.network import parse_network, sort_key
from keyturn.domain.permission import covers_slot
from keyturn.domain.request import Request
from keyturn.domain.slot import Slot
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.contract import Store
from keyturn.storage.keys import KeyFilter
from keyturn.storage.requests import RecordedRequest, RequestFilter
from keyturn.storage.schema import keys as keys_table
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

Item = TypeVar("Item")

SLOTS = ("alpha-prod", "alpha-dev", "alpha-two-prod", "beta-prod", "gamma-default")
PATTERNS: tuple[tuple[str, ...], ...] = (
    ("*",),
    (),
    ("alpha-prod",),
    ("alpha-*",),
    ("alpha*", "beta-prod"),
    ("alph%*",),
    ("nothing-*",),
)
OWNERS = (None, "team", "o_ner", "100%")
TRIALS = 150


def paged(
    read: Callable[[Any], Sequence[Item]], after: Callable[[Item], Any], limit: int
) -> list[Item]:
    """The whole list, a page at a time."""
    found: list[Item] = []
    cursor: Any = None
    while page := read(cursor):
        assert len(page) <= limit
        found += page
        if len(page) < limit:
            break
        cursor = after(page[-1])
    return found


class TenantContract(StorageBase):
    """What belongs to another workspace is not there."""

    def test_a_foreign_workspace_finds_nothing_in_any_look_up(self, store: Store) -> None:
        making.add_workspaces(store, making.workspace(), making.workspace(making.ABROAD, "other"))
        made = making.key(1)
        making.add_keys(store, made)
        making.add_slots(store, making.slot("scheduler-prod"))
        making.record(store, making.request(SOME_TIME, key_id=made.id))
        with store.read() as reading:
            for place, is_home in ((making.HOME, True), (making.ABROAD, False)):
                everything = KeyFilter(status=None, now=SOME_TIME)
                requests = RequestFilter()
                looks: list[object] = [
                    reading.keys.find(place, made.id),
                    reading.keys.view(place, made.id),
                    reading.keys.list(place, everything, limit=10, before=None),
                    reading.keys.count(place, everything),
                    reading.slots.find(place, made.slot),
                    _slots(reading, place, limit=10, before=None),
                    reading.requests.list(place, requests, limit=10, before=None),
                    reading.requests.list(
                        place, replace(requests, key_id=made.id), limit=10, before=None
                    ),
                    reading.requests.list(
                        place, replace(requests, slots=("scheduler-*",)), limit=10, before=None
                    ),
                    reading.requests.count(place, requests),
                ]
                assert [bool(look) for look in looks] == [is_home] * len(looks)
                entries = reading.activity.list(place, ActivityFilter(), limit=10, before=None)
                assert {entry.workspace_id for _, entry in entries} == {place}
            assert reading.keys.workspace_of(made.id) == making.HOME
            assert reading.keys.workspace_of(making.NOBODY) is None
            assert reading.workspaces.find(making.NOBODY) is None

    def test_the_only_workspace_is_told_while_it_is_the_only_one(self, store: Store) -> None:
        with store.read() as reading:
            assert reading.workspaces.only() is None
        making.add_workspaces(store, making.workspace())
        with store.read() as reading:
            assert reading.workspaces.only() == making.HOME
        making.add_workspaces(store, making.workspace(making.ABROAD))
        with store.read() as reading:
            assert reading.workspaces.only() is None
            assert reading.workspaces.count() == 2
            listed = paged(
                lambda cursor: reading.workspaces.list(limit=1, before=cursor),
                lambda one: one.id,
                1,
            )
        assert [one.id for one in listed] == [making.ABROAD, making.HOME]


class ListContract(StorageBase):
    """Each filter against a model of a few lines, in pages of any size."""

    def test_keys_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        dice = making.Dice(1)
        slots = [
            making.slot(name, owner=dice.pick(OWNERS)) for name in SLOTS[:-1]
        ]  # the last has keys, but was never made
        owners = {str(one.name): one.notes.owner for one in slots}
        keys = [_any_key(dice, number) for number in range(60)]
        abroad = [
            replace(making.key(number, slot=SLOTS[0]), workspace_id=making.ABROAD)
            for number in range(100, 105)
        ]
        making.add_slots(store, *slots)
        making.add_keys(store, *keys, *abroad)
        with store.read() as reading:
            for _ in range(TRIALS):
                wanted = KeyFilter(
                    status=dice.pick([None, *KeyStatus]),
                    now=SOME_TIME + dice.pick([-1, 0, 1]),
                    slots=dice.pick(PATTERNS),
                    service=dice.pick([None, None, "alpha", "alpha-two", "none"]),
                    environment=dice.pick([None, None, "prod", "dev"]),
                    owner=dice.pick([None, None, *OWNERS]),
                    created_by=dice.pick([None, None, making.id_of(900), making.NOBODY]),
                )
                limit = dice.pick([1, 2, 7, 100])
                expected = [key.id for key in reversed(keys) if _is_wanted_key(key, wanted, owners)]
                views = paged(
                    lambda cursor, wanted=wanted, limit=limit: reading.keys.list(  # type: ignore[misc]
                        making.HOME, wanted, limit=limit, before=cursor
                    ),
                    lambda view: view.key.id,
                    limit,
                )
                assert [view.key.id for view in views] == expected, wanted
                assert reading.keys.count(making.HOME, wanted) == len(expected), wanted
                for view in views:
                    owner = None if view.slot is None else view.slot.notes.owner
                    assert owner == owners.get(str(view.key.slot))

    def test_slots_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        dice = making.Dice(2)
        slots = [
            making.slot(
                f"{service}-{environment}",
                created_at=SOME_TIME + dice.below(3),
                owner=dice.pick(OWNERS),
            )
            for service in ("alpha", "alpha-two", "beta", "b", "c", "d")
            for environment in ("prod", "dev", "default")
        ]
        making.add_slots(store, *slots, making.slot("alpha-prod", workspace_id=making.ABROAD))
        slots.sort(key=_slot_order, reverse=True)
        with store.read() as reading:
            for _ in range(TRIALS):
                wanted: dict[str, Any] = {
                    "patterns": dice.pick(PATTERNS),
                    "service": dice.pick([None, None, "alpha", "none"]),
                    "environment": dice.pick([None, None, "prod"]),
                    "owner": dice.pick([None, None, *OWNERS]),
                }
                limit = dice.pick([1, 2, 5, 100])
                expected = [one for one in slots if _is_wanted_slot(one, wanted)]
                listed = paged(
                    lambda cursor, wanted=wanted, limit=limit: reading.slots.list(  # type: ignore[misc]
                        making.HOME, limit=limit, before=cursor, **wanted
                    ),
                    _slot_order,
                    limit,
                )
                assert listed == expected, wanted
                assert reading.slots.count(making.HOME, **wanted) == len(expected), wanted

    def test_requests_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        dice = making.Dice(3)
        keys = [making.key(number, slot=name) for number, name in enumerate(SLOTS)]
        making.add_keys(store, *keys, replace(making.key(99), workspace_id=making.ABROAD))
        requests = [_any_request(dice, keys) for _ in range(80)]
        making.record(store, *requests)
        making.record(store, making.request(SOME_TIME, workspace_id=making.ABROAD), first=500)
        making.record(store, making.request(SOME_TIME, workspace_id=None), first=501)
        ordered = sorted(enumerate(requests), key=lambda one: (one[1].at, one[0]), reverse=True)
        slots = {key.id: str(key.slot) for key in keys}
        with store.read() as reading:
            for _ in range(TRIALS):
                wanted = _any_request_filter(dice, keys)
                limit = dice.pick([1, 3, 100])
                expected = [
                    str(making.id_of(1 + index))
                    for index, one in ordered
                    if _is_wanted_request(one, wanted, slots)
                ]
                listed = paged(
                    lambda cursor, wanted=wanted, limit=limit: reading.requests.list(  # type: ignore[misc]
                        making.HOME, wanted, limit=limit, before=cursor
                    ),
                    _request_order,
                    limit,
                )
                assert [one.id for one in listed] == expected, wanted
                assert reading.requests.count(making.HOME, wanted) == len(expected), wanted

    def test_activity_is_listed_as_its_filters_say(self, store: Store) -> None:
        dice = making.Dice(4)
        entries: list[Entry] = []
        with store.change() as transaction:
            for number in range(1, 81):
                entry = _any_entry(dice, number)
                transaction.log.append(entry)
                entries.append(entry)
        with store.read() as reading:
            for _ in range(TRIALS):
                wanted = _any_activity_filter(dice)
                limit = dice.pick([1, 3, 100])
                expected = [
                    (number, entry)
                    for number, entry in reversed(list(enumerate(entries, start=1)))
                    if _is_wanted_entry(entry, wanted)
                ]
                listed = paged(
                    lambda cursor, wanted=wanted, limit=limit: reading.activity.list(  # type: ignore[misc]
                        making.HOME, wanted, limit=limit, before=cursor
                    ),
                    lambda one: one[0],
                    limit,
                )
                assert listed == expected, wanted

    def test_operators_are_listed_newest_first(self, store: Store) -> None:
        made = [making.operator(number) for number in (3, 1, 2)]
        making.add_operators(store, *made)
        with store.read() as reading:
            listed = [one.id for one in reading.operators.list()]
        assert listed == [making.id_of(number) for number in (3, 2, 1)]

    def test_pages_are_complete_and_repeat_nothing_while_rows_are_added(self, store: Store) -> None:
        """Each page is a transaction of its own, and between two of them new rows appear."""
        made = [making.key(number, slot=f"service{number}-prod") for number in range(20)]
        making.add_keys(store, *made)
        making.add_slots(
            store,
            *(making.slot(str(key.slot), created_at=SOME_TIME + n) for n, key in enumerate(made)),
        )
        making.record(store, *(making.request(SOME_TIME + n) for n in range(20)))
        added = [1_000]

        def add() -> None:
            number = added[0] = added[0] + 1
            making.add_keys(store, making.key(number, slot=f"service{number}-prod"))
            making.add_slots(
                store, making.slot(f"service{number}-prod", created_at=SOME_TIME + number)
            )
            making.record(store, making.request(SOME_TIME + number), first=number)

        def keys(cursor: UUID | None) -> Sequence[Any]:
            add()
            with store.read() as reading:
                wanted = KeyFilter(status=KeyStatus.ACTIVE, now=SOME_TIME)
                return reading.keys.list(making.HOME, wanted, limit=3, before=cursor)

        def slots(cursor: Any) -> Sequence[Slot]:
            add()
            with store.read() as reading:
                return _slots(reading, making.HOME, limit=3, before=cursor)

        def requests(cursor: Any) -> Sequence[RecordedRequest]:
            add()
            with store.read() as reading:
                return reading.requests.list(making.HOME, RequestFilter(), limit=3, before=cursor)

        def entries(cursor: int | None) -> Sequence[tuple[int, Entry]]:
            add()
            with store.read() as reading:
                return reading.activity.list(making.HOME, ActivityFilter(), limit=3, before=cursor)

        for seen, old in (
            (
                [view.key.id for view in paged(keys, lambda view: view.key.id, 3)],
                [key.id for key in reversed(made)],
            ),
            (
                [str(one.name) for one in paged(slots, _slot_order, 3)],
                [str(key.slot) for key in reversed(made)],
            ),
            (
                [one.id for one in paged(requests, _request_order, 3)],
                [str(making.id_of(number)) for number in range(20, 0, -1)],
            ),
            (
                [number for number, _ in paged(entries, lambda one: one[0], 3)],
                list(range(40, 0, -1)),
            ),
        ):
            assert len(set(seen)) == len(seen)
            assert list(seen)[-len(old) :] == old

    def test_damage_takes_no_place_in_a_page(self, store: Store) -> None:
        """Who pages on until a short page comes must reach what lies behind a damaged row."""
        made = [making.key(number, slot=f"service{number}-prod") for number in range(12)]
        making.add_keys(store, *made)
        with store.create() as reading:
            damaged = [str(making.id_of(number)) for number in (0, 3, 4, 5, 11)]
            reading.session.connection.execute(
                update(keys_table).where(keys_table.c.id.in_(damaged)).values(name="forged")
            )
        wanted = KeyFilter(status=None, now=SOME_TIME)
        with store.read() as reading:
            for limit in (1, 2, 3, 100):
                listed = paged(
                    lambda cursor, limit=limit: reading.keys.list(  # type: ignore[misc]
                        making.HOME, wanted, limit=limit, before=cursor
                    ),
                    lambda view: view.key.id,
                    limit,
                )
                assert [view.key for view in listed] == [
                    made[number] for number in (10, 9, 8, 7, 6, 2, 1)
                ]


# --- models ---------------------------------------------------------------------------------------


def _slots(reading: Any, place: UUID, *, limit: int, before: Any) -> Sequence[Slot]:
    found: Sequence[Slot] = reading.slots.list(
        place,
        patterns=("*",),
        service=None,
        environment=None,
        owner=None,
        limit=limit,
        before=before,
    )
    return found


def _slot_order(slot: Slot) -> tuple[int, str, str]:
    return slot.created_at, slot.name.service, slot.name.environment


def _request_order(request: RecordedRequest) -> tuple[int, str]:
    return request.at, request.id


def _any_key(dice: making.Dice, number: int) -> Key:
    key = making.key(number, slot=dice.pick(SLOTS))
    key = replace(
        key,
        expires_at=dice.pick([None, None, SOME_TIME - 1, SOME_TIME, SOME_TIME + 1]),
        created_by=dice.pick([None, making.id_of(900), making.id_of(901)]),
        state=dice.pick([KeyState.ACTIVE, KeyState.ACTIVE, KeyState.SUSPENDED]),
    )
    if dice.below(3):
        return key
    return replace(
        key,
        state=KeyState.REVOKED,
        revoked_at=SOME_TIME,
        revocation_reason=dice.pick(list(RevocationReason)),
    )


def _is_wanted_key(key: Key, wanted: KeyFilter, owners: dict[str, str | None]) -> bool:
    return (
        (wanted.status is None or key.status(wanted.now) is wanted.status)
        and covers_slot(wanted.slots, str(key.slot))
        and wanted.service in (None, key.slot.service)
        and wanted.environment in (None, key.slot.environment)
        and wanted.owner in (None, owners.get(str(key.slot)))
        and wanted.created_by in (None, key.created_by)
    )


def _is_wanted_slot(slot: Slot, wanted: dict[str, Any]) -> bool:
    return (
        covers_slot(wanted["patterns"], str(slot.name))
        and wanted["service"] in (None, slot.name.service)
        and wanted["environment"] in (None, slot.name.environment)
        and wanted["owner"] in (None, slot.notes.owner)
    )


_CODES = ("valid", "valid", "revoked", "unknown")
_ADDRESSES = (None, "10.0.0.1", "10.255.255.255", "11.0.0.0", "2001:db8::1", "::ffff:10.0.0.1")
_PATHS = (None, "/pins", "/pins/7", "/pin", "/PINS", "/p%ns", "/p_ns")


def _any_request(dice: making.Dice, keys: Sequence[Key]) -> Request:
    return making.request(
        SOME_TIME + dice.below(6),
        key_id=dice.pick([None, *(key.id for key in keys)]),
        code=dice.pick(_CODES),
        runtime=dice.pick(["worker", "batch"]),
        ip=dice.pick(_ADDRESSES),
        path=dice.pick(_PATHS),
        request_id=dice.pick(["one", "two"]),
    )


def _any_request_filter(dice: making.Dice, keys: Sequence[Key]) -> RequestFilter:
    network = dice.pick([None, None, "10.0.0.0/8", "10.0.0.1", "2001:db8::/32", "::/0"])
    return RequestFilter(
        slots=dice.pick([("*",), *PATTERNS]),
        key_id=dice.pick([None, None, keys[0].id, making.id_of(99)]),
        request_id=dice.pick([None, None, "one"]),
        runtime=dice.pick([None, None, "batch"]),
        network=None if network is None else parse_network(network),
        path=dice.pick([None, None, "/pins", "/p%", "/p_", ""]),
        valid=dice.pick([None, None, True, False]),
        code=dice.pick([None, None, "revoked"]),
        since=dice.pick([None, None, SOME_TIME + 2]),
        until=dice.pick([None, None, SOME_TIME + 4]),
    )


def _is_wanted_request(request: Request, wanted: RequestFilter, slots: dict[UUID, str]) -> bool:
    of_slots = "*" in wanted.slots or (
        request.key_id is not None and covers_slot(wanted.slots, slots[request.key_id])
    )
    return (
        of_slots
        and wanted.key_id in (None, request.key_id)
        and wanted.request_id in (None, request.request_id)
        and wanted.runtime in (None, request.runtime.name)
        and (wanted.network is None or _is_within(request, wanted))
        and (wanted.path is None or (request.path or "\0").startswith(wanted.path))
        and (wanted.path is None or request.path is not None)
        and wanted.valid in (None, request.is_valid)
        and wanted.code in (None, request.code)
        and (wanted.since is None or request.at >= wanted.since)
        and (wanted.until is None or request.at < wanted.until)
    )


def _is_within(request: Request, wanted: RequestFilter) -> bool:
    """IPv4 stands among the IPv6 addresses as mapped, so `::/0` holds every address."""
    if request.address is None or wanted.network is None:
        return False
    first, last = wanted.network.network_address, wanted.network.broadcast_address
    return sort_key(first) <= sort_key(request.address) <= sort_key(last)


def _any_entry(dice: making.Dice, number: int) -> Entry:
    return replace(
        making.entry(number, workspace_id=dice.pick([making.HOME, making.ABROAD, None])),
        actor=making.actor(dice.below(2)),
        action=dice.pick(["api_key.created", "api_key.revoked"]),
        category=dice.pick(list(Category)),
        resource_type=dice.pick(["api_key", "slot"]),
        resource_id=dice.pick(["one", "two"]),
        status=dice.pick(list(ActivityStatus)),
        metadata={"number": number, "text": "é\u2028\U0001f511", "nested": {"a": [1, None, 1.5]}},
        request_id=dice.pick([None, "one", "two"]),
        created_at=SOME_TIME + number // 10,
    )


def _any_activity_filter(dice: making.Dice) -> ActivityFilter:
    return ActivityFilter(
        category=dice.pick([None, None, *Category]),
        action=dice.pick([None, None, "api_key.revoked", "none"]),
        status=dice.pick([None, None, *ActivityStatus]),
        resource_type=dice.pick([None, None, "slot"]),
        resource_id=dice.pick([None, None, "one"]),
        request_id=dice.pick([None, None, "one"]),
        actor=dice.pick([None, None, "operator 1", str(making.id_of(0)), "operator"]),
        since=dice.pick([None, None, SOME_TIME + 3]),
        until=dice.pick([None, None, SOME_TIME + 6]),
    )


def _is_wanted_entry(entry: Entry, wanted: ActivityFilter) -> bool:
    return (
        entry.workspace_id == making.HOME
        and wanted.category in (None, entry.category)
        and wanted.action in (None, entry.action)
        and wanted.status in (None, entry.status)
        and wanted.resource_type in (None, entry.resource_type)
        and wanted.resource_id in (None, entry.resource_id)
        and wanted.request_id in (None, entry.request_id)
        and wanted.actor in (None, str(entry.actor.id), entry.actor.label)
        and (wanted.since is None or entry.created_at >= wanted.since)
        and (wanted.until is None or entry.created_at < wanted.until)
    )
