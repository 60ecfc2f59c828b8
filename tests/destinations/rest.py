"""What every place that is asked over HTTP does when the other side lies; a suite for each of them.

The user gives `lying` (in front of the real server), `lied_to` (opened through it), `behind`,
`hidden`, and `swaps`: how the slot's place and the value are spelled within a request.
"""

from collections.abc import Callable, Mapping

import pytest

from keyturn.destinations.contract import Destination, DestinationFault, FaultKind
from keyturn.testing.destinations.behind import FIRST_VALUE, ONE, SECOND_VALUE, Behind
from keyturn.testing.destinations.failing import assert_silent
from tests.destinations.lying import FAULTS, SAID, Lie, LyingServer

Swaps = Mapping[Lie, tuple[bytes, bytes]]


class LieContract:
    @pytest.mark.parametrize("lie", FAULTS, ids=lambda lie: lie.name.lower())
    def test_a_server_that_misbehaves_is_told_by_kind_and_not_repeated(
        self, lie: Lie, lying: LyingServer, lied_to: Destination, hidden: tuple[str, ...]
    ) -> None:
        lying.lie = lie
        calls: tuple[Callable[[], object], ...] = (
            lambda: lied_to.read(ONE),
            lambda: lied_to.write(ONE, FIRST_VALUE, None),
        )
        for call in calls:
            with pytest.raises(DestinationFault) as caught:
                call()
            assert caught.value.kind is FAULTS[lie], caught.value.detail
            assert_silent(caught.value, (FIRST_VALUE, SAID, *hidden))

    @pytest.mark.parametrize(
        ("lie", "kind", "is_stored"),
        [
            (Lie.WRITE_FAILS, FaultKind.BROKEN, False),
            (Lie.FAILS_AFTER, FaultKind.BROKEN, True),
            (Lie.LOSES_ANSWER, FaultKind.UNREACHABLE, True),
        ],
    )
    def test_after_a_write_without_an_answer_a_read_tells_what_is_there(
        self, lie: Lie, kind: FaultKind, is_stored: bool, lying: LyingServer, lied_to: Destination
    ) -> None:
        version = lied_to.write(ONE, FIRST_VALUE, None)
        lying.lie = lie
        with pytest.raises(DestinationFault) as caught:
            lied_to.write(ONE, SECOND_VALUE, version)
        assert caught.value.kind is kind
        held = lied_to.read(ONE)
        assert held is not None
        assert held.value == (SECOND_VALUE if is_stored else FIRST_VALUE)
        lying.lie = None
        lied_to.write(ONE, SECOND_VALUE, held.version)

    @pytest.mark.parametrize("lie", [Lie.STORES_ELSEWHERE, Lie.STORES_ANOTHER])
    def test_a_write_that_was_accepted_and_not_done_is_seen_by_the_read_behind_it(
        self, lie: Lie, lying: LyingServer, lied_to: Destination, swaps: Swaps
    ) -> None:
        lying.lie, lying.swapped = lie, swaps[lie]
        try:
            lied_to.write(ONE, FIRST_VALUE, None)
        except DestinationFault as fault:
            assert fault.kind is FaultKind.NOT_UNDERSTOOD  # noqa: PT017 # some see it at once
        held = lied_to.read(ONE)
        assert held is None or held.value != FIRST_VALUE

    def test_somebody_who_writes_between_the_look_and_the_write_is_a_conflict(
        self, lying: LyingServer, lied_to: Destination, behind: Behind
    ) -> None:
        version = lied_to.write(ONE, FIRST_VALUE, None)
        lying.lie = Lie.SOMEBODY_FIRST
        lying.happens = lambda: behind.put(ONE, SECOND_VALUE)
        with pytest.raises(DestinationFault) as caught:
            lied_to.write(ONE, FIRST_VALUE, version)
        assert caught.value.kind is FaultKind.CONFLICT
        assert behind.value(ONE) == SECOND_VALUE

    def test_somebody_who_makes_the_place_first_is_a_conflict(
        self, lying: LyingServer, lied_to: Destination, behind: Behind
    ) -> None:
        lying.lie = Lie.SOMEBODY_FIRST
        lying.happens = lambda: behind.put(ONE, SECOND_VALUE)
        with pytest.raises(DestinationFault) as caught:
            lied_to.write(ONE, FIRST_VALUE, None)
        assert caught.value.kind is FaultKind.CONFLICT
        assert behind.value(ONE) == SECOND_VALUE

    def test_a_server_that_answers_with_an_old_value_cannot_have_a_newer_one_overwritten(
        self, lying: LyingServer, lied_to: Destination, behind: Behind
    ) -> None:
        behind.put(ONE, FIRST_VALUE)
        lying.lie = Lie.OLD_VALUE
        held = lied_to.read(ONE)
        assert held is not None
        behind.put(ONE, SECOND_VALUE)
        assert lied_to.read(ONE) == held
        with pytest.raises(DestinationFault) as caught:
            lied_to.write(ONE, FIRST_VALUE, held.version)
        assert caught.value.kind is FaultKind.CONFLICT
        assert behind.value(ONE) == SECOND_VALUE
