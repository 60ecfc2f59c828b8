"""A command waits for the nodes as a call does, and believes the database's clock as little."""

from dataclasses import replace
from typing import Any, cast

import pytest

from keyturn.domain.instant import SECOND
from keyturn.server.reach import Reach, await_nodes
from keyturn.storage.contract import NodeRow, NodesSeen, Store
from keyturn.testing import FakeClock
from tests.houses import House
from tests.server.test_barrier import LEASE, NOW, node

LEASE_SECONDS = LEASE / SECOND


class Nodes:
    """What the database tells of the nodes, half a second later each time; its clock may be set."""

    def __init__(self, *rows: NodeRow) -> None:
        self.rows = list(rows)
        self.time = FakeClock(NOW)
        self.ahead = 0
        self.looks = 0

    def nodes(self) -> NodesSeen:
        self.looks += 1
        seen = NodesSeen(self.time.now() + self.ahead, tuple(self.rows))
        self.time.advance(SECOND // 2)
        return seen


@pytest.fixture
def house(build_house: Any) -> House:
    made = build_house("sqlite")
    made.issue()
    assert isinstance(made, House)
    return made


def reach(house: House, nodes: Nodes) -> Reach | None:
    newest = house.store.memory.newest()
    assert newest is not None

    class Clustered:
        cluster = nodes
        memory = house.store.memory
        read = house.store.read

    return await_nodes(cast(Store, Clustered()), nodes.time, LEASE_SECONDS)


def position_of(house: House) -> int:
    newest = house.store.memory.newest()
    assert newest is not None
    return newest.position


def test_one_process_needs_no_wait(house: House) -> None:
    assert await_nodes(house.store, house.clock, LEASE_SECONDS) is None


def test_all_have_confirmed(house: House) -> None:
    nodes = Nodes(node("a", position_of(house)), node("b", position_of(house) + 1))
    assert reach(house, nodes) == Reach(nodes=2, is_complete=True)
    assert nodes.looks == 1


def test_one_that_vanished_is_counted_out_once_a_lease_has_gone_by_here(house: House) -> None:
    gone = replace(node("b", 0), lease_until=NOW - 3_000 * SECOND, seen_at=NOW - 3_005 * SECOND)
    nodes = Nodes(node("a", position_of(house)), gone)
    assert reach(house, nodes) == Reach(nodes=1, is_complete=True)
    assert nodes.time.boot() > LEASE_SECONDS


def test_a_clock_that_is_set_forward_ends_no_wait(house: House) -> None:
    nodes = Nodes(node("a", position_of(house)), node("b", 0))
    nodes.ahead = 3_600 * SECOND
    told = reach(house, nodes)
    assert nodes.time.boot() > LEASE_SECONDS
    assert told is not None
    assert told.is_complete


def test_of_one_that_may_go_on_for_longer_it_tells_until_when(house: House) -> None:
    long = replace(node("b", 0), lease_until=NOW + 30 * SECOND, seen_at=NOW)
    nodes = Nodes(node("a", position_of(house)), replace(long, lease_until=NOW + 300 * SECOND))
    nodes.ahead = -280 * SECOND  # set back since it was granted
    told = reach(house, nodes)
    assert told is not None
    assert (told.nodes, told.is_complete) == (2, False)
    assert told.effective_by is not None
    assert told.effective_by >= NOW + 300 * SECOND
