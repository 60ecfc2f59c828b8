"""What was done with keys, hour by hour: counted with the requests, and bounded."""

from collections.abc import Sequence

from keyturn.domain.instant import DAY
from keyturn.domain.traffic import HOUR, LONGEST_VALUE, MOST_VALUES, REST, Facet, TrafficRow
from keyturn.storage.contract import Store
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

KEY, OTHER_KEY = making.id_of(1), making.id_of(2)
NOON = 1_760_000_400_000_000 // HOUR * HOUR


def rows_of(store: Store, since: int = 0, until: int = 2**60) -> Sequence[TrafficRow]:
    with store.read() as reading:
        return reading.traffic.of_keys([KEY], since, until)


class TrafficContract(StorageBase):
    """Traffic is counted once, with the requests, and no key can make more of it than it may."""

    def test_each_request_is_counted_by_everything_that_it_shows(self, store: Store) -> None:
        making.record(
            store,
            making.request(
                NOON + 5,
                key_id=KEY,
                ip="203.0.113.9",
                method="GET",
                path="/pins?secret=1",
                user_agent="curl/8",
                scopes=("read", "write"),
                environment="prod",
                country="NZ",
                browser="origin",
            ),
            making.request(NOON + 7, key_id=KEY, ip="10.0.0.1", named_network="office"),
            making.request(NOON + 9, key_id=KEY, code="revoked", runtime="ua:curl", declared=False),
            making.request(NOON + 9, key_id=OTHER_KEY),
            making.request(NOON + 9, key_id=None),
        )
        found = {(one.facet, one.value): one for one in rows_of(store)}
        assert {name: (one.allowed, one.denied) for name, one in found.items()} == {
            (Facet.CALLER, '["worker",true,"203.0.113.9"]'): (1, 0),
            (Facet.CALLER, '["worker",true,"office"]'): (1, 0),
            (Facet.CALLER, '["ua:curl",false,null]'): (0, 1),
            (Facet.PATH, "GET /pins"): (1, 0),
            (Facet.AGENT, "curl/8"): (1, 0),
            (Facet.SCOPE, "read"): (1, 0),
            (Facet.SCOPE, "write"): (1, 0),
            (Facet.ENVIRONMENT, "prod"): (1, 0),
            (Facet.COUNTRY, "NZ"): (1, 0),
            (Facet.BROWSER, "origin"): (1, 0),
        }
        assert {one.hour for one in found.values()} == {NOON}

    def test_counts_are_raised_and_times_only_widened(self, store: Store) -> None:
        for first, at in enumerate((NOON + 50, NOON + 10, NOON + 90, NOON + 20)):
            making.record(store, making.request(at, key_id=KEY), first=1 + first)
        making.record(store, making.request(NOON + HOUR, key_id=KEY), first=50)
        now, later = rows_of(store)
        assert (now.allowed, now.first_at, now.last_at) == (4, NOON + 10, NOON + 90)
        assert (later.hour, later.allowed) == (NOON + HOUR, 1)
        assert rows_of(store, NOON + 1) == [later]
        assert rows_of(store, NOON, NOON + HOUR) == [now]
        with store.read() as reading:
            assert reading.traffic.begins_at(KEY) == NOON
            assert reading.traffic.begins_at(OTHER_KEY) is None
            assert reading.traffic.hours(KEY, NOON, NOON + HOUR) == [now]

    def test_a_batch_that_comes_again_is_not_counted_twice(self, store: Store) -> None:
        for _ in range(3):
            making.record(store, making.request(NOON, key_id=KEY))
        assert [one.allowed for one in rows_of(store)] == [1]

    def test_an_hour_has_a_bound_of_values_and_loses_none_of_the_sum(self, store: Store) -> None:
        many = MOST_VALUES + 40
        for first in (0, 1):
            making.record(
                store,
                *(
                    making.request(
                        NOON + n, key_id=KEY, path=f"/{n}", ip=f"10.0.{n // 250}.{n % 250}"
                    )
                    for n in range(first, many, 2)
                ),
                first=1 + 1_000 * first,
            )
            # What another process, or this one after a start, knows nothing of is read first.
            store.memory.traffic.make_room(10**9)
        making.record(store, making.request(NOON + many, key_id=KEY, path="/2"), first=5_000)
        for facet in (Facet.CALLER, Facet.PATH):
            rows = [one for one in rows_of(store) if one.facet is facet]
            assert len(rows) <= MOST_VALUES + 1
            assert sum(one.allowed for one in rows) == many + 1
            assert [one.value for one in rows if one.is_rest] == [REST]
            assert [one.caller for one in rows if one.is_rest] == [None]
        [kept] = [one for one in rows_of(store) if one.value == "/2"]
        assert kept.allowed == 2

    def test_the_longest_values_fit(self, store: Store) -> None:
        """In an index of PostgreSQL's too."""
        path = "/" + "".join(chr(0x1F300 + n % 700) for n in range(1_900))
        making.record(
            store, making.request(NOON, key_id=KEY, method="G" * 40, path=path, user_agent=path)
        )
        lengths = {one.facet: len(one.value) for one in rows_of(store)}
        assert lengths[Facet.PATH] == lengths[Facet.AGENT] == LONGEST_VALUE

    def test_old_hours_go_first_and_only_so_many_at_once(self, store: Store) -> None:
        made = [making.request(NOON + n * DAY, key_id=KEY) for n in range(6)]
        making.record(store, *made)
        with store.record() as transaction:
            assert transaction.traffic.purge(NOON + 4 * DAY, limit=3) == 3
        assert [one.hour for one in rows_of(store)] == [NOON + n * DAY for n in (3, 4, 5)]
        with store.record() as transaction:
            assert transaction.traffic.purge(NOON + 4 * DAY, limit=3) == 1
        assert [one.hour for one in rows_of(store)] == [NOON + n * DAY for n in (4, 5)]
