"""Points in time: whole microseconds since the epoch inside, RFC 3339 in UTC outside."""

import re
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
DAY = 86_400 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)

# Python lets an offset of `+00:99` pass, and newer ones an hour of 24; RFC 3339 has neither.
_HOUR_AND_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_RFC3339 = re.compile(
    rf"(\d{{4}}-\d{{2}}-\d{{2}})[Tt]({_HOUR_AND_MINUTE}:\d{{2}})(?:\.(\d{{1,9}}))?"
    rf"([Zz]|[+-]{_HOUR_AND_MINUTE})",
    re.ASCII,
)


LATEST = 253_402_300_800 * SECOND


def is_instant(value: object) -> bool:
    """Whether `value`, of any type, is a time from 1970 to the end of the year 9999."""
    return type(value) is int and 0 <= value < LATEST


def format_instant(micros: int) -> str:
    """`1763822101123456` as `2025-11-22T14:35:01.123456Z`: fixed width, so texts sort as times."""
    moment = _EPOCH.replace(tzinfo=None) + timedelta(microseconds=micros)
    return moment.isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str) -> int:
    """Microseconds of an RFC 3339 time. Digits below a microsecond are cut off.

    Raises `ValueError` for anything else: a time without an offset, a leap second, or one that an
    offset moves out of the years 1 to 9999, so that `format_instant` can write all that was read.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset")
    date, clock, fraction, offset = match.groups()
    zone = "+00:00" if offset in "Zz" else offset
    micros = (fraction or "").ljust(6, "0")[:6]
    moment = datetime.fromisoformat(f"{date}T{clock}.{micros}{zone}")
    found = (moment - _EPOCH) // timedelta(microseconds=1)
    if not _EARLIEST <= found <= _LATEST:
        raise ValueError("out of range")
    return found
