"""Base62 of fixed width, big-endian, over `0-9A-Za-z`: one spelling for each value.

The alphabet is in ASCII order, so spellings of one width compare as their values do, and "too
large" is a comparison of texts. Two letters are read and written at a time, in base 3844: every
token that comes in has its checksum written.
"""

from struct import Struct
from uuid import UUID

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_BASE = len(_PAIRS)


def encode(value: int, width: int) -> str:
    """`value` in exactly `width` characters. Raises `ValueError` when it does not fit."""
    if value < 0:
        raise ValueError("negative")
    pairs = []
    for _ in range((width + 1) // 2):
        value, pair = divmod(value, _BASE)
        pairs.append(_PAIRS[pair])
    text = "".join(reversed(pairs))
    if value or (width % 2 and text[0] != "0"):
        raise ValueError("too large for the width")
    return text[-width:]


UUID_WIDTH = 22
SECRET_WIDTH = 43
CHECKSUM_WIDTH = 6
GREATEST_UUID = encode(2**128 - 1, UUID_WIDTH)
GREATEST_SECRET = encode(2**256 - 1, SECRET_WIDTH)

# The pairs of an id come out of `struct` as the 16-bit numbers that their ASCII codes make.
_VALUES = {int.from_bytes(pair.encode("ascii"), "big"): n for n, pair in enumerate(_PAIRS)}
_uuid_pairs = Struct(f">{UUID_WIDTH // 2}H").unpack


def encode_uuid(value: UUID) -> str:
    return encode(value.int, UUID_WIDTH)


def decode_uuid(text: str) -> UUID | None:
    """The UUID that 22 characters spell, or None if they spell none."""
    if len(text) != UUID_WIDTH or text > GREATEST_UUID:
        return None
    value = 0
    try:
        for pair in _uuid_pairs(text.encode("ascii")):
            value = value * _BASE + _VALUES[pair]
    except (KeyError, UnicodeEncodeError):  # outside the alphabet
        return None
    return UUID(int=value)


def encode_checksum(value: int) -> str:
    """The six characters of a 32-bit checksum."""
    rest, last = divmod(value, _BASE)
    first, middle = divmod(rest, _BASE)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]
