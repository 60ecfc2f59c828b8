"""Spans of time, as people write them."""

import click
import pytest

from keyturn.cli.output import whole_span
from keyturn.cli.when import SPAN


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7_200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("90", 90),
        ("0", 0),
        ("0s", 0),
        ("0d", 0),
    ],
)
def test_a_span_is_so_many_seconds(text: str, seconds: int) -> None:
    assert SPAN.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1.5h", "1y", "007s", "1 h", "\u0661d", "soon", "00"]
)
def test_what_is_no_span_is_told_what_one_is(text: str) -> None:
    with pytest.raises(click.UsageError, match="90s, 15m, 2h, 1d"):
        SPAN.convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (90, "90 s"),
        (900, "15 min"),
        (7_200, "2 h"),
        (3_024_000, "35 d"),
        (3_601, "3,601 s"),
    ],
)
def test_a_term_is_told_to_the_second(seconds: int, told: str) -> None:
    assert whole_span(seconds) == told
