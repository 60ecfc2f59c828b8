"""Who may decide where tokens go, who is shown one, and that nothing crosses between workspaces."""

from uuid import UUID

import pytest

from keyturn.domain.delivery import DeliveryState
from keyturn.domain.error import (
    DeliveryUnknown,
    DestinationInUse,
    DestinationUnknown,
    DestinationUnproven,
    GrantExceeded,
    PermissionMissing,
    RequestInvalid,
    RevealRefused,
)
from keyturn.domain.slot import Slot, SlotName, SlotNotes
from keyturn.domain.workspace import Reveal
from keyturn.services.connect import (
    DestinationAmendment,
    DestinationDraft,
    change_destination,
    connect_destination,
    prove_destination,
    remove_destination,
)
from keyturn.services.define import define_slot
from keyturn.services.dispatch import cancel_delivery, hurry_delivery
from keyturn.services.identify import Caller
from keyturn.services.inspect import view_destination
from keyturn.services.issue import KeyDraft
from keyturn.services.provision import (
    WorkspaceAmendment,
    WorkspaceDraft,
    amend_workspace,
    provision_workspace,
)
from keyturn.services.rotate import RotationDraft, replace_key, start_rotation
from keyturn.services.steer import Helm, complete
from keyturn.services.survey import view_delivery
from keyturn.storage.deliveries import DeliveryFilter
from tests.delivery.dock import SLOT, Dock
from tests.delivery.manners import behave
from tests.delivery.shelf import PASSWORD, Honest


def abroad(dock: Dock) -> tuple[UUID, Caller]:
    """Another workspace, and its administrator."""
    made = dock.house.provision("abroad")
    return made.workspace.id, dock.house.caller(made.administrator.token)


def writer(dock: Dock, *permissions: str) -> Caller:
    """A caller of the workspace who is no administrator."""
    issued = dock.house.issue(
        slot="writer-prod",
        permissions=permissions or ("keys:write", "rotations:write"),
        deliver_to=(),
    )
    return dock.house.caller(issued.token)


# --- two workspaces ------------------------------------------------------------------------------


def test_two_workspaces_with_the_same_names_deliver_each_into_its_own(dock: Dock) -> None:
    place, _ = abroad(dock)
    dock.connect("shelf", "ours")
    dock.connect("shelf", "theirs", place)
    dock.define("shelf")
    dock.define("shelf", workspace_id=place)
    mine = dock.house.issue(slot=str(SLOT))
    theirs = dock.house.issue(slot=str(SLOT), workspace_id=place)
    dock.settle()
    assert dock.shelf.value(SLOT, "ours") == mine.token.reveal()
    assert dock.shelf.value(SLOT, "theirs") == theirs.token.reveal()
    assert {one.workspace_id for one in dock.deliveries()} == {dock.house.workspace_id}


def test_a_place_that_another_has_marked_is_refused_and_nothing_is_delivered_there(
    dock: Dock,
) -> None:
    """Threat 23: the confused deputy."""
    place, _ = abroad(dock)
    ours = dock.connect("shelf", "same")
    theirs = dock.connect("thief", "same", place)
    assert ours.is_proven
    assert not theirs.is_proven
    assert theirs.fault is not None
    assert "Another destination" in theirs.fault
    dock.define("thief", workspace_id=place)
    with pytest.raises(DestinationUnproven):
        dock.house.issue(slot=str(SLOT), workspace_id=place)
    assert dock.shelf.value(SLOT, "same") is None
    again = prove_destination(
        dock.house.context, dock.house.act(), dock.house.workspace_id, "shelf"
    )
    assert again.is_proven, "ours is still ours"


def test_of_another_workspace_nothing_is_there(dock: Dock) -> None:
    place, stranger = abroad(dock)
    dock.furnish()
    [delivery] = dock.deliveries()
    house = dock.house
    act = house.act(stranger)
    assert delivery.workspace_id == house.workspace_id
    with pytest.raises(DestinationUnknown):
        view_destination(house.context, stranger, place, "shelf")
    with pytest.raises(DestinationUnknown):
        prove_destination(house.context, act, place, "shelf")
    with pytest.raises(DestinationUnknown):
        remove_destination(house.context, act, place, "shelf")
    with pytest.raises(DeliveryUnknown):
        view_delivery(house.context, stranger, place, delivery.id)
    with pytest.raises(DeliveryUnknown):
        hurry_delivery(house.context, act, place, delivery.id)
    with pytest.raises(DeliveryUnknown):
        cancel_delivery(house.context, act, place, delivery.id, "Mine.")
    with pytest.raises(RequestInvalid):
        house.issue(by=stranger, slot=str(SLOT), deliver_to=("shelf",))


# --- who decides where tokens go -----------------------------------------------------------------


def test_only_an_administrator_makes_changes_proves_or_removes_a_destination(dock: Dock) -> None:
    dock.connect()
    caller = writer(dock, "keys:read", "keys:write", "rotations:write")
    house = dock.house
    act, place = house.act(caller), house.workspace_id
    draft = DestinationDraft(
        name="other", kind="shelf", config={}, credential={"password": PASSWORD}
    )
    with pytest.raises(PermissionMissing):
        connect_destination(house.context, act, place, draft)
    with pytest.raises(PermissionMissing):
        change_destination(
            house.context, act, place, "shelf", DestinationAmendment(config={"address": "mine"})
        )
    with pytest.raises(PermissionMissing):
        prove_destination(house.context, act, place, "shelf")
    with pytest.raises(PermissionMissing):
        remove_destination(house.context, act, place, "shelf")
    assert view_destination(house.context, caller, place, "shelf").is_proven


def test_who_holds_less_than_a_key_rotates_it_into_its_own_destinations_and_nowhere_else(
    dock: Dock,
) -> None:
    dock.connect("elsewhere", "elsewhere")
    old = dock.furnish()
    caller = writer(dock)
    house = dock.house
    act, place = house.act(caller), house.workspace_id
    id_ = old.view.key.id
    for deliver_to in ((), ("elsewhere",), ("shelf", "elsewhere")):
        with pytest.raises(GrantExceeded):
            start_rotation(house.context, act, place, id_, RotationDraft(deliver_to=deliver_to))
        with pytest.raises(GrantExceeded):
            replace_key(
                house.context,
                act,
                place,
                id_,
                KeyDraft(deliver_to=deliver_to),
                frozenset({"deliver_to"}),
            )
    with pytest.raises(PermissionMissing):
        house_define(dock, caller, "elsewhere")
    started = start_rotation(house.context, act, place, id_, RotationDraft())
    assert started.issued is not None
    assert started.issued.reveal() is None
    dock.settle()
    assert dock.shelf.value(SLOT) == started.issued.token.reveal()
    assert dock.shelf.value(SLOT, "elsewhere") is None


def house_define(dock: Dock, caller: Caller, destination: str) -> None:
    """He says himself where that slot's tokens go."""
    house = dock.house
    define_slot(
        house.context,
        house.act(caller),
        house.workspace_id,
        SLOT,
        SlotNotes(destinations=(destination,)),
    )


def test_only_an_administrator_changes_where_a_slots_tokens_go(dock: Dock) -> None:
    dock.connect("shelf", "shelf")
    dock.connect("elsewhere", "elsewhere")
    dock.define("shelf", "elsewhere")
    caller, house = writer(dock), dock.house

    def define(*destinations: str, slot: SlotName = SLOT) -> Slot:
        notes = SlotNotes(owner="theirs@example.com", destinations=destinations or None)
        act = house.act(caller)
        return define_slot(house.context, act, house.workspace_id, slot, notes).slot

    for others in (("shelf",), ("elsewhere",), ()):
        with pytest.raises(PermissionMissing, match="administrator"):
            define(*others)
        if others:
            with pytest.raises(PermissionMissing, match="administrator"):
                house.issue(by=caller, slot=str(SLOT), notes=SlotNotes(destinations=others))
    new = SlotName(service="new", environment="prod")
    with pytest.raises(PermissionMissing, match="administrator"):
        define("shelf", slot=new)
    assert define(slot=new).notes.destinations is None
    assert define("elsewhere", "shelf").notes.owner == "theirs@example.com", "another order"
    issued = house.issue(by=caller, slot=str(SLOT), notes=SlotNotes(owner="mine@example.com"))
    slot = issued.view.slot
    assert slot is not None
    assert (slot.notes.owner, set(slot.notes.destinations or ())) == (
        "mine@example.com",
        {"shelf", "elsewhere"},
    )


def test_only_an_administrator_puts_a_damaged_slot_right(dock: Dock) -> None:
    """Where its tokens went is not known any more."""
    dock.connect()
    dock.define("shelf")
    caller, house = writer(dock), dock.house
    house.run("UPDATE slots SET owner = 'somebody'")
    act, place = house.act(caller), house.workspace_id
    for notes in (SlotNotes(owner="mine@example.com"), SlotNotes(destinations=("shelf",))):
        with pytest.raises(PermissionMissing, match="administrator"):
            define_slot(house.context, act, place, SLOT, notes)
        with pytest.raises(PermissionMissing, match="administrator"):
            house.issue(by=caller, slot=str(SLOT), deliver_to=(), notes=notes)
    dock.define("shelf")


def test_a_destination_in_use_is_not_removed(dock: Dock) -> None:
    old = dock.furnish()
    house = dock.house

    def remove() -> None:
        remove_destination(house.context, house.act(), house.workspace_id, "shelf")

    with pytest.raises(DestinationInUse, match="scheduler-prod"):
        remove()
    dock.shelf.manner = behave("it is down")
    started = dock.rotate(old.view.key.id)
    dock.define()
    with pytest.raises(DestinationInUse, match="on its way"):
        remove()
    dock.shelf.manner = Honest()
    dock.run(30)
    with pytest.raises(DestinationInUse, match="open"):
        remove()
    assert started.rotation.is_open
    dock.house.clock.advance(1)
    complete(
        Helm(
            context=house.context,
            witness=dock.witness,
            act=house.act(),
            workspace_id=house.workspace_id,
            id=started.rotation.id,
        ),
        force=True,
        reason="Now.",
    )
    remove()
    with pytest.raises(DestinationUnknown):
        remove()
    [gone] = house.run("SELECT credential FROM destinations WHERE name = 'shelf'")
    assert gone == (None,)


def test_a_changed_destination_gets_nothing_until_it_is_proven_again(dock: Dock) -> None:
    old = dock.furnish()
    house = dock.house
    change_destination(
        house.context,
        house.act(),
        house.workspace_id,
        "shelf",
        DestinationAmendment(config={"address": "new"}, credential={"password": PASSWORD}),
    )
    with pytest.raises(DestinationUnproven):
        dock.rotate(old.view.key.id)
    proven = prove_destination(house.context, house.act(), house.workspace_id, "shelf")
    assert proven.is_proven
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.settle()
    assert dock.shelf.value(SLOT, "new") == started.issued.token.reveal()


def test_a_credential_is_sent_to_no_other_place_than_the_one_it_was_given_for(dock: Dock) -> None:
    """An administrator who does not know it could read it out at an address of his own."""
    dock.connect()
    house = dock.house
    opened: list[str] = []
    dock.shelf.watch = lambda moment: opened.append(moment.call)

    def change(amendment: DestinationAmendment) -> bool:
        act, place = house.act(), house.workspace_id
        change_destination(house.context, act, place, "shelf", amendment)
        return prove_destination(house.context, act, place, "shelf").is_proven

    with pytest.raises(RequestInvalid) as refused:
        change(DestinationAmendment(config={"address": "mine"}))
    assert [one.pointer for one in refused.value.faults] == ["/credential"]
    present = view_destination(house.context, house.act().caller, house.workspace_id, "shelf")
    assert (present.version, present.is_proven, opened) == (2, True, [])
    assert change(DestinationAmendment(config={"address": "shelf"})), "the same place"
    assert change(DestinationAmendment(config={}, credential={"password": PASSWORD}))
    assert change(
        DestinationAmendment(config={"address": "moved"}, credential={"password": PASSWORD})
    )


def test_an_open_delivery_waits_while_its_destination_is_not_proven(dock: Dock) -> None:
    old = dock.furnish()
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    house = dock.house
    change_destination(
        house.context,
        house.act(),
        house.workspace_id,
        "shelf",
        DestinationAmendment(credential={"password": "wrong"}),
    )
    assert not prove_destination(house.context, house.act(), house.workspace_id, "shelf").is_proven
    dock.settle()
    delivery = dock.delivery_of(started.issued.token.id)
    assert (delivery.state, delivery.fault_kind) == (DeliveryState.WAITING, "denied")
    change_destination(
        house.context,
        house.act(),
        house.workspace_id,
        "shelf",
        DestinationAmendment(credential={"password": PASSWORD}),
    )
    prove_destination(house.context, house.act(), house.workspace_id, "shelf")
    hurry_delivery(house.context, house.act(), house.workspace_id, delivery.id)
    dock.settle()
    assert dock.delivery_of(started.issued.token.id).state is DeliveryState.DELIVERED


# --- who is shown a token ------------------------------------------------------------------------


def test_a_workspace_that_reveals_nothing_shows_its_first_key_and_no_other(dock: Dock) -> None:
    house = dock.house
    made = provision_workspace(
        house.context, house.act(), WorkspaceDraft(name="closed", reveal=Reveal.NEVER)
    )
    place = made.workspace.id
    admin = house.caller(made.administrator.token)
    act = house.act(admin)
    with pytest.raises(RevealRefused):
        house.issue(by=admin, slot=str(SLOT))
    dock.connect("shelf", "closed", place)
    with pytest.raises(RevealRefused):
        house.issue(by=admin, slot=str(SLOT))
    issued = house.issue(by=admin, slot=str(SLOT), deliver_to=("shelf",))
    assert issued.reveal() is None
    id_ = issued.view.key.id
    for draft in (RotationDraft(), RotationDraft(deliver_to=())):
        with pytest.raises(RevealRefused):
            start_rotation(house.context, act, place, id_, draft)
    with pytest.raises(RevealRefused):
        replace_key(house.context, act, place, id_, KeyDraft(), frozenset())
    with pytest.raises(RevealRefused):
        start_rotation(house.context, act, place, made.administrator.view.key.id, RotationDraft())
    started = start_rotation(house.context, act, place, id_, RotationDraft(deliver_to=("shelf",)))
    assert started.issued is not None
    assert started.issued.reveal() is None
    with house.store.read() as reading:
        keys = {
            one.key_id
            for one in reading.deliveries.list(place, DeliveryFilter(), limit=9, before=None)
        }
    assert len(keys) == 2, "what was refused has made nothing"


def test_reveal_may_be_changed_and_then_holds(dock: Dock) -> None:
    house = dock.house
    amendment = WorkspaceAmendment(reveal=Reveal.NEVER)
    amend_workspace(house.context, house.act(), house.workspace_id, amendment)
    with pytest.raises(RevealRefused):
        house.issue(slot=str(SLOT))
    amend_workspace(
        house.context, house.act(), house.workspace_id, WorkspaceAmendment(reveal=Reveal.ALWAYS)
    )
    assert house.issue(slot=str(SLOT)).reveal() is not None


def test_the_slot_that_marks_destinations_is_nobodys(dock: Dock) -> None:
    mark = SlotName(service="keyturn", environment="destination")
    with pytest.raises(RequestInvalid):
        dock.define(slot=mark)
    with pytest.raises(RequestInvalid):
        dock.house.issue(slot=str(mark))
