"""A call's credential: one token, in one of two headers, and found wherever in the URL it hides."""

from collections.abc import Callable
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import CredentialAmbiguous, CredentialMissing
from keyturn.domain.token import make_token
from keyturn.http.credential import UNREADABLE, decoded, is_in_url, presented_token, readable
from keyturn.testing import SeededEntropy

TOKEN = make_token(
    brand="kt", environment="prod", id=UUID(int=7), secret=SeededEntropy(7).take(32)
).reveal()


def all_encoded(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" for letter in text)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "one letter": lambda text: all_encoded(text[0]) + text[1:],
    "the separators": lambda text: text.replace("_", "%5F"),
    "all of it": all_encoded,
    "twice": lambda text: quote(all_encoded(text)),
    "three times": lambda text: quote(quote(all_encoded(text))),
    "one letter twice": lambda text: f"%25{ord(text[5]):02x}".join((text[:5], text[6:])),
}
PLACES = {
    "the path": (b"/v1/api-keys/{}", b""),
    "the end of the path": (b"/{}", b""),
    "a value": (b"/v1/self", b"next={}"),
    "a name": (b"/v1/self", b"{}=1"),
    "a later value": (b"/v1/self", b"a=1&b=2&c=x{}"),
    "a bare query": (b"/", b"{}"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_token_is_found_wherever_it_stands_and_however_it_is_encoded(
    encoding: str, place: str
) -> None:
    spelled = ENCODINGS[encoding](TOKEN).encode()
    path, query = (part.replace(b"{}", spelled) for part in PLACES[place])
    assert is_in_url(path, query)


@pytest.mark.parametrize(
    "query",
    [
        b"api_key=x",
        b"API_KEY=",
        b"a=1&Api-Key=x",
        b"x-api-key=x",
        b"access_token=x",
        b"%61pi_key=x",
        b"%2561pi_key=x",
        b"authorization=Bearer+x",
    ],
)
def test_a_member_that_is_called_a_credential_is_one(query: bytes) -> None:
    assert is_in_url(b"/v1/self", query)


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"limit=10",
        b"api_keys=1",
        b"cursor=WyJhIl0",
        b"key_id=01a203e7-487b-774f-94db-b6feca2dc3f3",
        b"runtime=api_key",
        TOKEN[:-1].encode(),
        b"a=" + TOKEN[:30].encode() + b"&b=" + TOKEN[30:].encode(),
    ],
)
def test_what_is_no_credential_is_let_through(query: bytes) -> None:
    assert not is_in_url(b"/v1/requests", query)


@given(path=st.binary(max_size=300), query=st.binary(max_size=300))
def test_any_url_can_be_judged(path: bytes, query: bytes) -> None:
    assert is_in_url(path, query) in (True, False)


@given(text=st.text(max_size=60), times=st.integers(0, 3))
def test_decoding_takes_off_what_encoding_put_on(text: str, times: int) -> None:
    spelled = text.encode("utf-8").decode("latin-1")
    plain = "".join(letter for letter in spelled if letter not in "%+" and letter.isascii())
    encoded = plain
    for _ in range(times):
        encoded = quote(encoded, safe="")
    assert decoded(encoded.encode()) == plain


def test_what_is_encoded_too_often_is_not_shown() -> None:
    text = TOKEN.replace("_", "%5F")
    assert readable(text.encode()) == TOKEN
    for _ in range(20):
        text = text.replace("%", "%25")
    assert readable(text.encode()) == UNREADABLE


# --- in the headers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer abc")],
        [(b"authorization", b"bearer abc")],
        [(b"authorization", b"BEARER   abc ")],
        [(b"x-api-key", b"abc")],
        [(b"x-api-key", b" abc ")],
        [(b"x-api-key", b"abc"), (b"authorization", b"Bearer abc")],
        [(b"x-api-key", b"abc"), (b"x-api-key", b"abc")],
        [(b"x-api-key", b"abc"), (b"authorization", b"Basic dTpw")],
        [(b"authorization", b"Basic dTpw"), (b"authorization", b"Bearer abc")],
        [(b"authorization", b"Bearer "), (b"x-api-key", b"abc")],
    ],
)
def test_one_token_in_either_header_or_alike_in_both_is_taken(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert presented_token(headers) == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Basic dTpw")],
        [(b"authorization", b"abc")],
        [(b"x-api-key", b"  ")],
        [(b"cookie", b"api_key=abc")],
    ],
)
def test_without_a_token_it_is_missing(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(CredentialMissing):
        presented_token(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", b"abc"), (b"authorization", b"Bearer abd")],
        [(b"x-api-key", b"abc"), (b"x-api-key", b"ABC")],
        [(b"authorization", b"Bearer abc"), (b"authorization", b"Bearer abd")],
    ],
)
def test_two_different_tokens_are_ambiguous_and_neither_is_repeated(
    headers: list[tuple[bytes, bytes]],
) -> None:
    with pytest.raises(CredentialAmbiguous) as refused:
        presented_token(headers)
    assert "abc" not in refused.value.detail.lower()
