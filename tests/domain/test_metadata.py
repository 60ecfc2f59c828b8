"""Metadata: an object of the user's own, in one spelling, small, and without a token in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.metadata import DEEPEST, LARGEST_BYTES, Json, encode_metadata
from tests.domain.samples import sample_token

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(texts, values, max_size=4)


@given(objects)
def test_metadata_comes_back_from_its_text(value: dict[str, Json]) -> None:
    text = encode_metadata(value)
    assert json.loads(text) == value
    assert encode_metadata(json.loads(text)) == text
    assert len(text.encode()) <= LARGEST_BYTES


@given(objects)
def test_the_order_of_members_makes_no_difference(value: dict[str, Json]) -> None:
    assert encode_metadata(dict(reversed(value.items()))) == encode_metadata(value)


def nested(depth: int, leaf: Json = 1) -> dict[str, Json]:
    value = leaf
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


def test_metadata_may_be_nested_as_deep_as_is_said_and_no_deeper() -> None:
    assert encode_metadata(nested(DEEPEST))
    with pytest.raises(RequestInvalid, match="nested at most 16"):
        encode_metadata(nested(DEEPEST + 1))
    with pytest.raises(RequestInvalid, match="nested at most 16"):
        encode_metadata(nested(100_000))


def test_metadata_may_have_4096_bytes_and_no_more() -> None:
    assert len(encode_metadata({"a": "x" * (LARGEST_BYTES - 8)})) == LARGEST_BYTES
    for value in ("x" * (LARGEST_BYTES - 7), "é" * (LARGEST_BYTES // 2), '"' * 2_100, "\n" * 2_100):
        with pytest.raises(RequestInvalid, match="at most 4096 bytes"):
            encode_metadata({"a": value})


@pytest.mark.parametrize("exponent", [4_095, 4_096, 4_300, 10_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_is_too_long_is_refused(exponent: int, sign: int) -> None:
    with pytest.raises(RequestInvalid):
        encode_metadata({"a": sign * 10**exponent})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_carry_is_refused(number: float) -> None:
    places: list[dict[str, Json]] = [{"a": number}, {"a": [number]}, {"a": {"b": [number]}}]
    for value in places:
        with pytest.raises(RequestInvalid, match="cannot be written"):
            encode_metadata(value)


@pytest.mark.parametrize("text", ["\0", "a\0b", *map(chr, (0xD800, 0xD83D, 0xDFFF))], ids=ascii)
def test_a_character_that_cannot_be_stored_is_refused_everywhere(text: str) -> None:
    places: list[dict[str, Json]] = [
        {"a": text},
        {text: 1},
        {"a": [{"b": text}]},
        {"a": {text: None}},
    ]
    for value in places:
        with pytest.raises(RequestInvalid, match="cannot be stored"):
            encode_metadata(value)


def test_a_token_is_refused_everywhere() -> None:
    token = sample_token().reveal()
    places: list[dict[str, Json]] = [
        {"a": token},
        {token: 1},
        {"a": ["b", {"c": f"x{token}y"}]},
        {"a": {f"the-{token}": None}},
    ]
    for value in places:
        with pytest.raises(RequestInvalid, match="token stands here") as caught:
            encode_metadata(value)
        assert token not in str(caught.value)


def test_a_fault_is_told_where_it_is() -> None:
    with pytest.raises(RequestInvalid) as caught:
        encode_metadata({"a": "\0"}, "/replacements/0/metadata")
    assert caught.value.faults[0].pointer == "/replacements/0/metadata"


def test_true_is_not_one() -> None:
    assert encode_metadata({"b": True, "a": 1, "c": 1.0}) == '{"a":1,"b":true,"c":1.0}'
