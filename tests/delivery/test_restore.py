"""A restored backup is an old copy: it brings no old token back over a newer one."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keyturn.domain.delivery import DeliveryState
from keyturn.domain.destination import DestinationState
from keyturn.domain.error import DestinationUnproven
from keyturn.services.connect import prove_destination
from keyturn.services.launch import Launcher
from keyturn.services.meter import Meter
from keyturn.services.preserve import preserve
from keyturn.services.restore import Choice, Order, restore, weigh
from keyturn.services.witness import Witness
from keyturn.storage.archive import ArchiveReader, Stamp
from tests.delivery.dock import SLOT, Dock
from tests.delivery.manners import behave
from tests.delivery.shelf import Honest
from tests.delivery.test_launch import due_now, policy, set_policy
from tests.houses import NOTARY, Ground, House, Plots

STAMP = Stamp(b"key of backups".ljust(32, b"."))


@pytest.fixture
def empty_ground(engine: str, plots: Plots) -> Iterator[Ground]:
    ground = plots.empty(engine)
    yield ground
    plots.clear(ground)


def backup(dock: Dock) -> bytes:
    file = io.BytesIO()
    preserve(dock.house.context, NOTARY, file, STAMP)
    return file.getvalue()


def restored(dock: Dock, ground: Ground, copy: bytes) -> Dock:
    """The copy, as a process of its own serves it, with the same shelf."""
    house = dock.house
    store = ground.open(house.damage.append)
    order = Order(
        weighed=weigh(ArchiveReader(io.BytesIO(copy), "backup"), {}),
        choice=Choice.ACCEPT,
        heads_kept_as=None,
        require_fitting=lambda _: None,
        require_sole=lambda: None,
    )
    context = replace(house.context, store=store)
    restore(context, NOTARY, ArchiveReader(io.BytesIO(copy), "backup"), order)
    store.close()
    copied = House(ground, house.installed, seed=77)
    copied.clock = house.clock
    copied.context = replace(copied.context, clock=house.clock)
    return Dock(copied, dock.shelf)


def test_what_waited_in_a_backup_is_not_delivered_before_its_destination_is_proven_again(
    dock: Dock, empty_ground: Ground
) -> None:
    old = dock.furnish()
    dock.shelf.manner = behave("it is down")
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    copy = backup(dock)
    dock.shelf.manner = Honest()
    later = restored(dock, empty_ground, copy)
    try:
        later.run(120)
        assert dock.shelf.value(SLOT) == old.token.reveal()
        delivery = later.delivery_of(started.issued.token.id)
        assert delivery.state is DeliveryState.WAITING
        assert delivery.fault is not None
        assert "not proven" in delivery.fault
        with later.house.store.read() as reading:
            found = reading.destinations.named(later.house.workspace_id, "shelf")
        assert found is not None
        assert found.state is DestinationState.UNPROVEN
        assert found.fault is not None
        assert "backup" in found.fault
        house = later.house
        assert prove_destination(house.context, house.act(), house.workspace_id, "shelf").is_proven
        later.run(300, step=30)
        assert dock.shelf.value(SLOT) == started.issued.token.reveal()
        assert later.house.attest().is_sound
    finally:
        later.house.close()


def test_an_old_token_takes_no_newer_ones_place_even_when_all_is_proven_again(
    dock: Dock, empty_ground: Ground
) -> None:
    """After the backup the slot was rotated again, which the copy knows nothing of."""
    old = dock.furnish()
    dock.shelf.manner = behave("it is down")
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    copy = backup(dock)
    dock.shelf.manner = Honest()
    dock.run(60)
    dock.house.clock.advance(1_000_000)
    for one in (old.token, started.issued.token):
        dock.revoke(one)
    newest = dock.house.issue(slot=str(SLOT))
    dock.settle()
    assert dock.shelf.value(SLOT) == newest.token.reveal()
    later = restored(dock, empty_ground, copy)
    try:
        house = later.house
        prove_destination(house.context, house.act(), house.workspace_id, "shelf")
        later.run(400, step=30)
        assert dock.shelf.value(SLOT) == newest.token.reveal()
        delivery = later.delivery_of(started.issued.token.id)
        assert (delivery.state, delivery.fault_kind) == (DeliveryState.WAITING, "conflict")
        assert delivery.fault is not None
        assert "backup" in delivery.fault
    finally:
        later.house.close()


def test_a_copy_beside_the_original_starts_and_delivers_nothing(
    dock: Dock, empty_ground: Ground
) -> None:
    old = dock.furnish()
    set_policy(dock, policy())
    later = restored(dock, empty_ground, backup(dock))
    try:
        due_now(later)
        context = later.house.context
        assert Launcher(context, Witness(context, Meter(context))).step() == 0
        with pytest.raises(DestinationUnproven):
            later.rotate(old.view.key.id)
        later.run(60)
        assert dock.shelf.value(SLOT) == old.token.reveal()
    finally:
        later.house.close()
