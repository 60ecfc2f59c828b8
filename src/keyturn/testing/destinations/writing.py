"""Rules 2 to 4: compare and set, what else is there stays, nobody reads half a value."""

import threading

import pytest

from keyturn.destinations.contract import Destination, DestinationFault, FaultKind
from keyturn.testing.destinations.behind import (
    FIRST_VALUE,
    ONE,
    SECOND_VALUE,
    THIRD_VALUE,
    VALUES,
    Behind,
)

ROUNDS = 8


class WriteContract:
    """Writing."""

    COMPARES = True  # False where two at the same moment may both win

    def test_a_value_is_replaced_where_its_version_still_stands(
        self, destination: Destination, behind: Behind
    ) -> None:
        first = destination.write(ONE, FIRST_VALUE, None)
        second = destination.write(ONE, SECOND_VALUE, first)
        third = destination.write(ONE, THIRD_VALUE, second)
        assert len({first, second, third}) == 3
        assert behind.value(ONE) == THIRD_VALUE

    def test_the_version_that_was_read_can_be_written_over(
        self, destination: Destination, behind: Behind
    ) -> None:
        behind.put(ONE, FIRST_VALUE)
        held = destination.read(ONE)
        assert held is not None
        destination.write(ONE, SECOND_VALUE, held.version)
        assert behind.value(ONE) == SECOND_VALUE

    def test_a_version_that_no_longer_stands_is_a_conflict_and_changes_nothing(
        self, destination: Destination, behind: Behind
    ) -> None:
        version = destination.write(ONE, FIRST_VALUE, None)
        behind.put(ONE, SECOND_VALUE)
        _assert_conflict(destination, THIRD_VALUE, version)
        assert behind.value(ONE) == SECOND_VALUE

    def test_a_version_of_long_ago_is_a_conflict(
        self, destination: Destination, behind: Behind
    ) -> None:
        first = destination.write(ONE, FIRST_VALUE, None)
        destination.write(ONE, SECOND_VALUE, first)
        _assert_conflict(destination, THIRD_VALUE, first)
        assert behind.value(ONE) == SECOND_VALUE

    def test_something_where_nothing_was_expected_is_a_conflict_and_stays(
        self, destination: Destination, behind: Behind
    ) -> None:
        behind.put(ONE, FIRST_VALUE)
        _assert_conflict(destination, SECOND_VALUE, None)
        assert behind.value(ONE) == FIRST_VALUE

    def test_nothing_where_something_was_expected_is_a_conflict_and_stays_nothing(
        self, destination: Destination, behind: Behind
    ) -> None:
        version = destination.write(ONE, FIRST_VALUE, None)
        behind.remove(ONE)
        _assert_conflict(destination, SECOND_VALUE, version)
        assert behind.value(ONE) is None

    def test_a_version_that_no_place_gives_is_a_conflict_and_changes_nothing(
        self, destination: Destination, behind: Behind
    ) -> None:
        destination.write(ONE, FIRST_VALUE, None)
        for foreign in ("no version", "0", "-1", "999999999"):
            _assert_conflict(destination, SECOND_VALUE, foreign)
        assert behind.value(ONE) == FIRST_VALUE

    def test_of_two_at_the_same_moment_one_wins_and_the_other_is_told(
        self, destination: Destination, another: Destination, behind: Behind
    ) -> None:
        if not self.COMPARES:
            pytest.skip("this place cannot compare")
        version = destination.write(ONE, FIRST_VALUE, None)
        for turn in range(ROUNDS):
            values = (f"{SECOND_VALUE}_{turn}", f"{THIRD_VALUE}_{turn}")
            told = _race((destination, another), values, version)
            won = [one for one in told if isinstance(one, str)]
            lost = [one for one in told if isinstance(one, DestinationFault)]
            assert len(won) == 1, told
            assert [one.kind for one in lost] == [FaultKind.CONFLICT]
            version = won[0]
            assert behind.value(ONE) == values[told.index(version)]

    def test_what_else_the_place_holds_stays(
        self, destination: Destination, behind: Behind
    ) -> None:
        behind.put(ONE, FIRST_VALUE)
        if behind.beside(ONE) is None:
            pytest.skip("this place holds nothing else")
        behind.put_beside(ONE, "note", "what somebody keeps here")
        held = destination.read(ONE)
        assert held is not None
        destination.write(ONE, SECOND_VALUE, held.version)
        assert behind.value(ONE) == SECOND_VALUE
        assert (behind.beside(ONE) or {})["note"] == "what somebody keeps here"

    def test_a_place_that_holds_only_other_things_takes_the_value_beside_them(
        self, destination: Destination, behind: Behind
    ) -> None:
        behind.put(ONE, FIRST_VALUE)
        if behind.beside(ONE) is None:
            pytest.skip("this place holds nothing else")
        behind.remove(ONE)
        behind.put_beside(ONE, "note", "what somebody keeps here")
        assert destination.read(ONE) is None
        version = destination.write(ONE, SECOND_VALUE, None)
        assert behind.value(ONE) == SECOND_VALUE
        assert (behind.beside(ONE) or {})["note"] == "what somebody keeps here"
        destination.write(ONE, THIRD_VALUE, version)
        assert behind.value(ONE) == THIRD_VALUE

    def test_nobody_reads_half_a_value(
        self, destination: Destination, another: Destination
    ) -> None:
        longer = {value * 8 for value in VALUES}
        version = destination.write(ONE, min(longer), None)
        seen: list[str | None] = []
        is_done = threading.Event()

        def look() -> None:
            while not is_done.is_set():
                held = another.read(ONE)
                seen.append(None if held is None else held.value)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            for _ in range(ROUNDS):
                for value in longer:
                    version = destination.write(ONE, value, version)
        finally:
            is_done.set()
            looking.join()
        assert set(seen) <= longer


def _assert_conflict(destination: Destination, value: str, expected: str | None) -> None:
    with pytest.raises(DestinationFault) as caught:
        destination.write(ONE, value, expected)
    assert caught.value.kind is FaultKind.CONFLICT
    assert value not in caught.value.detail


def _race(
    destinations: tuple[Destination, Destination], values: tuple[str, str], expected: str
) -> list[str | DestinationFault]:
    told: list[str | DestinationFault] = ["", ""]
    start = threading.Barrier(2)

    def write(index: int) -> None:
        start.wait()
        try:
            told[index] = destinations[index].write(ONE, values[index], expected)
        except DestinationFault as fault:
            told[index] = fault

    threads = [threading.Thread(target=write, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told
