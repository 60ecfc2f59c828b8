"""Grounds on each engine in turn, and a server an engine that the tests share, each in a workspace
of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kills.grounds import Grounds
from tests.kills.sites import Site
from tests.servers.postgres import Postgres

ENGINES = ("sqlite", "postgresql")

Lay = Callable[[str, Path], Grounds]


@pytest.fixture(scope="package")
def lay(request: pytest.FixtureRequest) -> Iterator[Lay]:
    """Lays grounds on the engine named; all that runs there ends with the tests."""
    with ExitStack() as stack:

        def lay_one(engine: str, folder: Path) -> Grounds:
            postgres = None
            if engine == "postgresql":
                postgres = request.getfixturevalue("postgres")
                assert isinstance(postgres, Postgres)
            made = Grounds(folder, postgres)
            stack.callback(made.close)
            return made

        yield lay_one


@pytest.fixture(scope="package")
def shared(lay: Lay, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Site]:
    """The running server of an engine, the same one each time."""
    sites: dict[str, Site] = {}

    def share(engine: str) -> Site:
        if engine not in sites:
            site = lay(engine, tmp_path_factory.mktemp(engine)).site()
            site.start()
            sites[engine] = site
        return sites[engine]

    return share


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture
def site(engine: str, shared: Callable[[str], Site]) -> Site:
    """A running server, shared with other tests."""
    return shared(engine)


@pytest.fixture
def sqlite_site(shared: Callable[[str], Site]) -> Site:
    return shared("sqlite")


@pytest.fixture
def grounds(engine: str, lay: Lay, tmp_path: Path) -> Grounds:
    """Grounds of this test's own."""
    return lay(engine, tmp_path)


@pytest.fixture
def sqlite_grounds(lay: Lay, tmp_path: Path) -> Grounds:
    return lay("sqlite", tmp_path)
