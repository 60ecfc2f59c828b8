"""A token as one member of a JSON object that a place holds. The other members stay."""

import json

from keyturn.destinations.contract import DestinationFault, FaultKind


def read_field(text: str, member: str) -> str | None:
    """The member's text, None where there is no such member. Raises `DestinationFault`."""
    value = _parse(text).get(member)
    if value is not None and not isinstance(value, str):
        raise DestinationFault(
            FaultKind.NOT_UNDERSTOOD, "The field that should hold the token is not a text."
        )
    return value


def with_field(text: str | None, member: str, value: str) -> str:
    """The object with the member set; a new one where there was none."""
    members = {} if text is None else _parse(text)
    return json.dumps(members | {member: value}, ensure_ascii=False)


def _parse(text: str) -> dict[str, object]:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise DestinationFault(
            FaultKind.NOT_UNDERSTOOD, "The secret is not a JSON object, so it has no fields."
        )
    return members
