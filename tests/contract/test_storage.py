"""Both engines keep the storage contract, and both have the tables that the code speaks of."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.storage.contract import Store
from keyturn.storage.log import create_head
from keyturn.storage.migrate import known_revisions, migrate, newest_revision, present_revision
from keyturn.storage.postgresql import RECORDERS
from keyturn.storage.schema import metadata
from keyturn.storage.sealed import Damage
from keyturn.testing.storage import StorageContract
from tests.houses import Ground, Plots


@pytest.fixture
def ground(engine: str, plots: Plots) -> Iterator[Ground]:
    """A database with the tables and no row."""
    ground = plots.migrated(engine)
    yield ground
    plots.clear(ground)


@pytest.fixture
def empty_ground(engine: str, plots: Plots) -> Iterator[Ground]:
    ground = plots.empty(engine)
    yield ground
    plots.clear(ground)


@pytest.fixture
def damage() -> list[Damage]:
    return []


@pytest.fixture
def store(ground: Ground, damage: list[Damage]) -> Iterator[Store]:
    store = ground.open(damage.append)
    yield store
    store.close()


def _overlook(_: Damage) -> None:
    """For stores in which nothing is damaged."""


class TestEngine(StorageContract):
    """Each engine."""


BOUNDS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")

# --- the tables -----------------------------------------------------------------------------------


def _parts(spelled: str) -> list[str]:
    """The columns and constraints of a table as SQLite keeps them. Their order says nothing, and a
    column that was added later stands behind the constraints on the last line."""
    body = spelled.removesuffix(")")
    return sorted(map(str.strip, re.split(r",\s+(?=[a-z_]+ [A-Z]|CONSTRAINT )", body)))


def everything(ground: Ground) -> list[tuple[object, ...]]:
    """What the database has, its CHECKs and collations among it."""
    if ground.engine == "sqlite":
        query = (
            "SELECT type, name, tbl_name, sql FROM sqlite_master"
            " WHERE name NOT LIKE '%alembic_version%' ORDER BY 1, 2"
        )
        with ground.raw() as raw:
            return [(*row[:3], *_parts(row[3] or "")) for row in raw.run(query)]
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public'"
        " AND table_name <> 'alembic_version' ORDER BY 1, 2"
    )
    constraints = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%'"
        " ORDER BY 1, 2"
    )
    indexes = (
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " AND tablename <> 'alembic_version' ORDER BY 1"
    )
    options = (
        "SELECT relname, reloptions::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version' ORDER BY 1"
    )
    queries = (columns, constraints, indexes, options)
    with ground.raw() as raw:
        return [row for query in queries for row in raw.run(query)]


def test_the_migrated_tables_are_those_that_the_code_speaks_of(ground: Ground) -> None:
    administration = ground.administration()
    with administration.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    administration.dispose()


def test_the_migrated_tables_are_to_the_letter_those_that_the_code_would_make(
    ground: Ground, empty_ground: Ground
) -> None:
    """Alembic compares neither CHECKs nor collations nor storage options."""
    administration = empty_ground.administration()
    metadata.create_all(administration)
    administration.dispose()
    assert everything(ground) == everything(empty_ground)


def test_both_engines_come_to_the_newest_revision_and_stay_there(empty_ground: Ground) -> None:
    administration = empty_ground.administration()
    assert present_revision(administration) is None
    migrate(administration)
    assert present_revision(administration) == newest_revision()
    assert newest_revision() in known_revisions()
    before = everything(empty_ground)
    migrate(administration)
    assert everything(empty_ground) == before
    administration.dispose()


def test_a_migration_that_fails_half_way_leaves_nothing(empty_ground: Ground) -> None:
    with empty_ground.raw() as raw:  # the last table that the first migration makes is there
        raw.run("CREATE TABLE workspaces (id TEXT)")
    before = everything(empty_ground)
    administration = empty_ground.administration()
    with pytest.raises(Exception, match="workspaces"):
        migrate(administration)
    assert present_revision(administration) is None
    assert everything(empty_ground) == before
    with empty_ground.raw() as raw:
        raw.run("DROP TABLE workspaces")
    migrate(administration)
    assert present_revision(administration) == newest_revision()
    administration.dispose()


# --- what is one engine's own ---------------------------------------------------------------------


def test_a_writer_beside_us_makes_sqlite_unavailable_after_a_while_and_not_wrong(
    plots: Plots,
) -> None:
    ground = plots.migrated("sqlite")
    store = ground.open(_overlook)
    with ground.raw() as raw:
        raw.run("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable), store.record():
            pass
        with store.read() as reading:  # who reads does not wait
            assert reading.workspaces.count() == 0
        raw.run("ROLLBACK")
    with store.record() as transaction:
        assert transaction.workspaces.count() == 0
    store.close()


def test_a_file_that_is_no_database_is_a_fault_of_the_installation(plots: Plots) -> None:
    ground = plots.empty("sqlite")
    Path(ground.place).write_bytes(b"This is a letter to my aunt. " * 100)
    with pytest.raises(InstallationFault):
        ground.open(_overlook)
    plots.clear(ground)


def test_sqlite_syncs_each_change_and_no_request(plots: Plots) -> None:
    """https://sqlite.org/pragma.html#pragma_synchronous: 2 is FULL, 1 NORMAL."""
    ground = plots.migrated("sqlite")
    store = ground.open(_overlook)
    for opened, expected in ((store.create, 2), (store.record, 1)):
        with opened() as transaction:
            connection = transaction.session.connection
            assert connection.execute(text("PRAGMA synchronous")).scalar() == expected
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    store.close()
    plots.clear(ground)


def test_postgresql_bounds_every_wait_and_commits_changes_durably(plots: Plots) -> None:
    """The test server has `synchronous_commit=off`: a change says itself what it needs."""
    ground = plots.migrated("postgresql")
    store = ground.open(_overlook)
    for opened, durable, read_only in (
        (store.create, "on", "off"),
        (store.record, "off", "off"),
        (store.read, "off", "on"),
    ):
        with opened() as transaction:
            connection = transaction.session.connection

            shown = {
                name: connection.execute(text(f"SHOW {name}")).scalar()
                for name in ("synchronous_commit", "transaction_read_only", *BOUNDS)
            }
            assert shown["synchronous_commit"] == durable
            assert shown["transaction_read_only"] == read_only
            assert "0" not in {shown[name] for name in BOUNDS}
    store.close()
    plots.clear(ground)


def test_connections_that_postgresql_cut_off_are_replaced(plots: Plots) -> None:
    """A restart of the server ends every session; the next transaction must not notice."""
    ground = plots.migrated("postgresql")
    store = ground.open(_overlook)
    for _ in range(2):
        for opened in (store.read, store.record, store.create):
            with opened() as transaction:
                assert transaction.workspaces.count() == 0
        assert store.credentials.read([]).position == 0
        assert store.ping() > 0
        with psycopg.connect(ground.place, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    store.close()
    plots.clear(ground)


def test_a_session_that_is_cut_off_within_a_transaction_is_storage_unavailable(
    plots: Plots,
) -> None:
    ground = plots.migrated("postgresql")
    store = ground.open(_overlook)
    with pytest.raises(StorageUnavailable), store.record() as transaction:  # noqa: PT012
        pid = transaction.session.connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with psycopg.connect(ground.place, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        transaction.workspaces.count()
    store.close()
    plots.clear(ground)


def test_who_waits_too_long_for_the_head_or_for_a_connection_is_told_so(plots: Plots) -> None:
    """A session that hangs while it holds the head must not hang everybody for ever."""
    ground = plots.migrated("postgresql")
    store = ground.open(_overlook)
    with store.create() as reading:
        create_head(reading.session, UUID(int=1))

    def wait_for_the_head() -> None:
        with store.change():
            raise AssertionError("two changes at once")

    def wait_for_a_connection() -> None:
        with store.record():
            raise AssertionError("more sessions than there may be")

    with ExitStack() as held, ThreadPoolExecutor() as pool:
        held.enter_context(store.change())
        for _ in range(RECORDERS):
            held.enter_context(store.record())
        for waiting in (pool.submit(wait_for_the_head), pool.submit(wait_for_a_connection)):
            assert isinstance(waiting.exception(timeout=10), StorageUnavailable)
    with store.change(), store.record() as transaction:
        assert transaction.head().position == 0
    store.close()
    plots.clear(ground)


def test_a_server_that_is_gone_is_storage_unavailable_everywhere(plots: Plots) -> None:
    ground = Ground("postgresql", "postgresql://keyturn@127.0.0.1:1/nothing")
    store = ground.open(_overlook)
    for opened in (store.read, store.change, store.record, store.create):
        with pytest.raises(StorageUnavailable), opened():
            pass
    with pytest.raises(StorageUnavailable):
        store.credentials.read([])
    with pytest.raises(StorageUnavailable):
        store.ping()
    store.close()
