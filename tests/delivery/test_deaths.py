"""S9 and S11: a process that dies at any step of a delivery loses nothing and doubles nothing.

Each death is followed by a fresh process that goes on; with it, or in the middle of it, comes what
else may happen to the rotation at that moment.
"""

from collections.abc import Callable

import pytest

from keyturn.domain.delivery import DeliveryState
from keyturn.domain.error import DeliveryClosed, DeliveryLast
from keyturn.domain.key import KeyState, RevocationReason
from keyturn.domain.token import Token
from keyturn.services.dispatch import cancel_delivery
from keyturn.services.issue import IssuedKey
from keyturn.services.revoke import revoke_key
from keyturn.services.steer import Helm, complete, roll_back
from tests.delivery.dock import SLOT, Dock
from tests.delivery.invariants import Known, require_sound, require_written_once, state_of
from tests.delivery.killing import dying
from tests.delivery.shelf import Moment
from tests.houses import House

Build = Callable[[str], House]
MOST_STEPS = 80


class Tale:
    """One rotation, told from its start: `old` is at the place, `new` is on its way."""

    def __init__(self, build: Build) -> None:
        self.dock = Dock(build("sqlite"))
        self.known = Known()
        self.old: IssuedKey = self.dock.furnish()
        self.known.learn(self.old.token, is_shown=True)  # to whoever reads the place
        self.dock.shelf.written.clear()
        started = self.dock.rotate(self.old.view.key.id)
        assert started.issued is not None
        self.rotation_id = started.rotation.id
        self.new: Token = started.issued.token
        self.known.learn(self.new)

    # --- what may happen to it -------------------------------------------------------------------

    def nothing(self) -> None:
        """It goes its way."""

    def roll_back(self) -> None:
        roll_back(self._helm(), force=True, reason="It is not wanted.")

    def keep_both(self) -> None:
        roll_back(self._helm(), keep_both=True)

    def complete(self) -> None:
        complete(self._helm(), force=True, reason="Now.")

    def _helm(self) -> Helm:
        house = self.dock.house
        return Helm(
            context=house.context,
            witness=self.dock.witness,
            act=house.act(),
            workspace_id=house.workspace_id,
            id=self.rotation_id,
        )

    def compromise_old(self) -> None:
        self._revoke(self.old.token)

    def compromise_new(self) -> None:
        self._revoke(self.new)

    def compromise_both(self) -> None:
        self._revoke(self.new)
        self._revoke(self.old.token)

    def cancel(self) -> None:
        house = self.dock.house
        delivery = self.dock.delivery_of(self.new.id)
        is_waiting = delivery.state is DeliveryState.WAITING
        with pytest.raises(DeliveryLast if is_waiting else DeliveryClosed):
            cancel_delivery(house.context, house.act(), house.workspace_id, delivery.id, "Mine.")

    def _revoke(self, token: Token) -> None:
        house = self.dock.house
        revoke_key(
            house.context, house.act(), house.workspace_id, token.id, RevocationReason.COMPROMISED
        )

    # --- how it must end -------------------------------------------------------------------------

    def require_good_end(self) -> None:
        self.dock.run(150, step=30)
        require_sound(self.dock, self.known)
        delivery = self.dock.delivery_of(self.new.id)
        at_place = self.dock.shelf.value(SLOT)
        is_new, is_old = (self.is_working(one) for one in (self.new, self.old.token))
        assert not delivery.is_open
        if is_new and delivery.state is not DeliveryState.CANCELLED:
            assert at_place == self.new.reveal()
        if is_old and not is_new:
            assert at_place == self.old.token.reveal(), "the old one is back"
        if not self.dock.rotation(self.rotation_id).is_open:
            assert (delivery.token, delivery.previous) == (None, None)

    def is_working(self, token: Token) -> bool:
        return state_of(self.dock, token) is KeyState.ACTIVE


EVENTS: dict[str, Callable[[Tale], None]] = {
    "nothing": Tale.nothing,
    "a rollback": Tale.roll_back,
    "a rollback that keeps both": Tale.keep_both,
    "a completion": Tale.complete,
    "the old key is compromised": Tale.compromise_old,
    "the new key is compromised": Tale.compromise_new,
    "both are compromised": Tale.compromise_both,
    "somebody cancels the delivery": Tale.cancel,
}


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_a_process_that_dies_at_any_step_loses_and_doubles_nothing(
    build_house: Build, event: str
) -> None:
    deaths = 0
    for left in range(1, MOST_STEPS):
        tale = Tale(build_house)
        with dying(tale.dock, left) as steps:
            tale.dock.settle()
        require_sound(tale.dock, tale.known)
        EVENTS[event](tale)
        require_sound(tale.dock, tale.known)
        tale.require_good_end()
        require_written_once(tale.dock)
        tale.dock.house.close()
        if steps.taken < left:
            break
        deaths += 1
    assert 10 < deaths < MOST_STEPS - 1


@pytest.mark.parametrize("event", sorted(set(EVENTS) - {"nothing"}))
def test_whatever_happens_in_the_middle_of_an_attempt_ends_well(
    build_house: Build, event: str
) -> None:
    """Two at once: at each step of each call to the place, somebody does something else."""
    moments = 0
    for at in range(1, MOST_STEPS):
        tale = Tale(build_house)
        happened = _happens_at(tale, at, EVENTS[event])
        tale.dock.settle()
        tale.dock.shelf.watch = lambda _: None
        if not happened:
            break
        require_sound(tale.dock, tale.known)
        tale.require_good_end()
        tale.dock.house.close()
        moments += 1
    assert 7 <= moments < MOST_STEPS - 1


def _happens_at(tale: Tale, at: int, event: Callable[[Tale], None]) -> list[Moment]:
    happened: list[Moment] = []
    seen = 0

    def watch(moment: Moment) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            happened.append(moment)
            event(tale)

    tale.dock.shelf.watch = watch
    return happened


@pytest.mark.parametrize("event", ["a rollback", "the new key is compromised"])
def test_a_way_back_that_dies_at_any_step_is_gone_to_its_end(
    build_house: Build, event: str
) -> None:
    for left in range(1, MOST_STEPS):
        tale = Tale(build_house)
        tale.dock.settle()
        assert tale.dock.shelf.value(SLOT) == tale.new.reveal()
        EVENTS[event](tale)
        with dying(tale.dock, left) as steps:
            tale.dock.settle()
        require_sound(tale.dock, tale.known)
        tale.require_good_end()
        assert tale.dock.delivery_of(tale.new.id).state is DeliveryState.RESTORED
        tale.dock.house.close()
        if steps.taken < left:
            break


def test_a_rotation_whose_start_dies_at_any_step_is_there_with_its_delivery_or_not_at_all(
    build_house: Build,
) -> None:
    """S9: no key that works without its token somewhere."""
    for left in range(1, MOST_STEPS):
        dock = Dock(build_house("sqlite"))
        old = dock.furnish()
        with dying(dock, left) as steps:
            dock.rotate(old.view.key.id)
        keys = {one.key_id for one in dock.deliveries()}
        with dock.house.store.read() as reading:
            rotation = reading.rotations.open_of_slot(dock.house.workspace_id, SLOT)
        assert (rotation is not None) is (len(keys) == 2)
        dock.run(40)
        assert not any(one.is_open for one in dock.deliveries())
        if rotation is not None:
            value = dock.shelf.value(SLOT)
            assert value is not None
            assert value != old.token.reveal()
        dock.house.close()
        if steps.taken < left:
            break


@pytest.mark.parametrize("event", ["a rollback", "a completion", "the old key is compromised"])
def test_a_death_followed_by_another_death_ends_well(build_house: Build, event: str) -> None:
    for first in range(1, MOST_STEPS, 2):
        ended = False
        for second in (1, 4, 7, 10):
            tale = Tale(build_house)
            with dying(tale.dock, first) as steps:
                tale.dock.settle()
            ended = steps.taken < first
            EVENTS[event](tale)
            with dying(tale.dock, second):
                tale.dock.run(30)
            require_sound(tale.dock, tale.known)
            tale.require_good_end()
            tale.dock.house.close()
        if ended:
            return
