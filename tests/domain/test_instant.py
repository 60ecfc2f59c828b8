"""Instants: every RFC 3339 time with an offset, no other text, and what is read can be written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.instant import DAY, SECOND, format_instant, parse_instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EARLIEST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND

instants = st.integers(EARLIEST, LATEST) | st.sampled_from([EARLIEST, -1, 0, 1, LATEST])


@given(instants)
def test_an_instant_comes_back_from_its_text(micros: int) -> None:
    assert parse_instant(format_instant(micros)) == micros


@given(instants, instants)
def test_texts_sort_as_times_do(first: int, second: int) -> None:
    one, two = format_instant(first), format_instant(second)
    assert len(one) == len(two) == len("2025-11-22T14:35:01.123456Z")
    assert (one < two) == (first < second)


@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),  # noqa: DTZ001
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_an_offset_is_taken_into_account(moment: datetime, offset_minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_instant(aware.isoformat()) == (aware - EPOCH) // MICROSECOND


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2025-11-22T14:35:01Z", "2025-11-22T14:35:01.000000Z"),
        ("2025-11-22t14:35:01z", "2025-11-22T14:35:01.000000Z"),
        ("2025-11-22T14:35:01.5Z", "2025-11-22T14:35:01.500000Z"),
        ("2025-11-22T14:35:01.123456789Z", "2025-11-22T14:35:01.123456Z"),
        ("2025-11-22T14:35:01.999999999Z", "2025-11-22T14:35:01.999999Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
        ("2025-11-22T14:35:01-00:00", "2025-11-22T14:35:01.000000Z"),
        ("2025-11-22T00:35:01+01:30", "2025-11-21T23:05:01.000000Z"),
        ("2025-11-22T23:35:01-23:59", "2025-11-23T23:34:01.000000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("0001-01-01T14:00:00+14:00", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_a_time_is_read_as_rfc_3339_says(text: str, written: str) -> None:
    assert format_instant(parse_instant(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1763822101",
        "2025-11-22",
        "2025-11-22T14:35:01",  # no offset: whose time would it be?
        "2025-11-22T14:35Z",
        "2025-11-22 14:35:01Z",
        "20251122T143501Z",
        "2025-W47-6T14:35:01Z",
        "2025-11-22T14:35:01.Z",
        "2025-11-22T14:35:01,5Z",
        "2025-11-22T14:35:01.1234567890Z",
        "2025-11-22T14:35:01+0100",
        "2025-11-22T14:35:01+01",
        "2025-11-22T14:35:01+01:00:00",
        "2025-11-22T14:35:01 +01:00",
        "2025-11-22T14:35:01+24:00",
        "2025-11-22T14:35:01+00:60",
        "2025-11-22T14:35:01+00:99",
        "2025-11-22T24:00:00Z",
        "2025-11-22T14:60:00Z",
        "2025-11-22T14:35:61Z",
        "2016-12-31T23:59:60Z",  # a leap second: the clock of this program has none
        "2025-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-01-00T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",  # in the year 0
        "9999-12-31T23:59:59-00:01",  # in the year 10000
        "2025-11-22T14:35:01Z\n",
        " 2025-11-22T14:35:01Z",
        "\u0662025-11-22T14:35:01Z",
        "2025-11-22T14:35:01\uff3a",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@given(
    st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
        r"(Z|[+-][0-9]{2}:[0-9]{2})",
        fullmatch=True,
    )
)
def test_all_that_is_read_can_be_written(text: str) -> None:
    try:
        micros = parse_instant(text)
    except ValueError:
        return
    assert parse_instant(format_instant(micros)) == micros


def test_units_are_microseconds() -> None:
    assert parse_instant("1970-01-01T00:00:01Z") == SECOND
    assert parse_instant("1970-01-02T00:00:00Z") == DAY
