"""`keyturn activity verify`: whoever touched the log behind Keyturn's back is found."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.programs import Place


@pytest.fixture
def worked(either: Place) -> Place:
    """An installation with some history, its heads signed, and its server at an end."""
    server = either.serve()
    keys = [
        server.call("POST", "/v1/api-keys", either.token, {"name": name})[1]
        for name in ("worker-prod", "scheduler-prod")
    ]
    server.call("DELETE", f"/v1/api-keys/{keys[1]['id']}", either.token)
    assert server.stop().code == 0
    return either


def heads(place: Place) -> list[str]:
    return (place.home / "activity.heads").read_text().splitlines()


def test_a_sound_log_is_attested(worked: Place) -> None:
    said = worked.run("activity", "verify").done().output
    assert said.startswith("Sound: ")
    found = json.loads(worked.run("activity", "verify", "--json").done().output)
    assert found["sound"] is True
    assert found["faults"] == []
    assert found["entries"] >= 8
    assert found["signed_heads"] == len(heads(worked)) > 0
    assert len(found["public_key"]) == 44


def test_it_may_run_beside_a_server_that_goes_on_writing(either: Place) -> None:
    server = either.serve()
    begun = either.start("activity", "verify")
    while begun.process.exitcode is None:
        assert server.call("POST", "/v1/api-keys", either.token, {"name": "a-prod"})[0] == 201
        begun.process.join(0)
    assert begun.wait().done().output.startswith("Sound: ")


def test_without_heads_it_says_what_it_cannot_tell(made: Place) -> None:
    said = made.run("activity", "verify").done().output
    assert "No signed heads in" in said
    assert "keep a copy elsewhere" in said


TAMPERING = {
    "an entry edited": "UPDATE activity SET message = 'nothing happened' WHERE number = 4",
    "an entry given another actor": "UPDATE activity SET actor_label = 'Eve' WHERE number = 4",
    "an entry removed": "DELETE FROM activity WHERE number = 5",
    "the last entry removed": "DELETE FROM activity WHERE number ="
    " (SELECT max(number) FROM activity)",
    "two entries swapped": "UPDATE activity SET number = -number WHERE number IN (4, 5)",
    "an entry's content blanked": "UPDATE activity SET action = NULL, message = NULL"
    " WHERE number = 4",
    "a change removed": "DELETE FROM changes WHERE position = 3",
    "a change edited": "UPDATE changes SET version = version + 1 WHERE position = 3",
    "the head set back": "UPDATE change_head SET activity_number = activity_number - 1",
    "the head removed": "DELETE FROM change_head",
}


@pytest.mark.parametrize("kind", TAMPERING)
def test_each_kind_of_tampering_is_found(kind: str, worked: Place) -> None:
    with worked.database() as ask:
        try:
            ask(TAMPERING[kind])
        except Exception as error:  # noqa: BLE001  (an engine that refuses has no need of a check)
            pytest.skip(f"the database itself refuses this: {type(error).__name__}")
    verified = worked.run("activity", "verify")
    assert verified.code == 1, verified.all
    assert "FAULT  " in verified.output
    assert "NOT SOUND" in verified.output
    found = json.loads(worked.run("activity", "verify", "--json").output)
    assert found["sound"] is False
    assert found["faults"]


def older_copy(place: Place, folder: Path) -> Callable[[], None]:
    """Keeps the whole database as it is now; what it gives puts it back."""
    kept = folder / "kept.db"
    with sqlite3.connect(place.home / "keyturn.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copyfile(place.home / "keyturn.db", kept)
    return lambda: Path(shutil.copyfile(kept, place.home / "keyturn.db")).chmod(0o600)


def test_a_genuine_older_database_is_found_by_the_heads_that_were_signed(
    made: Place, tmp_path: Path
) -> None:
    restore = older_copy(made, tmp_path)
    server = made.serve()
    server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})
    assert server.stop().code == 0
    restore()
    verified = made.run("activity", "verify")
    assert verified.code == 1
    assert "its end was cut off, or an old copy was restored" in verified.output
    doctor = made.run("doctor")
    assert doctor.code == 1
    assert "An old copy was restored, or the end was cut off" in doctor.output


def test_a_copy_of_the_heads_from_elsewhere_finds_what_the_file_here_does_not_tell(
    made: Place, tmp_path: Path
) -> None:
    restore = older_copy(made, tmp_path)
    server = made.serve()
    server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})
    assert server.stop().code == 0
    elsewhere = Path(shutil.copyfile(made.home / "activity.heads", tmp_path / "copy.heads"))
    restore()
    (made.home / "activity.heads").unlink()
    assert "No signed heads" in made.run("activity", "verify").done().output
    verified = made.run("activity", "verify", "--heads", str(elsewhere))
    assert verified.code == 1
    assert "its end was cut off" in verified.output


def test_a_history_written_anew_over_an_old_copy_is_found(made: Place, tmp_path: Path) -> None:
    """Somebody restores an old copy, takes the signed heads away, and lets it be written on. A copy
    of the heads that he could not reach tells of both histories."""
    restore = older_copy(made, tmp_path)
    kept = tmp_path / "copy.heads"
    for name in ("worker-prod", "scheduler-prod"):
        server = made.serve()
        assert server.call("POST", "/v1/api-keys", made.token, {"name": name})[0] == 201
        assert server.stop().code == 0
        with kept.open("a") as copy:
            copy.write((made.home / "activity.heads").read_text())
        if name == "worker-prod":
            restore()
            (made.home / "activity.heads").unlink()
    made.run("activity", "verify").done()
    verified = made.run("activity", "verify", "--heads", str(kept))
    assert verified.code == 1
    assert "Two different heads" in verified.output


def test_a_restored_copy_is_not_written_on_until_its_heads_are_moved_aside(
    made: Place, tmp_path: Path
) -> None:
    restore = older_copy(made, tmp_path)
    server = made.serve()
    server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})
    assert server.stop().code == 0
    restore()
    server = made.serve()
    status, refused = server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})
    assert (status, refused["code"]) == (409, "integrity.failed")
    assert "move the file of signed heads aside and start again" in refused["detail"]
    assert server.stop().code == 0
    (made.home / "activity.heads").rename(tmp_path / "activity.heads")
    server = made.serve()
    assert server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})[0] == 201


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("not a head\n", "Line 1 of the file of heads is not signed"),
        ("[" * 100_000 + "\n", "Line 1 of the file of heads is not signed"),
        ("\udcff\udcfe\n", "Line 1 of the file of heads is not signed"),
    ],
)
def test_a_line_that_we_did_not_sign_is_found(
    text: str, sentence: str, made: Place, tmp_path: Path
) -> None:
    file = tmp_path / "copy.heads"
    file.write_text(text, errors="surrogateescape")
    verified = made.run("activity", "verify", "--heads", str(file))
    assert verified.code == 1
    assert sentence in verified.output


def test_what_a_crash_left_of_a_line_is_passed_over(made: Place) -> None:
    assert made.serve().stop().code == 0
    with (made.home / "activity.heads").open("a") as file:
        file.write('{"number": 3, "ha')
    server = made.serve()
    assert server.call("POST", "/v1/api-keys", made.token, {"name": "worker-prod"})[0] == 201
    assert server.stop().code == 0
    found = json.loads(made.run("activity", "verify", "--json").done().output)
    assert found["signed_heads"] == 2


def test_heads_of_another_installation_are_found(made: Place) -> None:
    server = made.serve()
    assert server.stop().code == 0
    lines = heads(made)
    made.run("init", KEYTURN_HOME="other").done()
    (made.folder / "lines").write_text("\n".join(lines))
    verified = made.run("activity", "verify", "--heads", "lines", KEYTURN_HOME="other")
    assert verified.code == 1
    assert "is not signed by this installation" in verified.output


def test_heads_that_cannot_be_read_are_named(made: Place) -> None:
    made.run("activity", "verify", "--heads", "nowhere").refused("nowhere", code=2)
    made.run("activity", "verify", "--heads", ".").refused("is a directory", code=2)
    (made.home / "activity.heads").mkdir()
    made.run("activity", "verify").refused("activity.heads cannot be used (Is a directory)")
    assert "activity.heads: Is a directory." in made.run("doctor").output
