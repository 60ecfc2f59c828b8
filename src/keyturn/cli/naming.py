"""How a key is named on the command line: by its id, in 22 characters, by its hint, or by its slot
or its name where that has one key only. Never by its token. A rotation is named by its id or the
beginning of one, or by its slot; an incident also by one of its keys; a finding, a delivery or a
message by its id or the beginning of one, a channel by its name too."""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from keyturn.cli.ending import ABSENT, WRONG, CommandFailed
from keyturn.cli.living import living
from keyturn.client.channel_records import Channel, Message
from keyturn.client.delivery_records import Delivery
from keyturn.client.errors import NotFound
from keyturn.client.incident_records import Incident, ListedIncident
from keyturn.client.posture_records import PostureWaiver
from keyturn.client.resources import Key
from keyturn.client.rotation_records import Finding, Rotation
from keyturn.domain.base62 import encode_uuid
from keyturn.domain.identity import parse_id
from keyturn.domain.redaction import holds_shape
from keyturn.domain.slot import SlotName

if TYPE_CHECKING:
    from keyturn.client import Keyturn

KEY_HELP = "KEY is an id, a hint like kt_prod_…, or a slot or a name that has one key."

ROTATION_HELP = (
    "ROTATION is a slot (its open rotation, else its last one), an id, or the beginning of one."
)
INCIDENT_HELP = "INCIDENT is an id, the beginning of one, or one of its keys by its id or its hint."
_SHORTEST_BEGINNING = 6
_MOST_LOOKED_AT = 10_000


def short(id_: str | None) -> str | None:
    """An id in its 22 characters, as it stands in tokens and hints; other texts as they are."""
    if id_ is None:
        return None
    try:
        return encode_uuid(UUID(id_))
    except ValueError:
        return id_


def named_key(client: "Keyturn", text: str) -> Key:
    """The key that an argument names."""
    id_ = spelled_id(text)
    if id_ is not None:
        return client.keys.read(id_)
    slot = SlotName.parse(text)
    found = [] if slot is None else _living(client, slot)
    return _only_one(text, found or [key for key in _living(client) if key.name == text])


def key_to_rotate(client: "Keyturn", text: str) -> str:
    """The id of the key that is to be replaced: of a slot its one active key, or, where it is being
    rotated already, the old one of that."""
    id_ = spelled_id(text)
    slot = SlotName.parse(text) if id_ is None else None
    if slot is None:
        return id_ or named_key(client, text).id
    for rotation in client.rotations.list(state="open", slot=str(slot), limit=1):
        return rotation.old_key_id
    found = list(client.keys.list(service=slot.service, environment=slot.environment))
    if len(found) > 1:
        listed = ", ".join(f"{short(key.id)} ({key.name})" for key in found)
        raise CommandFailed(
            f"{text} has {len(found)} active keys: {listed}.",
            remedy=f"Name the one to be replaced: `keyturn rotations start {short(found[-1].id)}`.",
            code=WRONG,
        )
    return found[0].id if found else named_key(client, text).id


def named_rotation(client: "Keyturn", text: str) -> Rotation:
    """The rotation that an argument names."""
    id_ = parse_id(text)
    if id_ is not None:
        return client.rotations.read(str(id_))
    if SlotName.parse(text) is not None:
        for found in client.rotations.list(slot=text, state="open", limit=1):
            return found
        for found in client.rotations.list(slot=text, limit=1):
            return found
    begun = _beginning_with(text, client.rotations.list(limit=1_000))
    if len(begun) != 1:
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.slot})" for one in begun],
            "rotation",
            f"`keyturn rotations list` shows them all. {ROTATION_HELP}",
        )
    return client.rotations.read(begun[0].id)


def named_incident(client: "Keyturn", text: str) -> Incident:
    """The incident that an argument names; of a key its open one, else its last."""
    id_ = spelled_id(text)
    if id_ is None:
        begun = _beginning_with(text, client.incidents.list(state="all", limit=1_000))
        if len(begun) == 1:
            return client.incidents.read(begun[0].id)
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.state})" for one in begun],
            "incident",
            f"`keyturn incidents list --state all` shows them all. {INCIDENT_HELP}",
        )
    try:
        return client.incidents.read(id_)
    except NotFound:
        for state in ("open", "all"):
            for found in client.incidents.list(state=state, key_id=id_, limit=1):
                return client.incidents.read(found.id)
        raise


def named_finding(client: "Keyturn", text: str) -> Finding:
    """The finding that an argument names."""
    id_ = parse_id(text)
    if id_ is not None:
        return client.findings.read(str(id_))
    begun = _beginning_with(text, client.findings.list(state="all", limit=1_000))
    if len(begun) != 1:
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.kind})" for one in begun],
            "finding",
            "`keyturn findings list --state all` shows them all; name one by its id.",
        )
    return begun[0]


def named_delivery(client: "Keyturn", text: str) -> Delivery:
    """The delivery that an argument names."""
    id_ = parse_id(text)
    if id_ is not None:
        return client.deliveries.read(str(id_))
    begun = _beginning_with(text, client.deliveries.list(limit=1_000))
    if len(begun) != 1:
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.slot})" for one in begun],
            "delivery",
            "`keyturn deliveries list` shows them all; name one by its id.",
        )
    return begun[0]


def named_channel(client: "Keyturn", text: str) -> Channel:
    """The channel that an argument names."""
    id_ = parse_id(text)
    if id_ is not None:
        return client.channels.read(str(id_))
    everything = list(client.channels.list(limit=1_000))
    named = [one for one in everything if one.name == text] or _beginning_with(text, everything)
    if len(named) != 1:
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.name})" for one in named],
            "channel",
            "`keyturn channels list` shows them all; name one by its id or its name.",
        )
    return named[0]


def waiver_id(client: "Keyturn", text: str) -> str:
    """The id of the waiver that an argument names."""
    id_ = parse_id(text)
    if id_ is not None:
        return str(id_)
    begun = _beginning_with(text, client.posture.waivers(limit=1_000))
    if len(begun) != 1:
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.check})" for one in begun],
            "waiver",
            "`keyturn posture waivers` shows them all; name one by its id.",
        )
    return begun[0].id


def named_message(client: "Keyturn", text: str) -> Message:
    """The message that an argument names."""
    id_ = parse_id(text)
    if id_ is not None:
        return client.messages.read(str(id_))
    begun = _beginning_with(text, client.messages.list(limit=1_000))
    if len(begun) != 1:
        raise _not_one(
            text,
            [f"{short(one.id)} ({one.event})" for one in begun],
            "message",
            "`keyturn messages list` shows them all; name one by its id.",
        )
    return begun[0]


Named = TypeVar(
    "Named", Rotation, ListedIncident, Finding, Delivery, Channel, Message, PostureWaiver
)


def _beginning_with(text: str, things: Iterable[Named]) -> list[Named]:
    """Those whose id, in either form, begins so."""
    if len(text) < _SHORTEST_BEGINNING:
        return []
    return [
        one
        for one in islice(things, _MOST_LOOKED_AT)
        if one.id.startswith(text) or (short(one.id) or "").startswith(text)
    ]


def _not_one(text: str, listed: list[str], noun: str, remedy: str) -> CommandFailed:
    if not listed:
        return CommandFailed(f"No {noun} goes by {text}.", remedy=remedy, code=ABSENT)
    nouns = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return CommandFailed(
        f"{len(listed)} {nouns} go by {text}: {', '.join(listed)}.", remedy=remedy, code=WRONG
    )


def key_id(client: "Keyturn", text: str) -> str:
    """The id of the key that an argument names, without a call where it is told already."""
    return spelled_id(text) or named_key(client, text).id


def refuse_token(text: str) -> None:
    """Raises `CommandFailed` where an argument holds a token."""
    if holds_shape(text):
        raise CommandFailed(
            "A token was given as an argument, where other users and the shell's history see it.",
            remedy="Name a key by its id or hint; give a token by a file or standard input. Take "
            "the line out of your history, and consider the token exposed.",
            code=WRONG,
        )


def spelled_id(text: str) -> str | None:
    """The id that an argument spells, alone or as a key's hint."""
    id_ = parse_id(text) or parse_id(text.rpartition("_")[2])
    return None if id_ is None else str(id_)


def _living(client: "Keyturn", slot: SlotName | None = None) -> list[Key]:
    return living(
        lambda status: client.keys.list(
            status=status,
            service=None if slot is None else slot.service,
            environment=None if slot is None else slot.environment,
        )
    )


def _only_one(text: str, found: list[Key]) -> Key:
    if not found:
        raise CommandFailed(
            f"No key that is active or suspended goes by {text}.",
            remedy=f"`keyturn keys list --status all` shows them all. {KEY_HELP}",
            code=ABSENT,
        )
    if len(found) > 1:
        listed = ", ".join(f"{short(key.id)} ({key.name})" for key in found)
        raise CommandFailed(
            f"{len(found)} keys go by {text}: {listed}.", remedy="Name one by its id.", code=WRONG
        )
    return found[0]
