"""Errors: each has a stable code of its own and a title, and says its one sentence."""

import re

import pytest

from keyturn.domain.error import Fault, InstallationFault, KeyturnError, RequestInvalid


def all_errors(root: type[KeyturnError] = KeyturnError) -> list[type[KeyturnError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


NAMED = [error for error in all_errors() if "code" in vars(error)]


@pytest.mark.parametrize("error", NAMED)
def test_an_error_has_a_code_and_a_title_of_its_own(error: type[KeyturnError]) -> None:
    assert re.fullmatch(r"([a-z]+\.)?[a-z_]+", error.code)
    assert error.title[0].isupper()
    assert not error.title.endswith(".")


def test_no_two_errors_share_a_code() -> None:
    assert len({error.code for error in NAMED}) == len(NAMED) > 20


def test_an_error_says_its_sentence_and_where() -> None:
    error = RequestInvalid.at("/name", "This must not be empty.")
    assert str(error) == error.detail == "This must not be empty."
    assert error.faults == (Fault(pointer="/name", detail="This must not be empty."),)
    assert RequestInvalid("Two things are wrong.").faults == ()


def test_a_fault_of_the_installation_carries_the_way_out() -> None:
    assert InstallationFault("It is locked.", remedy="Stop the other one.").remedy
