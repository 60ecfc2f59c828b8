"""Cursors come back as they went out, and nothing else is taken for one."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.http.paging import decode_cursor, encode_cursor, split_page

NUMBERS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=40).filter(str.isprintable)


def spelled(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(at=NUMBERS, id_=TEXTS, slot=TEXTS)
def test_a_cursor_comes_back_as_it_went_out(at: int, id_: str, slot: str) -> None:
    assert decode_cursor(encode_cursor(at, id_, slot), int, str, str) == (at, id_, slot)
    assert decode_cursor(encode_cursor(at), int) == (at,)
    assert decode_cursor(None, int) is None


@given(st.text(max_size=600))
def test_no_text_but_a_cursor_is_taken(text: str) -> None:
    try:
        parts = decode_cursor(text, int, str)
    except RequestInvalid as refused:
        assert [fault.pointer for fault in refused.faults] == ["/cursor"]  # noqa: PT017
        return
    assert parts is not None
    assert [type(part) for part in parts] == [int, str]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(JSON)
def test_no_json_of_another_shape_is_taken(value: Any) -> None:
    try:
        parts = decode_cursor(spelled(value), int, str)
    except RequestInvalid:
        return
    assert parts is not None
    number, text = parts
    assert type(number) is int
    assert 0 <= number < 2**63
    assert isinstance(text, str)
    assert text.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        spelled([True]),
        spelled([1.0]),
        spelled([-1]),
        spelled([2**63]),
        spelled(["1"]),
        spelled([1, 1]),
        spelled([[1]]),
        spelled({"0": 1}),
        spelled([1]) + "\n",
        spelled([1]) + "é",
        "W" * 513,
        base64.urlsafe_b64encode(b"[" * 300).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"[NaN]").decode(),
    ],
)
def test_what_is_no_cursor_of_this_list_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(RequestInvalid, match="begin without one"):
        decode_cursor(text, int)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "a\nb", "\x1b["])
def test_a_text_that_could_not_be_kept_is_no_part_of_a_cursor(text: str) -> None:
    with pytest.raises(RequestInvalid):
        decode_cursor(spelled([text]), str)


@given(count=st.integers(0, 30), limit=st.integers(1, 30))
def test_a_page_ends_where_more_is_waiting_and_nowhere_else(count: int, limit: int) -> None:
    page, last = split_page(list(range(count))[: limit + 1], limit)
    assert list(page) == list(range(min(count, limit)))
    assert last == (limit - 1 if count > limit else None)
