"""Freezing: which keys an incident has, why each is in it, and since when it was exposed.

What a contained key made while it was exposed is in it too, and so on from there. What it had made
before is listed, and keys of others that it changed or gave back meanwhile.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.identity import parse_id
from keyturn.domain.incident import Because, Incident
from keyturn.domain.key import Key, KeyState
from keyturn.domain.permission import Permission, covers_slot, permitted_slots
from keyturn.services.select import Found
from keyturn.storage.transaction import Reading

_MOST_CHANGES = 10_000
_CHANGES = ("api_key.updated", "api_key.resumed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an incident freezes: keys, why each is in it, and since when it was exposed."""

    keys: tuple[tuple[Key, Because, int], ...]
    unreached: tuple[UUID, ...]


def windows_of(
    transaction: Reading, said: int | None, found: Found, present: Mapping[UUID, Incident]
) -> dict[UUID, int]:
    """Since when each key that was found has been exposed. Of one that is contained already that
    stands in its incident, unless something else is said now."""
    windows = dict.fromkeys(found.damaged, said or 0)
    windows |= {one.id: max(said or 0, one.created_at) for one in found.sound}
    if said is not None:
        return windows
    windows = {id_: since for id_, since in windows.items() if id_ not in present}
    for incident in {one.id: one for one in present.values()}.values():
        # Whatever became of that incident's record: the others are contained all the same.
        with suppress(IntegrityFailed):
            for key in transaction.incidents.keys_within(incident):
                if key.key_id in present:
                    windows[key.key_id] = key.exposed_since
    return windows


def scope_of(
    transaction: Reading,
    workspace_id: UUID,
    new: Found,
    windows: Mapping[UUID, int],
    patterns: tuple[str, ...],
    most: int,
    now: int,
) -> Scope:
    """The keys that were named, and what they made while they were exposed, and so on."""
    keys = {one.id: (one, Because.NAMED, windows[one.id]) for one in new.sound}
    since = dict(windows)
    unreached: dict[UUID, None] = {}
    makers = set(since)
    while makers:
        made = [
            one for one in transaction.keys.made_by(workspace_id, makers) if one.id not in since
        ]
        inside = transaction.incidents.open_of_keys(workspace_id, [one.id for one in made])
        makers = set()
        for one in made:
            maker = one.created_by
            if maker is None or one.id in inside:
                continue
            is_exposed = one.created_at >= since[maker] and covers_slot(patterns, str(one.slot))
            if is_exposed and len(keys) + len(new.damaged) < most:
                keys[one.id] = (one, Because.MADE_BY_CONTAINED, one.created_at)
                since[one.id] = one.created_at
                makers.add(one.id)
            elif one.state is not KeyState.REVOKED and not one.is_expired(now):
                unreached[one.id] = None
    makers = {id_ for id_, (key, _, _) in keys.items() if _may_change_others(key)} | {*new.damaged}
    changed = _changed(transaction, workspace_id, makers, since, now)
    return Scope(
        keys=tuple(keys[id_] for id_ in sorted(keys)),
        unreached=tuple(sorted({*unreached, *changed})),
    )


def _may_change_others(key: Key) -> bool:
    """By its own permissions, or since a false alarm gives back what was suspended."""
    needed = (Permission.KEYS_WRITE, Permission.INCIDENTS_WRITE)
    return any(permitted_slots(key.permissions, one) for one in needed)


def _changed(
    transaction: Reading,
    workspace_id: UUID,
    makers: Collection[UUID],
    since: Mapping[UUID, int],
    now: int,
) -> set[UUID]:
    """The living keys of others that these changed or gave back while they were exposed."""
    if not makers:
        return set()
    done = transaction.activity.done_by(
        workspace_id,
        makers,
        _CHANGES,
        min(since[id_] for id_ in makers),
        limit=_MOST_CHANGES,
    )
    ids = {
        id_
        for entry in done
        if entry.actor.id is not None and entry.created_at >= since[entry.actor.id]
        if (id_ := parse_id(entry.resource_id)) is not None and id_ not in since
    }
    records, _ = transaction.keys.among(workspace_id, ids)
    living = {
        id_
        for id_, key in records.items()
        if key.state is not KeyState.REVOKED and not key.is_expired(now)
    }
    return living - set(transaction.incidents.open_of_keys(workspace_id, living))
