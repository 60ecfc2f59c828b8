"""How a key is named on the command line: by its id, in 22 characters, by its hint, or by its slot
or its name where that has one key only. Never by its token."""

from typing import TYPE_CHECKING
from uuid import UUID

from keyturn.cli.ending import ABSENT, WRONG, CommandFailed
from keyturn.client.resources import Key
from keyturn.domain.base62 import encode_uuid
from keyturn.domain.identity import parse_id
from keyturn.domain.redaction import holds_shape
from keyturn.domain.slot import SlotName

if TYPE_CHECKING:
    from keyturn.client import Keyturn

KEY_HELP = "KEY is an id, a hint like kt_prod_…, or a slot or a name that has one key."


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
    id_ = _spelled_id(text)
    if id_ is not None:
        return client.keys.read(id_)
    slot = SlotName.parse(text)
    found = [] if slot is None else _living(client, slot)
    return _only_one(text, found or [key for key in _living(client) if key.name == text])


def key_id(client: "Keyturn", text: str) -> str:
    """The id of the key that an argument names, without a call where it is told already."""
    return _spelled_id(text) or named_key(client, text).id


def refuse_token(text: str) -> None:
    """Raises `CommandFailed` where an argument holds a token."""
    if holds_shape(text):
        raise CommandFailed(
            "A token was given as an argument, where other users and the shell's history see it.",
            remedy="Name a key by its id or hint; give a token by a file or standard input. Take "
            "the line out of your history, and consider the token exposed.",
            code=WRONG,
        )


def _spelled_id(text: str) -> str | None:
    id_ = parse_id(text) or parse_id(text.rpartition("_")[2])
    return None if id_ is None else str(id_)


def _living(client: "Keyturn", slot: SlotName | None = None) -> list[Key]:
    return [
        key
        for status in ("active", "suspended")
        for key in client.keys.list(
            status=status,
            service=None if slot is None else slot.service,
            environment=None if slot is None else slot.environment,
        )
    ]


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
