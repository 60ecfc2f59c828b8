"""Rule 3 and what is kept beside: requests and their counts, answers kept, contents that go."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select

from keyturn.domain.instant import DAY
from keyturn.domain.request import Request
from keyturn.domain.runtime import MOST_RUNTIMES_OF_A_KEY, OTHER
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.contract import Store
from keyturn.storage.idempotency import IdempotencyScope, StoredAnswer
from keyturn.storage.installation import Installation
from keyturn.storage.requests import RequestFilter
from keyturn.storage.schema import uses
from keyturn.storage.usage import Bucket
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

KEY = making.id_of(1)
WINDOW = {"since": 0, "until": 2**60}


def last_used_at(store: Store) -> int | None:
    with store.read() as reading:
        view = reading.keys.view(making.HOME, KEY)
        assert view is not None
        return view.last_used_at


class RecordContract(StorageBase):
    """Requests are kept once, and what is counted follows from them."""

    def test_a_batch_that_comes_again_is_not_counted_twice(self, store: Store) -> None:
        """A commit whose answer was lost looks like a failure, and the batch comes once more."""
        batch = [making.request(SOME_TIME + n, key_id=KEY, code=c) for n, c in enumerate(CODES)]
        for _ in range(3):
            making.record(store, *batch)
        making.record(store, *batch, first=100)
        with store.read() as reading:
            assert reading.requests.count(making.HOME, RequestFilter()) == 2 * len(CODES)
            [bucket] = reading.usage.series(KEY, **WINDOW, bucket=2**60)
            [use] = reading.usage.runtimes(KEY, **WINDOW)
        assert (bucket.allowed, bucket.denied) == (4, 4)
        assert (use.allowed, use.denied) == (4, 4)
        assert self._counted(store) == {("worker", True): (4, 4)}

    def test_an_empty_batch_is_nothing(self, store: Store) -> None:
        making.record(store)
        with store.read() as reading:
            assert reading.requests.count(making.HOME, RequestFilter()) == 0

    def test_last_use_moves_by_allowed_requests_only_and_never_backwards(
        self, store: Store
    ) -> None:
        making.add_keys(store, making.key(1))
        assert last_used_at(store) is None
        for first, (at, code, expected) in enumerate(
            (
                (50, "revoked", None),
                (20, "valid", 20),
                (90, "expired", 20),
                (40, "valid", 40),
                (30, "valid", 40),
                (41, "scope_denied", 40),
                (41, "valid", 41),
            ),
            start=1,
        ):
            making.record(store, making.request(at, key_id=KEY, code=code), first=first)
            assert last_used_at(store) == expected, (at, code)
        making.record(
            store,
            *(making.request(at, key_id=KEY) for at in (60, 70, 65)),
            making.request(99, key_id=KEY, code="revoked"),
            making.request(99, key_id=None),
            making.request(99, key_id=making.id_of(2)),
            first=100,
        )
        assert last_used_at(store) == 70

    def test_first_and_last_sight_of_a_runtime_are_of_allowed_requests(self, store: Store) -> None:
        for first, (at, code) in enumerate(
            [(50, "revoked"), (40, "valid"), (20, "valid"), (60, "valid"), (10, "revoked")]
        ):
            making.record(store, making.request(at, key_id=KEY, code=code), first=first)
        making.record(
            store, making.request(5, key_id=KEY, code="revoked", runtime="thief"), first=50
        )
        with store.read() as reading:
            uses = {use.runtime: use for use in reading.usage.runtimes(KEY, **WINDOW)}
        assert (uses["worker"].first_seen_at, uses["worker"].last_seen_at) == (20, 60)
        assert (uses["thief"].first_seen_at, uses["thief"].last_seen_at) == (None, None)

    def test_a_key_has_a_bounded_number_of_runtimes_and_other(self, store: Store) -> None:
        many = MOST_RUNTIMES_OF_A_KEY + 50
        requests = [
            making.request(SOME_TIME + n, key_id=KEY, runtime=f"runtime-{n:04}")
            for n in range(many)
        ]
        making.record(store, *requests[:200])
        making.record(store, *requests[200:], first=1_000)
        making.record(store, *requests[::10], first=2_000)
        counted = self._counted(store)
        assert len(counted) == MOST_RUNTIMES_OF_A_KEY + 1
        assert counted[OTHER, False][0] == 50 + len(
            [n for n in range(0, many, 10) if n >= MOST_RUNTIMES_OF_A_KEY]
        )
        assert sum(allowed for allowed, _ in counted.values()) == many + len(requests[::10])
        with store.read() as reading:
            uses = reading.usage.runtimes(KEY, **WINDOW)
        assert len(uses) == MOST_RUNTIMES_OF_A_KEY + 1
        assert {(one.runtime, one.declared): (one.allowed, one.denied) for one in uses} == counted

    def test_recorders_that_meet_on_the_same_keys_lose_nothing_and_never_block(
        self, store: Store
    ) -> None:
        """Batches name the same keys and runtimes in every order; a deadlock would end one."""

        def work(worker: int) -> None:
            dice = making.Dice(worker)
            for turn in range(8):
                batch = [
                    making.request(
                        SOME_TIME + dice.below(1_000),
                        key_id=making.id_of(dice.below(10)),
                        runtime=f"runtime-{dice.below(60)}",
                        declared=bool(dice.below(2)),
                        code=dice.pick(CODES),
                    )
                    for _ in range(40)
                ]
                making.record(store, *batch, first=1_000 * (1 + worker * 8 + turn))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        with store.read() as reading:
            assert reading.requests.count(making.HOME, RequestFilter()) == 4 * 8 * 40
            for number in range(10):
                use = reading.usage.series(making.id_of(number), **WINDOW, bucket=2**60)[0]
                counted = self._counted(store, making.id_of(number))
                assert sum(allowed for allowed, _ in counted.values()) == use.allowed
                assert sum(denied for _, denied in counted.values()) == use.denied

    def test_recorders_and_changers_do_not_fail_each_other(self, store: Store) -> None:
        making.add_keys(store, making.key(1))

        def record(number: int) -> None:
            making.record(store, making.request(number, key_id=KEY), first=number)

        def change(number: int) -> None:
            with store.change() as transaction:
                transaction.log.append(making.entry(number))

        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit((record, change)[n % 2], n) for n in range(200)]
            for job in jobs:
                job.result()
        with store.read() as reading:
            assert reading.requests.count(making.HOME, RequestFilter()) == 100
            assert reading.activity.count() == 101

    def test_usage_is_what_counting_the_requests_gives(self, store: Store) -> None:
        dice = making.Dice(7)
        requests = [
            making.request(
                dice.below(1_000),
                key_id=dice.pick([KEY, KEY, making.id_of(2), None]),
                code=dice.pick(CODES),
                runtime=dice.pick(["worker", "batch", "ua:curl"]),
                declared=bool(dice.below(2)),
            )
            for _ in range(300)
        ]
        making.record(store, *requests)
        with store.read() as reading:
            for _ in range(60):
                since, until = sorted((dice.below(1_100), dice.below(1_100)))
                width = dice.pick([1, 7, 60, 1_000, 5_000])
                mine = [one for one in requests if one.key_id == KEY and since <= one.at < until]
                series = reading.usage.series(KEY, since=since, until=until, bucket=width)
                assert list(series) == _buckets(mine, width)
                assert all(
                    type(count) is int
                    for bucket in series
                    for count in (bucket.at, bucket.allowed, bucket.denied)
                )
                uses = reading.usage.runtimes(KEY, since=since, until=until)
                assert {
                    (use.runtime, use.declared): (use.allowed, use.denied) for use in uses
                } == _runtimes(mine)
                busy = [use.allowed + use.denied for use in uses]
                assert busy == sorted(busy, reverse=True)
                life = [one for one in requests if one.key_id == KEY and one.is_valid]
                for use in uses:
                    seen = [
                        one.at
                        for one in life
                        if (one.runtime.name, one.runtime.declared) == (use.runtime, use.declared)
                    ]
                    assert use.first_seen_at == min(seen, default=None)
                    assert use.last_seen_at == max(seen, default=None)

    def test_what_cannot_be_kept_as_it_came_is_kept_readable(self, store: Store) -> None:
        """Texts of a request are the caller's own, whoever that is."""
        odd = "a\x00b\ud800c\nd\u202e" + "é" * 5_000
        made = replace(
            making.request(SOME_TIME, path=odd, ip="10.0.0.1"),
            user_agent=odd,
            method=odd,
            environment=odd,
            scopes=("read", "a\ud800"),
        )
        making.record(store, made)
        with store.read() as reading:
            [kept] = reading.requests.list(making.HOME, RequestFilter(), limit=10, before=None)
        for text in (kept.path, kept.user_agent, kept.method, kept.environment):
            assert text is not None
            assert text.startswith("a\ufffdb\ufffdc\ufffdd\ufffd")
            assert len(text) <= 2_000
        assert kept.scopes == made.scopes
        assert kept.ip == "10.0.0.1"

    def test_old_requests_go_a_few_at_a_time_and_counts_stay(self, store: Store) -> None:
        making.record(store, *(making.request(at, key_id=KEY) for at in range(20)))
        with store.record() as transaction:
            assert transaction.requests.purge(15, limit=10) == 10
        with store.record() as transaction:
            assert transaction.requests.purge(15, limit=10) == 5
            assert transaction.requests.purge(15, limit=10) == 0
        with store.read() as reading:
            kept = reading.requests.list(making.HOME, RequestFilter(), limit=100, before=None)
        assert [one.at for one in kept] == [19, 18, 17, 16, 15]
        assert self._counted(store) == {("worker", True): (20, 0)}

    @staticmethod
    def _counted(store: Store, key_id: UUID = KEY) -> dict[tuple[str, bool], tuple[int, int]]:
        """The table of a key's runtimes as it stands."""
        with store.read() as reading:
            rows = reading.session.connection.execute(
                select(uses.c.runtime, uses.c.declared, uses.c.allowed, uses.c.denied).where(
                    uses.c.key_id == str(key_id)
                )
            )
            return {(name, bool(said)): (allowed, denied) for name, said, allowed, denied in rows}


CODES = ("valid", "revoked", "valid", "scope_denied")


def _buckets(requests: list[Request], width: int) -> list[Bucket]:
    counted: Counter[tuple[int, bool]] = Counter(
        (one.at // width * width, one.is_valid) for one in requests
    )
    return [
        Bucket(at=at, allowed=counted[at, True], denied=counted[at, False])
        for at in sorted({at for at, _ in counted})
    ]


def _runtimes(requests: list[Request]) -> dict[tuple[str, bool], tuple[int, int]]:
    counted: Counter[tuple[str, bool, bool]] = Counter(
        (one.runtime.name, one.runtime.declared, one.is_valid) for one in requests
    )
    return {
        (name, declared): (counted[name, declared, True], counted[name, declared, False])
        for name, declared, _ in counted
    }


class KeepContract(StorageBase):
    """Answers that are kept for a while, entries whose content goes, the installation's own row."""

    def test_an_answer_is_kept_for_its_caller_workspace_route_and_key(self, store: Store) -> None:
        scope = IdempotencyScope(
            caller_id=KEY, workspace_id=making.HOME, route="POST /v1/api-keys", idempotency_key="k"
        )
        answer = StoredAnswer(
            body_hash=bytes(range(32)), status=201, headers={"Location": "/é"}, body='{"a": null}'
        )
        with store.change() as transaction:
            assert transaction.idempotency.find(scope, since=0) is None
            transaction.idempotency.keep(scope, answer, 100)
        others = [
            replace(scope, caller_id=making.NOBODY),
            replace(scope, workspace_id=making.ABROAD),
            replace(scope, route="POST /v1/workspaces"),
            replace(scope, idempotency_key="K"),
        ]
        with store.read() as reading:
            assert reading.idempotency.find(scope, since=100) == answer
            assert reading.idempotency.find(scope, since=101) is None
            assert [reading.idempotency.find(other, since=0) for other in others] == [None] * 4
        later = replace(answer, status=200, body="{}")
        with store.change() as transaction:
            transaction.idempotency.keep(scope, later, 200)
        with store.record() as transaction_of_chores:
            assert transaction_of_chores.idempotency.purge(200) == 0
            assert transaction_of_chores.idempotency.find(scope, since=0) == later
            assert transaction_of_chores.idempotency.purge(201) == 1
        with store.read() as reading:
            assert reading.idempotency.find(scope, since=0) is None

    def test_an_answer_goes_with_the_change_that_it_tells_of(self, store: Store) -> None:
        scope = IdempotencyScope(
            caller_id=KEY, workspace_id=making.HOME, route="r", idempotency_key="k"
        )
        answer = StoredAnswer(body_hash=b"", status=201, headers={}, body="")
        try:
            with store.change() as transaction:
                transaction.idempotency.keep(scope, answer, 1)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        with store.read() as reading:
            assert reading.idempotency.find(scope, since=0) is None

    def test_the_content_of_an_entry_goes_when_its_time_is_over_and_its_link_stays(
        self, store: Store
    ) -> None:
        with store.change() as transaction:
            for number in range(1, 9):
                transaction.log.append(
                    making.entry(number, retention_days=1 if number % 2 else 400)
                )
        with store.read() as reading:
            before = reading.activity.links(after=None, limit=100)
            assert reading.activity.newest_at() == SOME_TIME
        now = SOME_TIME + DAY
        with store.record() as transaction_of_chores:
            assert transaction_of_chores.activity.blank_expired(now - 1, limit=100) == 0
            assert transaction_of_chores.activity.blank_expired(now, limit=3) == 3
            assert transaction_of_chores.activity.blank_expired(now, limit=3) == 1
            assert transaction_of_chores.activity.blank_expired(now, limit=3) == 0
        with store.read() as reading:
            after = reading.activity.links(after=None, limit=100)
            listed = reading.activity.list(making.HOME, ActivityFilter(), limit=100, before=None)
        assert [number for number, _ in listed] == [8, 6, 4, 2]
        assert [(one.number, one.hash, one.content_hash, one.expires_at) for one in after] == [
            (one.number, one.hash, one.content_hash, one.expires_at) for one in before
        ]
        assert [one.entry is None for one in after] == [True, False] * 4
        assert not any(one.is_unreadable or one.is_broken for one in after)

    def test_an_installation_is_kept_as_it_was_made(self, store: Store) -> None:
        made = Installation(
            installation_id=making.NOBODY,
            brand="kt",
            root_fingerprint="root",
            pepper_fingerprints={1: "one", 12: "twelve"},
            created_at=SOME_TIME,
        )
        with store.create() as transaction:
            assert transaction.installation.find() is None
            transaction.installation.create(made)
        with store.read() as reading:
            assert reading.installation.find() == made
