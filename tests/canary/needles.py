"""How a secret looks in each encoding, as pieces that are looked for.

Text is brought to one form first (`plain_form`), the needles as the sinks: so the widths of UTF-16,
the percent of a URL, the backslash of JSON, of Python and of PostgreSQL, the line breaks of base64
and its second alphabet are no encodings of their own.

Of an encoding the beginning and the end are looked for, 12 characters of the secret or more each;
of the spelled secret itself every piece of 15 characters.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 12  # characters of the secret
STEP = 4
_DELETED = b"\0%\\ \t\r\n"
_ALPHABET = bytes.maketrans(b"-_", b"+/")  # base64 as in URLs is base64


def plain_form(data: bytes) -> bytes:
    """`data` without what encodings put between the characters of a text."""
    data = data.replace(b"\\u00", b"").replace(b"\\x", b"")
    return data.translate(_ALPHABET, _DELETED)


@dataclass(frozen=True, slots=True)
class Needle:
    """A piece of an encoded secret, in plain form."""

    encoding: str
    piece: bytes
    offset: int  # in the encoded secret


def needles_of(spelled: str, raw: bytes) -> Iterator[Needle]:
    """What to look for. `spelled` is the secret as it stands in a token, `raw` its 32 bytes."""
    text = spelled.encode("ascii")
    offsets = sorted({*range(0, len(text) - PIECE, STEP), len(text) - PIECE})
    for offset in offsets:
        yield Needle("plain", text[offset : offset + PIECE], offset)
    yield from _ends("reversed", text[::-1], PIECE)
    for name, data in (("", text), ("bytes, ", raw)):
        yield from _ends(f"{name}hex", data.hex().encode(), 2 * PIECE)
        yield from _ends(f"{name}HEX", data.hex().upper().encode(), 2 * PIECE)
        for alignment in range(3):
            yield from _ends(f"{name}base64+{alignment}", _base64(data, alignment), PIECE)
    yield from _ends("bytes", raw, PIECE + 2)
    yield from _ends("bytes, Python", repr(raw)[2:-1].encode(), 16)
    yield from _ends("bytes, reversed", raw[::-1], PIECE + 2)


def _ends(encoding: str, data: bytes, size: int) -> Iterator[Needle]:
    form = plain_form(data)
    yield Needle(encoding, form[:size], 0)
    yield Needle(encoding, form[-size:], len(form) - size)


def _base64(data: bytes, alignment: int) -> bytes:
    """What base64 makes of data that has `alignment` bytes before it and others behind: those
    characters that depend on the data alone."""
    encoded = base64.b64encode(bytes(alignment) + data)
    whole = (alignment + len(data)) * 8 // 6
    return encoded[-(-alignment * 8 // 6) : whole]
