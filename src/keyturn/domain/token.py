"""The token, the string that a caller holds: `<brand>_<environment>_<id><secret><checksum>`.

Rules, from the wire contract (section 2), with vectors in `vectors/token.json`:

1. brand: 2 to 8 lowercase letters. environment: 1 to 16 of `[a-z0-9]`.
2. id: 22 characters, the key's UUID. secret: 43 characters, 32 random bytes. checksum: 6
   characters, the CRC-32 of everything before it. All in base62 of fixed width.
3. A value that does not fit its bits (2^128, 2^256, 2^32 or more) is malformed: one spelling per
   value.
4. The parse is anchored and linear, and looks at no more than 128 bytes.
5. The checksum is no security. It lets noise be refused without a look-up.

A `Token` never shows its secret by accident: printing, formatting or logging it gives the hint, and
it cannot be pickled or copied. `reveal()` is the one way out.
"""

import re
import zlib
from typing import NamedTuple, NoReturn
from uuid import UUID

from keyturn.domain.base62 import (
    CHECKSUM_WIDTH,
    GREATEST_SECRET,
    SECRET_WIDTH,
    decode_uuid,
    encode,
    encode_checksum,
    encode_uuid,
)

LONGEST_BYTES = 128
SECRET_BYTES = 32
OPERATOR_ENVIRONMENT = "operator"

_HEAD_SHAPE = r"(?P<brand>[a-z]{2,8})_(?P<environment>[a-z0-9]{1,16})_(?P<id>[0-9A-Za-z]{22})"
SHAPE = _HEAD_SHAPE + r"(?P<secret>[0-9A-Za-z]{43})(?P<checksum>[0-9A-Za-z]{6})"
_HEAD = re.compile(_HEAD_SHAPE)
_TAIL = SECRET_WIDTH + CHECKSUM_WIDTH
_MOST_HEADS = 16_384
BRAND = re.compile(r"[a-z]{2,8}")
ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}")


class Token:
    """One token, taken apart. Make it with `make_token` or `parse_token`."""

    __slots__ = ("_secret", "brand", "environment", "id")

    def __init__(self, *, brand: str, environment: str, id: UUID, secret: str) -> None:  # noqa: A002
        self.brand = brand
        self.environment = environment
        self.id = id
        self._secret = secret

    @property
    def hint(self) -> str:
        """Everything before the secret: safe to show, and enough to find the key."""
        return f"{self.brand}_{self.environment}_{encode_uuid(self.id)}"

    @property
    def is_operators(self) -> bool:
        return self.environment == OPERATOR_ENVIRONMENT

    def secret(self) -> bytes:
        """The secret's 43 characters in ASCII: what the digest is made of. Never log it."""
        return self._secret.encode("ascii")

    def reveal(self) -> str:
        """The token itself, for the one answer or file that hands it out. Never log it."""
        body = self.hint + self._secret
        return body + checksum(body)

    def __repr__(self) -> str:
        return f"<Token {self.hint}…>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token cannot be pickled or copied")


def checksum(body: str) -> str:
    """Six characters of CRC-32 over everything that stands before them."""
    return encode_checksum(zlib.crc32(body.encode("ascii")))


def make_token(*, brand: str, environment: str, id: UUID, secret: bytes) -> Token:  # noqa: A002
    """The token of key `id`. `secret` is 32 bytes from the operating system's generator."""
    if len(secret) != SECRET_BYTES:
        raise ValueError("a secret has 32 bytes")
    if BRAND.fullmatch(brand) is None or ENVIRONMENT.fullmatch(environment) is None:
        raise ValueError("not a brand and an environment")
    spelled = encode(int.from_bytes(secret, "big"), SECRET_WIDTH)
    return Token(brand=brand, environment=environment, id=id, secret=spelled)


class _Head(NamedTuple):
    """What a token says before its secret."""

    brand: str
    environment: str
    id: UUID


# The keys in use come again and again: what their heads say is read once. They are public, and only
# heads of whole tokens are kept, so no part of a secret that slipped out of place is.
_heads: dict[str, _Head] = {}


def parse_token(text: str, *, brand: str | None = None) -> Token | None:
    """The token that `text` is, or None when it is malformed. With `brand`, of that brand only."""
    if len(text) > LONGEST_BYTES:
        return None
    spelled = text[:-_TAIL]
    known = _heads.get(spelled)
    head = known or _read_head(text)
    if head is None or (brand is not None and head.brand != brand):
        return None
    tail = text[-_TAIL:]
    if not (tail.isascii() and tail.isalnum()):
        return None
    secret, sum_ = tail[:SECRET_WIDTH], tail[SECRET_WIDTH:]
    # A sum of 2^32 or more has a spelling that `checksum` never gives.
    if sum_ != checksum(text[:-CHECKSUM_WIDTH]) or secret > GREATEST_SECRET:
        return None
    if known is None:
        if len(_heads) >= _MOST_HEADS:
            _heads.clear()
        _heads[spelled] = head
    return Token(brand=head.brand, environment=head.environment, id=head.id, secret=secret)


def _read_head(text: str) -> _Head | None:
    match = _HEAD.fullmatch(text, 0, max(0, len(text) - _TAIL))
    if match is None:
        return None
    brand, environment, spelled_id = match.groups()
    id_ = decode_uuid(spelled_id)
    return None if id_ is None else _Head(brand, environment, id_)
