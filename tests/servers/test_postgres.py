import os
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import (
    BIN_VARIABLE,
    Postgres,
    PostgresUnavailable,
    create_run_folder,
    obtain_server,
    remove_run,
)


def test_a_test_gets_an_empty_database_in_utf8_that_compares_bytewise(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'public'"
        ).fetchone()
        encoding = connection.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()
    assert tables == (0,)
    assert encoding == ("UTF8", "C")


def test_a_copy_has_what_its_template_had_and_changes_alone(postgres: Postgres) -> None:
    template = postgres.create_database()
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE pin (number integer)")
    copy = postgres.create_database(template)
    with psycopg.connect(copy) as connection:
        connection.execute("INSERT INTO pin VALUES (1)")
    another = postgres.create_database(template)
    with psycopg.connect(another) as connection:
        assert connection.execute("SELECT count(*) FROM pin").fetchone() == (0,)
    for url in (copy, another, template):
        postgres.drop_database(url)


def test_a_database_is_dropped_under_an_open_connection(postgres: Postgres) -> None:
    url = postgres.create_database()
    connection = psycopg.connect(url)
    postgres.drop_database(url)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_the_server_answers_on_its_socket_too(postgres: Postgres) -> None:
    with psycopg.connect(
        host=str(postgres.socket_folder), port=postgres.port, user="keyturn", dbname="postgres"
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_second_run_has_its_own_server_and_leaves_nothing(postgres: Postgres) -> None:
    folder = create_run_folder()
    try:
        mine = obtain_server(folder)
        assert obtain_server(folder) == mine
        assert mine.port != postgres.port
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        connection = psycopg.connect(mine.url("postgres"))  # a pool's, as it were
    finally:
        remove_run(folder)
    connection.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_wrong_choice_of_programs_is_said_and_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BIN_VARIABLE, str(tmp_path))
    folder = create_run_folder()
    try:
        with pytest.raises(PostgresUnavailable, match=BIN_VARIABLE):
            obtain_server(folder)
    finally:
        remove_run(folder)
