"""The token: one spelling, one parse, and no way for its secret to slip out."""

import copy
import json
import logging
import pickle
import pprint
import traceback
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.domain.token import (
    LONGEST_BYTES,
    OPERATOR_ENVIRONMENT,
    Token,
    _heads,
    checksum,
    make_token,
    parse_token,
)
from tests.domain import spec
from tests.domain.samples import (
    SECRET,
    brands,
    environments,
    ids,
    sample_id,
    sample_token,
    secrets,
    tokens,
)

STRANGERS = "_- \n\r\t\0+/=.:%\"'é\u0661\uff21\u200b\U0001f511"


@given(brands, environments, ids, secrets)
def test_a_token_comes_back_from_its_text(
    brand: str, environment: str, id_: UUID, secret: bytes
) -> None:
    text = make_token(brand=brand, environment=environment, id=id_, secret=secret).reveal()
    assert text == spec.write_token(brand, environment, id_.int, int.from_bytes(secret, "big"))
    token = parse_token(text)
    assert token is not None
    assert (token.brand, token.environment, token.id) == (brand, environment, id_)
    assert spec.from_base62(token.secret().decode()) == int.from_bytes(secret, "big")
    assert token.reveal() == text
    assert text.startswith(token.hint)
    assert len(text) <= LONGEST_BYTES


@given(tokens, st.data())
def test_one_changed_character_is_refused_or_makes_another_token_with_another_checksum(
    token: Token, data: st.DataObject
) -> None:
    text = token.reveal()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(spec.DIGITS + STRANGERS) | st.characters())
    changed = text[:place] + letter + text[place + 1 :]
    found = parse_token(changed)
    if changed == text:
        assert found is not None
    elif place >= len(text) - 6:
        assert found is None  # nothing but the checksum has changed
    else:
        # CRC-32 finds every change of up to 32 bits in a row: with the old sum nothing passes.
        assert found is None
        if set(spec.DIGITS + "_").issuperset(changed):
            summed = changed[:-6] + checksum(changed[:-6])
            assert summed[-6:] != text[-6:]
            made = parse_token(summed)
            assert made is None or made.reveal() == summed


def test_what_is_refused_leaves_nothing_in_memory() -> None:
    """A secret that slipped out of place would be kept as if it were a name."""
    text = sample_token().reveal()
    before = set(_heads)
    for place in range(len(text)):
        assert parse_token(text[:place] + text[place + 1 :]) is None
        assert parse_token(text[:place] + "0" + text[place:]) is None
    assert parse_token(text + text) is None
    assert set(_heads) == before
    assert parse_token(text) is not None
    assert not any(text[-49:-6] in head for head in _heads)


@given(tokens, st.data())
def test_a_removed_or_added_character_is_refused(token: Token, data: st.DataObject) -> None:
    text = token.reveal()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(spec.DIGITS + STRANGERS) | st.characters())
    shorter = text[:place] + text[place + 1 :]
    longer = text[:place] + letter + text[place:]
    for changed in (shorter, longer):
        found = parse_token(changed)
        assert (found is None) == (spec.read_token(changed) is None)
        assert found is None or found.reveal() == changed


@given(tokens, st.data())
def test_a_token_has_one_spelling(token: Token, data: st.DataObject) -> None:
    """What is parsed is written again letter by letter, whatever well-formed text it was."""
    id_ = data.draw(st.text(alphabet=spec.DIGITS, min_size=22, max_size=22))
    secret = data.draw(st.text(alphabet=spec.DIGITS, min_size=43, max_size=43))
    body = f"{token.brand}_{token.environment}_{id_}{secret}"
    text = body + checksum(body)
    found, expected = parse_token(text), spec.read_token(text)
    assert (found is None) == (expected is None)
    assert found is None or found.reveal() == text


@given(st.text() | st.text(alphabet=spec.DIGITS + "_", max_size=140))
@example("")
@example("__")
@example("kt_prod_" + "z" * 71)
def test_any_text_is_judged_as_the_specification_judges_it(text: str) -> None:
    assert (parse_token(text) is None) == (spec.read_token(text) is None)


@given(tokens, st.text(min_size=1, max_size=60))
def test_nothing_may_stand_before_or_behind_a_token(token: Token, more: str) -> None:
    text = token.reveal()
    assert parse_token(text + more) is None
    before = parse_token(more + text)
    assert before is None or before.reveal() == more + text


def test_a_token_of_another_brand_is_refused_where_a_brand_is_asked() -> None:
    text = sample_token().reveal()
    assert parse_token(text, brand="kt") is not None
    assert parse_token(text, brand="ky") is None


def test_an_operators_token_says_that_it_is_one() -> None:
    made = make_token(brand="kt", environment=OPERATOR_ENVIRONMENT, id=sample_id(), secret=SECRET)
    assert made.is_operators
    assert not sample_token().is_operators


@pytest.mark.parametrize("secret", [b"", b"\0" * 31, b"\0" * 33])
def test_a_token_is_made_of_32_bytes_only(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make_token(brand="kt", environment="prod", id=sample_id(), secret=secret)


@pytest.mark.parametrize(
    ("brand", "environment"),
    [
        ("k", "prod"),
        ("keyturnia", "prod"),
        ("KT", "prod"),
        ("k2", "prod"),
        ("kt\n", "prod"),
        ("kt", ""),
        ("kt", "Prod"),
        ("kt", "us-east"),
        ("kt", "a_b"),
        ("kt", "a" * 17),
        ("kt", "prod\n"),
        ("kt", "\u0661"),
    ],
)
def test_no_token_is_made_that_could_not_be_parsed(brand: str, environment: str) -> None:
    with pytest.raises(ValueError, match="brand and an environment"):
        make_token(brand=brand, environment=environment, id=sample_id(), secret=SECRET)


# --- hygiene --------------------------------------------------------------------------------------


def shows_secret(token: Token, text: str) -> bool:
    secret = token.secret().decode()
    return any(secret[start : start + 8] in text for start in range(len(secret) - 7))


@given(tokens)
def test_no_way_of_printing_shows_the_secret(token: Token) -> None:
    shown = [
        repr(token),
        str(token),
        f"{token}",
        f"{token!s} {token!r} {token!a}",
        "{}".format(token),  # noqa: UP032
        "%s %r" % (token, token),  # noqa: UP031
        format(token),
        pprint.pformat([token]),
        repr({"token": [token]}),
        str(ValueError(token)),
    ]
    assert not any(shows_secret(token, text) for text in shown)
    assert all(token.hint in text for text in shown)


def test_a_log_line_shows_the_hint_alone(caplog: pytest.LogCaptureFixture) -> None:
    token = sample_token()
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("seen %s and %r", token, token, extra={"token": token})
    assert not shows_secret(token, caplog.text)
    assert token.hint in caplog.text


def test_a_traceback_with_its_locals_shows_no_secret() -> None:
    def fail(token: Token) -> None:
        raise RuntimeError("no")

    token = sample_token()
    with pytest.raises(RuntimeError) as caught:
        fail(token)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(report.format())
    assert "token = <Token" in text
    assert not shows_secret(token, text)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_token_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(sample_token(), protocol)


def test_a_token_cannot_be_copied() -> None:
    with pytest.raises(TypeError, match="cannot be"):
        copy.copy(sample_token())
    with pytest.raises(TypeError, match="cannot be"):
        copy.deepcopy([sample_token()])


def test_a_token_is_no_json_and_no_mapping() -> None:
    token = sample_token()
    with pytest.raises(TypeError) as caught:
        json.dumps({"token": token})
    assert not shows_secret(token, str(caught.value))
    assert not shows_secret(token, json.dumps({"token": token}, default=str))
    with pytest.raises(TypeError):
        vars(token)
