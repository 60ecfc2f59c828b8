"""The part of a secret that is meant: all of its text, or one member of the JSON that it is."""

import msgspec

from keyturn.client.sources.contract import unreadable


def member(text: str, field: str | None, name: str) -> str:
    """The member `field` of `text`, all of it where none is named. Raises `SourceFault`."""
    if field is None:
        return text
    try:
        members = msgspec.json.decode(text, type=dict[str, object])
    except (ValueError, RecursionError):
        members = None  # outside of the handler: the error carries a part of the secret along
    if members is None:
        raise unreadable(name, "the secret is no JSON object, so it has no fields")
    return text_of(members, field, name)


def text_of(members: dict[str, object], field: str, name: str) -> str:
    """The text in `members` by that name. Raises `SourceFault`."""
    value = members.get(field)
    if value is None:
        raise unreadable(name, f"the secret has no field {field}")
    if not isinstance(value, str):
        raise unreadable(name, f"its field {field} is no text")
    return value
