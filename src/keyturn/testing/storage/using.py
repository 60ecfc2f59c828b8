"""Who uses a key, in which environment and from which place, as the counts tell it."""

from dataclasses import replace

import pytest

from keyturn.domain.evidence import Use
from keyturn.domain.runtime import MOST_RUNTIMES_OF_A_KEY, OTHER, Runtime
from keyturn.domain.token import SECRET_BYTES, make_token
from keyturn.storage.contract import Store
from keyturn.storage.uses import MOST_ROWS_OF_A_RUNTIME, CallerUse
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

KEY = making.id_of(1)
USE = Use(
    key_id=KEY,
    runtime="worker",
    declared=True,
    environment="prod",
    place="eu",
    first_seen_at=None,
    last_seen_at=None,
    last_denied_at=None,
    checked_in_at=None,
    longest_gap=None,
    allowed=0,
    denied=0,
)
AT_HOME = {"key_id": KEY, "environment": "prod", "place": "eu"}


def uses_of(store: Store) -> list[Use]:
    with store.read() as reading:
        found = reading.uses.of([KEY])
    return sorted(found, key=lambda use: (use.runtime, use.environment or "", use.place or ""))


class UseContract(StorageBase):
    """Counts by runtime, environment and place."""

    def test_a_use_is_counted_where_it_was_and_moves_only_what_it_is(self, store: Store) -> None:
        making.record(
            store,
            making.request(100, **AT_HOME),  # type: ignore[arg-type]
            making.request(130, **AT_HOME),  # type: ignore[arg-type]
            making.request(120, **AT_HOME, code="revoked"),  # type: ignore[arg-type]
            making.request(999, **AT_HOME, is_check_in=True),  # type: ignore[arg-type]
            making.request(200, key_id=KEY),
            making.request(300, key_id=None),
        )
        home = replace(
            USE,
            first_seen_at=100,
            last_seen_at=130,
            last_denied_at=120,
            checked_in_at=999,
            longest_gap=30,
            allowed=2,
            denied=1,
        )
        nowhere = replace(
            USE,
            environment=None,
            place=None,
            first_seen_at=200,
            last_seen_at=200,
            longest_gap=70,
            allowed=1,
        )
        assert uses_of(store) == [nowhere, home]
        # What comes late moves no last time back, and an earlier first one.
        making.record(
            store,
            making.request(90, **AT_HOME),  # type: ignore[arg-type]
            making.request(80, **AT_HOME, code="revoked"),  # type: ignore[arg-type]
            making.request(70, **AT_HOME, is_check_in=True),  # type: ignore[arg-type]
            first=100,
        )
        assert uses_of(store) == [
            nowhere,
            replace(home, first_seen_at=90, allowed=3, denied=2),
        ]

    def test_a_check_in_that_was_denied_is_a_denial(self, store: Store) -> None:
        making.record(
            store,
            making.request(5, **AT_HOME, code="revoked", is_check_in=True),  # type: ignore[arg-type]
        )
        assert uses_of(store) == [replace(USE, last_denied_at=5, denied=1)]

    def test_the_longest_gap_is_of_the_runtime_wherever_it_was(self, store: Store) -> None:
        places = {100: "eu", 150: "us", 170: "eu", 400: "us"}
        for first, (at, place) in enumerate(places.items()):
            making.record(store, making.request(at, key_id=KEY, place=place), first=1 + first)
        making.record(store, making.request(9_000, key_id=KEY, runtime="other-one"), first=50)
        gaps = {(use.runtime, use.place): use.longest_gap for use in uses_of(store)}
        assert gaps == {("worker", "eu"): 20, ("worker", "us"): 230, ("other-one", None): None}

    def test_uses_without_a_request_are_counted_alike(self, store: Store) -> None:
        making.add_keys(store, making.key(1))
        told = CallerUse(
            key_id=KEY,
            runtime=Runtime("worker", declared=True),
            environment="prod",
            place="eu",
            first_at=100,
            last_at=400,
            allowed=4,
        )
        with store.record() as transaction:
            transaction.uses.note([told, replace(told, first_at=1_000, last_at=1_000, allowed=1)])
            transaction.uses.note([])
        expected = replace(USE, first_seen_at=100, last_seen_at=1_000, longest_gap=600, allowed=5)
        assert uses_of(store) == [expected]
        with store.read() as reading:
            view = reading.keys.view(making.HOME, KEY)
        assert view is not None
        assert view.last_used_at == 1_000

    def test_a_runtime_has_a_bounded_number_of_rows(self, store: Store) -> None:
        many = MOST_ROWS_OF_A_RUNTIME + 20
        requests = [
            making.request(1 + n, key_id=KEY, environment=f"env{n:03}", place="eu")
            for n in range(many)
        ]
        making.record(store, *requests[:50])
        making.record(store, *requests[50:], first=1_000)
        making.record(store, *requests, first=2_000)
        found = {(use.environment, use.place): use.allowed for use in uses_of(store)}
        assert len(found) == MOST_ROWS_OF_A_RUNTIME + 1
        assert found.pop((None, OTHER)) == 40
        assert set(found.values()) == {2}
        with store.read() as reading:
            [runtime] = reading.usage.runtimes(KEY, since=0, until=10_000)
            assert reading.uses.overflowing(10) == []
        assert (runtime.first_seen_at, runtime.last_seen_at, runtime.allowed) == (1, many, 168)

    def test_keys_with_more_runtimes_than_are_told_apart_are_named(self, store: Store) -> None:
        many = [
            making.request(1 + n, key_id=KEY, runtime=f"r{n:04}", place="eu")
            for n in range(MOST_RUNTIMES_OF_A_KEY + 1)
        ]
        making.record(store, *many)
        # A runtime may call itself so.
        named = making.request(5, key_id=making.id_of(2), runtime=OTHER)
        making.record(store, named, first=5_000)
        with store.read() as reading:
            assert reading.uses.overflowing(10) == [str(KEY)]
            assert reading.uses.overflowing(0) == []
        [overflow] = [use for use in uses_of(store) if use.runtime == OTHER]
        assert (overflow.declared, overflow.place, overflow.allowed) == (False, None, 1)

    @pytest.mark.parametrize("environment", ["a\x00b", "\ud800", "x" * 900])
    def test_an_environment_of_any_text_is_kept_short_and_plain(
        self, store: Store, environment: str
    ) -> None:
        making.record(
            store, making.request(1, key_id=KEY, environment=environment, place=environment)
        )
        [use] = uses_of(store)
        kept = (use.environment or "", use.place or "")
        assert (len(kept[0]) <= 64, len(kept[1]) <= 128) == (True, True)
        assert all(text.isprintable() for text in kept)

    def test_no_token_is_kept_as_an_environment_or_a_place(self, store: Store) -> None:
        secret = bytes(range(SECRET_BYTES))
        token = make_token(brand="kt", environment="prod", id=KEY, secret=secret)
        text = token.reveal()
        making.record(store, making.request(1, key_id=KEY, environment=text, place=text))
        [use] = uses_of(store)
        kept = (use.environment or "") + (use.place or "")
        is_clean = token.secret().decode()[:20] not in kept
        assert is_clean
