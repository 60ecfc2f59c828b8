"""Ids and names as a query or a body spells them, with the member that is wrong where one is."""

from uuid import UUID

from keyturn.domain.destination import check_destination_name
from keyturn.domain.error import RequestInvalid
from keyturn.domain.identity import parse_id
from keyturn.domain.slot import SlotName


def given_id(text: str | None, pointer: str) -> UUID | None:
    """The id that a text spells, None for none. Raises `RequestInvalid` for another text."""
    if text is None:
        return None
    id_ = parse_id(text)
    if id_ is None:
        raise RequestInvalid.at(pointer, "This is an id, as a UUID or in its 22 characters.")
    return id_


def given_slot(text: str | None, pointer: str = "/slot") -> SlotName | None:
    """The slot that a text names, None for none. Raises `RequestInvalid` for another text."""
    if text is None:
        return None
    name = SlotName.parse(text)
    if name is None:
        raise RequestInvalid.at(
            pointer, "A slot is a service and an environment, like `scheduler-prod`."
        )
    return name


def given_destination(text: str | None) -> str | None:
    """The name of a destination, None for none. Raises `RequestInvalid` for another text."""
    return None if text is None else check_destination_name(text, "/destination")
