"""A new token leaves by one way only, and what nobody can hold is taken back."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.cli.calling import (
    House,
    Terminal,
    answer,
    answering,
    house_in,
    in_shell,
    place_at,
    terminal,
)
from tests.cli.programs import Place

TOKEN = "kt_"


def revoked(house: House) -> list[str]:
    return house.names("revoked")


def is_valid(house: House, token: str) -> bool:
    return bool(house.ask("POST", "/v1/verify", {"api_key": token})["valid"])


def told_in(text: str) -> str:
    """The token in what was shown. Asserts nothing that would show it."""
    (token,) = (word.strip('",') for word in text.split() if word.strip('",').startswith(TOKEN))
    return token


CREATIONS = {
    "keys": ("keys", "create", "worker-prod"),
    "workspaces": ("workspaces", "create", "acme"),
    "operators": ("operators", "create", "--name", "Ada"),
}


@pytest.mark.parametrize("noun", CREATIONS)
@pytest.mark.parametrize("streams", ['| cat; exit "$(cat code)"', ">&-", "> out"])
def test_without_a_terminal_nothing_is_made_until_it_is_said_where_the_token_goes(
    noun: str, streams: str, house: House
) -> None:
    position = house.ask("GET", "/v1/activity-logs?limit=1")["items"][0]["id"]
    words = " ".join(CREATIONS[noun])
    line = f'{{ "$@" {words}; echo $? > code; }} {streams}'
    if "code" not in streams:
        line = f'"$@" {words} {streams}'
    ended = in_shell(house.place, line)
    assert ended.returncode == 2
    assert "say where the token goes with --output FILE" in ended.stderr
    assert house.ask("GET", "/v1/activity-logs?limit=1")["items"][0]["id"] == position


@pytest.mark.parametrize("columns", [40, 120])
def test_on_a_terminal_it_is_shown_whole_and_works(columns: int, house: House) -> None:
    with terminal(house.place, "keys", "create", "seen-prod", columns=columns) as shown:
        code, text = shown.end()
    assert code == 0
    assert is_valid(house, told_in(text))
    assert "shown this once" in text


def test_it_goes_into_a_private_file_and_nowhere_else(house: House) -> None:
    os.umask(0)
    try:
        done = house.run("keys", "create", "filed-prod", "--output", "filed.token").done()
    finally:
        os.umask(0o022)
    file = house.place.folder / "filed.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert is_valid(house, file.read_text().strip())
    assert TOKEN not in done.all
    assert done.output.endswith("Its token is in filed.token\n")


def test_piped_it_stands_alone_and_the_rest_on_standard_error(house: House) -> None:
    done = house.run("keys", "create", "piped-prod", "--output", "-").done()
    assert is_valid(house, done.output.removesuffix("\n"))
    assert done.errors.startswith("Made piped-prod, id ")
    quiet = house.run("keys", "create", "piped-prod", "--output", "-", "--quiet").done()
    assert is_valid(house, quiet.output.removesuffix("\n"))
    assert quiet.errors == ""
    told = json.loads(house.run("keys", "create", "piped-prod", "-o", "-", "--json").done().output)
    assert is_valid(house, told["api_key"])
    assert told["created_at"].endswith("Z")


@pytest.mark.parametrize("options", ["", "--json", "--quiet"])
@pytest.mark.parametrize("stream", ["/dev/full", "a reader that has gone"])
def test_a_token_that_standard_output_does_not_take_is_revoked_again(
    stream: str, options: str, house: House
) -> None:
    before = len(revoked(house))
    words = ("keys", "create", "lost-prod", "--output", "-", *options.split())
    if stream == "/dev/full":
        with Path(stream).open("wb") as full:
            ended = house.place.execute(*words, stdout=full)
    else:
        read, write = os.pipe()
        os.close(read)
        ended = house.place.execute(*words, stdout=write)
        os.close(write)
    assert ended.returncode == 1
    said = ended.stderr.decode()
    assert "cannot be written to standard output" in said
    assert "the key was revoked again" in said
    assert "--output FILE" in said
    assert "Exception ignored" not in said
    assert len(revoked(house)) == before + 1
    assert "lost-prod" not in house.names()


def test_a_workspace_whose_token_is_lost_is_suspended(place: Place) -> None:
    place.run("init").done()
    with house_in(place) as house, Path("/dev/full").open("wb") as full:
        ended = place.execute("workspaces", "create", "acme", "-o", "-", stdout=full)
        assert ended.returncode == 1
        assert b"was suspended." in ended.stderr
        statuses = {one["name"]: one["status"] for one in house.ask("GET", "/v1/workspaces")}
    assert statuses["acme"] == "suspended"


def test_a_terminal_that_is_gone_takes_no_token_along(house: House, tmp_path: Path) -> None:
    """It is closed while the call is on its way."""
    terminals: list[Terminal] = []
    create = ("keys", "create", "hung-prod")

    def hang_up() -> None:
        terminals[0].hang_up()

    way = Through(house, tmp_path, hang_up)
    with way as place, terminal(place, *create) as shown:
        terminals.append(shown)
        assert shown.process.wait(60) == 1
    assert "hung-prod" not in house.names()
    assert "hung-prod" in revoked(house)


class Through:
    """A way to the server on which something happens once a key is made and before it is told."""

    def __init__(self, house: House, folder: Path, before: Callable[[], object]) -> None:
        self._house = house
        self._folder = folder
        self._before = before
        self._is_done = False
        self._answering = answering(self._answer)

    def __enter__(self) -> Place:
        place = place_at(self._folder, self._answering.__enter__(), "")
        place.settings["KEYTURN_API_KEY_FILE"] = str(self._house.place.home / "operator.token")
        return place

    def __exit__(self, *error: object) -> None:
        self._answering.__exit__(None, None, None)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        token = handler.headers["Authorization"].removeprefix("Bearer ")
        status, told = self._house.server.call(
            handler.command, handler.path, token, json.loads(body) if body else None
        )
        if handler.command == "POST" and not self._is_done:
            self._is_done = True
            self._before()
        del handler.headers["Content-Length"]
        content = json.dumps(told).encode() if status != 204 else b""
        answer(handler, status, "application/json", content)


@pytest.mark.parametrize("noun", CREATIONS)
def test_what_is_there_already_is_not_written_over(noun: str, house: House) -> None:
    there = house.place.folder / "there"
    there.write_text("mine")
    refused = house.run(*CREATIONS[noun], "--output", "there")
    refused.refused("something at there already", "another file with --output")
    assert there.read_text() == "mine"


@pytest.mark.parametrize("target", ["no/such/folder/x", "/dev/null/x", "a" * 255, "x/y"])
def test_a_file_that_cannot_be_is_refused_before_anything_is_made(
    target: str, house: House
) -> None:
    before = house.names()
    refused = house.run("keys", "create", "never-prod", "--output", target)
    refused.refused(f"cannot be written to {target} (", "nothing was made", "--output FILE")
    assert house.names() == before


def test_a_folder_that_goes_meanwhile_takes_no_token_along(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with Through(house, tmp_path, lambda: shutil.rmtree(folder)) as place:
        refused = place.run("keys", "create", "gone-prod", "-o", str(folder / "x"))
    refused.refused("cannot be written to", "the key was revoked again", "--output FILE")
    assert "gone-prod" not in house.names()
    assert "gone-prod" in revoked(house)


def test_a_file_that_comes_meanwhile_is_left_as_it_is(house: House, tmp_path: Path) -> None:
    file = tmp_path / "x"
    with Through(house, tmp_path, lambda: file.write_text("mine")) as place:
        refused = place.run("keys", "create", "late-prod", "-o", "x")
    refused.refused("cannot be written to x", "the key was revoked again")
    assert file.read_text() == "mine"
    assert not list(tmp_path.glob(".*.draft"))


def test_what_fails_after_the_token_is_in_its_file_takes_nothing_back(house: House) -> None:
    with Path("/dev/full").open("wb") as full:
        words = ("keys", "create", "kept-prod", "-o", "kept.token")
        ended = house.place.execute(*words, stdout=full)
    assert ended.returncode == 1
    assert b"Standard output cannot be used" in ended.stderr
    assert is_valid(house, (house.place.folder / "kept.token").read_text().strip())


class Refusing(Through):
    refuses = False

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.refuses and handler.command == "DELETE":
            answer(handler, 502, "text/html", b"")
            return
        super()._answer(handler)


def test_a_key_that_cannot_be_taken_back_is_named(house: House, tmp_path: Path) -> None:
    """The server is gone by the time that the token has nowhere to go."""
    folder = tmp_path / "folder"
    folder.mkdir()
    way: list[Refusing] = []

    def go() -> None:
        shutil.rmtree(folder)
        way[0].refuses = True

    way.append(Refusing(house, tmp_path, go))
    with way[0] as place:
        refused = place.run("keys", "create", "orphan-prod", "-o", str(folder / "x"))
    refused.refused("the key lives and nobody has its token", "keys revoke", "--reason unused")
    assert "orphan-prod" in house.names()


def test_closed_streams_are_no_stack_trace_and_lose_no_key(house: House) -> None:
    for closed in ("<&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"):
        name = f"closed{len(closed)}-prod"
        ended = in_shell(house.place, f'"$@" keys create {name} -o {name}.token {closed}')
        assert ended.returncode == 0, ended.stderr
        assert is_valid(house, (house.place.folder / f"{name}.token").read_text().strip())
    piped = in_shell(house.place, '"$@" keys create piped-prod -o - >&-')
    assert piped.returncode == 2
    assert "Standard output is closed" in piped.stderr


def test_a_list_into_a_reader_that_has_enough_ends_quietly(house: House) -> None:
    read, write = os.pipe()
    os.close(read)
    ended: subprocess.CompletedProcess[bytes] = house.place.execute("keys", "list", stdout=write)
    os.close(write)
    assert ended.returncode == 1
    assert ended.stderr == b""
