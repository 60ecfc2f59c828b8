"""Base62 of fixed width, big-endian, over `0-9A-Za-z`: one spelling for each value.

The alphabet is in ASCII order, so spellings of one width compare as their values do, and "too
large" is a comparison of texts.
"""

from uuid import UUID

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_VALUE = {letter: value for value, letter in enumerate(ALPHABET)}


def encode(value: int, width: int) -> str:
    """`value` in exactly `width` characters. Raises `ValueError` when it does not fit."""
    if value < 0:
        raise ValueError("negative")
    letters = []
    for _ in range(width):
        value, digit = divmod(value, 62)
        letters.append(ALPHABET[digit])
    if value:
        raise ValueError("too large for the width")
    return "".join(reversed(letters))


def decode(text: str) -> int:
    """The value of `text`. Raises `ValueError` on a character outside the alphabet."""
    value = 0
    try:
        for letter in text:
            value = value * 62 + _VALUE[letter]
    except KeyError:
        raise ValueError("outside the alphabet") from None
    return value


UUID_WIDTH = 22
SECRET_WIDTH = 43
CHECKSUM_WIDTH = 6
GREATEST_UUID = encode(2**128 - 1, UUID_WIDTH)
GREATEST_SECRET = encode(2**256 - 1, SECRET_WIDTH)
GREATEST_CHECKSUM = encode(2**32 - 1, CHECKSUM_WIDTH)


def encode_uuid(value: UUID) -> str:
    return encode(value.int, UUID_WIDTH)


def decode_uuid(text: str) -> UUID | None:
    """The UUID that 22 characters spell, or None if they spell none."""
    if len(text) != UUID_WIDTH or text > GREATEST_UUID:
        return None
    try:
        return UUID(int=decode(text))
    except ValueError:
        return None
