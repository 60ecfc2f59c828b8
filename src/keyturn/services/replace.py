"""Replacing: a contained key is given a successor, with its rights and no more, in its slot.

1. A key that has one that lives is not given another: one that was revoked, say because its token
   was lost, is none.
2. The token goes where the slot's tokens go, or to a caller whose own rights cover it. Where a
   contained key has had a hand in where that is, a person says where: a thief who could name a
   destination would else be given the new token in the place of the old one.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.destination import check_destination_names
from keyturn.domain.error import RequestInvalid
from keyturn.domain.incident import ContainedKey, Incident
from keyturn.domain.key import Key
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import lifetime_from
from keyturn.domain.slot import NOTHING_NOTED
from keyturn.services.context import Context
from keyturn.services.dispatch import choose, dispatch
from keyturn.services.identify import reaffirm
from keyturn.services.issue import IssuedKey, KeyDraft, add_key, make_key
from keyturn.services.journal import Act, Author, Note, Subject, note_all
from keyturn.services.judge import (
    JudgedIncident,
    judge_incident,
    judge_keys,
    keep_incident,
    next_of,
)
from keyturn.services.respond import found_incident
from keyturn.services.rotate import require_receivable
from keyturn.services.suspect import doubtful_destinations, doubtful_slots
from keyturn.services.tombstone import is_tombstone
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A contained key, and the new one in its place."""

    replaces: UUID
    issued: IssuedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedKeys:
    judged: JudgedIncident
    made: tuple[Replacement, ...]


# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, ReplacedKeys], None]


def replace_keys(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    key_ids: Sequence[UUID] | None,
    deliver_to: tuple[str, ...] | None,
    remember: Remember | None = None,
) -> ReplacedKeys:
    """Gives each of these keys of an incident a replacement, or each that needs one. Raises
    `IncidentUnknown`, `IncidentClosed`, `RequestInvalid`, `PermissionMissing`, `GrantExceeded`,
    `DestinationUnproven` or `RevealRefused`; then no key has been made."""
    deliver_to = None if deliver_to is None else check_destination_names(deliver_to, "/deliver_to")
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        incident = found_incident(transaction, workspace_id, id)
        incident.require_open()
        keys = transaction.incidents.keys_within(incident)
        wanted = _wanted(transaction, incident, keys, key_ids, rights, now)
        if deliver_to is None:
            _require_own_destinations(transaction, keys, wanted)
        made = [_replace(context, transaction, act, rights, key, deliver_to, now) for key in wanted]
        judged = _keep(context, transaction, Author.of(act), incident, keys, made, now)
        replaced = ReplacedKeys(judged=judged, made=tuple(made))
        if remember is not None:
            remember(transaction, replaced)
    return replaced


def _wanted(
    transaction: Writing,
    incident: Incident,
    keys: Sequence[ContainedKey],
    key_ids: Sequence[UUID] | None,
    rights: Rights,
    now: int,
) -> list[Key]:
    """The records of the keys that are to be replaced. Raises `RequestInvalid`."""
    judged = judge_keys(transaction, incident, keys)
    by_id = {one.key.key_id: one.key for one in judged}
    if key_ids is None:
        asked = [
            one.key.key_id
            for one in judged
            if one.needs_replacement and not (one.is_recovered or one.key.is_waived(now))
        ]
    else:
        asked = list(dict.fromkeys(key_ids))
        for index, id_ in enumerate(key_ids):
            if id_ not in by_id:
                raise RequestInvalid.at(f"/key_ids/{index}", "This key is not in the incident.")
    for id_ in asked or by_id:
        rights.require(Permission.INCIDENTS_WRITE, by_id[id_].slot)
    missing = [id_ for id_ in asked if by_id[id_].replacement_key_id is None]
    records, _ = transaction.keys.among(incident.workspace_id, missing)
    for index, id_ in enumerate(key_ids or ()):
        if id_ in missing and _is_unknown(records.get(id_)):
            raise RequestInvalid.at(
                f"/key_ids/{index}",
                "The record of this key was changed from outside, so nothing is known of its "
                "rights. Make a key by hand, and waive this one.",
            )
    return [records[id_] for id_ in missing if not _is_unknown(records.get(id_))]


def _require_own_destinations(
    transaction: Writing, keys: Sequence[ContainedKey], wanted: Sequence[Key]
) -> None:
    """Raises `RequestInvalid` where a contained key has said where the tokens of a slot go, or has
    changed what stands there."""
    if not wanted:
        return
    place = wanted[0].workspace_id
    slots = transaction.slots.among(place, {one.slot for one in wanted})
    names = {name: slot.notes.destinations or () for name, slot in slots.items()}
    of_slots = doubtful_slots(transaction, keys, "destinations")
    known = {
        name: destination
        for name in {one for each in names.values() for one in each}
        if (destination := transaction.destinations.named(place, name)) is not None
    }
    of_places = doubtful_destinations(transaction, keys, {one.id for one in known.values()})
    for slot, own in sorted(names.items(), key=lambda one: str(one[0])):
        by = of_slots.get(slot) if own else None
        for name in own:
            by = by or (None if name not in known else of_places.get(known[name].id))
        if by is not None:
            raise RequestInvalid.at(
                "/deliver_to",
                f"Where the tokens of {slot} go ({', '.join(own)}) was said with {by} while that "
                "was exposed. See that nobody else reads there, and name it in `deliver_to`.",
            )


def _is_unknown(key: Key | None) -> bool:
    return key is None or is_tombstone(key)


def _replace(
    context: Context,
    transaction: Writing,
    act: Act,
    rights: Rights,
    old: Key,
    deliver_to: tuple[str, ...] | None,
    now: int,
) -> Replacement:
    draft = KeyDraft(
        name=old.name,
        slot=old.slot,
        scopes=old.scopes,
        permissions=old.permissions,
        allowed_cidrs=old.allowed_cidrs,
        metadata=old.metadata,
        expires_at=lifetime_from(old, now),
    )
    new, token = make_key(context, old.workspace_id, draft, act.caller.actor.id, now)
    new = replace(new, last_rotated_at=now)
    issued = add_key(context, transaction, act, rights, new, token, NOTHING_NOTED, now)
    require_receivable(rights, issued.view, deliver_to)
    chosen = choose(transaction, issued.view, deliver_to)
    author = Author.of(act)
    sent = dispatch(context, transaction, author, issued.view.key, token, chosen, None, now)
    return Replacement(replaces=old.id, issued=replace(issued, deliveries=sent))


def _keep(
    context: Context,
    transaction: Writing,
    author: Author,
    incident: Incident,
    keys: Sequence[ContainedKey],
    made: Collection[Replacement],
    now: int,
) -> JudgedIncident:
    replacements = {one.replaces: one.issued.view.key.id for one in made}
    following = [
        one.replaced(replacements[one.key_id], now) if one.key_id in replacements else one
        for one in keys
    ]
    step = next_of(incident, judge_keys(transaction, incident, following), None, now, keys)
    after = keep_incident(
        context, transaction, author, incident, step, now, verb="advanced" if made else step.verb
    )
    slots = {one.key_id: str(one.slot) for one in keys}
    note_all(
        context,
        transaction,
        author,
        Category.SECURITY,
        [
            Note(
                action="incident.replaced",
                subject=Subject(
                    workspace_id=incident.workspace_id, type="api_key", id=str(one.replaces)
                ),
                message=f"The contained key {one.issued.view.key.name} has a replacement.",
                metadata={
                    "incident_id": str(incident.id),
                    "replacement_key_id": str(one.issued.view.key.id),
                    "slot": slots[one.replaces],
                },
            )
            for one in made
        ],
        now,
    )
    return judge_incident(transaction, after, step.keys)
