"""Rules 1 and 6: what a place holds now, each slot for itself."""

from keyturn.destinations.contract import Destination, Held
from keyturn.testing.destinations.behind import (
    FIRST_VALUE,
    ONE,
    OTHER,
    SECOND_VALUE,
    THIRD,
    VALUES,
    Behind,
)


class HoldContract:
    """Reading."""

    def test_a_place_with_nothing_in_it_reads_as_nothing(self, destination: Destination) -> None:
        assert destination.read(ONE) is None

    def test_what_was_written_is_read_with_the_version_that_the_write_told(
        self, destination: Destination, behind: Behind
    ) -> None:
        version = destination.write(ONE, FIRST_VALUE, None)
        assert destination.read(ONE) == Held(value=FIRST_VALUE, version=version)
        assert destination.read(ONE) == Held(value=FIRST_VALUE, version=version)
        assert behind.value(ONE) == FIRST_VALUE

    def test_another_destination_on_the_place_reads_the_same(
        self, destination: Destination, another: Destination
    ) -> None:
        version = destination.write(ONE, FIRST_VALUE, None)
        assert another.read(ONE) == Held(value=FIRST_VALUE, version=version)

    def test_what_somebody_else_puts_there_is_read_at_once(
        self, destination: Destination, behind: Behind
    ) -> None:
        behind.put(ONE, FIRST_VALUE)
        first = destination.read(ONE)
        behind.put(ONE, SECOND_VALUE)
        second = destination.read(ONE)
        assert first is not None
        assert second is not None
        assert (first.value, second.value) == (FIRST_VALUE, SECOND_VALUE)
        assert first.version != second.version

    def test_what_somebody_takes_away_reads_as_nothing_and_can_be_written_anew(
        self, destination: Destination, behind: Behind
    ) -> None:
        destination.write(ONE, FIRST_VALUE, None)
        behind.remove(ONE)
        assert destination.read(ONE) is None
        version = destination.write(ONE, SECOND_VALUE, None)
        assert destination.read(ONE) == Held(value=SECOND_VALUE, version=version)
        assert behind.value(ONE) == SECOND_VALUE

    def test_each_slot_has_a_place_of_its_own(
        self, destination: Destination, behind: Behind
    ) -> None:
        slots = (ONE, OTHER, THIRD)
        for slot, value in zip(slots, VALUES, strict=True):
            destination.write(slot, value, None)
        assert [behind.value(slot) for slot in slots] == list(VALUES)
        held = [destination.read(slot) for slot in slots]
        assert [one.value for one in held if one is not None] == list(VALUES)
        assert len({destination.locate(slot) for slot in slots}) == len(slots)

    def test_neither_what_is_held_nor_who_holds_it_shows_the_value(
        self, destination: Destination, hidden: tuple[str, ...]
    ) -> None:
        destination.write(ONE, FIRST_VALUE, None)
        shown = f"{destination.read(ONE)!r} {destination!r} {destination.locate(ONE)}"
        for text in (FIRST_VALUE, *hidden):
            assert text not in shown
