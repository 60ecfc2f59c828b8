"""Nothing that may be the only copy is lost at a place, and nothing ends on a lost token."""

import re
from uuid import UUID

import pytest

from keyturn.destinations.contract import DestinationFault, FaultKind
from keyturn.destinations.place import pattern_fault
from keyturn.domain.delivery import DeliveryState
from keyturn.domain.error import DeliveryClosed, DeliveryLast
from keyturn.domain.key import KeyState
from keyturn.domain.rotation import RotationState
from keyturn.domain.token import checksum
from keyturn.services.connect import DestinationAmendment, change_destination, prove_destination
from keyturn.services.dispatch import cancel_delivery
from keyturn.services.steer import Helm, roll_back
from tests.delivery.dock import QUIET, SLOT, Dock
from tests.delivery.invariants import state_of
from tests.delivery.manners import RefusesToOpen, behave
from tests.delivery.shelf import PASSWORD, Honest, Manner, Place, Shelf


def helm(dock: Dock, id_: UUID) -> Helm:
    house = dock.house
    return Helm(
        context=house.context,
        witness=dock.witness,
        act=house.act(),
        workspace_id=house.workspace_id,
        id=id_,
    )


def test_a_second_key_of_a_slot_takes_no_living_ones_place(dock: Dock) -> None:
    first = dock.furnish()
    second = dock.house.issue(slot=str(SLOT))
    dock.run(60)
    assert dock.shelf.value(SLOT) == first.token.reveal()
    waiting = dock.delivery_of(second.view.key.id)
    assert (waiting.state, waiting.fault_kind) == (DeliveryState.WAITING, FaultKind.CONFLICT)
    dock.revoke(first.token)
    dock.run(120)
    assert dock.shelf.value(SLOT) == second.token.reveal()


def test_a_third_key_makes_a_rotation_wait_and_not_end_with_its_token_nowhere(dock: Dock) -> None:
    old = dock.furnish()
    dock.use(old.token)
    third = dock.house.issue(slot=str(SLOT), deliver_to=())
    dock.shelf.put(("shelf", SLOT), third.token.reveal())
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.house.clock.advance(1_000_000)
    dock.use(started.issued.token)
    dock.run(6 * QUIET)
    assert dock.rotation(started.rotation.id).state is RotationState.OVERLAPPING
    assert dock.shelf.value(SLOT) == third.token.reveal()
    assert dock.delivery_of(started.issued.view.key.id).token is not None


@pytest.mark.parametrize("lives_in", ["another slot", "another installation"])
def test_the_token_of_somebody_else_is_not_written_over(dock: Dock, lives_in: str) -> None:
    dock.connect()
    dock.define("shelf")
    value = dock.house.issue(slot="other-prod", scopes=("read",)).token.reveal()
    if lives_in == "another installation":
        value = "kt_prod_" + "0" * 22 + value[30:73] + "000000"
        value = value[:73] + checksum(value[:73])
    dock.shelf.put(("shelf", SLOT), value)
    issued = dock.house.issue(slot=str(SLOT))
    dock.run(60)
    assert dock.shelf.value(SLOT) == value
    assert dock.delivery_of(issued.view.key.id).fault_kind == FaultKind.CONFLICT


def test_a_rotation_waits_for_a_place_that_cannot_be_asked_any_more(dock: Dock) -> None:
    old = dock.furnish()
    dock.use(old.token)
    started = dock.rotate(old.view.key.id, quiet_seconds=60)
    assert started.issued is not None
    dock.settle()
    assert dock.delivery_of(started.issued.view.key.id).state is DeliveryState.DELIVERED
    dock.house.clock.advance(1_000_000)
    dock.use(started.issued.token)
    dock.shelf.put(("shelf", SLOT), old.token.reveal())
    dock.shelf.manner = RefusesToOpen(FaultKind.UNREACHABLE)
    dock.run(600)
    assert dock.rotation(started.rotation.id).state is RotationState.OVERLAPPING
    [blocker] = dock.evidence(started.rotation.id).blocked_by
    assert (blocker.code, "shelf" in blocker.detail) == ("delivery.waiting", True)
    dock.shelf.manner = Honest()
    dock.run(400)
    assert dock.shelf.value(SLOT) == started.issued.token.reveal()
    assert dock.rotation(started.rotation.id).state is RotationState.COMPLETED


def test_a_place_that_goes_back_just_before_the_end_is_found_out(dock: Dock) -> None:
    old = dock.furnish()
    dock.use(old.token)
    started = dock.rotate(old.view.key.id, quiet_seconds=15)
    assert started.issued is not None
    dock.settle()
    dock.house.clock.advance(1_000_000)
    dock.use(started.issued.token)
    dock.shelf.put(("shelf", SLOT), old.token.reveal())
    for _ in range(40):
        dock.run(5)
        if dock.rotation(started.rotation.id).state is RotationState.COMPLETED:
            break
    assert dock.rotation(started.rotation.id).state is RotationState.COMPLETED
    assert dock.shelf.value(SLOT) == started.issued.token.reveal()


class TakesLate(Manner):
    """A write is taken, and carried out only when it is let go; who asked has not waited."""

    def __init__(self) -> None:
        self.late: list[tuple[Place, str, str | None]] = []

    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        self.late.append((place, value, expected))
        raise DestinationFault(FaultKind.TIMED_OUT, "It took too long.")


def test_a_write_that_arrives_after_the_rollback_changes_nothing(dock: Dock) -> None:
    old = dock.furnish()
    started = dock.rotate(old.view.key.id)
    late = dock.shelf.manner = TakesLate()
    dock.deliverer.step()
    assert late.late
    dock.shelf.manner = Honest()
    roll_back(helm(dock, started.rotation.id))
    dock.run(60)
    assert dock.shelf.value(SLOT) == old.token.reveal()
    for place, value, expected in late.late:
        with pytest.raises(DestinationFault):
            dock.shelf.write(place, value, expected)
    assert dock.shelf.value(SLOT) == old.token.reveal()


def test_what_is_being_put_back_cannot_be_given_up_while_its_key_works(dock: Dock) -> None:
    old = dock.furnish()
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.settle()
    delivery = dock.delivery_of(started.issued.view.key.id)
    house = dock.house
    with pytest.raises(DeliveryClosed):
        cancel_delivery(house.context, house.act(), house.workspace_id, delivery.id, "Mine.")
    dock.shelf.manner = behave("it is down")
    roll_back(helm(dock, started.rotation.id))
    with pytest.raises(DeliveryLast):
        cancel_delivery(house.context, house.act(), house.workspace_id, delivery.id, "Mine.")
    dock.shelf.manner = Honest()
    dock.run(400)
    assert dock.shelf.value(SLOT) == old.token.reveal()
    assert state_of(dock, old.token) is KeyState.ACTIVE


def test_at_another_address_nothing_is_taken_for_delivered_and_nothing_written_over(
    dock: Dock,
) -> None:
    old = dock.furnish()
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.settle()
    house = dock.house
    dock.shelf.put(("elsewhere", SLOT), "somebody's password")
    amendment = DestinationAmendment(
        config={"address": "elsewhere"}, credential={"password": PASSWORD}
    )
    change_destination(house.context, house.act(), house.workspace_id, "shelf", amendment)
    assert dock.delivery_of(started.issued.view.key.id).state is DeliveryState.WAITING
    prove_destination(house.context, house.act(), house.workspace_id, "shelf")
    dock.run(60)
    assert dock.shelf.value(SLOT, "elsewhere") == "somebody's password"
    waiting = dock.delivery_of(started.issued.view.key.id)
    assert (waiting.state, waiting.fault_kind) == (DeliveryState.WAITING, FaultKind.CONFLICT)
    dock.shelf.put(("elsewhere", SLOT), None)
    dock.run(400)
    assert dock.shelf.value(SLOT, "elsewhere") == started.issued.token.reveal()


@pytest.mark.parametrize(
    ("pattern", "is_good"),
    [
        ("{service}{environment}", False),
        ("{service}x{environment}", False),
        ("{service}-{environment}", True),
        ("{environment}/{service}", True),
        ("a-{service}", False),
        ("{slot}", True),
    ],
)
def test_two_slots_never_share_a_place(pattern: str, *, is_good: bool) -> None:
    assert (pattern_fault(pattern, re.compile(".*")) is None) is is_good


def test_a_clock_that_was_ahead_holds_no_delivery_up(dock: Dock) -> None:
    old = dock.furnish()
    dock.shelf.manner = behave("it is down")
    dock.rotate(old.view.key.id)
    dock.house.clock.advance(3_600_000_000)
    dock.deliverer.step()
    dock.house.clock.advance(-3_600_000_000)
    dock.shelf.manner = Honest()
    dock.run(10)
    assert dock.shelf.value(SLOT) != old.token.reveal()
