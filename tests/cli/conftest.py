"""Places to run commands in, on either engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.calling import House, house_in
from tests.cli.programs import Place, Server
from tests.servers.founded import Foundations
from tests.servers.postgres import Postgres

ENGINES = ("sqlite", "postgresql")


@pytest.fixture
def build_place(
    tmp_path: Path, request: pytest.FixtureRequest, foundations: Foundations
) -> Iterator[Callable[..., Place]]:
    """Places on the engine named, with nothing in them yet, or with an installation that nobody has
    used; what runs there is ended."""
    places: list[Place] = []

    def build(engine: str, *, is_made: bool = False) -> Place:
        folder = tmp_path / f"place {len(places)}"
        folder.mkdir()
        place = Place(folder, engine)
        url = foundations.lay(engine, place.home) if is_made else None
        if engine == "postgresql":
            server = request.getfixturevalue("postgres")
            assert isinstance(server, Postgres)
            place.settings["KEYTURN_DATABASE_URL"] = url or server.create_database()
        places.append(place)
        return place

    yield build
    for place in places:
        place.close()
        if place.engine == "postgresql":
            server = request.getfixturevalue("postgres")
            server.drop_database(place.settings["KEYTURN_DATABASE_URL"])


@pytest.fixture
def place(build_place: Callable[..., Place]) -> Place:
    """An empty folder, on SQLite."""
    return build_place("sqlite")


@pytest.fixture
def made(place: Place, foundations: Foundations) -> Place:
    """An installation on SQLite."""
    foundations.lay("sqlite", place.home)
    return place


@pytest.fixture(params=ENGINES)
def either(request: pytest.FixtureRequest, build_place: Callable[..., Place]) -> Place:
    """An installation on each engine in turn."""
    return build_place(str(request.param), is_made=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, foundations: Foundations) -> Iterator[House]:
    """A running installation on SQLite, for all tests of a module."""
    place = Place(tmp_path_factory.mktemp("house"))
    foundations.lay("sqlite", place.home)
    with house_in(place) as house:
        yield house
    place.close()


@pytest.fixture
def server(made: Place) -> Server:
    return made.serve()
