"""`If-Match` (RFC 9110, 13.1.1): change only what has not moved since it was read."""

import re
from typing import Annotated

from fastapi import Header

from keyturn.domain.error import RequestMalformed

IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag that was read; 412 where it has moved."),
]

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')


def expected_versions(header: str | None) -> frozenset[int] | None:
    """The versions that the caller accepts, None for any. A weak tag matches nothing.

    Raises `RequestMalformed` for a header that is no list of tags.
    """
    if header is None or header.strip() == "*":
        return None
    tags = [_TAG.fullmatch(part.strip()) for part in header.split(",")]
    if not all(tags):
        raise RequestMalformed('If-Match takes ETags in double quotes, like `"3"`, or `*`.')
    strong = [tag.group(2) for tag in tags if tag is not None and tag.group(1) is None]
    return frozenset(int(tag) for tag in strong if _VERSION.fullmatch(tag))
