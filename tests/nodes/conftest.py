"""An installation of each test's own, with as many nodes as it starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.servers import Estate
from tests.nodes.nodes import Group
from tests.servers.postgres import Postgres

FRESHNESS_SECONDS = 2


@pytest.fixture
def group(tmp_path: Path, postgres: Postgres) -> Iterator[Group]:
    estate = Estate(tmp_path, lambda: postgres)
    installation = estate.install("postgresql", freshness_seconds=str(FRESHNESS_SECONDS))
    made = Group(installation, postgres.port)
    yield made
    made.close()
    estate.clear()
