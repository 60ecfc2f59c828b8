"""Rules 5 and 7: a fault is told by kind, in time, and tells nothing else."""

import traceback
from collections.abc import Callable, Mapping

import pytest

from keyturn.ambient import SystemClock
from keyturn.destinations.contract import SECONDS, Destination, DestinationFault, FaultKind
from keyturn.testing.destinations.behind import FIRST_VALUE, ONE

SPARE_SECONDS = 3.0  # for a machine that is busy


class FailContract:
    """Failing."""

    def test_each_fault_has_its_kind_and_one_sentence_that_shows_nothing(
        self, broken: Mapping[FaultKind, Destination], hidden: tuple[str, ...]
    ) -> None:
        for kind, destination in broken.items():
            for fault in (_fault_of_read(destination), _fault_of_write(destination)):
                assert fault.kind is kind, fault.detail
                assert_silent(fault, (FIRST_VALUE, *hidden))

    def test_each_fault_comes_in_time(self, broken: Mapping[FaultKind, Destination]) -> None:
        clock = SystemClock()
        for destination in broken.values():
            for call in (_fault_of_read, _fault_of_write):
                began = clock.elapsed()
                call(destination)
                assert clock.elapsed() - began < SECONDS + SPARE_SECONDS


def assert_silent(fault: DestinationFault, hidden: tuple[str, ...]) -> None:
    """That a fault says something, and none of the hidden texts: not even to who logs it whole."""
    assert fault.detail[:1].isupper()
    assert fault.detail.endswith(".")
    assert "\n" not in fault.detail
    logged = "".join(traceback.format_exception(fault))
    for text in hidden:
        assert text not in logged


def _fault_of_read(destination: Destination) -> DestinationFault:
    return _fault_of(lambda: destination.read(ONE))


def _fault_of_write(destination: Destination) -> DestinationFault:
    return _fault_of(lambda: destination.write(ONE, FIRST_VALUE, None))


def _fault_of(call: Callable[[], object]) -> DestinationFault:
    with pytest.raises(DestinationFault) as caught:
        call()
    return caught.value
