"""Scopes: words that are compared, with patterns that hold what they cover and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.scope import MOST_SCOPES, check_scopes, holds_scope
from tests.domain.samples import sample_token

WORDS = ("read", "write", "pins", "pins:read", "pins:a:b", "pinsx:read", "pin:s", "a/b.c-d_e")
PATTERNS = ("*", "pins:*", "pins:a:*", "pinsx:*")


def gives(held: str, word: str) -> bool:
    """The meaning of a held scope, over concrete words."""
    return held == "*" or held == word or (held[-2:] == ":*" and word.startswith(held[:-1]))


@given(st.sets(st.sampled_from(WORDS + PATTERNS)), st.sampled_from(WORDS + PATTERNS))
def test_a_pattern_is_held_when_all_that_it_covers_is(held: set[str], asked: str) -> None:
    universe = [*WORDS, "pins:new", "pins:a:new", "pinsx:new", "new"]
    covered = [word for word in universe if gives(asked, word)]
    assert holds_scope(held, asked) == all(
        any(gives(one, word) for one in held) for word in covered
    )


@given(st.from_regex(r"[a-z]{1,5}(:[a-z]{1,5}){0,3}", fullmatch=True))
def test_a_scope_holds_itself_and_its_inner_ones_only_by_a_pattern(scope: str) -> None:
    assert holds_scope([scope], scope)
    assert holds_scope(["*"], scope)
    assert holds_scope([f"{scope}:*"], f"{scope}:more")
    assert not holds_scope([f"{scope}:*"], scope)
    assert not holds_scope([scope], f"{scope}:more")
    assert not holds_scope([f"{scope}:*"], f"{scope}x:more")
    assert not holds_scope([], scope)


@pytest.mark.parametrize(
    "scope", ["read", "pins:publish", "pins:*", "*", "a:b:c:*", "A.b-c_d/e", "0", "x" * 128]
)
def test_a_scope_is_accepted(scope: str) -> None:
    assert check_scopes([scope]) == (scope,)


@pytest.mark.parametrize(
    "scope",
    [
        "",
        " ",
        "read ",
        "read write",
        "read\n",
        ":",
        "a:",
        ":a",
        "a::b",
        "a*",
        "*:a",
        "a:*:b",
        "**",
        "-a",
        "a,b",
        'a"b',
        "é",
        "\u0661",
        "x" * 129,
    ],
)
def test_what_is_no_scope_is_refused_and_named(scope: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        check_scopes(["read", scope])
    assert [fault.pointer for fault in caught.value.faults] == ["/scopes/1"]


def test_a_token_is_no_scope() -> None:
    token = sample_token().reveal()
    with pytest.raises(RequestInvalid, match="A token is none") as caught:
        check_scopes([f"pins:{token}"])
    assert token not in str(caught.value)


def test_scopes_are_sorted_and_each_once() -> None:
    assert check_scopes(["write", "read", "write"]) == ("read", "write")


def test_there_may_be_as_many_scopes_as_is_said_and_no_more() -> None:
    scopes = [f"s{number}" for number in range(MOST_SCOPES + 1)]
    assert len(check_scopes(scopes[1:])) == MOST_SCOPES
    with pytest.raises(RequestInvalid, match="at most 100"):
        check_scopes(scopes)
