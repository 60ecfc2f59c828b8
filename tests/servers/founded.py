"""Installations that are copies of one: `keyturn init` takes a second of a processor for each."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.servers.forked import become, fork
from tests.servers.postgres import Postgres

PATIENCE_SECONDS = 60


class Foundations:
    """Makes an installation on each engine once. Each copy has the same root secret and the same
    first token: who needs two that differ runs `init`."""

    def __init__(self, folder: Path, postgres: Callable[[], Postgres]) -> None:
        self._folder = folder
        self._postgres = postgres
        self._first: dict[str, tuple[Path, str | None]] = {}
        self._server: Postgres | None = None

    def lay(self, engine: str, home: Path) -> str | None:
        """Makes `home` an installation that nobody has used yet. On PostgreSQL it gives the URL of
        its database, for the caller to drop."""
        if engine not in self._first:
            self._first[engine] = self._found(engine)
        return self.copy(*self._first[engine], home)

    def copy(self, first: Path, database: str | None, home: Path) -> str | None:
        """Makes `home` a copy of another one that nothing uses now. On PostgreSQL it gives the URL
        of a copy of its database."""
        shutil.copytree(first, home)
        if database is None:
            return None
        return self._obtained().create_database(database, is_filled=True)

    def drop(self, database: str | None) -> None:
        if database is not None:
            self._obtained().drop_database(database)

    def clear(self) -> None:
        for _, database in self._first.values():
            self.drop(database)

    def _obtained(self) -> Postgres:
        self._server = self._server or self._postgres()
        return self._server

    def _found(self, engine: str) -> tuple[Path, str | None]:
        folder = self._folder / engine
        folder.mkdir()
        home, output, errors = folder / "home", folder / "output", folder / "errors"
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")
        }
        environment["KEYTURN_HOME"] = str(home)
        database = self._obtained().create_database() if engine == "postgresql" else None
        if database is not None:
            environment["KEYTURN_DATABASE_URL"] = database
        process = fork(
            become, ("init",), environment=environment, folder=folder, output=output, errors=errors
        )
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0, errors.read_text()
        return home, database
