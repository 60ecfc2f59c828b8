"""Rotations that have nothing to do rest for a moment where there are many, and only then."""

from uuid import UUID

import pytest

from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.services.define import define_slot
from keyturn.services.meter import Meter
from keyturn.services.rest import MOST_REST_SECONDS, Rest
from keyturn.services.rotate import RotationDraft, start_rotation
from keyturn.services.steer import Helm, try_brownout
from keyturn.services.witness import Witness
from keyturn.testing.storage import making
from tests.houses import House

MANY = 14
REST = 0.06  # of so many


def begin(house: House, count: int) -> dict[UUID, UUID]:
    """So many open rotations: the old key of each."""
    begun = {}
    for number in range(count):
        key = house.issue(slot=f"service{number}-prod").view.key
        started = start_rotation(
            house.context, house.act(), house.workspace_id, key.id, RotationDraft()
        )
        begun[started.rotation.id] = key.id
    return begun


def look(house: House, rest: Rest, elapsed: float) -> set[UUID]:
    """A round in which nothing is to be done: the rotations that were looked at."""
    with house.store.read() as reading:
        rest.begin(reading)
        page = reading.rotations.open(after=None, limit=100)
        awake = rest.awake(reading, page, elapsed)
        for one in awake:
            rest.lie_down(one, elapsed)
        rest.end({one.id for one in page})
        return {one.id for one in awake}


@pytest.fixture
def rest() -> Rest:
    return Rest()


def test_a_few_never_rest(house: House, rest: Rest) -> None:
    begun = begin(house, 10)
    for _ in range(4):
        assert look(house, rest, 0.0) == {*begun}


def test_many_rest_for_a_moment(house: House, rest: Rest) -> None:
    begun = begin(house, MANY)
    for _ in range(2):  # the first round finds out how many there are
        assert look(house, rest, 0.0) == {*begun}
    assert look(house, rest, REST - 0.001) == set()
    assert look(house, rest, REST) == {*begun}
    assert look(house, rest, REST) == set()
    assert REST < MOST_REST_SECONDS


def test_a_use_wakes_the_rotation_of_its_key_alone(house: House, rest: Rest) -> None:
    begun = begin(house, MANY)
    for _ in range(2):
        look(house, rest, 0.0)
    woken, key_id = next(iter(begun.items()))
    for first, code in enumerate(("valid", "revoked"), start=1):
        used = making.request(
            100 + first, key_id=key_id, workspace_id=house.workspace_id, code=code
        )
        making.record(house.store, used, first=first)
        assert look(house, rest, 0.0) == {woken}
    assert look(house, rest, 0.0) == set()


def test_a_change_wakes_the_rotations_of_its_workspace(house: House, rest: Rest) -> None:
    begun = begin(house, MANY)
    for _ in range(2):
        look(house, rest, 0.0)
    name = SlotName(service="service3", environment="prod")
    define_slot(house.context, house.act(), house.workspace_id, name, SlotNotes(owner="ada"))
    assert look(house, rest, 0.0) == {*begun}
    assert look(house, rest, 0.0) == set()


def test_one_in_a_brown_out_is_looked_at_each_time(house: House, rest: Rest) -> None:
    begun = begin(house, MANY)
    browned = next(iter(begun))
    helm = Helm(
        context=house.context,
        witness=Witness(house.context, Meter(house.context)),
        act=house.act(),
        workspace_id=house.workspace_id,
        id=browned,
    )
    try_brownout(helm, seconds=5)
    for _ in range(2):
        assert look(house, rest, 0.0) == {*begun}
    assert look(house, rest, 0.0) == {browned}
