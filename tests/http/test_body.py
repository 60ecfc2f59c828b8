"""JSON in the one reading of it that every parser would agree with, or a refusal that says why."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestMalformed
from keyturn.http.body import parse_json
from keyturn.http.verify import parse_body

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
    ),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(value=VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_what_json_spells_is_read_back(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert parse_json(text.encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_as_malformed(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except RequestMalformed:
        return
    assert json.loads(raw) == value
    assert finite(value)


@given(value=VALUES, position=st.integers(0, 300), byte=st.integers(0, 255))
def test_one_altered_byte_never_escapes_as_another_error(
    value: Any, position: int, byte: int
) -> None:
    raw = bytearray(json.dumps(value).encode())
    raw[position % len(raw)] = byte
    try:
        parse_json(bytes(raw))
    except RequestMalformed as refused:
        assert refused.detail.endswith(".")  # noqa: PT017


@pytest.mark.parametrize("raw", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xc3"])
def test_a_verification_is_utf_8_in_members_that_nobody_knows_too(raw: bytes) -> None:
    body, fault = parse_body(b'{"api_key": "x", "newer": ["' + raw + b'"]}', ())
    assert body is None
    assert isinstance(fault, RequestMalformed)


def finite(value: object) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case list():
            return all(map(finite, value))
        case dict():
            return all(map(finite, value.values()))
        case _:
            return True


@given(name=st.text(max_size=9), depth=st.integers(0, 5))
def test_two_members_of_one_name_are_refused_at_any_depth(name: str, depth: int) -> None:
    member = f"{json.dumps(name)}: 1"
    text = '{"a": [' * depth + f"{{{member}, {member}}}" + "]}" * depth
    with pytest.raises(RequestMalformed, match="two members of one name"):
        parse_json(text.encode())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "line 1, column 2"),
        (b"{}{}", "line 1, column 3"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": 1,}', "not JSON"),
        (b"[1,\n2,\nx]", "line 3, column 1"),
        (b"\xff", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"1e999", "too large"),
        (b"[-1e999]", "too large"),
        (b"1" * 5_000, "too long"),
        (b"[" * 100_000, "too deep"),
        (b'{"a":' * 100_000, "too deep"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b'"\t"', "not JSON"),
    ],
)
def test_each_refusal_says_what_is_wrong(raw: bytes, reason: str) -> None:
    with pytest.raises(RequestMalformed, match=reason) as refused:
        parse_json(raw)
    assert "sys." not in refused.value.detail
