"""The servers of the acceptance tests, and both faces of the client to call them with."""

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.conftest import engine, estate, home, open_shared_site, site
from tests.client.faces import FACES, Face
from tests.client.upstream import Upstream

__all__ = ["engine", "estate", "face", "home", "open_shared_site", "site", "upstream"]


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """Each face in turn."""
    made: Callable[[], Face] = FACES[request.param]
    with made() as one:
        yield one


@pytest.fixture
def upstream(site: object) -> Iterator[Upstream]:
    """A faulty way to the server: it does what it is told to, and then passes everything on."""
    with Upstream(site.server.port) as made:  # type: ignore[attr-defined]
        yield made
