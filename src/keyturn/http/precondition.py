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

NO_VERSION = 0

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


def makeable_versions(header: str | None, expected: frozenset[int] | None) -> frozenset[int] | None:
    """Of the versions that are `expected`, those that `If-None-Match` accepts too.

    Raises `RequestMalformed` for another header than `*`.
    """
    if header is None:
        return expected
    if header.strip() != "*":
        raise RequestMalformed("If-None-Match takes `*` here: make it only where there is none.")
    none = frozenset({NO_VERSION})
    return none if expected is None else none & expected
