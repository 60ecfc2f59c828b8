"""Places to run commands in, on either engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.calling import House, house_in
from tests.cli.programs import Place, Server
from tests.servers.postgres import Postgres

ENGINES = ("sqlite", "postgresql")


@pytest.fixture
def build_place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Place]]:
    """Places with nothing in them yet, on the engine named; what runs there is ended."""
    places: list[Place] = []

    def build(engine: str) -> Place:
        folder = tmp_path / f"place {len(places)}"
        folder.mkdir()
        place = Place(folder, engine)
        if engine == "postgresql":
            server = request.getfixturevalue("postgres")
            assert isinstance(server, Postgres)
            place.settings["KEYTURN_DATABASE_URL"] = server.create_database()
        places.append(place)
        return place

    yield build
    for place in places:
        place.close()
        if place.engine == "postgresql":
            server = request.getfixturevalue("postgres")
            server.drop_database(place.settings["KEYTURN_DATABASE_URL"])


@pytest.fixture
def place(build_place: Callable[[str], Place]) -> Place:
    """An empty folder, on SQLite."""
    return build_place("sqlite")


@pytest.fixture
def made(place: Place) -> Place:
    """An installation on SQLite."""
    place.run("init").done()
    return place


@pytest.fixture(params=ENGINES)
def either(request: pytest.FixtureRequest, build_place: Callable[[str], Place]) -> Place:
    """An installation on each engine in turn."""
    place = build_place(str(request.param))
    place.run("init").done()
    return place


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running installation on SQLite, for all tests of a module."""
    place = Place(tmp_path_factory.mktemp("house"))
    place.run("init").done()
    with house_in(place) as house:
        yield house
    place.close()


@pytest.fixture
def server(made: Place) -> Server:
    return made.serve()
