"""Foreseeing: what an incident over a selection would contain, with nothing changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.incident import MOST_KEYS, Because
from keyturn.domain.permission import Permission
from keyturn.services.context import Context
from keyturn.services.freeze import scope_of, windows_of
from keyturn.services.identify import Caller
from keyturn.services.respond import Exposure
from keyturn.services.select import Found, Selection, select_keys
from keyturn.storage.keys import KeyView


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The keys that a selection holds; those that these made while they were exposed, which would
    be contained with them; and those that would be left alone, as (id, name)."""

    selected: Sequence[KeyView]
    made: Sequence[KeyView]
    unreached: Sequence[tuple[UUID, str | None]]


def foresee_incident(
    context: Context, caller: Caller, workspace_id: UUID, exposure: Exposure, selection: Selection
) -> Foreseen:
    """What `open_incident` would contain now. Raises `RequestInvalid`."""
    exposure = exposure.checked(context.clock.now())
    selection = selection.checked()
    patterns = caller.rights.slots(Permission.INCIDENTS_WRITE)
    with context.store.read() as transaction:
        now = context.clock.now()
        selected = select_keys(transaction, workspace_id, selection, patterns, now)
        keys = [one.key for one in selected]
        present = transaction.incidents.open_of_keys(workspace_id, [one.id for one in keys])
        found = Found(sound=tuple(keys))
        new = Found(sound=tuple(one for one in keys if one.id not in present))
        windows = windows_of(transaction, exposure.exposed_since, found, present)
        scope = scope_of(transaction, workspace_id, new, windows, patterns, MOST_KEYS, now)
        made = [key for key, because, _ in scope.keys if because is Because.MADE_BY_CONTAINED]
        slots = transaction.slots.among(workspace_id, {one.slot for one in made})
        names, _ = transaction.keys.among(workspace_id, scope.unreached)
    return Foreseen(
        selected=selected,
        made=[KeyView(key=one, slot=slots.get(one.slot), last_used_at=None) for one in made],
        unreached=[(id_, names[id_].name if id_ in names else None) for id_ in scope.unreached],
    )
