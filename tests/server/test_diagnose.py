"""What a database said of itself, turned into a sentence and a way out, with no secret in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.domain.error import StorageUnavailable
from keyturn.server.diagnose import database_fault
from keyturn.server.settings import load_settings

SQLITE = load_settings({}, Path("/nowhere"), default_environment="test")[0]
POSTGRESQL = replace(SQLITE, database_url="postgresql://u:hunter2@h/d")
PREFIX = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("file is not a database", "restore a backup"),
        ("database disk image is malformed", "restore a backup"),
        ("database is locked", "Another program holds it"),
        ("attempt to write a readonly database", "not read-only"),
        ("unable to open database file", "may write the file and its folder"),
        ("database or disk is full", "room on the disk"),
        ("disk I/O error", "room on the disk"),
        ("something new", "may write the file"),
        ("", "may write the file"),
    ],
)
def test_sqlite_says_what_is_wrong_with_its_file(said: str, remedy: str) -> None:
    fault = database_fault(SQLITE, Exception(said))
    assert str(SQLITE.sqlite_path) in fault.detail
    assert said in fault.detail
    assert remedy in fault.remedy


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('password authentication failed for user "u"', "user and the password"),
        ('no pg_hba.conf entry for host "1.2.3.4"', "user and the password"),
        ('role "u" does not exist', "user and the password"),
        ('database "d" does not exist', "createdb"),
        ("sorry, too many clients already", "max_connections"),
        ("the database system is starting up", "Wait"),
        ("das ist etwas Neues", "log of the PostgreSQL server"),
    ],
)
def test_postgresql_refusals_are_told_apart(said: str, remedy: str) -> None:
    fault = database_fault(POSTGRESQL, Exception(f"{PREFIX}FATAL:  {said}\nand more"))
    assert fault.detail == f"PostgreSQL refused the connection ({said})."
    assert remedy in fault.remedy


@pytest.mark.parametrize(
    "said",
    [
        PREFIX + "Connection refused\n\tIs the server running?",
        'could not translate host name "h" to address',
        'invalid connection option "hunter2"',
        'invalid port number: "hunter2"',
        "connection timeout expired",
    ],
)
def test_what_a_driver_says_of_the_address_is_never_repeated(said: str) -> None:
    fault = database_fault(POSTGRESQL, Exception(said))
    assert fault.detail == "The database cannot be reached."
    assert "hunter2" not in fault.detail + fault.remedy


def test_the_cause_behind_the_cause_is_what_tells() -> None:
    error = StorageUnavailable("try again")
    error.__cause__ = ValueError(f"{PREFIX}FATAL:  the database system is starting up")
    assert "starting up" in database_fault(POSTGRESQL, error).detail


def test_what_an_impostor_says_cannot_forge_a_line_or_last_for_ever() -> None:
    fault = database_fault(POSTGRESQL, Exception("FATAL:  \x1b[2J\x07" + "x" * 10_000))
    assert "\x1b" not in fault.detail
    assert len(fault.detail) < 400
