"""Each cut does what it says, to a real PostgreSQL, and is over when it is healed."""

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.servers.faulty import Cut, FaultyProxy
from tests.servers.postgres import Postgres

SHORT_SECONDS = 0.4


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[FaultyProxy]:
    with FaultyProxy(postgres.port) as made:
        yield made


def connect(proxy: FaultyProxy, postgres: Postgres) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(proxy.url(postgres.url("postgres")), autocommit=True, connect_timeout=5)


def seconds_of(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def heal_later(proxy: FaultyProxy, seconds: float) -> None:
    proxy._loop.call_soon_threadsafe(
        proxy._loop.call_later,
        seconds,
        proxy._set,
        Cut.NONE,
        0.0,
    )


@pytest.mark.parametrize("cut", [Cut.SILENT, Cut.SILENT_THERE, Cut.SILENT_BACK])
def test_what_is_held_back_arrives_once_it_is_healed(
    cut: Cut, proxy: FaultyProxy, postgres: Postgres
) -> None:
    with connect(proxy, postgres) as connection:
        proxy.cut(cut)
        heal_later(proxy, SHORT_SECONDS)
        took = seconds_of(lambda: connection.execute("SELECT 1"))
        assert took >= SHORT_SECONDS * 0.9


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.DEAF])
def test_a_reset_ends_every_connection_and_new_ones_pass_once_it_is_healed(
    cut: Cut, proxy: FaultyProxy, postgres: Postgres
) -> None:
    connection = connect(proxy, postgres)
    proxy.cut(cut)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    if cut is Cut.RESET:
        with pytest.raises(psycopg.OperationalError):
            connect(proxy, postgres)
        proxy.heal()
    else:
        heal_later(proxy, SHORT_SECONDS)
    with connect(proxy, postgres) as another:
        another.execute("SELECT 1")


def test_what_is_delayed_or_slow_takes_its_time_each_way(
    proxy: FaultyProxy, postgres: Postgres
) -> None:
    with connect(proxy, postgres) as connection:
        proxy.cut(Cut.DELAYED, SHORT_SECONDS / 2)
        assert seconds_of(lambda: connection.execute("SELECT 1")) >= SHORT_SECONDS * 0.9
        proxy.cut(Cut.SLOW, 500)
        assert seconds_of(lambda: connection.execute("SELECT repeat('a', 200)")) >= SHORT_SECONDS


def test_one_end_of_what_is_half_open_waits_for_ever_and_new_ones_pass(
    proxy: FaultyProxy, postgres: Postgres
) -> None:
    connection = connect(proxy, postgres)
    proxy.cut(Cut.HALF_OPEN)
    with connect(proxy, postgres) as another:
        another.execute("SELECT 1")
    connection.pgconn.send_query(b"SELECT 1")
    time.sleep(SHORT_SECONDS)
    connection.pgconn.consume_input()
    assert connection.pgconn.is_busy()
    connection.close()


def test_only_notifications_are_lost(proxy: FaultyProxy, postgres: Postgres) -> None:
    with connect(proxy, postgres) as connection:
        connection.execute("LISTEN hints")
        for cut, expected in ((Cut.NO_NOTICES, []), (Cut.NONE, ["b"])):
            proxy.cut(cut)
            heard = list[str]()
            connection.add_notify_handler(lambda notice, heard=heard: heard.append(notice.payload))  # type: ignore[misc]
            connection.execute("SELECT pg_notify('hints', %s)", ["b" if expected else "a"])
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert heard == expected


def test_it_moves_to_another_server(proxy: FaultyProxy, postgres: Postgres) -> None:
    with FaultyProxy(postgres.port) as other, connect(proxy, postgres) as connection:
        proxy.move(other.port)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with connect(proxy, postgres) as another:
            another.execute("SELECT 1")
            assert other.connections == 1
