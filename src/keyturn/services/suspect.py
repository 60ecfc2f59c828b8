"""Suspecting: what exposed keys have said of the slots and the destinations of their own incident.

A thief who may change a slot can have its new tokens sent to a place of his own, or name himself as
one of its runtimes. So what was said with a contained key while it was exposed is not taken for
ours until a person has looked at it.
"""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from keyturn.domain.activity import Entry
from keyturn.domain.incident import ContainedKey
from keyturn.domain.slot import SlotName
from keyturn.storage.transaction import Reading

_OF_SLOTS = ("slot.created", "slot.updated")
_OF_DESTINATIONS = ("destination.created", "destination.updated")


def doubtful_slots(
    transaction: Reading, keys: Sequence[ContainedKey], member: str
) -> dict[SlotName, str]:
    """The slots of these keys of which one of them said this member while it was exposed, and the
    name of that key."""
    slots = {str(one.slot): one.slot for one in keys}
    found = _done(transaction, keys, "slot", slots, _OF_SLOTS)
    return {
        slots[entry.resource_id]: by for entry, by in found if member in _changed(entry.metadata)
    }


def doubtful_destinations(
    transaction: Reading, keys: Sequence[ContainedKey], ids: Collection[UUID]
) -> dict[UUID, str]:
    """Those of these destinations that one of these keys made or changed while it was exposed, and
    the name of that key."""
    spelled = {str(one): one for one in ids}
    found = _done(transaction, keys, "destination", spelled, _OF_DESTINATIONS)
    return {spelled[entry.resource_id]: by for entry, by in found}


def _done(
    transaction: Reading,
    keys: Sequence[ContainedKey],
    type_: str,
    ids: Collection[str],
    actions: Collection[str],
) -> Iterable[tuple[Entry, str]]:
    """What these keys did of this while they were exposed, each with the key's name."""
    if not keys:
        return
    by_id = {one.key_id: one for one in keys}
    for entry in transaction.activity.done_to(keys[0].workspace_id, type_, ids, actions):
        key = None if entry.actor.id is None else by_id.get(entry.actor.id)
        if key is not None and entry.created_at >= key.exposed_since:
            yield entry, key.name


def _changed(metadata: dict[str, object]) -> Collection[object]:
    changed = metadata.get("changed")
    return changed if isinstance(changed, list) else ()
