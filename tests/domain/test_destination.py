"""Destinations: their names, their mark, and when a proof is worth nothing any more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.destination import (
    MOST_OF_A_SLOT,
    DestinationState,
    check_destination_name,
    check_destination_names,
    marked_by,
)
from keyturn.domain.error import RequestInvalid
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making

LATER = SOME_TIME + 1


def test_a_mark_says_whose_a_place_is_and_nothing_else_does() -> None:
    one = making.destination(1)
    assert marked_by(one.mark) == one.id
    assert marked_by(f" {one.mark}\n") == one.id
    for value in (
        "",
        "kt_prod_x",
        one.mark[:-1],
        one.mark + "0",
        one.mark.upper(),
        f"a {one.mark}",
    ):
        assert marked_by(value) is None, value
    assert marked_by(one.mark.replace(str(one.id), "nobody")) is None


@given(st.text(max_size=200))
def test_whatever_lies_at_a_place_is_a_mark_or_none(value: str) -> None:
    marked_by(value)


def test_whatever_changes_its_address_or_credential_takes_the_proof_away() -> None:
    proven = making.destination(1).proved(LATER)
    assert proven.is_proven
    assert proven.proven_at == LATER
    changed = proven.changed(config="{}", credential=b"new", nonce="1" * 32, now=LATER)
    assert (changed.state, changed.proven_at) == (DestinationState.UNPROVEN, None)
    assert changed.mark != proven.mark
    assert marked_by(changed.mark) == proven.id
    lost = proven.disproved("Down.", LATER)
    assert (lost.is_proven, lost.proven_at, lost.fault) == (False, None, "Down.")
    assert lost.proved(LATER).fault is None


def test_a_removed_one_keeps_no_credential() -> None:
    removed = making.destination(1).proved(LATER).removed(LATER)
    assert (removed.state, removed.credential) == (DestinationState.REMOVED, None)
    assert removed.version == 3


def test_a_credential_does_not_show_itself() -> None:
    assert "sealed" not in repr(making.destination(1))


@pytest.mark.parametrize("name", ["a", "vault-eu", "a" * 63, "0-9"])
def test_a_name_is_taken(name: str) -> None:
    assert check_destination_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a" * 64, "é", "a/b", "..", "a\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(RequestInvalid):
        check_destination_name(name)


def test_a_slot_names_each_destination_once_and_not_too_many() -> None:
    names = tuple(f"d{number}" for number in range(MOST_OF_A_SLOT))
    assert check_destination_names(names, "/destinations") == names
    for wrong in ((*names, "more"), ("a", "a"), ("a", "B")):
        with pytest.raises(RequestInvalid):
            check_destination_names(wrong, "/destinations")
