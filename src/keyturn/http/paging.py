"""Paging: an opaque cursor that names the last item seen, and the link to the next page."""

import base64
import json
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from fastapi import Request

from keyturn.domain.error import RequestInvalid

_LONGEST = 512

Item = TypeVar("Item")


def encode_cursor(*parts: int | str) -> str:
    """A cursor for the item that has these parts in the list's order."""
    raw = json.dumps(parts, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str | None, *types: type) -> tuple[int | str, ...] | None:
    """The parts of a cursor, of exactly these types. Raises `RequestInvalid` for another text."""
    if text is None:
        return None
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        parts = json.loads(raw)
    except (ValueError, RecursionError):
        parts = None
    if (
        not isinstance(parts, list)
        or tuple(type(part) for part in parts) != types
        or any(isinstance(part, int) and not 0 <= part < 2**63 for part in parts)
        or any(isinstance(part, str) and not part.isprintable() for part in parts)
    ):
        raise RequestInvalid.at("/cursor", "This is no cursor of this list; begin without one.")
    return tuple(parts)


def next_link(request: Request, cursor: str) -> str:
    """The value of `Link` that leads to the page after `cursor`.

    It is relative: made from the Host header it would send tokens wherever that says, and behind a
    proxy that ends TLS it would say http.
    """
    query = [
        pair for pair in parse_qsl(request.url.query, keep_blank_values=True) if pair[0] != "cursor"
    ]
    return f'<{request.url.path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'


def split_page(found: Sequence[Item], limit: int) -> tuple[Sequence[Item], Item | None]:
    """The page, and its last item where there is more: lists are read with one item to spare."""
    if len(found) <= limit:
        return found, None
    return found[:limit], found[limit - 1]
