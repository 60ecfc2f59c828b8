"""The barrier: an answer means that nobody goes by what was before."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.instant import SECOND
from keyturn.http.sight import Propagation
from keyturn.server.barrier import TOLD_SECONDS, Barrier, told_of
from keyturn.server.database_clock import DatabaseClock
from keyturn.storage.contract import NodeRow, NodesSeen
from keyturn.testing import FakeClock

NOW = 1_790_000_000 * SECOND
LEASE = 5 * SECOND
LONG_AGO = -1_000.0


def node(name: str, applied: int, **members: int | None) -> NodeRow:
    row = NodeRow(
        id=f"id-{name}",
        name=name,
        version="1",
        started_at=NOW - 100 * SECOND,
        applied=applied,
        promised=applied,
        lease_until=NOW + LEASE,
        settled_until=NOW,
        left_at=None,
        seen_at=NOW,
    )
    return replace(row, **members)  # type: ignore[arg-type]


@dataclass
class Table:
    """The table of nodes, as a test sets it."""

    rows: list[NodeRow]
    clock: int = NOW
    looks: int = 0
    is_gone: bool = False
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    observed: list[str] = field(default_factory=list)
    time: FakeClock = field(default_factory=lambda: FakeClock(NOW))

    def pass_on(self, micros: int) -> None:
        """Time passes, for the database and for the node that waits."""
        self.time.advance(micros)
        self.clock += micros

    async def look(self) -> NodesSeen:
        self.looks += 1
        self.looked.set()
        await asyncio.sleep(0)
        if self.is_gone:
            raise StorageUnavailable("It is gone.")
        return NodesSeen(self.clock, tuple(self.rows))

    async def after(self, looks: int) -> None:
        while self.looks < looks:
            self.looked.clear()
            await self.looked.wait()

    def barrier(self) -> Barrier:
        return Barrier(
            self.look,
            self.time,
            5.0,
            lambda name, _: self.observed.append(name),
            DatabaseClock(LONG_AGO),
        )

    def set(self, name: str, **members: int | None) -> None:
        self.rows = [
            replace(row, **members) if row.name == name else row  # type: ignore[arg-type]
            for row in self.rows
        ]


async def waiting(table: Table, position: int = 7, grace: int = 0) -> asyncio.Task[Propagation]:
    """One who waits, and has seen the nodes several times."""
    task = asyncio.create_task(table.barrier().wait(position, grace, 10.0))
    looks = asyncio.create_task(table.after(3))
    await asyncio.wait({task, looks}, return_when=asyncio.FIRST_COMPLETED)
    looks.cancel()
    return task


async def test_all_have_confirmed() -> None:
    table = Table([node("a", 7), node("b", 9)])
    told = await (await waiting(table))
    assert (told.state, told.nodes, told.confirmed, told.expired) == ("complete", 2, 2, 0)
    assert told.effective_by is None


async def test_one_that_may_still_verify_is_waited_for() -> None:
    table = Table([node("a", 7), node("b", 6)])
    task = await waiting(table)
    assert not task.done()
    table.set("b", applied=7)
    told = await task
    assert (told.state, told.confirmed) == ("complete", 2)


async def test_one_whose_lease_is_over_is_counted_out() -> None:
    table = Table([node("a", 7), node("b", 6)])
    task = await waiting(table)
    table.pass_on(LEASE + SECOND)
    told = await task
    assert (told.state, told.nodes, told.confirmed, told.expired) == ("complete", 2, 1, 1)


async def test_one_in_grace_is_waited_for_beyond_its_lease() -> None:
    table = Table([node("a", 7), node("b", 6)])
    task = await waiting(table, grace=10)
    table.pass_on(LEASE + 10 * SECOND)
    await table.after(table.looks + 2)
    assert not task.done()
    table.pass_on(SECOND)
    assert (await task).expired == 1


async def test_who_would_not_wait_is_told_when_the_last_lease_is_over() -> None:
    table = Table([node("a", 7), node("b", 6)])
    told = await table.barrier().wait(7, 10, 0.0)
    assert (told.state, told.confirmed, table.looks) == ("pending", 1, 1)
    assert told.effective_by is not None
    assert told.effective_by >= NOW + LEASE + 10 * SECOND


async def test_a_clock_that_is_set_forward_ends_no_lease() -> None:
    table = Table([node("a", 7), node("b", 6)])
    task = await waiting(table)
    table.clock += 100 * SECOND
    await table.after(table.looks + 3)
    assert not task.done()
    table.pass_on(LEASE)
    await table.after(table.looks + 3)
    assert not task.done(), "of its lease a little may be left"
    table.pass_on(SECOND)
    assert (await task).expired == 1


async def test_a_node_that_has_just_begun_believes_no_lease_over() -> None:
    """It cannot know whether the clock was set before it came."""
    table = Table([node("a", 7), node("b", 6, lease_until=NOW - SECOND)])
    barrier = Barrier(table.look, table.time, 5.0, lambda *_: None, DatabaseClock(0.0))
    task = asyncio.create_task(barrier.wait(7, 0, 10.0))
    await table.after(3)
    assert not task.done()
    table.pass_on(LEASE + SECOND)
    assert (await task).expired == 1


async def test_by_a_clock_that_is_not_believed_nobody_is_told_an_early_end() -> None:
    """The database's clock was set back: by it the lease is over before it is."""
    table = Table([node("a", 6, lease_until=NOW - 100 * SECOND)], clock=NOW - 101 * SECOND)
    barrier = Barrier(table.look, table.time, 5.0, lambda *_: None, DatabaseClock(0.0))
    told = await barrier.wait(7, 10, 0.0)
    assert told.state == "pending"
    assert told.effective_by is not None
    assert told.effective_by >= NOW + LEASE + 10 * SECOND


async def test_a_lease_that_was_granted_since_holds_up_nobody() -> None:
    """Its holder looks at the log after it was granted, and so goes by the change."""
    table = Table([node("a", 6)])
    task = await waiting(table)
    table.set("a", lease_until=NOW + 10 * LEASE)
    table.pass_on(LEASE + SECOND)
    assert (await task).state == "complete"


async def test_one_that_came_since_holds_up_nobody() -> None:
    table = Table([node("a", 6)])
    task = await waiting(table)
    table.rows.append(node("b", 0))
    table.set("a", applied=7)
    told = await task
    assert (told.state, told.nodes) == ("complete", 1)


async def test_one_that_says_goodbye_is_no_node_any_more() -> None:
    table = Table([node("a", 7), node("b", 6)])
    task = await waiting(table)
    table.set("b", left_at=NOW, lease_until=NOW)
    told = await task
    assert (told.state, told.nodes, told.confirmed, told.expired) == ("complete", 1, 1, 0)


async def test_who_waits_for_too_long_is_told_when_it_is_over() -> None:
    table = Table([node("a", 7), node("b", 6, lease_until=NOW + 2 * SECOND), node("c", 6)])
    told = await table.barrier().wait(7, 0, 0.05)
    assert (told.state, told.confirmed, told.expired) == ("pending", 1, 0)
    assert told.effective_by == NOW + LEASE


@pytest.mark.parametrize("grace", [0, 60])
async def test_where_nothing_can_be_seen_the_longest_lease_is_told(grace: int) -> None:
    table = Table([], is_gone=True)
    told = await table.barrier().wait(7, grace, 0.05)
    assert told.state == "pending"
    assert told.effective_by is not None
    assert told.effective_by > NOW + LEASE + grace * SECOND


async def test_a_database_that_was_away_is_looked_at_again() -> None:
    table = Table([node("a", 7)], is_gone=True)
    task = await waiting(table)
    table.is_gone = False
    assert (await task).state == "complete"


async def test_many_wait_by_the_same_looks() -> None:
    table = Table([node("a", 0)])
    barrier = table.barrier()
    tasks = [asyncio.create_task(barrier.wait(number, 0, 10.0)) for number in range(1, 201)]
    await table.after(3)
    table.set("a", applied=200)
    for task in tasks:
        assert (await task).state == "complete"
    assert table.looks < 50
    looks = table.looks
    await asyncio.sleep(0.1)
    assert table.looks == looks  # nobody waits, nobody looks


async def test_a_look_that_began_before_counts_for_nobody_who_came_after() -> None:
    table = Table([node("a", 7)])
    barrier = table.barrier()
    first = asyncio.create_task(barrier.wait(7, 0, 10.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert table.looks == 1  # it is on its way
    second = asyncio.create_task(barrier.wait(7, 0, 10.0))
    assert (await first).state == (await second).state == "complete"
    assert table.looks == 2


def test_one_that_vanished_is_told_of_for_a_while_or_until_another_takes_its_place() -> None:
    gone = node("a", 3, lease_until=NOW - SECOND)
    assert told_of(NodesSeen(NOW, (gone,)), 0) == (gone,)
    much_later = NOW + TOLD_SECONDS * SECOND
    assert told_of(NodesSeen(much_later, (gone,)), 0) == ()
    follower = replace(node("a", 9), id="another", started_at=NOW)
    assert told_of(NodesSeen(NOW, (gone, follower)), 0) == (follower,)
    # But not while it may be in grace, whoever took its place.
    assert told_of(NodesSeen(NOW, (gone, follower)), 10) == (gone, follower)


async def test_the_standings_tell_of_each_node() -> None:
    table = Table([node("a", 7), node("b", 6), node("c", 5, lease_until=NOW - SECOND)])
    told = await table.barrier().standings(7, 0)
    assert [(one.name, one.state, one.position) for one in told] == [
        ("a", "confirmed", 7),
        ("b", "waiting", 6),
        ("c", "expired", 5),
    ]
