"""`If-Match` and `If-None-Match` (RFC 9110, 13.1): change only what has not moved since it was
read, make only what is not there."""

import re
from typing import Annotated

from fastapi import Header

from keyturn.domain.error import RequestMalformed
from keyturn.http.spelling import Star, Tags

IfMatch = Annotated[
    Tags | None,
    Header(alias="If-Match", description="The ETag that was read; 412 where it has moved."),
]

IfNoneMatch = Annotated[
    Star | None,
    Header(alias="If-None-Match", description="`*`: make it only; 412 where there is one."),
]

Headers = list[tuple[bytes, bytes]]

_LISTS = (b"if-match", b"if-none-match")

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
# RFC 9110, 8.8.3 and 5.6.1: a tag may hold a comma, and elements of a list may be empty.
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"(?:{_TAG})?[ \t]*(?:,[ \t]*(?:{_TAG})?[ \t]*)*")
_EACH = re.compile(r'(W/)?"([^"]*)"')


def expected_versions(header: str | None) -> frozenset[int] | None:
    """The versions that the caller accepts, None for any. A weak tag matches nothing.

    Raises `RequestMalformed` for a header that is no list of tags.
    """
    if header is None or header.strip() == "*":
        return None
    tags = _EACH.findall(header) if _TAGS.fullmatch(header.strip()) else []
    if not tags:
        raise RequestMalformed('If-Match takes ETags in double quotes, like `"3"`, or `*`.')
    strong = [tag for weak, tag in tags if not weak]
    return frozenset(int(tag) for tag in strong if _VERSION.fullmatch(tag))


def may_change(if_none_match: str | None) -> bool:
    """Whether what is there already may be changed. Raises `RequestMalformed` for another header
    than `*`."""
    if if_none_match is None:
        return True
    if if_none_match.strip() != "*":
        raise RequestMalformed("If-None-Match takes `*` here: make it only where there is none.")
    return False


def join_lines(headers: Headers) -> Headers:
    """The lines of one precondition are one list (RFC 9110, 5.3), and are judged together."""
    joined = [one for one in headers if one[0] not in _LISTS]
    for name in _LISTS:
        lines = [value for other, value in headers if other == name]
        if lines:
            joined.append((name, b", ".join(lines)))
    return joined
