"""Grounds on each engine in turn, with all that was built there ended after the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import IS_CI
from tests.kills.grounds import Grounds, OwnPostgres, own_postgres
from tests.servers.postgres import Postgres, PostgresUnavailable

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
def mortal_postgres() -> Iterator[OwnPostgres]:
    """A PostgreSQL of this test's own."""
    try:
        with own_postgres() as made:
            yield made
    except PostgresUnavailable as refusal:
        if IS_CI:
            pytest.fail(f"in CI PostgreSQL is not to be missed: {refusal}", pytrace=False)
        pytest.skip(f"NOT TESTED ON POSTGRESQL: {refusal}")
