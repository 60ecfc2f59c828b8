"""`keyturn doctor`: it finds each fault, says what helps, and changes nothing at all."""

import hashlib
import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.storage.postgresql import ask_durability
from tests.acceptance.servers import until
from tests.cli.programs import PATIENCE_SECONDS, Finished, Place
from tests.servers.pair import run_pair


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file with its mode, the time of its last change, and what is in it."""
    return {
        str(file.relative_to(folder)): (
            file.stat().st_mode,
            file.stat().st_mtime_ns if file.is_file() else 0,
            hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "",
        )
        for file in sorted(folder.rglob("*"))
        if file.suffix not in (".output", ".errors")
    }


def checks(place: Place, **settings: str) -> tuple[Finished, list[dict[str, Any]]]:
    done = place.run("doctor", "--json", **settings)
    found: list[dict[str, Any]] = json.loads(done.output)
    return done, found


def faults(place: Place, **settings: str) -> list[dict[str, Any]]:
    """What is at fault; each with a remedy, and the command ends with 1."""
    done, found = checks(place, **settings)
    assert done.code == 1
    wrong = [one for one in found if one["status"] == "fault"]
    assert wrong
    assert all(one["remedy"].endswith(".") for one in wrong)
    return wrong


def test_a_sound_installation_has_nothing_wrong(either: Place) -> None:
    done, found = checks(either)
    assert done.code == 0
    is_server = either.engine == "postgresql"
    assert [one["name"] for one in found if one["status"] != "ok"] == ["durability"] * is_server
    assert [one["name"] for one in found] == [
        "settings",
        "data folder",
        "root secret",
        "database",
        *["durability"] * is_server,
        "fingerprint",
        "peppers",
        "clock",
        "log",
    ]


def durability(place: Place) -> dict[str, Any]:
    done, found = checks(place)
    assert done.code == 0  # a warning is no fault
    [check] = [one for one in found if one["name"] == "durability"]
    return check


def test_it_warns_of_a_postgresql_that_a_power_cut_can_set_back(
    build_place: Callable[[str], Place],
) -> None:
    place = build_place("postgresql")
    place.run("init").done()
    told = durability(place)  # the tests' own server outlives nothing, and need not
    assert told["status"] == "warning"
    assert "fsync, full_page_writes" in told["detail"]
    assert told["remedy"].endswith(".")


def test_it_warns_of_standbys_that_no_commit_waits_for(place: Place) -> None:
    with run_pair(synchronous=False, durable=True) as pair:
        url = pair.create_database("keyturn")
        place.settings["KEYTURN_DATABASE_URL"] = url
        place.run("init").done()
        told = durability(place)
        assert told["status"] == "warning"
        assert "no commit waits for: 1" in told["detail"]
        # Whoever may see nothing of other sessions sees that they are there.
        pair.primary.ask("CREATE ROLE plain LOGIN")
        assert ask_durability(url.replace("//keyturn@", "//plain@")).standbys == 1
        pair.primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        pair.primary.ask("SELECT pg_reload_conf()")
        assert until(lambda: durability(place)["status"] == "ok", PATIENCE_SECONDS)
        assert "wait for a standby" in durability(place)["detail"]
        pair.primary.ask("ALTER SYSTEM RESET synchronous_standby_names")
        pair.primary.ask("SELECT pg_reload_conf()")
        pair.standby.stop(signal.SIGQUIT)
        assert until(lambda: durability(place)["detail"] == "commits are kept", PATIENCE_SECONDS)


def test_it_may_run_beside_a_server(either: Place) -> None:
    server = either.serve()
    for _ in range(3):
        either.run("doctor").done()
    assert server.call("POST", "/v1/api-keys", either.token, {"name": "a-prod"})[0] == 201


def test_it_never_writes(made: Place) -> None:
    server = made.serve()
    server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})
    assert server.stop().code == 0
    before = snapshot(made.folder)
    made.run("doctor").done()
    assert snapshot(made.folder) == before


def test_a_check_of_the_log_writes_its_outcome_and_nothing_else(made: Place) -> None:
    server = made.serve()
    server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})
    assert server.stop().code == 0
    before = snapshot(made.folder)
    made.run("activity", "verify").done()
    after = snapshot(made.folder)
    assert after.pop(f"{made.home.name}/activity.checks")
    assert after == before


@pytest.mark.parametrize("what", ["nothing", "a foreign database", "a text", "an old one"])
def test_it_never_writes_where_something_is_wrong(what: str, place: Place) -> None:
    place.home.mkdir(mode=0o700)
    database = place.home / "keyturn.db"
    match what:
        case "a foreign database":
            with sqlite3.connect(database) as connection:
                connection.execute("CREATE TABLE recipes (name TEXT)")
            connection.close()
        case "a text":
            database.write_text("This is no database, but a letter to somebody.\n" * 50)
        case "an old one":
            place.run("init").done()
            with place.database() as ask:
                ask("UPDATE alembic_version SET version_num = '0000'")
        case _:
            pass
    before = snapshot(place.folder)
    assert place.run("doctor").code == 1
    assert snapshot(place.folder) == before


def test_in_an_empty_folder_it_says_how_to_begin(place: Place) -> None:
    wrong = faults(place)
    assert [one["name"] for one in wrong] == ["data folder", "root secret", "database"]
    assert all("keyturn init" in one["remedy"] for one in wrong)
    assert not place.home.exists()


def _open_folder(place: Place) -> None:
    place.home.chmod(0o755)


def _open_secret(place: Place) -> None:
    (place.home / "root.secret").chmod(0o604)


def _no_secret(place: Place) -> None:
    (place.home / "root.secret").unlink()


def _foreign_secret(place: Place) -> None:
    place.run("init", KEYTURN_HOME="other").done()
    (place.folder / "other" / "root.secret").replace(place.home / "root.secret")


def _no_database(place: Place) -> None:
    (place.home / "keyturn.db").unlink()


def _no_database_file(place: Place) -> None:
    (place.home / "keyturn.db").write_text("a letter" * 1_000)


def _newer(place: Place) -> None:
    with place.database() as ask:
        ask("UPDATE alembic_version SET version_num = '9999'")


def _head_edited(place: Place) -> None:
    with place.database() as ask:
        ask("UPDATE change_head SET position = position + 1")


def _no_installation(place: Place) -> None:
    with place.database() as ask:
        ask("DELETE FROM installation")


def _installation_garbled(place: Place) -> None:
    with place.database() as ask:
        ask("UPDATE installation SET pepper_fingerprints = '[1, 2'")


def _pepper_lost(place: Place) -> None:
    with place.database() as ask:
        ask("""UPDATE installation SET pepper_fingerprints = '{"1": "other", "2": "print"}'""")


def _from_the_future(place: Place) -> None:
    with place.database() as ask:
        ask("UPDATE activity SET created_at = 4102444800000000 WHERE number = 3")


@pytest.mark.parametrize(
    ("spoil", "name", "detail", "remedy"),
    [
        (_open_folder, "data folder", "Others can look into", "chmod 700"),
        (_open_secret, "root secret", "Others can read", "chmod 600"),
        (_no_secret, "root secret", "There is no root secret", "KEYTURN_ROOT_SECRET_FILE"),
        (_foreign_secret, "fingerprint", "is not the one of this database", "the right file"),
        (_no_database, "database", "There is no database", "keyturn init"),
        (_no_database_file, "database", "is not a database", "restore a backup"),
        (_newer, "database", "made by a newer Keyturn", "Install that version"),
        (_head_edited, "log", "changed from outside", "activity verify"),
        (_no_installation, "fingerprint", "no installation", "keyturn init"),
        (_installation_garbled, "fingerprint", "changed from outside", "backup"),
        (_pepper_lost, "fingerprint", "lacks pepper 1", "escrow"),
        (_from_the_future, "clock", "yet to come", "NTP"),
    ],
)
def test_each_fault_is_named_with_what_helps(
    spoil: Callable[[Place], None], name: str, detail: str, remedy: str, made: Place
) -> None:
    spoil(made)
    wrong = {one["name"]: one for one in faults(made)}
    assert name in wrong, wrong
    assert detail in wrong[name]["detail"]
    assert remedy in wrong[name]["remedy"]
    shown = made.run("doctor")
    assert "FAULT  " in shown.output
    assert "→ " in shown.output


def test_faulty_settings_are_faults_each_with_its_remedy(made: Place) -> None:
    wrong = faults(made, KEYTURN_PORT="x", KEYTURN_HOST="a b")
    assert [one["name"] for one in wrong] == ["settings", "settings"]


def test_an_unknown_variable_is_a_warning_and_no_fault(made: Place) -> None:
    done, found = checks(made, KEYTURN_PROT="1")
    assert done.code == 0
    assert [one["detail"] for one in found if one["status"] == "warning"] == [
        "KEYTURN_PROT is no setting of this version and is ignored. Did you mean KEYTURN_PORT?"
    ]


@pytest.mark.parametrize(
    ("change", "detail", "remedy"),
    [
        (lambda url: url.replace("@127.0.0.1:", "@127.0.0.1:1"), None, "KEYTURN_DATABASE_URL"),
        (lambda url: url + "x", "does not exist", "createdb"),
        (lambda url: url.replace("keyturn@", "nobody:hunter2%40@"), "nobody", "the user"),
        (lambda url: url + "?nonsense=hunter2", "cannot be reached", "KEYTURN_DATABASE_URL"),
    ],
)
def test_postgresql_that_cannot_be_used_is_told_apart(
    change: Callable[[str], str],
    detail: str | None,
    remedy: str,
    build_place: Callable[[str], Place],
) -> None:
    place = build_place("postgresql")
    place.run("init").done()
    url = change(place.settings["KEYTURN_DATABASE_URL"])
    if detail is None:
        url = "postgresql://keyturn:hunter2@127.0.0.1:9/keyturn"
        detail = "cannot be reached"
    (wrong,) = faults(place, KEYTURN_DATABASE_URL=url)
    assert wrong["name"] == "database"
    assert detail in wrong["detail"]
    assert remedy in wrong["remedy"]
    for command in ("doctor", "serve", "init", "migrate", "operators list", "activity verify"):
        ended = place.run(*command.split(), KEYTURN_DATABASE_URL=url)
        assert ended.code == 1
        assert "hunter2" not in ended.all
        assert remedy in ended.all
