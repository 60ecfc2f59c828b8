"""Times on the command line: `90d`, `12h`, `30m`, or one in RFC 3339; and spans of time."""

import re
from datetime import UTC, datetime, timedelta

import click

from keyturn.ambient import SystemClock
from keyturn.domain.instant import parse_instant

_MICROSECONDS = 1_000_000
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([1-9]\d{0,5})([smhdw])", re.ASCII)

_BARE = re.compile(r"(0)[smhdw]?|([1-9]\d{0,9})", re.ASCII)


class When(click.ParamType[datetime]):
    """A moment: a span of time from now on (`sign` 1) or back from now (-1), or a time."""

    name = "when"

    def __init__(self, sign: int) -> None:
        self._sign = sign

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        seconds = seconds_of(text)
        try:
            if seconds is not None:
                return now() + timedelta(seconds=self._sign * seconds)
            return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=parse_instant(text))
        except (ValueError, OverflowError):
            told = "This" if param is None else param.opts[-1]
            raise click.UsageError(
                f"{told} takes 90d, 12h, 30m, or a time like 2027-01-31T12:00:00Z.", ctx
            ) from None


class Span(click.ParamType[int]):
    """A span of time, in seconds: `90s`, `15m`, `2h`, `1d`, or a bare number of seconds."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        bare = _BARE.fullmatch(str(value))
        seconds = seconds_of(str(value)) if bare is None else int(bare.group(1) or bare.group(2))
        if seconds is None:
            told = "This" if param is None else param.opts[-1]
            raise click.UsageError(f"{told} takes a span of time: 90s, 15m, 2h, 1d.", ctx)
        return seconds


def seconds_of(text: str) -> int | None:
    """The seconds of a span like `90d` or `26h`, None where it is none."""
    span = _SPAN.fullmatch(text)
    return None if span is None else int(span.group(1)) * _UNITS[span.group(2)]


SPAN = Span()
AHEAD = When(1)
BACK = When(-1)


def microseconds(moment: datetime) -> int:
    """The moment as the domain has it."""
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def now() -> datetime:
    """The present."""
    return datetime.fromtimestamp(SystemClock().now() / _MICROSECONDS, UTC)
