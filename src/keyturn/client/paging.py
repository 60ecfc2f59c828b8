"""Lists of plain JSON arrays, whose next page is told by `Link` (RFC 8288). No I/O.

1. Only the cursor is taken from an answer: a link that leads elsewhere would be sent the token.
2. A list is whole or it is an error: a next page that cannot be asked for is none to be left out.
"""

import re
from typing import TypeVar
from urllib.parse import parse_qsl

from keyturn.client.call import Answer, Call, Listing, Page, Query, reading
from keyturn.client.errors import NotUnderstood

T = TypeVar("T")

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s"=;,<>]+\s*=\s*(?:"[^"]*"|[^\s"=;,<>]+))*)')
_RELATION = re.compile(r';\s*rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)


def listing(type_: type[T], path: str, asked: Query) -> Listing[T]:
    """A list at `path`, of what was asked."""
    read_items = reading(list[type_])  # type: ignore[valid-type]

    def call(asked: Query) -> Call[Page[T]]:
        def read(answer: Answer) -> Page[T]:
            items = read_items(answer)
            target = _next_target(answer.headers.get("link", ""))
            total = answer.headers.get("x-total-count", "")
            return Page(
                items=items,
                total=int(total) if total.isascii() and total.isdecimal() else None,
                following=None if target is None else call(moved(answer, asked, _cursor(target))),
            )

        return Call(method="GET", path=path, query=asked, read=read)

    return Listing(first=call(asked))


def moved(answer: Answer, asked: Query, cursor: str) -> Query:
    """The same question, from the cursor on that an answer told."""
    if not cursor or ("cursor", cursor) in asked:
        raise NotUnderstood(answer.status, "its list goes on, but not on from here")
    return (*(pair for pair in asked if pair[0] != "cursor"), ("cursor", cursor))


def _next_target(header: str) -> str | None:
    for target, parameters in _LINK.findall(header):
        for relation in _RELATION.findall(parameters):
            if "next" in relation.lower().split():
                return str(target)
    return None


def _cursor(target: str) -> str:
    """The cursor in a link's target, empty where there is none."""
    return dict(parse_qsl(target.partition("?")[2])).get("cursor", "")
