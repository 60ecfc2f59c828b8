"""Sites on each engine in turn, ended after the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.grounds import Grounds
from tests.servers.postgres import Postgres

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(params=ENGINES)
def grounds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Grounds]:
    postgres = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        assert isinstance(postgres, Postgres)
    made = Grounds(tmp_path, postgres)
    yield made
    made.close()


@pytest.fixture
def sqlite_grounds(tmp_path: Path) -> Iterator[Grounds]:
    made = Grounds(tmp_path, None)
    yield made
    made.close()
