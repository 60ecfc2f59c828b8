"""A key's metadata: a JSON object of the user's own, small enough to travel with each verdict."""

import json
import math
import re

from keyturn.domain.error import RequestInvalid
from keyturn.domain.text import refuse_token

LARGEST_BYTES = 4_096
DEEPEST = 16

_LARGEST_NUMBER = 10**LARGEST_BYTES
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def encode_metadata(value: dict[str, Json], pointer: str = "/metadata") -> str:
    """The canonical JSON text of `value`: members sorted, no white space.

    Raises `RequestInvalid` where it is over 4 KiB, nested deeper than 16, holds a token, or holds
    what JSON cannot carry (NaN, a NUL, half a surrogate pair).
    """
    _check(value, pointer, DEEPEST)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > LARGEST_BYTES:
        raise RequestInvalid.at(pointer, f"This may have at most {LARGEST_BYTES} bytes as JSON.")
    return text


def _check(value: Json, pointer: str, depth: int) -> None:
    if depth < 0:
        raise RequestInvalid.at(pointer, f"This may be nested at most {DEEPEST} deep.")
    match value:
        case str():
            _check_string(value, pointer)
        case float() if not math.isfinite(value):
            raise RequestInvalid.at(pointer, "This number cannot be written as JSON.")
        case int() if abs(value) >= _LARGEST_NUMBER:  # Python refuses to spell a much longer one
            raise RequestInvalid.at(pointer, "This number is too long.")
        case list():
            for member in value:
                _check(member, pointer, depth - 1)
        case dict():
            for name, member in value.items():
                _check_string(name, pointer)
                _check(member, pointer, depth - 1)
        case _:
            pass


def _check_string(value: str, pointer: str) -> None:
    if _UNSTORABLE.search(value):
        raise RequestInvalid.at(pointer, "This holds a character that cannot be stored.")
    refuse_token(value, pointer)
