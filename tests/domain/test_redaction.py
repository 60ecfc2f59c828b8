"""Redaction: no secret survives it, whatever stands around; innocent text does."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.domain.redaction import SHORTEST, find_token, holds_shape, holds_token, redact
from keyturn.domain.token import Token, make_token
from tests.domain import spec
from tests.domain.samples import SECRET, random_tokens, sample_id, sample_token

# What is likely to confuse a search for a token: pieces of tokens.
pieces = st.lists(
    st.text(alphabet=spec.DIGITS + "_", max_size=90)
    | st.text(max_size=5)
    | st.sampled_from(["_", "kt_", "kt_prod_", "ab_cd_", "z" * 69, "0" * 71, "[redacted]", "\n"])
    | st.builds(Token.reveal, random_tokens)
    | st.builds(lambda token: token.reveal()[:-1], random_tokens)
    | st.builds(lambda token: token.reveal()[:-3], random_tokens),
    max_size=4,
).map("".join)

LONG_WORD = re.compile("[0-9A-Za-z]{65}")


def holds_secret(token: Token, text: str) -> bool:
    return token.secret().decode() in text


@given(random_tokens, pieces, pieces)
def test_redaction_leaves_no_secret_whatever_surrounds_it(
    token: Token, before: str, after: str
) -> None:
    assume(not holds_secret(token, before) and not holds_secret(token, after))
    text = before + token.reveal() + after
    redacted = redact(text)
    assert not holds_secret(token, redacted)
    assert not holds_shape(redacted)


@given(random_tokens, st.integers(min_value=0, max_value=6), pieces)
def test_a_token_cut_off_within_its_checksum_keeps_no_secret(
    token: Token, cut: int, before: str
) -> None:
    assume(not holds_secret(token, before))
    text = before + token.reveal()[: len(token.reveal()) - cut]
    assert not holds_secret(token, redact(text))


@given(random_tokens, st.text(alphabet=spec.DIGITS, min_size=69, max_size=69))
def test_a_decoy_before_a_token_does_not_shield_it(token: Token, filler: str) -> None:
    """The last letters of one shape may be the brand of the next."""
    decoy = "ab_cd_" + filler[: 71 - len(token.brand)]
    decoy += "0" * (6 + 71 - len(token.brand) - len(decoy))
    assert not holds_secret(token, redact(decoy + token.reveal()))
    assert holds_token(decoy + token.reveal())
    chained = decoy[:-2] + "cd_ef_" + decoy[6:] + token.reveal()
    assert not holds_secret(token, redact(chained))


@given(
    st.lists(random_tokens, min_size=1, max_size=4), st.sampled_from(["", " ", ",", "x", "_", "0"])
)
def test_every_one_of_several_tokens_is_taken_out(found: list[Token], between: str) -> None:
    redacted = redact(between.join(token.reveal() for token in found))
    assert not any(holds_secret(token, redacted) for token in found)


@given(random_tokens, st.integers(0, 48), st.sampled_from(spec.DIGITS))
def test_a_mistyped_token_is_taken_out_too(token: Token, place: int, letter: str) -> None:
    text = token.reveal()
    at = len(text) - 49 + place
    redacted = redact(f"key={text[:at]}{letter}{text[at + 1 :]}&x")
    assert redacted == f"key={token.hint}[redacted]&x"


@pytest.mark.parametrize(
    "spelled",
    ["KT_prod_{0}", "kt_PROD_{0}", "kt-prod-{0}", "prod_{0}", "{0}", "{0}a", "{1}", "kt/{1}"],
)
@given(token=random_tokens)
def test_a_token_with_a_spoiled_beginning_keeps_no_secret(spelled: str, token: Token) -> None:
    body = token.reveal().rpartition("_")[2]
    redacted = redact(f"/v1/{spelled.format(body, body[:-6])}/x")
    assert not holds_secret(token, redacted)
    assert body[:22] in redacted


def test_what_is_left_of_a_token_names_its_key() -> None:
    token = sample_token()
    assert redact(f"got {token.reveal()}, why?") == f"got {token.hint}[redacted], why?"


@given(pieces)
def test_redaction_done_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text() | st.text(alphabet=spec.DIGITS + "_ -/", max_size=200))
def test_text_without_a_shape_is_left_alone(text: str) -> None:
    if not holds_shape(text) and LONG_WORD.search(text) is None:
        assert redact(text) == text
        assert not holds_token(text)


@given(random_tokens, pieces, pieces)
def test_a_token_is_found_whatever_stands_around_it(token: Token, before: str, after: str) -> None:
    text = before + token.reveal() + after
    assert holds_shape(text)
    assert holds_token(text)


@given(
    random_tokens,
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789ABC", max_size=20),
    st.text(),
)
def test_a_token_is_found_with_any_letters_before_it(token: Token, before: str, after: str) -> None:
    found = find_token(before + token.reveal() + after)
    assert found is not None
    assert found.secret() == token.secret()


@given(random_tokens, st.integers(0, 5), st.sampled_from(spec.DIGITS))
def test_a_shape_without_a_good_checksum_is_no_token(token: Token, place: int, letter: str) -> None:
    text = token.reveal()
    at = len(text) - 6 + place
    changed = text[:at] + letter + text[at + 1 :]
    assert holds_shape(changed)
    assert holds_token(changed) == (changed == text)


@pytest.mark.parametrize(
    "text",
    ["", "kt_prod_", "a" * 200, "_" * 200, "my_file_" + "0" * 64, "a_b_" * 50],
)
def test_innocent_text_holds_no_token(text: str) -> None:
    assert not holds_shape(text)
    assert not holds_token(text)
    assert redact(text) == text


def test_the_shortest_token_is_as_short_as_is_said() -> None:
    token = make_token(brand="ab", environment="0", id=sample_id(), secret=SECRET)
    assert len(token.reveal()) == SHORTEST
    assert holds_token(token.reveal())
    assert not holds_secret(token, redact(token.reveal()))
