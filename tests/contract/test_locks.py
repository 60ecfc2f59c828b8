"""Who may be on a PostgreSQL database at once: nodes with each other, one that leads, one alone."""

import time
from collections.abc import Callable, Iterator

import pytest

from keyturn.domain.error import StorageUnavailable
from keyturn.storage.postgresql import LEADING, DatabaseLock
from tests.houses import Ground, Plots

MakeLock = Callable[..., DatabaseLock]


@pytest.fixture
def ground(plots: Plots) -> Iterator[Ground]:
    ground = plots.empty("postgresql")
    yield ground
    plots.clear(ground)


@pytest.fixture
def lock(ground: Ground) -> Iterator[MakeLock]:
    made: list[DatabaseLock] = []

    def make(*number: int) -> DatabaseLock:
        made.append(DatabaseLock(ground.place, *number))
        return made[-1]

    yield make
    for one in made:
        one.release()


def is_soon(hold: Callable[[], bool]) -> bool:
    """Whether it is so within a moment: the server gives a lock back once it has seen the end of
    its connection."""
    for _ in range(100):
        if hold():
            return True
        time.sleep(0.05)
    return False


def test_nodes_serve_beside_each_other_and_nobody_has_the_database_alone_meanwhile(
    lock: MakeLock,
) -> None:
    one, other, alone = lock(), lock(), lock()
    assert not one.is_held()
    assert one.hold_shared()
    assert other.hold_shared()
    assert one.hold_shared()  # it makes sure
    assert alone.is_held()
    assert not alone.hold()
    one.release()
    assert not alone.hold()
    other.release()
    assert is_soon(alone.hold)
    assert one.is_held()
    assert not one.hold_shared()
    assert not other.hold()
    alone.release()
    assert is_soon(one.hold_shared)


def test_one_of_the_nodes_leads(lock: MakeLock) -> None:
    nodes = [lock() for _ in range(3)]
    leading = [lock(LEADING) for _ in range(3)]
    assert all(one.hold_shared() for one in nodes)
    assert [one.hold() for one in leading] == [True, False, False]
    assert [one.hold() for one in leading] == [True, False, False]
    leading[0].release()
    assert is_soon(leading[1].hold)
    assert not leading[2].hold()
    assert not leading[0].hold()
    for one in nodes:
        one.release()
    assert is_soon(lambda: not nodes[0].is_held())  # the other lock is another one
    assert nodes[0].hold()


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_lock_whose_connection_broke_is_not_held(
    ground: Ground, lock: MakeLock, is_shared: bool
) -> None:
    mine, other = lock(), lock()
    hold = mine.hold_shared if is_shared else mine.hold
    assert hold()
    with ground.raw() as raw:
        raw.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'keyturn lock'"
        )
    with pytest.raises(StorageUnavailable):
        hold()
    assert is_soon(other.hold)
    assert not hold()
    other.release()
    assert is_soon(hold)


def test_the_server_looks_whether_a_holder_is_still_there(lock: MakeLock) -> None:
    held = lock()
    assert held.hold()
    connection = held._connection
    assert connection is not None
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    told = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in names]
    assert told == [("5",), ("2",), ("3",)]
