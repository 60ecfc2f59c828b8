"""How many requests a caller has sent, and how they were answered."""

from collections.abc import Iterable

import msgspec

from keyturn.demo.journal import Entry


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one caller."""

    sent: int
    served: int
    refused: int
    failed: int


def tally(entries: Iterable[Entry]) -> Tally:
    found = list(entries)
    served = sum(entry.is_served for entry in found)
    refused = sum(entry.is_refused for entry in found)
    return Tally(
        sent=len(found), served=served, refused=refused, failed=len(found) - served - refused
    )


def to_ms(seconds: float) -> float:
    return round(seconds * 1_000, 2)
