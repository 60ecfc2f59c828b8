"""`keyturn init`: whole or not there, private, and repeatable wherever it was interrupted."""

import random
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ENGINES
from tests.cli.programs import Place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(home: Path) -> dict[str, bytes]:
    """All that is kept; a lock only names the process that had it last."""
    return {
        file.name: file.read_bytes() for file in home.iterdir() if not file.name.endswith("lock")
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_init_makes_a_folder_and_files_for_their_owner_alone(
    engine: str, build_place: Callable[[str], Place]
) -> None:
    place = build_place(engine)
    said = place.run("init").done().output
    assert mode(place.home) == 0o700
    for file in place.home.iterdir():
        assert mode(file) == 0o600, file
    assert {"root.secret", "operator.token"} <= {file.name for file in place.home.iterdir()}
    assert (place.home / "keyturn.db").exists() == (engine == "sqlite")
    assert str(place.home / "operator.token") in said
    assert place.token not in said
    assert place.token.startswith("kt_operator_")


def test_what_init_made_can_be_used_at_once(either: Place) -> None:
    server = either.serve()
    status, me = server.call("GET", "/v1/self", either.token)
    assert (status, me["type"], me["operator"]["name"]) == (200, "operator", "first operator")
    status, workspaces = server.call("GET", "/v1/workspaces", either.token)
    assert [one["name"] for one in workspaces] == ["default"]


def test_a_second_init_changes_nothing(either: Place) -> None:
    before = contents(either.home)
    either.run("init").refused("There is an installation already.", "keyturn serve")
    assert contents(either.home) == before


def test_the_token_goes_to_the_file_that_is_named(place: Place) -> None:
    place.run("init", "--output", "ours/../token").refused("cannot be written to ours/../token")
    place.run("init", "--output", "token").done()
    assert mode(place.folder / "token") == 0o600
    assert not (place.home / "operator.token").exists()


def test_the_token_goes_to_standard_output_alone_where_that_is_asked_for(place: Place) -> None:
    done = place.run("init", "--output", "-").done()
    token = done.output.strip()
    assert token.startswith("kt_operator_")
    assert " " not in token
    assert "Workspace" in done.errors
    assert token not in done.errors
    assert not (place.home / "operator.token").exists()
    assert place.serve().call("GET", "/v1/self", token)[0] == 200


def test_a_token_that_cannot_be_written_leaves_no_installation(place: Place) -> None:
    place.run("init", "--output", "/dev/null/token").refused(
        "The operator's token cannot be written to /dev/null/token (Not a directory)",
        "there is no installation yet",
        "--output",
    )
    with Path("/dev/full").open("wb") as full:
        refused = place.execute("init", "--output", "-", stdout=full)
    assert refused.returncode == 1
    assert b"Standard output cannot be used (No space left on device)" in refused.stderr
    assert b"Traceback" not in refused.stderr
    place.run("serve").refused("The database has no installation.", "Run `keyturn init` first.")
    place.run("init").done()


@pytest.mark.parametrize("engine", ENGINES)
def test_init_killed_at_any_moment_can_be_repeated(
    engine: str, build_place: Callable[[str], Place]
) -> None:
    place = build_place(engine)
    for _ in range(6):
        begun = place.start("init")
        time.sleep(random.uniform(0.0, 0.25))
        begun.kill()
    again = place.run("init")
    if again.code:
        again.refused("There is an installation already.")
    assert not [file for file in place.home.iterdir() if ".draft" in file.name]
    server = place.serve()
    assert server.call("GET", "/v1/self", place.token)[0] == 200
    assert server.stop().code == 0
    place.run("activity", "verify").done()


def test_two_inits_at_once_make_one_installation(place: Place) -> None:
    both = [place.start("init") for _ in range(2)]
    codes = sorted(one.wait().code for one in both)
    assert codes == [0, 1]
    assert place.serve().call("GET", "/v1/self", place.token)[0] == 200


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/deeper", "/proc/keyturn"])
def test_a_folder_that_cannot_be_made_is_named(home: str, place: Place) -> None:
    refused = place.run("init", KEYTURN_HOME=home).refused("cannot be used", "Check")
    assert home.partition("/deeper")[0] in refused.errors


@pytest.mark.parametrize("engine", ENGINES)
def test_a_database_whose_root_secret_is_elsewhere_is_not_taken_over(
    engine: str, build_place: Callable[[str], Place]
) -> None:
    place = build_place(engine)
    place.run("init").done()
    (place.home / "root.secret").rename(place.folder / "root.secret")
    place.run("init").refused("whose root secret is not at", "KEYTURN_ROOT_SECRET_FILE")
    assert not (place.home / "root.secret").exists()
    place.run("doctor", KEYTURN_ROOT_SECRET_FILE="root.secret").done()


def test_an_unfinished_database_is_finished_from_another_folder(
    build_place: Callable[[str], Place],
) -> None:
    """A container without a disk of its own, killed after the tables were made."""
    place = build_place("postgresql")
    place.run("init").done()
    with place.database() as ask:
        ask("DELETE FROM installation")
        for table in ("activity", "changes", "change_head", "operators", "workspaces"):
            ask(f"DELETE FROM {table}")
    place.run("migrate").refused("The database has no installation.", "keyturn init")
    place.settings["KEYTURN_HOME"] = str(place.folder / "another")
    place.run("init").done()
    assert place.serve().call("GET", "/v1/self", place.token)[0] == 200


def test_a_root_secret_that_is_there_already_is_used(place: Place) -> None:
    place.run("init", KEYTURN_HOME="first").done()
    secret = place.folder / "first" / "root.secret"
    before = secret.read_bytes()
    place.run("init", KEYTURN_ROOT_SECRET_FILE=str(secret)).done()
    assert secret.read_bytes() == before
    assert not (place.home / "root.secret").exists()
    place.run("doctor", KEYTURN_ROOT_SECRET_FILE=str(secret)).done()


def test_a_folder_may_be_called_anything(place: Place) -> None:
    place.settings["KEYTURN_HOME"] = str(place.folder / "50% of what? #1 & more")
    place.run("init").done()
    assert place.serve().call("GET", "/v1/self", place.token)[0] == 200
