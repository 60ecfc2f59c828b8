"""What is waited for, and for how long: silent servers, costly questions, broken commits."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Barrier, Event, Thread

import psycopg
import pytest
from sqlalchemy import text

from keyturn.domain.error import StorageUnavailable
from keyturn.storage import sqlite
from keyturn.storage.engine import Turn
from keyturn.storage.postgresql import (
    CREDENTIAL_READERS,
    READERS,
    DatabaseLock,
    PostgresStore,
    unbounded,
)
from keyturn.storage.postgresql_cluster import _patience
from keyturn.storage.postgresql_connection import ANSWER_SECONDS
from keyturn.storage.sqlite import SqliteStore
from keyturn.storage.transaction import Reading
from keyturn.testing import FakeClock
from keyturn.verifier import statement_seconds
from tests.houses import SEALER, House, Plots
from tests.servers.faulty import Cut, FaultyProxy
from tests.servers.postgres import Postgres
from tests.servers.silence import SilentProxy


def _overlook(_: object) -> None:
    return


def within(seconds: float, ask: Callable[[], object]) -> None:
    """Asks, and expects to be told in time that the database is unavailable."""
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        ask()
    assert time.monotonic() - began < seconds


def test_a_silent_server_is_given_up_on(plots: Plots, postgres: Postgres) -> None:
    ground = plots.migrated("postgresql")
    with SilentProxy(postgres.port) as proxy:
        url = proxy.url(ground.place)
        store = PostgresStore(url, SEALER, _overlook)
        lock = DatabaseLock(url)
        assert lock.hold()
        assert store.ping() > 0
        assert store.credentials.read([]).position == 0
        proxy.fall_silent()
        with ThreadPoolExecutor() as pool:
            asked = [
                pool.submit(within, seconds, ask)
                for seconds, ask in (
                    (8, lambda: store.credentials.read([])),
                    (8, lock.hold),
                    (16, store.ping),
                )
            ]
            for one in asked:
                one.result()
        proxy.speak_again()
        assert store.ping() > 0
        assert store.credentials.read([]).position == 0
        store.close()
        lock.release()
    plots.clear(ground)


def test_connections_whose_other_end_is_gone_are_found_out_soon_and_all_at_once(
    plots: Plots, postgres: Postgres
) -> None:
    ground = plots.migrated("postgresql")
    with FaultyProxy(postgres.port) as proxy:
        store = PostgresStore(proxy.url(ground.place), SEALER, _overlook)
        asks = (store.ping, lambda: store.credentials.read([]))
        together = Barrier(4)

        def ask(one: Callable[[], object]) -> None:
            with store.read() as reading:
                reading.session.connection.execute(text("SELECT 1"))
                together.wait(10)
            store.credentials.read([])

        with ThreadPoolExecutor(4) as pool:  # as many connections as that
            list(pool.map(ask, asks * 2))
        proxy.cut(Cut.HALF_OPEN)
        for one in asks * 2:
            began = time.monotonic()
            one()
            assert time.monotonic() - began < ANSWER_SECONDS + 1.5
        store.close()
    plots.clear(ground)


def test_whoever_waits_is_told_at_once_when_the_process_ends(
    plots: Plots, postgres: Postgres
) -> None:
    ground = plots.migrated("postgresql")
    with SilentProxy(postgres.port) as proxy:
        store = PostgresStore(proxy.url(ground.place), SEALER, _overlook, patience=unbounded())
        assert store.ping() > 0
        store.credentials.read([])
        proxy.fall_silent()
        with ThreadPoolExecutor() as pool:
            asked = [
                pool.submit(within, 3, ask)
                for ask in (lambda: store.credentials.read([]), store.ping)
            ]
            time.sleep(0.5)
            store.hurry()
            for one in asked:
                one.result()
        within(1, store.ping)
        within(1, lambda: store.credentials.read([]))
        store.close()
    plots.clear(ground)


def test_a_crowd_of_changes_goes_through_one_after_another(
    build_house: Callable[[str], House],
) -> None:
    """The last of them waits for longer than any one may wait for a lock."""
    store = build_house("postgresql").store

    def change(_: int) -> None:
        with store.change():
            time.sleep(0.18)

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(change, range(32))) == [None] * 32


def test_threads_that_come_and_go_leave_no_connections(plots: Plots) -> None:
    ground = plots.migrated("postgresql")
    store = ground.open(_overlook)
    for _ in range(3):
        threads = [
            Thread(target=ask) for ask in (store.ping, lambda: store.credentials.read([])) * 30
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with psycopg.connect(ground.place, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    assert row[0] <= READERS + CREDENTIAL_READERS
    store.close()
    plots.clear(ground)


def test_what_takes_its_time_is_not_bounded_where_that_is_asked_for(plots: Plots) -> None:
    ground = plots.migrated("postgresql")
    store = PostgresStore(ground.place, SEALER, _overlook, patience=unbounded())
    with store.read() as transaction:
        shown = transaction.session.connection.execute(text("SHOW statement_timeout")).scalar()
    assert shown == "0"
    store.close()
    plots.clear(ground)


COSTLY = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
    " SELECT count(*) FROM n"
)


class _Hurrying(FakeClock):
    """A clock on which each look takes five seconds."""

    def elapsed(self) -> float:
        self.advance(5_000_000)
        return super().elapsed()


def test_a_costly_question_to_sqlite_is_broken_off(plots: Plots) -> None:
    ground = plots.migrated("sqlite")
    for clock, is_broken_off in ((_Hurrying(), True), (FakeClock(), False), (None, False)):
        store = SqliteStore(Path(ground.place), SEALER, _overlook, clock=clock)
        for _ in range(2):  # the same connection each time
            if is_broken_off:
                with pytest.raises(StorageUnavailable), store.read() as transaction:
                    transaction.session.connection.execute(text(COSTLY)).scalar()
            else:
                with store.read() as transaction:
                    found = transaction.session.connection.execute(text(COSTLY)).scalar()
                assert found == 3_000_000
        with store.read() as transaction:
            assert transaction.workspaces.count() == 0
        store.close()
    plots.clear(ground)
    assert sqlite.READ_SECONDS == 8.0


def test_nobody_queues_for_ever() -> None:
    turn, held, let_go = Turn(), Event(), Event()

    def hold() -> None:
        with turn:
            held.set()
            let_go.wait(20)

    holder = Thread(target=hold)
    holder.start()
    held.wait()
    turn.is_over = True

    def enter() -> None:
        with turn:
            raise AssertionError("two at once")

    within(2, enter)
    let_go.set()
    holder.join()
    with turn:
        pass


@pytest.mark.parametrize("opening", ["change", "record"])
def test_a_commit_that_broke_does_not_say_that_nothing_happened(opening: str, plots: Plots) -> None:
    ground, _ = plots.installed("postgresql")
    store = ground.open(_overlook)
    opened: Callable[[], AbstractContextManager[Reading]] = getattr(store, opening)
    with pytest.raises(StorageUnavailable) as refusal, opened() as transaction:  # noqa: PT012
        pid = transaction.session.connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with psycopg.connect(ground.place, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert "not known" in refusal.value.detail
    assert "Idempotency-Key" in refusal.value.detail
    with pytest.raises(StorageUnavailable) as refusal, opened() as transaction:
        transaction.session.connection.execute(text("SELECT nothing FROM nowhere"))
    assert "did not carry this out" in refusal.value.detail
    store.close()
    plots.clear(ground)


@pytest.mark.parametrize("lease_seconds", [1.0, 2.0, 5.0, 6.0, 30.0])
def test_a_node_waits_for_an_answer_as_long_as_the_simulation_has_it(lease_seconds: float) -> None:
    assert _patience(lease_seconds).silence_seconds == statement_seconds(lease_seconds)
