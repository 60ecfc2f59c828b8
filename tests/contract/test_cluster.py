"""Several nodes on one PostgreSQL: the contract, and what is that engine's own."""

from collections.abc import Iterator

import pytest

from keyturn.storage.contract import Store
from keyturn.storage.sealed import Damage
from keyturn.testing.storage import ClusterContract
from tests.houses import Ground, Plots


@pytest.fixture
def ground(plots: Plots) -> Iterator[Ground]:
    ground = plots.migrated("postgresql")
    yield ground
    plots.clear(ground)


@pytest.fixture
def damage() -> list[Damage]:
    return []


@pytest.fixture
def store(ground: Ground, damage: list[Damage]) -> Iterator[Store]:
    store = ground.open(damage.append)
    yield store
    store.close()


@pytest.fixture
def beside(ground: Ground, damage: list[Damage]) -> Iterator[Store]:
    store = ground.open(damage.append)
    yield store
    store.close()


class TestPostgres(ClusterContract):
    """The one engine on which there may be several nodes."""
