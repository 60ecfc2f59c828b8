"""What these tests share: a dock, on both engines."""

from collections.abc import Callable

import pytest

from tests.delivery.dock import Dock
from tests.houses import House, build_house, engine, house, plots

__all__ = ["build_house", "dock", "engine", "house", "plots", "quick_dock"]


@pytest.fixture
def dock(house: House) -> Dock:
    return Dock(house)


@pytest.fixture
def quick_dock(build_house: Callable[[str], House]) -> Dock:
    """On SQLite alone, for what both engines do alike."""
    return Dock(build_house("sqlite"))
