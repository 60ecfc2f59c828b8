"""A destination that is slow, or does not answer, holds up no other, nor one workspace another."""

import threading
from collections.abc import Callable
from uuid import UUID

import pytest

from keyturn.domain.slot import SlotName
from keyturn.server.background import Lanes
from keyturn.services.deliver import Deliverer, Lane
from tests.acceptance.servers import until
from tests.delivery.dock import SLOT, Dock
from tests.delivery.manners import behave
from tests.delivery.shelf import Honest, Moment

PATIENCE_SECONDS = 10.0


def lane(place: int, number: int) -> tuple[UUID, UUID]:
    return UUID(int=place), UUID(int=number)


def test_lanes_are_worked_on_side_by_side_and_of_one_workspace_on_half_as_many() -> None:
    lanes, gate, begun = Lanes(4), threading.Event(), []

    def work(number: int) -> None:
        begun.append(number)
        assert gate.wait(PATIENCE_SECONDS)

    def task(number: int) -> Callable[[], None]:
        return lambda: work(number)

    mine = {lane(1, number): task(number) for number in range(4)}
    lanes.begin(mine)
    assert until(lambda: sorted(begun) == [0, 1], PATIENCE_SECONDS)
    assert lanes.full() == ({UUID(int=1)}, {UUID(int=0), UUID(int=1)})
    lanes.begin({lane(1, 0): task(7), lane(2, 9): task(9)})
    assert until(lambda: sorted(begun) == [0, 1, 9], PATIENCE_SECONDS)
    gate.set()
    lanes.wait(PATIENCE_SECONDS)
    assert lanes.full() == (set(), set())
    assert sorted(begun) == [0, 1, 9]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_workspaces_that_take_all_they_can_leave_a_lane_for_each_other(count: int) -> None:
    lanes, gate = Lanes(8), threading.Event()

    def work() -> None:
        assert gate.wait(PATIENCE_SECONDS)

    for place in range(count):
        lanes.begin({lane(place, 10 * place + number): work for number in range(8)})
        _, busy = lanes.full()
        assert any(one.int // 10 == place for one in busy)
    gate.set()
    lanes.wait(PATIENCE_SECONDS)


def test_a_lane_that_falls_free_is_for_who_has_none() -> None:
    lanes, gates = Lanes(8), {}

    def task(name: Lane) -> Callable[[], None]:
        gates[name] = threading.Event()

        def work() -> None:
            assert gates[name].wait(PATIENCE_SECONDS)

        return work

    def begin(place: int) -> None:
        names = [lane(place, 10 * place + number) for number in range(8)]
        lanes.begin({name: task(name) for name in names if name[1] not in lanes.full()[1]})

    for place in range(5):
        begin(place)
    assert not any(one.int // 10 == 4 for one in lanes.full()[1]), "there was none left"
    gates[lane(0, 0)].set()
    assert until(lambda: lane(0, 0)[1] not in lanes.full()[1], PATIENCE_SECONDS)
    for place in range(5):
        begin(place)
    assert lane(4, 40)[1] in lanes.full()[1]
    for gate in gates.values():
        gate.set()
    lanes.wait(PATIENCE_SECONDS)


def test_a_lane_that_gets_no_thread_is_begun_later(caplog: pytest.LogCaptureFixture) -> None:
    works: list[Callable[[], None]] = []
    is_out = True

    def start(work: Callable[[], None]) -> None:
        if is_out:
            raise RuntimeError("can't start new thread")
        works.append(work)

    lanes, done = Lanes(2, start), []
    lanes.begin({lane(1, 1): lambda: done.append(1), lane(2, 2): lambda: done.append(2)})
    assert lanes.full() == (set(), set())
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    is_out = False
    lanes.begin({lane(1, 1): lambda: done.append(1)})
    works.pop()()
    assert done == [1]


def test_nobody_waits_for_a_lane_longer_than_he_says() -> None:
    lanes, gate = Lanes(2), threading.Event()

    def work() -> None:
        gate.wait(PATIENCE_SECONDS)

    lanes.begin({lane(1, 1): work})
    lanes.wait(0.01)
    assert lanes.full()[1]
    gate.set()
    lanes.wait(PATIENCE_SECONDS)
    assert not lanes.full()[1]


def test_a_slow_destination_holds_up_no_other(dock: Dock) -> None:
    """While one hangs, rounds go on, and what is for others arrives."""
    gate = threading.Event()
    lanes = Lanes(4)
    for address in ("slow", "quick"):
        dock.connect(address, address)
    slots = {}
    for address in ("slow", "quick"):
        slots[address] = SlotName(service=address, environment="prod")
        dock.define(address, slot=slots[address])

    def watch(moment: Moment) -> None:
        if moment.place is not None and moment.place[0] == "slow":
            assert gate.wait(PATIENCE_SECONDS)

    dock.shelf.watch = watch
    deliverer = Deliverer(dock.house.context, lanes)
    slow = dock.house.issue(slot="slow-prod")
    deliverer.step()
    quick = dock.house.issue(slot="quick-prod")
    deliverer.step()
    assert until(
        lambda: dock.shelf.value(slots["quick"], "quick") == quick.token.reveal(), PATIENCE_SECONDS
    )
    deliverer.step()
    assert dock.shelf.value(slots["slow"], "slow") is None
    gate.set()
    lanes.wait(PATIENCE_SECONDS)
    assert dock.shelf.value(slots["slow"], "slow") == slow.token.reveal()


def test_a_destination_that_does_not_answer_is_asked_once_for_all_that_waits_for_it(
    dock: Dock,
) -> None:
    dock.connect()
    for number in range(5):
        slot = SlotName(service=f"service{number}", environment="prod")
        dock.define("shelf", slot=slot)
        dock.house.issue(slot=str(slot))
    dock.shelf.manner = behave("it is slow")
    asked = []
    dock.shelf.watch = lambda moment: asked.append(moment) if moment.call == "read" else None
    dock.deliverer.step()
    assert len(asked) == 1
    assert {one.failures for one in dock.deliveries()} == {1}
    dock.shelf.manner = Honest()
    dock.run(30)
    assert not any(one.is_open for one in dock.deliveries())


def test_a_deliverer_that_is_told_to_stop_begins_no_further_attempt(quick_dock: Dock) -> None:
    dock = quick_dock
    dock.connect()
    dock.define("shelf")
    dock.house.issue(slot=str(SLOT))
    dock.deliverer.stop()
    dock.deliverer.step()
    assert dock.shelf.value(SLOT) is None


def test_deliveries_that_wait_and_fail_are_counted(dock: Dock) -> None:
    dock.connect()
    dock.define("shelf")
    dock.house.issue(slot=str(SLOT))
    dock.shelf.manner = behave("it is down")

    def tally() -> tuple[int, int]:
        with dock.house.store.read() as reading:
            found = reading.deliveries.tally()
        return found.open, found.failing

    assert tally() == (1, 0)
    dock.deliverer.step()
    assert tally() == (1, 1)
    dock.shelf.manner = Honest()
    dock.run(30)
    assert tally() == (0, 0)


def test_an_old_key_is_not_taken_for_a_newer_one_because_a_clock_was_set_back(dock: Dock) -> None:
    old = dock.furnish()
    dock.house.clock.jump(-3_600_000_000)
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.settle()
    assert dock.shelf.value(SLOT) == started.issued.token.reveal()
