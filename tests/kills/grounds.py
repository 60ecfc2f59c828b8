"""Where sites are built: folders, and a PostgreSQL for the engine that needs one."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.kills.launcher import DAYS_AGO
from tests.kills.sites import MortalPlace, Site
from tests.servers.postgres import (
    Postgres,
    crash_server,
    create_run_folder,
    obtain_server,
    remove_run,
    revive_server,
)


class Grounds:
    """Builds places on one engine, and ends all that runs there."""

    def __init__(self, folder: Path, postgres: Postgres | None) -> None:
        self.engine = "sqlite" if postgres is None else "postgresql"
        self._folder = folder
        self._postgres = postgres
        self._places: list[MortalPlace] = []

    def place(self, **settings: str) -> MortalPlace:
        """A place with nothing in it."""
        folder = self._folder / f"place{len(self._places)}"
        folder.mkdir()
        place = MortalPlace(folder, self.engine, dict(settings))
        if self._postgres is not None:
            place.settings["KEYTURN_DATABASE_URL"] = self._postgres.create_database()
        self._places.append(place)
        return place

    def site(self) -> Site:
        """An installation, not served yet."""
        place = self.place()
        place.run("init").done()
        return Site(place=place)

    def old_site(self) -> Site:
        """An installation that keeps its records for a day, made long before."""
        place = self.place(KEYTURN_ACTIVITY_RETENTION_DAYS="1", KEYTURN_REQUEST_RETENTION_DAYS="1")
        place.run("init", **{DAYS_AGO: "4"}).done()
        return Site(place=place)

    def close(self) -> None:
        for place in self._places:
            place.close()
            if self._postgres is not None:
                self._postgres.drop_database(place.settings["KEYTURN_DATABASE_URL"])


class OwnPostgres:
    """A PostgreSQL that nobody else uses, so that it may be killed."""

    def __init__(self) -> None:
        self._run_folder = create_run_folder()
        self.server = obtain_server(self._run_folder)

    def crash(self) -> None:
        crash_server(self._run_folder)

    def revive(self) -> None:
        revive_server(self._run_folder)

    def kill_a_backend(self, url: str, chance: random.Random) -> bool:
        """SIGKILL for one of the processes that serve Keyturn: the server then ends them all, and
        recovers from its log. False where there was none."""
        with psycopg.connect(url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'keyturn%' ORDER BY pid"
            ).fetchall()
        if not rows:
            return False
        try:
            os.kill(chance.choice(rows)[0], signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        remove_run(self._run_folder)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """Raises `PostgresUnavailable`."""
    made = OwnPostgres()
    try:
        yield made
    finally:
        made.close()
