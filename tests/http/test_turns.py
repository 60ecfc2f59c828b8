"""Turns: so many at once in all, and so many of one."""

from contextlib import ExitStack
from uuid import UUID

import pytest

from keyturn.domain.error import DestinationBusy
from keyturn.http.turns import Turns

ONE, OTHER, THIRD = (UUID(int=number) for number in range(3))


def test_nobody_gets_more_turns_than_there_are_and_each_is_given_back() -> None:
    turns = Turns(most=3, of_one=2)
    for _ in range(3):
        with ExitStack() as stack:
            for place in (ONE, ONE, OTHER):
                stack.enter_context(turns.taken(place))
            for place in (ONE, OTHER, THIRD):
                with pytest.raises(DestinationBusy), turns.taken(place):
                    pytest.fail("there was no turn left")


def test_of_one_there_is_no_further_turn_while_others_get_theirs() -> None:
    turns = Turns(most=9, of_one=1)
    with turns.taken(ONE):
        with pytest.raises(DestinationBusy), turns.taken(ONE):
            pytest.fail("it had its turn")
        with turns.taken(OTHER):
            """The other has its own."""


def test_a_turn_ends_with_what_it_was_taken_for_also_where_that_fails() -> None:
    turns = Turns(most=1, of_one=1)
    with pytest.raises(ZeroDivisionError), turns.taken(ONE):
        raise ZeroDivisionError
    with turns.taken(OTHER):
        """It is free again."""
