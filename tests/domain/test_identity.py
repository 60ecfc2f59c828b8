"""Ids: version 7, in the order in which they were made, in two spellings and no third."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.base62 import encode_uuid
from keyturn.domain.identity import NIL, make_id, parse_id
from keyturn.testing import SeededEntropy
from tests.domain.samples import NOW, ids

moments = st.integers(0, 2**48 * 1_000 - 1)


@given(ids)
def test_an_id_is_read_in_both_spellings(id_: UUID) -> None:
    assert parse_id(str(id_)) == id_
    assert parse_id(str(id_).upper()) == id_
    assert parse_id(encode_uuid(id_)) == id_


@given(st.text(max_size=50) | st.text(alphabet="0123456789abcdefABCDEF-", max_size=40))
def test_nothing_else_is_read_as_an_id(text: str) -> None:
    found = parse_id(text)
    assert found is None or text.lower() == str(found) or text == encode_uuid(found)


@pytest.mark.parametrize(
    "around", ["{%s}", "urn:uuid:%s", "%s\n", " %s", "%s ", "%s\0", "\ufeff%s"]
)
def test_an_id_has_nothing_around_it(around: str) -> None:
    id_ = make_id(NOW, SeededEntropy())
    assert parse_id(around % id_) is None
    assert parse_id(around % encode_uuid(id_)) is None


def test_an_id_without_its_hyphens_or_with_other_digits_is_refused() -> None:
    id_ = make_id(NOW, SeededEntropy())
    assert parse_id(id_.hex) is None
    assert parse_id(str(id_).replace("0", "\u0660")) is None
    assert parse_id("") is None


@given(moments, st.integers())
def test_an_id_is_a_uuid_of_version_7_of_its_moment(now: int, seed: int) -> None:
    id_ = make_id(now, SeededEntropy(seed))
    assert (id_.version, id_.variant) == (7, RFC_4122)
    assert id_.int >> 80 == now // 1_000


@given(moments, moments, st.integers())
def test_a_later_id_sorts_later(first: int, second: int, seed: int) -> None:
    one, two = make_id(first, SeededEntropy(seed)), make_id(second, SeededEntropy(seed + 1))
    if first != second:
        assert (one < two) == (first < second)
        assert (encode_uuid(one) < encode_uuid(two)) == (first < second)
        assert (str(one) < str(two)) == (first < second)


def test_ids_of_one_moment_differ() -> None:
    entropy = SeededEntropy()
    assert len({make_id(NOW, entropy) for _ in range(1_000)}) == 1_000


def test_an_id_takes_62_bits_of_chance() -> None:
    class Ones:
        def take(self, size_bytes: int) -> bytes:
            return b"\xff" * size_bytes

    assert make_id(NOW, Ones()).int & (2**62 - 1) == 2**62 - 1
    assert NIL.int == 0
