"""Whatever a destination does wrong, its rotation waits and says why; once mended, all goes on."""

import logging
from uuid import UUID

import pytest

from keyturn.destinations.contract import SECONDS
from keyturn.domain.delivery import TOLD_FROM, DeliveryState
from keyturn.domain.evidence import UNDELIVERED
from keyturn.domain.finding import Finding, FindingKind
from keyturn.domain.instant import SECOND
from keyturn.domain.progress import tell_next_step
from keyturn.domain.rotation import RotationState
from keyturn.services.connect import PROOF_SECONDS, prove_destination
from keyturn.storage.activity import ActivityFilter
from tests.delivery.dock import QUIET, SLOT, Dock
from tests.delivery.manners import (
    FAILING,
    IS_THERE,
    ClosesBadly,
    TellsOnceWhatWasWritten,
    behave,
)
from tests.delivery.shelf import Honest, Manner, Moment


def waits_for(dock: Dock, rotation_id: UUID) -> str:
    """What the rotation says of the destination that it waits for."""
    evidence = dock.evidence(rotation_id)
    blocker = evidence.blocked_by[0]
    assert blocker.code == UNDELIVERED
    assert "keyturn deliveries list" in tell_next_step(dock.rotation(rotation_id), evidence)
    return blocker.detail


@pytest.mark.parametrize("failing", sorted(FAILING))
def test_a_rotation_waits_for_a_destination_that_fails_and_says_which_and_why(
    quick_dock: Dock, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    dock = quick_dock
    caplog.set_level(logging.DEBUG)
    old = dock.furnish()
    dock.use(old.token)
    dock.shelf.manner = behave(failing)
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    assert started.issued.reveal() is None
    new = started.issued.token
    # Everything else allows it: the worker has the new token from somewhere, and is quiet.
    dock.house.clock.advance(1_000_000)
    dock.use(new)
    dock.run(4 * QUIET)
    assert dock.rotation(started.rotation.id).state is RotationState.OVERLAPPING
    detail = waits_for(dock, started.rotation.id)
    assert "shelf" in detail
    delivery = dock.delivery_of(new.id)
    assert delivery.state is DeliveryState.WAITING
    assert delivery.failures >= TOLD_FROM
    assert delivery.fault is not None
    assert delivery.fault in detail
    assert delivery.is_failing
    assert [one.mark for one in failing_findings(dock)] == [str(delivery.id)]
    assert dock.house.verdict(old.token).value == "valid"
    dock.shelf.manner = Honest()
    dock.run(5 * QUIET)
    assert dock.shelf.value(SLOT) == new.reveal()
    assert dock.rotation(started.rotation.id).state is RotationState.COMPLETED
    ended = dock.delivery_of(new.id)
    assert (ended.state, ended.token, ended.previous) == (DeliveryState.DELIVERED, None, None)
    assert failing_findings(dock) == []
    said = f"{caplog.text} {[str(one) for one in dock.deliveries()]}"
    assert new.reveal() not in said
    assert old.token.reveal() not in said


def failing_findings(dock: Dock) -> list[Finding]:
    with dock.house.store.read() as reading:
        return [
            one
            for one in reading.findings.unresolved(dock.house.workspace_id)
            if one.kind is FindingKind.DELIVERY_FAILING
        ]


@pytest.mark.parametrize("failing", sorted(IS_THERE))
def test_a_token_that_is_there_is_not_written_again_once_that_is_known(
    quick_dock: Dock, failing: str
) -> None:
    dock = quick_dock
    old = dock.furnish()
    dock.shelf.manner = behave(failing)
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    new = started.issued.token.reveal()
    dock.deliverer.step()
    dock.shelf.manner = Honest()
    dock.run(120)
    assert dock.shelf.value(SLOT) == new
    assert [one.value for one in dock.shelf.written].count(new) == 1


def test_what_was_given_back_once_and_is_not_there_is_found_out(dock: Dock) -> None:
    old = dock.furnish()
    dock.use(old.token)
    dock.shelf.manner = TellsOnceWhatWasWritten()
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.deliverer.step()
    assert dock.delivery_of(started.issued.token.id).state is DeliveryState.DELIVERED
    dock.run(40)
    assert "delivery.lost" in told(dock)
    dock.shelf.manner = Honest()
    dock.run(60)
    assert dock.shelf.value(SLOT) == started.issued.token.reveal()
    assert dock.rotation(started.rotation.id).state is RotationState.OVERLAPPING, (
        "the worker still uses the old key"
    )


def told(dock: Dock) -> list[str]:
    """What the activity log says that was done."""
    wanted = ActivityFilter()
    with dock.house.store.read() as reading:
        found = reading.activity.list(dock.house.workspace_id, wanted, limit=1_000, before=None)
    return [entry.action for _, entry in found]


@pytest.mark.parametrize("left", ["the old token", "nothing", "something else"])
def test_a_token_that_is_lost_later_is_brought_again(dock: Dock, left: str) -> None:
    old = dock.furnish()
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    new = started.issued.token
    dock.settle()
    assert dock.delivery_of(new.id).state is DeliveryState.DELIVERED
    values = {"the old token": old.token.reveal(), "nothing": None, "something else": "garbage"}
    dock.shelf.put(("shelf", SLOT), values[left])
    dock.shelf.manner = behave("it can be read alone")
    dock.run(35)
    assert "shelf" in waits_for(dock, started.rotation.id)
    dock.shelf.manner = Honest()
    dock.run(30)
    assert dock.shelf.value(SLOT) == new.reveal()
    assert dock.delivery_of(new.id).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("manner", [ClosesBadly()], ids=["it closes badly"])
def test_a_destination_that_closes_badly_has_done_its_work(
    quick_dock: Dock, manner: Manner
) -> None:
    dock = quick_dock
    dock.shelf.manner = manner
    old = dock.furnish()
    assert dock.delivery_of(old.view.key.id).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("failing", sorted(FAILING))
def test_a_destination_that_fails_is_not_proven_and_says_why(
    quick_dock: Dock, failing: str
) -> None:
    quick_dock.shelf.manner = behave(failing)
    made = quick_dock.connect()
    assert not made.is_proven
    assert made.fault is not None


def test_a_destination_that_fails_is_tried_more_and_more_rarely_and_never_given_up(
    quick_dock: Dock,
) -> None:
    dock = quick_dock
    old = dock.furnish()
    dock.shelf.manner = behave("it is down")
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    for _ in range(1_800):
        dock.house.clock.advance(2 * SECOND)
        dock.deliverer.step()
    delivery = dock.delivery_of(started.issued.token.id)
    assert 15 <= delivery.attempts <= 25
    assert dock.rotation(started.rotation.id).is_open


@pytest.mark.parametrize("slow", ["open", "read", "write"])
def test_a_proof_begins_nothing_that_would_take_too_long(dock: Dock, slow: str) -> None:
    """Each call may take its time, but not all of them one after another."""
    begun: list[int] = []

    def watch(moment: Moment) -> None:
        begun.append(dock.house.clock.now())
        if moment.call == slow and not moment.is_after:
            dock.house.clock.advance(6 * SECOND)

    started = dock.house.clock.now()
    dock.shelf.watch = watch
    found = dock.connect()
    assert not found.is_proven
    assert found.fault is not None
    assert "too slowly" in found.fault
    assert max(begun) - started < (PROOF_SECONDS - SECONDS + 6) * SECOND
    dock.shelf.watch = lambda _: None
    house = dock.house
    assert prove_destination(house.context, house.act(), house.workspace_id, "shelf").is_proven
