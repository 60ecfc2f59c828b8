"""Ids: UUID version 7 (RFC 9562), and the two spellings that paths and filters accept."""

import re
from uuid import UUID

from keyturn.domain.ambience import Entropy
from keyturn.domain.base62 import decode_uuid

NIL = UUID(int=0)

_CANONICAL = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def make_id(now: int, entropy: Entropy) -> UUID:
    """A version 7 UUID for `now` (microseconds); later ones sort later, to a quarter microsecond.

    The 12 bits behind the milliseconds hold the fraction of the millisecond (RFC 9562, 6.2,
    method 3), the other 62 are random.
    """
    millis, rest = divmod(now, 1_000)
    value = millis << 80 | 0x7 << 76 | (rest * 4096 // 1_000) << 64
    value |= 0b10 << 62 | int.from_bytes(entropy.take(8), "big") >> 2
    return UUID(int=value)


def parse_id(text: str) -> UUID | None:
    """The id that `text` spells, as a UUID or in its 22 characters; None for anything else."""
    if _CANONICAL.fullmatch(text):
        return UUID(text)
    return decode_uuid(text)
