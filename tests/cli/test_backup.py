"""`keyturn backup` and `keyturn restore`: all of it or nothing, and nothing revoked comes back
unasked."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert

from keyturn.cli.backup import _told
from keyturn.domain.channel import ChannelState
from keyturn.domain.delivery import Delivery, DeliveryState
from keyturn.domain.error import InstallationFault
from keyturn.domain.incident import IncidentState
from keyturn.domain.message import MessageState
from keyturn.domain.rotation import Rotation
from keyturn.server.backup import check
from keyturn.server.build import opened
from keyturn.server.settings import load_settings
from keyturn.storage.archive import (
    BATCH_BYTES,
    ArchiveReader,
    ArchiveWriter,
    Manifest,
    Section,
    Stamp,
)
from keyturn.storage.schema import metadata, nodes
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from tests.cli.conftest import ENGINES
from tests.cli.programs import PATIENCE_SECONDS, Place, Running, Server
from tests.servers.founded import Foundations

FILE = "keyturn.backup"
NODE = {
    column.name: "host" if column.name in ("id", "name", "version") else 1
    for column in nodes.columns
}
TABLES = tuple(sorted(metadata.tables))
UNICODE = {"team": "Zürich 東京 🔑", "quote": 'a"b\\c', "line": "a\nb\u2028c"}

Build = Callable[..., Place]
Keys = tuple[dict[str, Any], dict[str, Any]]
Work = Callable[[Place], Keys]


def rows(place: Place, table: str) -> list[tuple[Any, ...]]:
    columns = ", ".join(metadata.tables[table].columns.keys())
    with place.database() as ask:
        return sorted(
            (tuple(map(_plain, row)) for row in ask(f"SELECT {columns} FROM {table}")), key=repr
        )


def _plain(cell: object) -> object:
    return bytes(cell) if isinstance(cell, memoryview) else cell


def everything(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(place, table) for table in TABLES}


def verdict(server: Server, place: Place, token: str, caller: str | None = None) -> str:
    status, said = server.call(
        "POST", "/v1/verify", caller or place.token, {"api_key": token, "runtime": "batch"}
    )
    assert status == 200, said
    code = said["code"]
    assert isinstance(code, str)
    return code


def make_key(server: Server, place: Place, name: str, **members: object) -> dict[str, Any]:
    status, key = server.call("POST", "/v1/api-keys", place.token, {"name": name, **members})
    assert status == 201, key
    assert isinstance(key, dict)
    return key


def begin_work(place: Place) -> Keys:
    """Gives every table at least one row; a key that works and one that is revoked."""
    server = place.serve()
    status, alive = server.call(
        "POST",
        "/v1/api-keys",
        place.token,
        {"name": "scheduler-prod", "owner": "a@example.com", "metadata": UNICODE},
        {"Idempotency-Key": "once"},
    )
    assert status == 201
    dead = make_key(server, place, "worker-prod")
    assert verdict(server, place, alive["api_key"]) == "valid"
    assert server.call("DELETE", f"/v1/api-keys/{dead['id']}", place.token)[0] == 204
    assert server.stop().code == 0
    rotate(place, alive, dead)
    return alive, dead


@dataclass(frozen=True, slots=True)
class Worked:
    """An installation that has been worked on, to be copied, and the two keys of it."""

    home: Path
    database: str | None
    keys: Keys


@pytest.fixture(scope="module")
def worked(foundations: Foundations) -> Iterator[dict[str, Worked]]:
    made: dict[str, Worked] = {}
    yield made
    for one in made.values():
        foundations.drop(one.database)


@pytest.fixture
def work(
    worked: dict[str, Worked], foundations: Foundations, tmp_path_factory: pytest.TempPathFactory
) -> Work:
    """Makes a place one that `begin_work` worked on: once on each engine, then by copies."""
    url = "KEYTURN_DATABASE_URL"

    def do(place: Place) -> Keys:
        if place.engine not in worked:
            keys = begin_work(place)
            home = tmp_path_factory.mktemp("worked") / "home"
            database = foundations.copy(place.home, place.settings.get(url), home)
            worked[place.engine] = Worked(home, database, keys)
            return keys
        first = worked[place.engine]
        shutil.rmtree(place.home)
        mine = foundations.copy(first.home, first.database, place.home)
        if mine is not None:
            foundations.drop(place.settings[url])
            place.settings[url] = mine
        return first.keys

    return do


def rotate(place: Place, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Keeps a rotation, a finding, an incident, a waiver, a channel, a message, a destination and
    what went to it, as the store keeps them."""
    environ = place.environment({"KEYTURN_HOME": str(place.home)})
    settings, _ = load_settings(environ, place.folder, default_environment="production")
    home = UUID(old["workspace_id"])
    rotation = replace(
        making.rotation(1, workspace_id=home),
        old_key_id=UUID(old["id"]),
        new_key_id=UUID(new["id"]),
    )
    with opened(settings) as house:
        making.add_rotations(house.context.store, rotation)
        making.add_findings(house.context.store, making.finding(1, workspace_id=home))
        contained = making.contained(1, workspace_id=home)
        making.add_incident(
            house.context.store,
            making.incident(1, contained, workspace_id=home, state=IncidentState.CLOSED),
            contained,
        )
        making.add_waivers(house.context.store, making.waiver(1, workspace_id=home))
        making.add_channels(
            house.context.store,
            making.channel(1, workspace_id=home, state=ChannelState.PAUSED),
        )
        sent = replace(
            making.message(1, workspace_id=home), state=MessageState.SENT, ended_at=SOME_TIME
        )
        making.add_messages(house.context.store, sent)
        making.add_destinations(house.context.store, making.destination(1, workspace_id=home))
        making.add_deliveries(house.context.store, delivered(rotation))
        with house.context.store.record() as transaction:
            transaction.session.connection.execute(insert(nodes).values(NODE))


def delivered(rotation: Rotation) -> Delivery:
    return replace(
        making.delivery(
            1, workspace_id=rotation.workspace_id, state=DeliveryState.DELIVERED, token=None
        ),
        key_id=rotation.new_key_id,
        rotation_id=rotation.id,
        delivered_at=SOME_TIME,
    )


def beside(place: Place, build: Build, engine: str, *, heads: bool = True) -> Place:
    """An empty place with the root secret of another, and a copy of its signed heads."""
    other = build(engine)
    other.home.mkdir(mode=0o700)
    names = ["root.secret", "operator.token", *(["activity.heads"] if heads else [])]
    for name in names:
        shutil.copy2(place.home / name, other.home / name)
    return other


def is_empty(place: Place) -> bool:
    """Whether no installation is there: `init` makes one, or would."""
    if place.engine == "sqlite" and not (place.home / "keyturn.db").exists():
        return True
    with place.database() as ask:
        try:
            return ask("SELECT count(*) FROM installation") == [(0,)]
        except Exception as error:  # noqa: BLE001  (either engine's own: there is no such table)
            return "installation" in str(error)


# --- round trips -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ENGINES)
@pytest.mark.parametrize("second", ENGINES)
def test_what_is_restored_is_to_the_letter_what_was_backed_up(
    first: str, second: str, build_place: Build, work: Work
) -> None:
    """From each engine to each and back to the first: a new table that nothing fills here, or that
    a backup forgets, fails this. Of the nodes none is carried: they do not run on what is restored.
    """
    source = build_place(first, is_made=True)
    alive, dead = work(source)
    before = everything(source)
    assert [table for table in TABLES if not before[table]] == []
    said = source.run("backup", FILE).done().output
    assert "The root secret is not in it" in said

    other = beside(source, build_place, second)
    said = other.run("restore", str(source.folder / FILE)).done().output
    assert "Restored: 1 workspace, 1 operator, 2 slots, 2 keys" in said
    assert_carried(before, everything(other))
    assert other.run("activity", "verify").done().output.startswith("Sound: ")

    other.run("backup", FILE).done()
    back = beside(other, build_place, first)
    middle = everything(other)
    back.run("restore", str(other.folder / FILE)).done()
    assert_carried(middle, everything(back))
    server = back.serve()
    assert verdict(server, back, alive["api_key"]) == "valid"
    assert verdict(server, back, dead["api_key"]) == "revoked"
    status, key = server.call("GET", f"/v1/api-keys/{alive['id']}", back.token)
    assert (status, key["metadata"]) == (200, UNICODE)
    make_key(server, back, "after-prod")
    assert server.stop().code == 0
    assert back.run("activity", "verify").done().output.startswith("Sound: ")
    back.run("doctor").done()


def assert_carried(
    before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]]
) -> None:
    """All is there, and one entry more, the last, which tells of the restore."""
    for table in TABLES:
        if table == "activity":
            new = [row for row in after[table] if row not in before[table]]
            assert len(new) == 1
            assert "installation.restored" in new[0]
            assert len(after[table]) == len(before[table]) + 1
        elif table == "nodes":
            assert after[table] == []
        elif table != "change_head":
            assert after[table] == before[table], table


def test_a_backup_holds_no_token_and_no_secret(either: Place, work: Work) -> None:
    alive, _ = work(either)
    either.run("backup", FILE).done()
    file = either.folder / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = gzip.decompress(file.read_bytes()).decode("ascii")
    secret = json.loads((either.home / "root.secret").read_text())
    for hidden in (alive["api_key"], either.token, secret["root"], *secret["peppers"].values()):
        assert hidden not in text
        assert hidden.rpartition("_")[2][22:] not in text


def test_the_log_of_requests_can_be_left_out(either: Place, build_place: Build, work: Work) -> None:
    work(either)
    either.run("backup", "--without-requests", FILE).done()
    other = beside(either, build_place, "sqlite")
    assert "without requests" in other.run("restore", str(either.folder / FILE)).done().output
    assert rows(other, "requests") == []
    assert rows(other, "key_usage") == rows(either, "key_usage") != []
    assert other.run("activity", "verify").done().output.startswith("Sound: ")


def test_no_progress_is_shown_where_there_is_no_terminal(either: Place) -> None:
    assert either.run("backup", FILE).done().errors == ""


# --- an old backup -----------------------------------------------------------------------------


@pytest.fixture
def outdated(either: Place, build_place: Build) -> tuple[Place, Place, dict[str, Any], str]:
    """A key, a suspended key and an operator; a backup; then both are revoked. The place where it
    is to be restored has the signed heads."""
    server = either.serve()
    key = make_key(server, either, "scheduler-prod", owner="a@example.com")
    either.run("operators", "create", "--name", "Eve", "--output", "eve.token").done()
    eve = (either.folder / "eve.token").read_text().strip()
    either.run("backup", FILE).done()
    assert server.call("DELETE", f"/v1/api-keys/{key['id']}", either.token)[0] == 204
    listed = json.loads(either.run("operators", "list", "--json").done().output)
    [id_] = [one["id"] for one in listed if one["name"] == "Eve"]
    either.run("operators", "revoke", id_).done()
    assert server.stop().code == 0
    return either, beside(either, build_place, either.engine), key, eve


Outdated = tuple[Place, Place, dict[str, Any], str]


def test_a_restore_tells_which_destinations_nothing_is_delivered_to_before_they_are_proven(
    made: Place, build_place: Build
) -> None:
    server = made.serve()
    for name in ("local", "other"):
        body = {"name": name, "kind": "file", "config": {"path": name + "/{slot}"}}
        assert server.call("POST", "/v1/destinations", made.token, body)[0] == 201
    assert server.stop().code == 0
    made.run("backup", FILE).done()
    file = str(made.folder / FILE)
    said = beside(made, build_place, made.engine).run("restore", file).done().output
    assert "2 destinations to be proven again" in said
    assert "keyturn destinations prove NAME" in said
    third = beside(made, build_place, made.engine)
    done = json.loads(third.run("restore", "--json", file).done().output)
    assert done["destinations_to_prove"] == 2


def test_a_backup_that_the_log_went_on_from_is_refused(outdated: Outdated) -> None:
    source, other, _, _ = outdated
    heads = (other.home / "activity.heads").read_bytes()
    refused = other.run("restore", str(source.folder / FILE))
    refused.refused("2 entries would be lost", "would work again", "--suspend-keys")
    assert is_empty(other)
    assert (other.home / "activity.heads").read_bytes() == heads
    said = other.run("restore", "--check", str(source.folder / FILE)).done().output
    assert "2 entries would be lost" in said
    assert is_empty(other)


def test_with_suspended_keys_nothing_that_was_revoked_meanwhile_can_be_used(
    outdated: Outdated,
) -> None:
    source, other, key, eve = outdated
    said = other.run("restore", "--suspend-keys", str(source.folder / FILE)).done().output
    assert "Suspended keys: 1; revoked operators and gateway credentials: 2" in said
    assert "keyturn keys resume" in said
    other.run("operators", "create", "--name", "Ada", "--output", "ada.token").done()
    ada = (other.folder / "ada.token").read_text().strip()
    server = other.serve()
    assert verdict(server, other, key["api_key"], ada) == "suspended"
    for token in (eve, other.token):
        assert server.call("GET", "/v1/workspaces", token)[0] == 401
    assert server.call("POST", f"/v1/api-keys/{key['id']}/resume", ada)[0] == 200
    assert verdict(server, other, key["api_key"], ada) == "valid"
    assert server.stop().code == 0
    assert other.run("activity", "verify").done().output.startswith("Sound: ")


@pytest.mark.parametrize("is_served", [False, True], ids=["alone", "beside a server"])
def test_an_operator_that_was_revoked_by_a_command_does_not_come_back_unasked(
    is_served: bool, either: Place, build_place: Build
) -> None:
    """What no server signs, the command signs before it says that it is done."""
    server = either.serve() if is_served else None
    either.run("operators", "create", "--name", "Eve", "--output", "eve.token").done()
    either.run("backup", FILE).done()
    listed = json.loads(either.run("operators", "list", "--json").done().output)
    [id_] = [one["id"] for one in listed if one["name"] == "Eve"]
    either.run("operators", "revoke", id_).done()
    other = beside(either, build_place, either.engine)
    if server is not None:
        assert server.stop().code == 0
    other.run("restore", str(either.folder / FILE)).refused("1 entry would be lost")
    assert is_empty(other)
    assert either.run("activity", "verify").done().output.startswith("Sound: ")


@pytest.mark.parametrize("change", [("operators", "create"), ("pepper", "rotate")], ids=" ".join)
def test_each_changing_command_signs_the_head_before_it_ends(
    change: tuple[str, str], made: Place, build_place: Build
) -> None:
    made.run("backup", FILE).done()
    own = {"operators": ("--name", "Ada", "--output", "ada.token"), "pepper": ()}
    made.run(*change, *own[change[0]]).done()
    other = beside(made, build_place, "sqlite")
    other.run("restore", str(made.folder / FILE)).refused("would be lost")
    assert is_empty(other)


def test_a_head_that_cannot_be_signed_is_told_after_the_change(made: Place) -> None:
    (made.home / "activity.heads").unlink(missing_ok=True)
    (made.home / "activity.heads").mkdir()
    ended = made.run("operators", "create", "--name", "Ada", "--output", "ada.token")
    ended.refused("The change is made, but the head of the log is not signed", "make a backup")
    assert (made.folder / "ada.token").read_text().startswith("kt_operator_")


def test_an_accepted_loss_restores_it_as_it_was_and_both_histories_are_kept(
    outdated: Outdated,
) -> None:
    source, other, key, _ = outdated
    said = other.run("restore", "--accept-loss", str(source.folder / FILE)).done().output
    assert "2 entries of the log lost, as you chose" in said
    server = other.serve()
    assert verdict(server, other, key["api_key"]) == "valid"
    assert server.stop().code == 0
    [kept] = other.home.glob("activity.heads.*")
    assert str(kept) in said
    assert kept.read_bytes() == (source.home / "activity.heads").read_bytes()
    assert other.run("activity", "verify").done().output.startswith("Sound: ")
    other.run("doctor").done()
    contradicted = other.run("activity", "verify", "--heads", str(kept))
    assert contradicted.code == 1
    assert "whose head was signed" in contradicted.output or "cut off" in contradicted.output
    with other.database() as ask:
        [(told,)] = ask("SELECT metadata FROM activity WHERE action = 'installation.restored'")
    found = json.loads(told)
    assert (found["loss"], found["lost_entries"]) == ("later", 2)
    assert found["heads_kept_as"] == kept.name
    assert found["suspended_keys"] == 0


def test_without_signed_heads_it_says_that_nothing_can_be_told(
    either: Place, build_place: Build, work: Work
) -> None:
    work(either)
    either.run("backup", FILE).done()
    other = beside(either, build_place, "sqlite", heads=False)
    file = str(either.folder / FILE)
    other.run("restore", file).refused("There are no signed heads", "--heads")
    assert is_empty(other)
    heads = str(either.home / "activity.heads")
    other.run("restore", "--heads", heads, file).done()


def test_older_heads_do_not_vouch_for_a_later_backup(
    either: Place, build_place: Build, work: Work
) -> None:
    work(either)
    old = (either.home / "activity.heads").read_bytes()
    either.run("operators", "create", "--name", "Ada", "--output", "ada.token").done()
    either.run("backup", FILE).done()
    other = beside(either, build_place, "sqlite")
    (other.home / "activity.heads").write_bytes(old)
    other.run("restore", str(either.folder / FILE)).refused("cannot be told")
    assert is_empty(other)


def test_a_backup_of_a_history_that_was_given_up_is_refused(
    outdated: Outdated, build_place: Build
) -> None:
    """The old backup is restored and worked on; a backup of what it gave up is of another log."""
    source, other, _, _ = outdated
    source.run("backup", "later.backup").done()
    other.run("restore", "--accept-loss", str(source.folder / FILE)).done()
    server = other.serve()
    for name in ("a-prod", "b-prod", "c-prod"):
        make_key(server, other, name)
    assert server.stop().code == 0
    third = beside(other, build_place, "sqlite")
    file = str(source.folder / "later.backup")
    third.run("restore", file).refused("another way than this backup", "would be lost")
    assert is_empty(third)
    third.run("restore", "--accept-loss", file).done()
    assert third.run("activity", "verify").done().output.startswith("Sound: ")


# --- what is refused ---------------------------------------------------------------------------


def test_an_installation_is_never_restored_over(either: Place, work: Work) -> None:
    work(either)
    either.run("backup", FILE).done()
    before = everything(either)
    for choice in ((), ("--accept-loss",), ("--suspend-keys",)):
        either.run("restore", *choice, FILE).refused(
            "has an installation already", "nothing is deleted for you"
        )
    assert everything(either) == before


def test_nothing_is_restored_beside_a_server(either: Place) -> None:
    server = either.serve()
    either.run("backup", FILE).done()
    either.run("restore", FILE).refused("Another Keyturn")
    assert server.stop().code == 0


def test_a_root_secret_that_lacks_or_does_not_fit_is_told_with_the_one_that_is_needed(
    either: Place, build_place: Build, work: Work
) -> None:
    work(either)
    said = either.run("backup", FILE).done().output
    [needed] = re.findall(r"fingerprint (\w+)", said)
    file = str(either.folder / FILE)
    bare = build_place("sqlite")
    bare.run("restore", file).refused("There is no root secret", needed)
    assert not bare.home.exists()
    foreign = build_place("sqlite")
    foreign.run("init").done()
    (foreign.home / "keyturn.db").unlink()
    foreign.run("restore", file).refused("is not the one of this backup", needed)
    assert not (foreign.home / "keyturn.db").exists()


def test_nothing_is_written_over_unless_it_is_asked_for(either: Place) -> None:
    (either.folder / FILE).write_text("dear to somebody")
    either.run("backup", FILE).refused("There is something at", "--force")
    assert (either.folder / FILE).read_text() == "dear to somebody"
    either.run("backup", "--force", FILE).done()
    either.run("restore", "--check", FILE).done()
    either.run("backup", ".").refused("is a folder")


def test_where_it_cannot_be_written_there_is_none(made: Place) -> None:
    made.run("backup", "nowhere/x.backup").refused("cannot be written to", "there is none")
    made.run("backup", "/dev/full").refused("There is something at")


def test_a_full_disk_leaves_nothing(made: Place) -> None:
    """The limit on a file's size is what a full disk is: a write that is refused half-way."""
    fill(made, keys=300, requests=3_000)
    before = sorted(made.folder.iterdir())
    ended = limited(made, 40_000, "backup", FILE)
    assert ended.returncode == 1
    assert b"cannot be written to" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert sorted(made.folder.iterdir()) == before


def limited(place: Place, size_bytes: int, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size_bytes}, {size_bytes}));"
        "from keyturn.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=place.folder,
        env=place.environment({}),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )


def test_a_full_disk_leaves_a_database_that_can_be_restored_into(
    made: Place, build_place: Build
) -> None:
    fill(made, keys=300, requests=3_000)
    made.run("backup", FILE).done()
    other = beside(made, build_place, "sqlite")
    file = str(made.folder / FILE)
    ended = limited(other, 200_000, "restore", file)
    assert ended.returncode == 1
    assert b"cannot be used as a database" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert is_empty(other)
    assert list(other.home.glob("keyturn.db*")) in ([], [other.home / "keyturn.db.lock"])
    other.run("restore", file).done()


# --- the file ----------------------------------------------------------------------------------


def _foreign(raw: bytes) -> bytes:
    return b"PK\x03\x04 not ours"


def _edited(raw: bytes) -> bytes:
    return gzip.compress(gzip.decompress(raw).replace(b'"active"', b'"suspen"', 1))


def _without_a_row(raw: bytes) -> bytes:
    lines = gzip.decompress(raw).splitlines(keepends=True)
    [at] = [n for n, line in enumerate(lines) if line.startswith(b'{"table":"changes"')]
    return gzip.compress(b"".join(lines[: at + 1] + lines[at + 2 :]))


def _without_the_end(raw: bytes) -> bytes:
    return gzip.compress(b"".join(gzip.decompress(raw).splitlines(keepends=True)[:-1]))


def _with_more(raw: bytes) -> bytes:
    return gzip.compress(gzip.decompress(raw) + b"{}\n")


def _newer_format(raw: bytes) -> bytes:
    return gzip.compress(gzip.decompress(raw).replace(b'"version":1', b'"version":2', 1))


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is no backup of Keyturn"),
    "foreign": (_foreign, "is no backup of Keyturn"),
    "foreign gzip": (lambda _: gzip.compress(b"{}\n"), "is no backup of Keyturn"),
    "deep": (lambda _: gzip.compress(b"[" * 100_000), "is no backup of Keyturn"),
    "a bomb": (lambda _: gzip.compress(bytes(40_000_000)), "is no backup of Keyturn"),
    "cut in half": (lambda raw: raw[: len(raw) // 2], "was cut off"),
    "cut at its end": (lambda raw: raw[:-4], "was cut off"),
    "a bit turned": (lambda raw: raw[:-6] + bytes([raw[-6] ^ 1]) + raw[-5:], "is damaged"),
    "edited": (_edited, "was edited"),
    "a row taken out": (_without_a_row, "was edited"),
    "the end taken off": (_without_the_end, "was cut off"),
    "something after it": (_with_more, "was edited"),
    "of a newer format": (_newer_format, "was made by a newer Keyturn"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_file_that_is_not_what_was_written_is_one_sentence(
    kind: str, made: Place, work: Work
) -> None:
    work(made)
    made.run("backup", FILE).done()
    spoil, sentence = SPOILED[kind]
    (made.folder / "spoiled").write_bytes(spoil((made.folder / FILE).read_bytes()))
    (made.home / "keyturn.db").rename(made.folder / "away.db")
    for arguments in (("--check",), ("--accept-loss",)):
        ended = made.run("restore", *arguments, "spoiled").refused(sentence)
        assert len(ended.errors.splitlines()) == 2
    assert is_empty(made)


def forged(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Edited by somebody who knows the format, and has not the root secret."""
    lines = change(gzip.decompress(raw)).splitlines(keepends=True)
    ending = json.loads(lines[-1])
    ending["sha256"] = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    lines[-1] = json.dumps(ending).encode() + b"\n"
    return gzip.compress(b"".join(lines))


def test_a_forged_file_is_refused_by_whom_has_the_root_secret(made: Place, work: Work) -> None:
    work(made)
    made.run("backup", FILE).done()
    raw = (made.folder / FILE).read_bytes()
    (made.folder / "forged").write_bytes(
        forged(raw, lambda text: text.replace(b"first operator", b"sixth operator"))
    )
    (made.home / "keyturn.db").rename(made.folder / "away.db")
    for arguments in (("--check",), ("--accept-loss",)):
        made.run("restore", *arguments, "forged").refused("was edited after it was made")
    assert is_empty(made)
    away = made.folder / "away"
    away.mkdir()
    (made.home / "root.secret").rename(away / "root.secret")
    said = made.run("restore", "--check", "forged").done().output
    assert "Whether somebody edited it cannot be told without its root secret" in said


HOSTILE: tuple[object, ...] = (
    *(
        10**30,
        -1,
        2**63,
        1.5,
        True,
        None,
        "",
        "\x1b]0;x\x07",
        "a\nb",
        "\ud800",
        [],
        ["\x1b[2J"],
        {},
    ),
    *({"a": 1}, {"1": "\x1b[2J"}, [1], [[]]),
)


def test_no_member_of_a_forged_file_ends_in_a_stack_or_drives_the_terminal(
    made: Place, work: Work
) -> None:
    """With the root secret and without it: what it says is never shown as it came."""
    work(made)
    made.run("backup", FILE).done()
    raw = (made.folder / FILE).read_bytes()
    lines = gzip.decompress(raw).splitlines(keepends=True)
    at_activity = next(n for n, line in enumerate(lines) if line.startswith(b'{"table":"activity"'))
    random = Random(7)
    cases = [(line, name) for line in (0, at_activity, -2, -1) for name in json.loads(lines[line])]
    for line, name in cases:
        for hostile in random.sample(HOSTILE, 4) + ([10**30] if name == "made_at" else []):
            spoiled = list(lines)
            spoiled[line] = json.dumps(json.loads(lines[line]) | {name: hostile}).encode() + b"\n"
            whole = gzip.compress(b"".join(spoiled))
            if line != -1:
                whole = forged(whole, lambda text: text)
            (made.folder / "hostile").write_bytes(whole)
            for said in weigh_in_process(made, "hostile"):
                assert "\x1b" not in said, (line, name, hostile)


def weigh_in_process(place: Place, file: str) -> tuple[str, str]:
    """What `--check` says in this process, with the root secret and without it."""
    said = []
    for secret in ("root.secret", "none"):
        settings, _ = load_settings(
            place.environment({"KEYTURN_ROOT_SECRET_FILE": str(place.home / secret)}),
            place.folder,
            default_environment="production",
        )
        try:
            checked = check(settings, place.folder / file, None, None)
        except InstallationFault as error:
            said.append(error.detail)
        else:
            assert checked.is_genuine is None
            said.append(_told(checked.weighed.manifest, checked.weighed.summary))
    return said[0], said[1]


def test_faults_that_nobody_vouches_for_are_not_shown(made: Place, work: Work) -> None:
    work(made)
    made.run("backup", FILE).done()
    raw = (made.folder / FILE).read_bytes()
    told = b'"faults":1,"first_faults":["\\u001b]0;owned\\u0007 Call 0900"]'
    text = gzip.decompress(raw).replace(b'"faults":0,"first_faults":[]', told)
    (made.folder / "forged").write_bytes(forged(raw, lambda _: text))
    (made.home / "root.secret").rename(made.folder / "root.secret")
    ended = made.run("restore", "--check", "forged").done()
    assert "cannot be told without its root secret" in ended.output
    assert "Call 0900" not in ended.all
    assert "\x1b" not in ended.all


def test_rows_are_held_by_bytes_as_well_as_by_number() -> None:
    file = io.BytesIO()
    section = Section("t", ("a",))
    writer = ArchiveWriter(file, MANIFEST)
    writer.begin(section)
    for _ in range(40):
        assert writer.row(("x" * 1_000_000,))
    writer.finish((), 0, Stamp(bytes(32)))
    file.seek(0)
    reader = ArchiveReader(file, "it")
    sizes = [sum(len(str(row[0])) for row in batch) for _, batch in reader.batches()]
    assert sum(sizes) == 40_000_000
    assert max(sizes) <= BATCH_BYTES + 1_000_000


MANIFEST = Manifest(
    keyturn="1",
    engine="sqlite",
    revision="1",
    made_at=1,
    installation_id="1",
    brand="kt",
    root_fingerprint="1",
    pepper_fingerprints={},
    left_out=(),
    position=0,
    activity_number=0,
    activity_hash="",
)


def test_a_draft_that_is_a_finished_backup_too_is_not_written_over(made: Place) -> None:
    """As a kill between its two names leaves it."""
    made.run("backup", FILE).done()
    whole = (made.folder / FILE).read_bytes()
    (made.folder / "kept").hardlink_to(made.folder / FILE)
    (made.folder / f".{FILE}.draft").hardlink_to(made.folder / FILE)
    made.run("backup", "--force", FILE).done()
    assert (made.folder / "kept").read_bytes() == whole
    assert not (made.folder / f".{FILE}.draft").exists()
    made.run("restore", "--check", FILE).done()


@pytest.mark.parametrize("kind", ["a link", "a pipe", "another's"])
def test_a_draft_that_somebody_prepared_is_not_taken(kind: str, made: Place) -> None:
    draft = made.folder / f".{FILE}.draft"
    if kind == "a link":
        draft.symlink_to(made.folder / "elsewhere")
    elif kind == "a pipe":
        os.mkfifo(draft)
    elif os.geteuid():
        pytest.skip("only an administrator makes a file another's")
    else:
        draft.touch()
        os.chown(draft, 65534, 65534)
    made.run("backup", FILE).done()
    found = (made.folder / FILE).lstat()
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o600)
    assert not (made.folder / "elsewhere").exists()


def test_both_commands_tell_programs_what_they_did(outdated: Outdated) -> None:
    source, other, _, _ = outdated
    file = str(source.folder / "json.backup")
    made = json.loads(source.run("backup", "--json", file).done().output)
    assert (made["file"], made["bytes"]) == (file, Path(file).stat().st_size)
    assert (made["counts"]["operators"], made["loss"]) == (2, None)
    old = str(source.folder / FILE)
    told = json.loads(other.run("restore", "--check", "--json", old).done().output)
    assert (told["loss"], told["lost_entries"], told["genuine"]) == ("later", 2, True)
    done = json.loads(other.run("restore", "--suspend-keys", "--json", old).done().output)
    assert (done["suspended_keys"], done["revoked_operators"]) == (1, 2)
    assert Path(done["heads_kept_as"]).is_file()
    assert made.keys() == told.keys() == done.keys()


@pytest.mark.parametrize("first", ["--accept-loss", "--suspend-keys"])
def test_a_repeated_restore_with_another_choice_is_refused(first: str, outdated: Outdated) -> None:
    source, other, _, _ = outdated
    file = str(source.folder / FILE)
    other.run("restore", first, file).done()
    before = everything(other)
    for choice in {"--accept-loss", "--suspend-keys"} - {first}:
        other.run("restore", choice, file).refused(f"restored already, with {first}", choice)
    other.run("restore", file).refused("restored already", "without a choice")
    assert everything(other) == before
    assert "restored already" in other.run("restore", first, file).done().output


def test_a_backup_of_a_newer_revision_says_the_way_out(made: Place, work: Work) -> None:
    work(made)
    made.run("backup", FILE).done()
    raw = (made.folder / FILE).read_bytes()
    newer = re.sub(rb'"revision":"\w+"', b'"revision":"9999"', gzip.decompress(raw), count=1)
    (made.folder / "newer").write_bytes(forged(raw, lambda _: newer))
    made.run("restore", "newer").refused("made by a newer Keyturn", "Install that version")


# --- damage ------------------------------------------------------------------------------------

DAMAGE = {
    "an edited name": "UPDATE keys SET name = 'Eve' WHERE id = ?",
    "a text that is none": "UPDATE keys SET name = CAST(x'fffe' AS TEXT) WHERE id = ?",
    "a text that ends early": "UPDATE keys SET name = 'a' || char(0) || 'b' WHERE id = ?",
    "a text for a number": "UPDATE keys SET created_at = 'never' WHERE id = ?",
    "a fraction": "UPDATE keys SET created_at = 1.5 WHERE id = ?",
    "a number for a digest": "UPDATE keys SET digest = 7 WHERE id = ?",
    "a number too large": "UPDATE keys SET compromised = 1099511627776 WHERE id = ?",
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("target", ENGINES)
def test_a_damaged_key_is_carried_and_stays_denied(
    kind: str, target: str, made: Place, build_place: Build, work: Work
) -> None:
    alive, _ = work(made)
    with made.database() as ask:
        ask(DAMAGE[kind], alive["id"])
    backed_up = made.run("backup", FILE).done()
    assert f"key {alive['id']} was changed from outside" in backed_up.errors
    other = beside(made, build_place, target)
    restored = other.run("restore", str(made.folder / FILE)).done()
    assert "1 fault in the database when it was backed up" in restored.errors
    server = other.serve()
    assert verdict(server, other, alive["api_key"]) == "unknown"
    assert server.call("DELETE", f"/v1/api-keys/{alive['id']}", other.token)[0] == 204
    assert server.stop().code == 0


@pytest.mark.parametrize("target", ENGINES)
def test_a_row_that_no_table_takes_is_left_out_and_stays_denied(
    target: str, made: Place, build_place: Build, work: Work
) -> None:
    alive, dead = work(made)
    with made.database() as ask:
        ask("PRAGMA ignore_check_constraints=ON")
        ask("UPDATE keys SET status = 'active' WHERE id = ?", dead["id"])
    made.run("backup", FILE).done()
    other = beside(made, build_place, target)
    said = other.run("restore", str(made.folder / FILE)).done().output
    assert "1 row that no table takes, left out" in said
    assert dead["id"] in said
    server = other.serve()
    assert verdict(server, other, dead["api_key"]) == "unknown"
    assert verdict(server, other, alive["api_key"]) == "valid"
    assert server.stop().code == 0


# --- under load, and killed --------------------------------------------------------------------


def fill(place: Place, *, keys: int, requests: int) -> None:
    """Requests, and keys without seals (which are damage), behind the back of one on SQLite."""
    columns = metadata.tables["keys"].columns
    values = {name: "NULL" if column.nullable else "''" for name, column in columns.items()} | {
        "id": "'key-' || i",
        "status": "'active'",
        "compromised": "0",
        "digest": "x'00'",
        "mac": "x'00'",
        "created_at": "1",
        "updated_at": "1",
        "version": "1",
        "metadata": "hex(randomblob(200))",
    }
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
    with place.database() as ask:
        ask(
            f"INSERT INTO keys ({', '.join(values)}) {count}"
            f"SELECT {', '.join(values.values())} FROM n",
            keys,
        )
        ask(
            "INSERT INTO requests"
            " (id, request_id, at, valid, code, runtime, declared, scopes, user_agent)"
            f" {count} SELECT 'request-' || i, 'r', i, 1, 'valid', 'batch', 1, '[]',"
            " hex(randomblob(100)) FROM n",
            requests,
        )


def test_a_backup_under_a_storm_of_changes_is_one_moment_of_it(
    either: Place, build_place: Build
) -> None:
    server = either.serve()
    token, begun, ended = either.token, threading.Event(), threading.Event()
    failures: list[object] = []

    def storm(number: int) -> None:
        count = 0
        while not ended.is_set():
            count += 1
            name = f"storm{number}-prod"
            status, key = server.call("POST", "/v1/api-keys", token, {"name": name})
            done = server.call("DELETE", f"/v1/api-keys/{key['id']}", token)[0]
            if (status, done) != (201, 204):
                failures.append((status, done))
            begun.set()

    threads = [threading.Thread(target=storm, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert begun.wait(30)
        for name in ("1.backup", "2.backup"):
            either.run("backup", name).done()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert server.stop().code == 0
    for name in ("1.backup", "2.backup"):
        other = beside(either, build_place, "sqlite")
        other.run("restore", "--accept-loss", str(either.folder / name)).done()
        assert other.run("activity", "verify").done().output.startswith("Sound: ")
        with other.database() as ask:
            [(alive,)] = ask("SELECT count(*) FROM keys WHERE status = 'active'")
            [(told,)] = ask("SELECT count(*) FROM activity WHERE action = 'api_key.created'")
            [(there,)] = ask("SELECT count(*) FROM keys")
        assert there == told > 0
        assert alive <= len(threads)


def test_a_killed_backup_leaves_no_file_of_its_name_and_can_be_repeated(made: Place) -> None:
    fill(made, keys=500, requests=30_000)
    draft = made.folder / f".{FILE}.draft"
    for size in (0, 300_000, 1_500_000):
        begun = made.start("backup", FILE)
        await_that(partial(has_grown, draft, size), begun)
        begun.kill()
        assert not (made.folder / FILE).exists()
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    draft.unlink()  # so that what grows is of the one that writes now
    begun = made.start("backup", FILE)
    await_that(partial(has_grown, draft, 1), begun)
    begun.signal(signal.SIGSTOP)  # it goes on writing for as long as the other needs to begin
    made.run("backup", FILE).refused("Another process writes this file now")
    begun.signal(signal.SIGTERM)
    begun.signal(signal.SIGCONT)
    assert begun.wait().code == 130
    assert not draft.exists()
    made.run("backup", FILE).done()
    assert not draft.exists()
    made.run("restore", "--check", FILE).done()


def has_grown(file: Path, size_bytes: int) -> bool:
    return file.exists() and file.stat().st_size >= size_bytes


def await_that(is_so: Callable[[], bool], begun: Running) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert begun.process.exitcode is None, begun.errors
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("target", ENGINES)
def test_a_restore_that_was_killed_can_be_repeated(
    target: str, made: Place, build_place: Build, work: Work
) -> None:
    alive, _ = work(made)
    fill(made, keys=100, requests=20_000)
    made.run("backup", FILE).done()
    other = beside(made, build_place, target)
    file = str(made.folder / FILE)
    killed = 0
    for delay in (0.2, 0.6, 1.2, 2.0):
        begun = other.start("restore", file)
        begun.process.join(delay)
        if begun.process.exitcode is None:
            begun.kill()
            killed += 1
        if not is_empty(other):
            break
    assert killed > 0
    other.run("restore", file).done()
    assert len(rows(other, "requests")) == len(rows(made, "requests"))
    server = other.serve()
    assert verdict(server, other, alive["api_key"]) == "valid"
    assert server.stop().code == 0


def test_a_restore_that_was_killed_before_the_heads_were_moved_is_finished_by_the_next(
    outdated: Outdated,
) -> None:
    source, other, _, _ = outdated
    heads = (other.home / "activity.heads").read_bytes()
    file = str(source.folder / FILE)
    other.run("restore", "--accept-loss", file).done()
    [kept] = other.home.glob("activity.heads.*")
    kept.unlink()
    (other.home / "activity.heads").write_bytes(heads)  # as a kill after the commit leaves it
    server = other.serve()
    assert server.call("POST", "/v1/api-keys", other.token, {"name": "a-prod"})[0] == 409
    assert server.stop().code == 0
    for _ in range(2):
        said = other.run("restore", "--accept-loss", file).done().output
        assert "restored already" in said
        assert kept.read_bytes() == heads
    server = other.serve()
    assert server.call("POST", "/v1/api-keys", other.token, {"name": "a-prod"})[0] == 201
    assert server.stop().code == 0
    other.run("restore", "--accept-loss", file).refused("has an installation already")


@pytest.mark.parametrize("target", ENGINES)
def test_memory_does_not_grow_with_the_log_of_requests(
    target: str, made: Place, build_place: Build
) -> None:
    """A bound that the rows alone, held at once, would break: a peak for ten times as many rows
    that is hardly above the peak for few."""
    peaks: dict[int, list[int]] = {}
    other = beside(made, build_place, target, heads=False)
    for count in (1_000, 40_000):
        with made.database() as ask:
            ask("DELETE FROM requests")
            ask("DELETE FROM keys")
        fill(made, keys=10, requests=count)
        peaks[count] = [peak(made, "backup", "--force", FILE)]
        place = other if count > 1_000 else beside(made, build_place, target, heads=False)
        file = str(made.folder / FILE)
        peaks[count].append(peak(place, "restore", "--accept-loss", file))
    for few, many in zip(peaks[1_000], peaks[40_000], strict=True):
        assert many < few + 20_000, peaks


def peak(place: Place, *arguments: str) -> int:
    """The largest memory that the command had, in KiB."""
    program = (
        "import resource, sys; from keyturn.cli.main import run; code = run();"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=place.folder,
        env=place.environment({}),
        capture_output=True,
        timeout=PATIENCE_SECONDS * 3,
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[-1])
