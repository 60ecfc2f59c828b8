"""What these tests share: houses on both engines, a receiver, and offices that send to it."""

from collections.abc import Callable, Iterator

import pytest

from tests.houses import House, build_house, engine, house, plots
from tests.notifications.office import Office
from tests.notifications.receiver import Receiver

__all__ = ["build_house", "engine", "house", "plots"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def office(house: House) -> Iterator[Office]:
    """The outbox of a house, on each engine in turn."""
    made = Office(house)
    yield made
    made.close()


@pytest.fixture
def open_receiver() -> Iterator[Callable[[], Receiver]]:
    """Gives as many receivers as a test needs."""
    made: list[Receiver] = []

    def open_one() -> Receiver:
        made.append(Receiver())
        return made[-1]

    yield open_one
    for one in made:
        one.close()
