"""Base62: every value has one spelling, spellings order as values do."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.base62 import (
    ALPHABET,
    CHECKSUM_WIDTH,
    GREATEST_SECRET,
    GREATEST_UUID,
    SECRET_WIDTH,
    UUID_WIDTH,
    decode_uuid,
    encode,
    encode_checksum,
    encode_uuid,
)
from tests.domain import spec
from tests.domain.samples import ids

WIDTHS = (1, 2, 3, CHECKSUM_WIDTH, UUID_WIDTH, SECRET_WIDTH)


def test_the_alphabet_is_in_ascii_order() -> None:
    assert list(ALPHABET) == sorted(ALPHABET)
    assert len(set(ALPHABET)) == 62


@given(st.data(), st.sampled_from(WIDTHS))
def test_a_value_is_spelled_as_the_specification_spells_it(data: st.DataObject, width: int) -> None:
    value = data.draw(st.integers(0, 62**width - 1))
    assert encode(value, width) == spec.to_base62(value, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_greatest_value_fits_its_width_and_the_next_does_not(width: int) -> None:
    assert encode(62**width - 1, width) == "z" * width
    with pytest.raises(ValueError, match="too large"):
        encode(62**width, width)
    with pytest.raises(ValueError, match="too large"):
        encode(62 ** (width + 1), width)


def test_a_negative_value_has_no_spelling() -> None:
    with pytest.raises(ValueError, match="negative"):
        encode(-1, 22)


@given(st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1))
def test_spellings_of_one_width_order_as_their_values_do(first: int, second: int) -> None:
    assert (encode(first, SECRET_WIDTH) < encode(second, SECRET_WIDTH)) == (first < second)


@given(st.integers(0, 2**32 - 1) | st.sampled_from([0, 2**32 - 1]))
def test_a_checksum_is_spelled_in_six_characters(value: int) -> None:
    assert encode_checksum(value) == encode(value, CHECKSUM_WIDTH) == spec.to_base62(value, 6)


@given(ids)
def test_a_uuid_comes_back_from_its_spelling(id_: UUID) -> None:
    assert decode_uuid(encode_uuid(id_)) == id_


@given(st.text(alphabet=ALPHABET, min_size=22, max_size=22))
def test_a_spelling_is_refused_or_is_the_only_one_of_its_uuid(text: str) -> None:
    found = decode_uuid(text)
    if found is None:
        assert spec.from_base62(text) >= 2**128
    else:
        assert found.int == spec.from_base62(text)
        assert encode_uuid(found) == text


def test_the_greatest_uuid_and_secret_are_the_last_of_their_widths() -> None:
    assert spec.from_base62(GREATEST_UUID) == 2**128 - 1
    assert spec.from_base62(GREATEST_SECRET) == 2**256 - 1
    assert decode_uuid(GREATEST_UUID) == UUID(int=2**128 - 1)
    assert decode_uuid(spec.to_base62(2**128, 22)) is None


@given(st.text(max_size=30))
def test_no_text_but_a_spelling_is_read_as_a_uuid(text: str) -> None:
    found = decode_uuid(text)
    assert found is None or encode_uuid(found) == text


@pytest.mark.parametrize("stranger", ["_", "-", " ", "\n", "\0", "\u0661", "\uff21", "é", "\ud800"])
@pytest.mark.parametrize("place", [0, 10, 21])
def test_a_character_outside_the_alphabet_is_refused(stranger: str, place: int) -> None:
    text = "0" * 22
    assert decode_uuid(text[:place] + stranger + text[place + 1 :]) is None
