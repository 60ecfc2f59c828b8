"""Defining slots: by their own call, or along with a key.

Where a slot's tokens go, only an administrator decides: whoever names a destination has it read
each new token of the slot, and whoever takes it away keeps the next one from the services.
"""

from dataclasses import dataclass, fields
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import (
    IntegrityFailed,
    PermissionMissing,
    RequestInvalid,
    VersionMoved,
    WorkspaceUnknown,
)
from keyturn.domain.key import KeyState
from keyturn.domain.permission import Permission
from keyturn.domain.slot import NOTHING_NOTED, RESERVED, Slot, SlotName, SlotNotes
from keyturn.services.context import Context
from keyturn.services.identify import reaffirm
from keyturn.services.journal import Act, Subject, note
from keyturn.storage.keys import KeyFilter
from keyturn.storage.log import Change
from keyturn.storage.records import slot_ref
from keyturn.storage.transaction import Writing

_MOST_KEYS = 10_000
_UNDECIDED = (
    "Only an administrator changes where a slot's tokens go; who replaces what a slot says \
repeats its destinations as they are."
)
_UNKNOWN = "Only an administrator replaces a damaged slot: where its tokens went is not known any \
more."


@dataclass(frozen=True, slots=True)
class DefinedSlot:
    slot: Slot
    is_new: bool


def require_version(version: int, expected: frozenset[int] | None) -> None:
    """Raises `VersionMoved` where the caller has seen none of the present versions."""
    _require_unmoved(expected is None or version in expected)


def _require_unmoved(is_unmoved: bool) -> None:
    if not is_unmoved:
        raise VersionMoved("This was changed since you read it; read it again and repeat.")


def define_slot(
    context: Context,
    act: Act,
    workspace_id: UUID,
    name: SlotName,
    notes: SlotNotes,
    *,
    expected: frozenset[int] | None = None,
    may_make: bool = True,
    may_change: bool = True,
) -> DefinedSlot:
    """Makes the slot, or gives it exactly these notes. A damaged one is there, in a version that
    nobody knows. Raises `VersionMoved` for what the caller did not expect."""
    notes = notes.checked()
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        rights.require(Permission.KEYS_WRITE, name)
        if transaction.workspaces.find(workspace_id) is None:
            raise WorkspaceUnknown("There is no workspace with this id.")
        _require_destinations(transaction, workspace_id, name, notes)
        try:
            slot = transaction.slots.find(workspace_id, name)
        except IntegrityFailed:
            _require_unmoved(may_change and expected is None)
            _require_decider(rights, _UNKNOWN)
            repaired = _repair(context, transaction, act, workspace_id, name, notes, now)
            return DefinedSlot(repaired, is_new=False)
        if slot is None:
            _require_unmoved(may_make and expected is None)
            _require_direction(rights, None, notes)
            return DefinedSlot(
                _create(context, transaction, act, workspace_id, name, notes, now), is_new=True
            )
        _require_unmoved(may_change)
        require_version(slot.version, expected)
        following = slot.replaced(notes, now)
        _require_direction(rights, slot, notes)
        _require_reach(transaction, rights, slot, following, now)
        _store(context, transaction, act, slot, following, now)
        return DefinedSlot(following, is_new=False)


def note_slot(
    context: Context,
    transaction: Writing,
    act: Act,
    rights: Rights,
    workspace_id: UUID,
    name: SlotName,
    notes: SlotNotes,
    now: int,
) -> Slot | None:
    """The slot, made if there was none, with `notes` laid over those that it has.

    A damaged one is repaired where there are notes to put in its place; else it is left alone, and
    None: a slot decides nothing about its keys.
    """
    _require_destinations(transaction, workspace_id, name, notes)
    try:
        slot = transaction.slots.find(workspace_id, name)
    except IntegrityFailed:
        if notes.is_empty:
            return None
        _require_decider(rights, _UNKNOWN)
        return _repair(context, transaction, act, workspace_id, name, notes, now)
    if slot is None:
        _require_direction(rights, None, notes)
        return _create(context, transaction, act, workspace_id, name, notes, now)
    following = slot.noted(notes, now)
    _require_direction(rights, slot, following.notes)
    _require_reach(transaction, rights, slot, following, now)
    _store(context, transaction, act, slot, following, now)
    return following


def _require_destinations(
    transaction: Writing, workspace_id: UUID, name: SlotName, notes: SlotNotes
) -> None:
    """Raises `RequestInvalid` unless each destination that is named is there. One that is not
    proven may be named: what is delivered there is refused until it is."""
    if name == RESERVED:
        raise RequestInvalid.at("/service", f"The slot {name} is reserved.")
    for index, destination in enumerate(notes.destinations or ()):
        if transaction.destinations.named(workspace_id, destination) is None:
            raise RequestInvalid.at(
                f"/destinations/{index}",
                f"There is no destination {destination}: make it first, "
                f"`keyturn destinations create {destination}`.",
            )


def _require_direction(rights: Rights, slot: Slot | None, notes: SlotNotes) -> None:
    """Raises `PermissionMissing` where the slot's tokens would go elsewhere than they do, unless an
    administrator says so."""
    present = None if slot is None else slot.notes.destinations
    if set(notes.destinations or ()) != set(present or ()):
        _require_decider(rights, _UNDECIDED)


def _require_decider(rights: Rights, detail: str) -> None:
    if not rights.is_admin:
        raise PermissionMissing(detail)


def _require_reach(
    transaction: Writing, rights: Rights, slot: Slot, following: Slot, now: int
) -> None:
    """What a slot says, each of its keys says: nobody changes it while a key that is wider than
    his own lives in it. Raises `GrantExceeded`."""
    if following is slot or rights.is_admin:
        return
    wanted = KeyFilter(
        status=None, now=now, service=slot.name.service, environment=slot.name.environment
    )
    for view in transaction.keys.list(slot.workspace_id, wanted, limit=_MOST_KEYS, before=None):
        if view.key.state is not KeyState.REVOKED and not view.key.is_expired(now):
            rights.require_covering(Rights.of(view.key))


def _create(
    context: Context,
    transaction: Writing,
    act: Act,
    workspace_id: UUID,
    name: SlotName,
    notes: SlotNotes,
    now: int,
) -> Slot:
    slot = Slot(
        workspace_id=workspace_id,
        name=name,
        notes=notes,
        created_at=now,
        updated_at=now,
        version=1,
    )
    transaction.slots.add(slot)
    message = f"Slot {name} was made."
    _note(context, transaction, act, slot, "slot.created", message, now, before=NOTHING_NOTED)
    return slot


def _repair(
    context: Context,
    transaction: Writing,
    act: Act,
    workspace_id: UUID,
    name: SlotName,
    notes: SlotNotes,
    now: int,
) -> Slot:
    """A good record in the place of a damaged one, in a version above all that ever were."""
    slot = Slot(
        workspace_id=workspace_id,
        name=name,
        notes=notes,
        created_at=now,
        updated_at=now,
        version=transaction.activity.next_version("slot", slot_ref(workspace_id, name)),
    )
    transaction.slots.repair(slot)
    message = f"The record of slot {name} had been changed from outside and was replaced."
    _note(context, transaction, act, slot, "slot.updated", message, now, before=None)
    return slot


def _store(
    context: Context, transaction: Writing, act: Act, slot: Slot, following: Slot, now: int
) -> None:
    if following is slot:
        return
    transaction.slots.replace(following, slot.version)
    message = f"Slot {slot.name} was changed."
    _note(context, transaction, act, following, "slot.updated", message, now, before=slot.notes)


def _note(
    context: Context,
    transaction: Writing,
    act: Act,
    slot: Slot,
    action: str,
    message: str,
    now: int,
    *,
    before: SlotNotes | None,
) -> None:
    """Tells which members have changed: all that there are where nobody knows what was before."""
    changed = [
        one.name
        for one in fields(SlotNotes)
        if before is None or getattr(before, one.name) != getattr(slot.notes, one.name)
    ]
    ref = slot_ref(slot.workspace_id, slot.name)
    note(
        context,
        transaction,
        actor=act.caller.actor,
        request_id=act.request_id,
        action=action,
        category=Category.CONFIGURATION,
        subject=Subject(
            workspace_id=slot.workspace_id,
            type="slot",
            id=str(slot.name),
            change=Change(kind="slot", ref=ref, version=slot.version),
        ),
        message=message,
        metadata={"changed": changed, **({} if before is not None else {"damaged": True})},
        now=now,
    )
