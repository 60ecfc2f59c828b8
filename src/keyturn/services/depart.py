"""Departing: somebody has left. What that person owned, made or was shown, and its rotation.

A person is matched, whatever the case of the letters, with the owner of a slot, with the name of an
operator, and with the name of a key: whoever made a key was shown its token.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.error import IntegrityFailed, KeyturnError, RotationOpen
from keyturn.domain.key import KeyStatus
from keyturn.domain.permission import Permission, covers_slot
from keyturn.domain.text import check_text
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.services.journal import Act
from keyturn.services.rotate import RotationDraft, StartedRotation, start_rotation
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.transaction import Reading

PAGE = 500


class Because(StrEnum):
    OWNER = "owner"
    MAKER = "maker"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedKey:
    """A key that a person owned, made or was shown. `started` is there where it was rotated now,
    `refused` the code of what kept it from that."""

    view: KeyView
    because: tuple[Because, ...]
    rotation_id: UUID | None
    started: StartedRotation | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffChange:
    person: str
    keys: tuple[TouchedKey, ...]


def change_staff(
    context: Context,
    act: Act,
    workspace_id: UUID,
    person: str,
    *,
    rotate: bool,
) -> StaffChange:
    """Lists the live keys that a person had to do with, and rotates each active one where asked.
    What cannot be rotated is told with its reason, and keeps no other from being rotated."""
    person = check_text(person, "/person")
    touched = _find(context, act.caller, workspace_id, person)
    if rotate:
        touched = tuple(_rotate(context, act, workspace_id, one) for one in touched)
    return StaffChange(person=person, keys=touched)


def _find(
    context: Context, caller: Caller, workspace_id: UUID, person: str
) -> tuple[TouchedKey, ...]:
    patterns = caller.rights.slots(Permission.ROTATIONS_WRITE)
    sought = person.casefold()
    now = context.clock.now()
    with context.store.read() as transaction:
        makers = _makers(transaction, workspace_id, sought, now)
        touched = []
        for view in _live(transaction, workspace_id, now):
            because = _because(view, makers, sought)
            if Because.SHOWN in because and _was_delivered(transaction, view):
                because = tuple(one for one in because if one is not Because.SHOWN)
            if because and covers_slot(patterns, str(view.key.slot)):
                rotation_id = _open_id(transaction, view)
                touched.append(TouchedKey(view=view, because=because, rotation_id=rotation_id))
    return tuple(touched)


def _open_id(transaction: Reading, view: KeyView) -> UUID | None:
    """The open rotation of a key's slot; one that was changed from outside tells nothing."""
    with suppress(IntegrityFailed):
        rotation = transaction.rotations.open_of_slot(view.key.workspace_id, view.key.slot)
        return None if rotation is None else rotation.id
    return None


def _live(transaction: Reading, workspace_id: UUID, now: int) -> Iterator[KeyView]:
    for status in (KeyStatus.ACTIVE, KeyStatus.SUSPENDED):
        yield from _all(transaction, workspace_id, KeyFilter(status=status, now=now))


def _all(transaction: Reading, workspace_id: UUID, wanted: KeyFilter) -> Iterator[KeyView]:
    before: UUID | None = None
    while True:
        page = transaction.keys.list(workspace_id, wanted, limit=PAGE, before=before)
        yield from page
        if len(page) < PAGE:
            return
        before = page[-1].key.id


def _makers(transaction: Reading, workspace_id: UUID, sought: str, now: int) -> frozenset[UUID]:
    """The ids of the operators and keys that bear this name, or whose slot this person owns."""
    operators = {one.id for one in transaction.operators.list() if one.name.casefold() == sought}
    keys = {
        view.key.id
        for view in _all(transaction, workspace_id, KeyFilter(status=None, now=now))
        if view.key.name.casefold() == sought or _owner(view) == sought
    }
    return frozenset(operators | keys)


def _owner(view: KeyView) -> str | None:
    owner = None if view.slot is None else view.slot.notes.owner
    return None if owner is None else owner.casefold()


def _because(view: KeyView, makers: frozenset[UUID], sought: str) -> tuple[Because, ...]:
    owned = (Because.OWNER,) if _owner(view) == sought else ()
    made = (Because.MAKER, Because.SHOWN) if view.key.created_by in makers else ()
    return (*owned, *made)


def _was_delivered(transaction: Reading, view: KeyView) -> bool:
    """Whether the token went to destinations, and was shown to nobody."""
    with suppress(IntegrityFailed):
        return bool(transaction.deliveries.of_key(view.key.id))
    return False


def _rotate(context: Context, act: Act, workspace_id: UUID, touched: TouchedKey) -> TouchedKey:
    key = touched.view.key
    try:
        started = start_rotation(context, act, workspace_id, key.id, RotationDraft())
    except KeyturnError as error:  # the tokens that were made already must reach the caller
        return replace(touched, refused=error.code)
    if started.rotation.old_key_id != key.id:
        return replace(touched, rotation_id=started.rotation.id, refused=RotationOpen.code)
    return replace(touched, started=started, rotation_id=started.rotation.id)
