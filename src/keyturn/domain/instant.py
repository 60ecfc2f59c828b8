"""Points in time: whole microseconds since the epoch inside, RFC 3339 in UTC outside."""

import re
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
DAY = 86_400 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def format_instant(micros: int) -> str:
    """`1763822101123456` as `2025-11-22T14:35:01.123456Z`: fixed width, so texts sort as times."""
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z"


def parse_instant(text: str) -> int:
    """Microseconds of an RFC 3339 time. Digits below a microsecond are cut off.

    Raises `ValueError` for anything else, a time without an offset included.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset")
    date, clock, fraction, offset = match.groups()
    zone = "+00:00" if offset in "Zz" else offset
    micros = (fraction or "").ljust(6, "0")[:6]
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{micros}{zone}")
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except OverflowError as overflow:
        raise ValueError("out of range") from overflow
