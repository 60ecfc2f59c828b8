"""The new tokens of an incident's keys on their way: to destinations, to files, to a terminal.

1. As with a rotation, nothing is made whose token would have nowhere to go.
2. A token that could not be let go of belongs to nobody: its key is revoked again, and the same
   command makes another.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.cli.connection import client_in
from keyturn.cli.delivery_text import delivery_line
from keyturn.cli.handover_many import TokenFolder
from keyturn.cli.naming import short
from keyturn.cli.output import Column, Output
from keyturn.client.errors import Forbidden, KeyturnClientError, NotFound
from keyturn.client.incident_records import Incident, IncidentKey, Replacement
from keyturn.domain.slot import SlotName

if TYPE_CHECKING:
    from datetime import datetime

    from keyturn.client import Keyturn

UNSURE = "`keyturn incidents show` tells which keys have a replacement; one whose token nobody has \
is ended with `keyturn keys revoke ID --reason unused`, and the same command makes another."
_COLUMNS = (
    Column("contained key", wide=True),
    Column("new key"),
    Column("its token", wide=True),
)
_FEW = 20
_MOST_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What became of the new tokens: `places` are files, by the new key's id; `lost` are sentences
    on those that could not be let go of."""

    replacements: Sequence[Replacement]
    places: Mapping[str, str]
    lost: Sequence[str]
    incident: Incident


def without_replacement(incident: Incident, moment: "datetime") -> list[IncidentKey]:
    """The keys that an incident waits for a replacement of."""
    return [
        one
        for one in incident.keys
        if one.needs_replacement and one.replacement_key_id is None and not one.is_settled(moment)
    ]


def may_be_given(folder: str | None) -> bool:
    """Whether a new token can go anywhere but to a destination."""
    return folder is not None or sys.stdout.isatty()


def delivered_by_slot(incident: Incident, keys: Sequence[IncidentKey]) -> list[IncidentKey]:
    """Those of the keys whose slot names destinations."""
    slots = {one.slot for one in keys}
    with client_in(incident.workspace_id) as client:
        try:
            if len(slots) > _FEW:
                every = client.slots.list(limit=1_000)
                named = {one.name for one in every if one.destinations}
            else:
                named = {one for one in slots if _names_destinations(client, one)}
        except Forbidden:
            return []
    return [one for one in keys if one.slot in named]


def replace_into(
    client: "Keyturn",
    incident: Incident,
    keys: Sequence[IncidentKey] | None,
    *,
    deliver_to: Sequence[str] | None,
    folder: str | None,
    idempotency_key: str | None = None,
) -> Handed:
    """Makes a key for each of these, or for each that needs one, and lets go of the tokens that
    are not delivered."""
    with TokenFolder(folder, unsure=UNSURE, is_needed=False) as tokens:
        made = client.incidents.replace(
            incident.id,
            key_ids=None if keys is None else [one.key_id for one in keys],
            deliver_to=deliver_to,
            idempotency_key=idempotency_key,
        )
        places: dict[str, str] = {}
        lost = []
        for one in made.replacements:
            if one.deliveries:
                continue
            try:
                places[one.id] = tokens.put(file_name(made.incident, one), one.token)
            except OSError as error:
                lost.append(f"{one.name}: {error.strerror}; {taken_back(client, one)}")
            except KeyturnClientError as error:
                lost.append(f"{one.name}: {error} {taken_back(client, one).capitalize()}")
    return Handed(replacements=made.replacements, places=places, lost=lost, incident=made.incident)


def file_name(incident: Incident, one: Replacement) -> str:
    """By the new key, whose id no other has; what a server calls a slot is no path."""
    slot = next((key.slot for key in incident.keys if key.key_id == one.replaces), "")
    return f"{SlotName.parse(slot) or 'key'}-{short(one.id)}.token"


def taken_back(client: "Keyturn", one: Replacement) -> str:
    """Revokes a new key whose token nobody has; tells it."""
    try:
        client.keys.revoke(one.id, reason="unused")
    except KeyturnClientError as error:
        return (
            f"its key lives and nobody has its token, since it cannot be revoked now ({error}). "
            f"`keyturn keys revoke {one.id} --reason unused` does it."
        )
    return "its key was revoked again."


def tell_replaced_before(output: Output, incident: Incident) -> None:
    """Names the replacements that there are already, and that nobody was seen with: whoever asks
    for them once more may never have got their tokens."""
    unseen = [
        one
        for one in incident.keys
        if one.replacement_key_id and not any(each.new_last_seen_at for each in one.runtimes)
    ]
    if not unseen or not incident.is_open:
        return
    named = [f"{one.name} has {short(one.replacement_key_id)}" for one in unseen[:_MOST_TOLD]]
    more = len(unseen) - len(named)
    told = ", ".join(named) + (f", and {more:,} more have theirs" if more else "")
    first = short(unseen[0].replacement_key_id)
    output.note(
        f"Replaced before: {told}. Where nobody has the token: `keyturn keys revoke {first} "
        "--reason unused`, and this once more."
    )


def members_of(handed: Handed) -> list[dict[str, object]]:
    """The replacements for programs, each with the file of its token, and without the token."""
    return [
        {**{name: getattr(one, name) for name in one.__struct_fields__}, "api_key": None}
        | ({"file": handed.places[one.id]} if one.id in handed.places else {})
        for one in handed.replacements
    ]


def show_replacements(output: Output, handed: Handed) -> None:
    """A table of what was made, and where each token is."""
    names = {one.key_id: one.name for one in handed.incident.keys}
    rows = [
        (
            names.get(one.replaces, one.replaces),
            short(one.id),
            handed.places.get(one.id) or _way(one),
        )
        for one in handed.replacements
    ]
    output.table(_COLUMNS, rows)


def _way(one: Replacement) -> str:
    if one.deliveries:
        return "goes to " + "; ".join(map(delivery_line, one.deliveries))
    return "lost, and the key revoked again"


def _names_destinations(client: "Keyturn", slot: str) -> bool:
    try:
        return bool(client.slots.read(slot).destinations)
    except NotFound:
        return False
