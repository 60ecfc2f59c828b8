"""Servers whose database is silent, or served already by way of another folder."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.cli.programs import STOP_SECONDS, Place
from tests.servers.postgres import Postgres
from tests.servers.silence import SilentProxy

# What being one of several nodes takes: to follow, to ask for the others, to lead.
OF_A_NODE = 3


def test_a_server_whose_database_falls_silent_answers_so_and_ends_in_time(
    build_place: Callable[[str], Place], postgres: Postgres
) -> None:
    place = build_place("postgresql")
    with SilentProxy(postgres.port) as proxy:
        place.settings["KEYTURN_DATABASE_URL"] = proxy.url(place.settings["KEYTURN_DATABASE_URL"])
        place.run("init").done()
        server = place.serve()
        key = server.call("POST", "/v1/api-keys", place.token, {"name": "worker-prod"})[1]
        proxy.fall_silent()
        began = time.monotonic()
        status, body = server.call("POST", "/v1/verify", place.token, {"api_key": key["api_key"]})
        assert (status, body["code"]) == (503, "storage.unavailable")
        assert time.monotonic() - began < STOP_SECONDS
        began = time.monotonic()
        assert server.stop(signal.SIGTERM).code == 0
        assert time.monotonic() - began < STOP_SECONDS


def test_asking_whether_it_is_ready_costs_no_connections(
    build_place: Callable[[str], Place],
) -> None:
    place = build_place("postgresql")
    place.run("init").done()
    url = place.settings["KEYTURN_DATABASE_URL"]
    server = place.serve()
    assert {server.call("GET", "/readyz")[0] for _ in range(100)} == {200}
    with psycopg.connect(url, autocommit=True) as own:
        row = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    assert row[0] < 15 + OF_A_NODE


@pytest.mark.parametrize("command", ["serve", "dev", "migrate"])
def test_one_sqlite_file_is_served_once_whatever_the_folder(command: str, made: Place) -> None:
    made.serve()
    other = made.folder / "other"
    other.mkdir()
    link = made.folder / "link.db"
    link.symlink_to(made.home / "keyturn.db")
    for path in (made.home / "keyturn.db", link):
        settings = {
            "KEYTURN_HOME": str(other),
            "KEYTURN_ROOT_SECRET_FILE": str(made.home / "root.secret"),
            "KEYTURN_DATABASE_URL": f"sqlite:///{path}",
        }
        made.run(command, **settings).refused("Another Keyturn", "Stop it first")
    assert not (Path(other) / "keyturn.db").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_token_takes_nobodys_place(kind: str, place: Place) -> None:
    there = place.folder / "there"
    if kind == "file":
        there.write_text("mine")
    else:
        there.symlink_to("nowhere")
    place.run("init", "--output", "there").refused("something at there already", "--output")
    place.run("init").done()
    create = ("operators", "create", "--name", "Ada", "--output")
    place.run(*create, "there").refused("something at there already", "--output")
    place.run(*create, "/dev/null").refused("something at /dev/null already")
    assert there.read_text() == "mine" if kind == "file" else there.is_symlink()
    assert "Ada" not in place.run("operators", "list").done().output


def test_a_list_says_that_a_damaged_operator_is_left_out(either: Place) -> None:
    create = ("operators", "create", "--name", "Ada", "--output", "ada.token")
    either.run(*create).done()
    with either.database() as ask:
        ask("UPDATE operators SET name = 'Eve' WHERE name = 'Ada'")
    listed = either.run("operators", "list").done()
    assert "1 more cannot be shown" in listed.errors
    assert "Eve" not in listed.output
