"""Servers for the acceptance tests: one an engine and worker, shared by tests of their own
workspaces, and others for those that need settings or an end of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.acceptance.api import Site, Workspace, open_site
from tests.acceptance.servers import ENGINES, Estate, Installation, serving
from tests.servers.founded import Foundations
from tests.servers.postgres import Postgres

BODY_TIMEOUT_SECONDS = "1"


@pytest.fixture(scope="session")
def estate(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    foundations: Foundations,
) -> Iterator[Estate]:
    def postgres() -> Postgres:
        server = request.getfixturevalue("postgres")
        assert isinstance(server, Postgres)
        return server

    made = Estate(tmp_path_factory.mktemp("estate"), postgres, foundations)
    yield made
    made.clear()


@pytest.fixture(scope="package")
def open_shared_site(estate: Estate) -> Iterator[Callable[..., Site]]:
    """Gives the site of an engine and settings, the same one each time. What cannot be started is
    tried once, not for each test. They end with the last test of the folder: what hundreds of
    tests have left open keeps a server busy for as long as it runs."""
    sites: dict[str, Site | None] = {}
    with ExitStack() as stack:

        def open_one(engine: str, **settings: str) -> Site:
            name = f"{engine} {sorted(settings.items())}"
            if name not in sites:
                sites[name] = None
                installation = estate.install(
                    engine, **{"body_timeout_seconds": BODY_TIMEOUT_SECONDS, **settings}
                )
                site = open_site(stack.enter_context(serving(installation)))
                stack.callback(site.operator.client.close)
                sites[name] = site
            found = sites[name]
            if found is None:
                pytest.fail("this server could not be started, as an earlier test tells")
            return found

        yield open_one


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn; `on_one_engine` takes one."""
    return str(request.param)


@pytest.fixture(scope="module")
def site(engine: str, open_shared_site: Callable[..., Site]) -> Site:
    """A running server, shared with other tests."""
    return open_shared_site(engine)


@pytest.fixture
def home(site: Site) -> Workspace:
    """A workspace of this test's own."""
    return site.workspace()


@pytest.fixture(scope="module")
def common(site: Site) -> Workspace:
    """A workspace that tests of a module share, none of which asks what others did there."""
    return site.workspace()


@pytest.fixture
def other(site: Site) -> Workspace:
    """Another tenant of the same server."""
    return site.workspace()


@pytest.fixture
def installation(engine: str, estate: Estate) -> Installation:
    """An installation of this test's own, not served yet."""
    return estate.install(engine)
