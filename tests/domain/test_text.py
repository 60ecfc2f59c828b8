"""Free text: stripped, bounded, of one line, and without a token in it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.text import (
    NAME_LENGTH,
    check_text,
    check_url,
    refuse_token,
    without_controls,
)
from keyturn.domain.token import Token
from tests.domain.samples import sample_token, tokens

FORBIDDEN = [
    *(chr(code) for code in range(0x20)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    "\u2028",
    "\u2029",
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "\ud800",
    "\udbff",
    "\udc00",
    "\udfff",
]


@pytest.mark.parametrize("character", FORBIDDEN, ids=lambda character: f"U+{ord(character):04X}")
def test_control_characters_overrides_and_half_pairs_are_refused(character: str) -> None:
    with pytest.raises(RequestInvalid, match="control characters"):
        check_text(f"a{character}b", "/name")
    assert without_controls(f"a{character}b", 10) == "a\ufffdb"


@given(st.text())
def test_what_passes_is_one_line_without_space_around_it(value: str) -> None:
    try:
        checked = check_text(value, "/name")
    except RequestInvalid:
        return
    assert checked == value.strip() != ""
    assert len(checked.splitlines()) == 1
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in checked)
    checked.encode("utf-8")
    assert check_text(checked, "/name") == checked


@pytest.mark.parametrize(
    "value", ["Zoë", "調度器", "مجدول", "🔑 key", "a  b", "O'Brien <x@y>", "%00"]
)
def test_text_of_any_language_passes(value: str) -> None:
    assert check_text(value, "/name") == value


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u3000", "\x1c\x85"])
def test_text_that_says_nothing_is_refused(value: str) -> None:
    with pytest.raises(RequestInvalid, match="must not be empty"):
        check_text(value, "/name")


def test_text_may_be_as_long_as_is_said_and_no_longer() -> None:
    assert check_text("é" * NAME_LENGTH, "/name")
    with pytest.raises(RequestInvalid, match="at most 255"):
        check_text("é" * (NAME_LENGTH + 1), "/name")
    with pytest.raises(RequestInvalid, match="at most 3"):
        check_text("abcd", "/name", longest=3)


@given(tokens, st.text(alphabet="abc xyz09-", max_size=20), st.text(alphabet="abc 09", max_size=20))
def test_a_token_in_a_text_is_refused_and_not_repeated(
    token: Token, before: str, after: str
) -> None:
    text = before + token.reveal() + after
    for check in (check_text, refuse_token):
        with pytest.raises(RequestInvalid, match="token stands here") as caught:
            check(text, "/reason")
        assert token.secret().decode() not in str(caught.value) + repr(caught.value.faults)
        assert caught.value.faults[0].pointer == "/reason"


def test_a_hint_in_a_text_is_no_token() -> None:
    assert check_text(f"replaces {sample_token().hint}", "/name")


@given(st.text(), st.integers(0, 50))
def test_what_is_recorded_is_cut_and_free_of_controls(value: str, longest: int) -> None:
    kept = without_controls(value, longest)
    assert len(kept) == min(len(value), longest)
    kept.encode("utf-8")
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in kept)


@pytest.mark.parametrize(
    "url",
    [
        "https://wiki.example.com/runbook",
        "http://localhost:8080",
        "https://[2001:db8::1]/a",
        "https://example.com/@anna/notes",
        "https://example.com?to=anna@example.com",
        "https://example.com#a@b",
    ],
)
def test_an_address_of_a_runbook_passes(url: str) -> None:
    assert check_url(f" {url} ", "/runbook_url") == url


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "javascript://example.com/%0aalert(1)",
        "data:text/html,x",
        "//example.com",
        "https://",
        "https:///path",
        "http://[",
        "http://[2001:db8::1",
        "http://[:::]",
        "http://[192.0.2.1]",
        "http://a[2001:db8::1]",
        "http://\u2100.example",  # becomes `a/c.example` where it is normalised
        "https://?x",
        "https://anna:password@example.com/",
        "https://anna@example.com",
        "https://a b.example.com",
        "https://example.com/a b",
        "https://example.com/\u202e",
        "x https://example.com",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid):
        check_url(url, "/runbook_url")


def test_a_token_in_an_address_is_refused() -> None:
    with pytest.raises(RequestInvalid, match="token stands here"):
        check_url(f"https://example.com/?key={sample_token().reveal()}", "/runbook_url")
