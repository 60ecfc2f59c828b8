"""Migrations by Alembic, the same head on both engines."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

_SCRIPTS = Path(__file__).with_name("migrations")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


@cache
def newest_revision() -> str:
    """The revision that this version of Keyturn needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise LookupError("there are no migrations in this package")
    return head


@cache
def known_revisions() -> frozenset[str]:
    """Every revision that this version of Keyturn knows."""
    return frozenset(
        one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()
    )


def present_revision(engine: Engine) -> str | None:
    """The revision that the database is at, None for an empty one."""
    with engine.connect() as connection:
        return present_within(connection)


def present_within(connection: Connection) -> str | None:
    """As `present_revision`, in a transaction that has begun."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> None:
    """Brings the database to the newest revision, all of it or, where it fails, none of it."""
    with engine.begin() as connection:
        migrate_within(connection)


def migrate_within(connection: Connection, revision: str = "head") -> None:
    """Brings the database up to a revision, in a transaction that has begun."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
