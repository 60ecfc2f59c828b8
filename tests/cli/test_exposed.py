"""What a text exposes: whole tokens wherever they stand, and what names a key besides."""

import json
from uuid import UUID

import pytest

from keyturn.cli.exposed import decode, find_exposed
from keyturn.domain.base62 import encode_uuid
from keyturn.domain.token import make_token
from keyturn.testing import SeededEntropy

ENTROPY = SeededEntropy(6)
MINE = UUID(int=0xABCDEF)


def token_of(number: int, environment: str = "prod") -> str:
    made = make_token(
        brand="kt", environment=environment, id=UUID(int=number), secret=ENTROPY.take(32)
    )
    return made.reveal()


FIRST, SECOND, OPERATORS = token_of(MINE.int), token_of(2**125 + 9), token_of(11, "operator")
HINT = FIRST[:30]
UUID_OF_FIRST = str(MINE)
SHORT = encode_uuid(MINE)

WHOLE = {
    "alone": FIRST,
    "with a line's end": f"{FIRST}\r\n",
    "with blanks around": f" \t {FIRST}  \n\n",
    "quoted": f'"{FIRST}"',
    "in single quotes, with a comma": f"'{FIRST}',",
    "as a bearer's header": f"Authorization: Bearer {FIRST}",
    "as the other header": f"X-API-Key:{FIRST}",
    "in a variable": f"export KEYTURN_API_KEY={FIRST} # mine",
    "in JSON": json.dumps({"key": FIRST, "id": str(UUID(int=99))}),
    "in a line of a log": f"2026-11-22 GET /pins?api_key={FIRST}&page=2 200 {UUID(int=98)}",
    "with letters stuck to it": f"xx{FIRST}",
    "with what a chat puts between": f"\u200b{FIRST[:40]}\u200b{FIRST[40:]}\ufeff",
    "broken over two lines": f"{FIRST[:60]}\n{FIRST[60:]}",
    "quoted in a mail": f"> {FIRST[:60]}\r\n> {FIRST[60:]}\r\n",
    "broken as mail is encoded": f"{FIRST[:60]}=\n{FIRST[60:]}\n",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_token_is_found_whatever_stands_around_it(name: str) -> None:
    [found] = find_exposed(WHOLE[name])
    assert found.id == MINE
    assert found.token is not None
    assert found.token.reveal() == FIRST
    assert found.label == f"{HINT}…"


PARTS = {
    "hint": HINT,
    "hint with its dots": f"{HINT}…",
    "hint in a sentence": f"the key {HINT}... has leaked",
    "cut off at its end": FIRST[:-1],
    "cut off in its middle": FIRST[:50],
    "mistyped": FIRST[:-1] + ("a" if FIRST[-1] != "a" else "b"),
    "short id": SHORT,
    "short id, quoted": f'"{SHORT}",',
    "id": UUID_OF_FIRST,
    "id in capitals": UUID_OF_FIRST.upper(),
    "id with its name": f"key_id: {UUID_OF_FIRST}",
    "id in JSON": f'  "key_id": "{UUID_OF_FIRST}",',
}


@pytest.mark.parametrize("name", PARTS)
def test_what_is_left_of_a_token_names_its_key_and_so_does_an_id(name: str) -> None:
    [found] = find_exposed(PARTS[name])
    assert found.id == MINE
    assert found.token is None
    assert FIRST[32:60] not in found.label


def test_several_are_each_found_once_in_order() -> None:
    text = (
        f"{FIRST}\n{SECOND}\nagain {FIRST}\n{HINT}\n{UUID_OF_FIRST}\n{UUID(int=12)} {UUID(int=13)}"
    )
    assert [one.id for one in find_exposed(text)] == [
        MINE,
        UUID(int=2**125 + 9),
        UUID(int=12),
        UUID(int=13),
    ]


def test_two_tokens_without_anything_between_are_two() -> None:
    assert len(find_exposed(FIRST + SECOND)) == 2


def test_a_word_as_long_as_an_id_in_a_sentence_is_none() -> None:
    assert find_exposed("internationalizations2 is a word") == []
    assert find_exposed("") == []
    assert find_exposed("nothing to see, 42") == []


def test_an_operators_token_is_known_as_one() -> None:
    [found] = find_exposed(f"token: {OPERATORS}")
    assert found.is_operators
    [hinted] = find_exposed(OPERATORS[:34])
    assert hinted.is_operators


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_is_read_as_shells_write_it(encoding: str) -> None:
    [found] = find_exposed(decode(FIRST.encode(encoding)))
    assert found.token is not None


def test_bytes_that_are_no_text_harm_nothing() -> None:
    [found] = find_exposed(decode(b"\xff\x00\x80" + FIRST.encode() + b"\xc3"))
    assert found.id == MINE


def test_nothing_that_is_told_of_a_key_shows_its_token() -> None:
    for text in (FIRST, FIRST[:-1]):
        [found] = find_exposed(text)
        assert FIRST[30:60] not in repr(found)
