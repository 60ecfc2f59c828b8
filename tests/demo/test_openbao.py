"""OpenBao as a child of the story: found, ended with its leash, and open to two tokens alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from keyturn.ambient import SystemClock
from keyturn.demo.child import Child
from keyturn.demo.openbao import PROGRAM, READER, WRITER, find_openbao, token_file
from keyturn.demo.place import Choice, chosen_openbao, in_openbao
from keyturn.domain.error import InstallationFault
from tests.demo.performance import eventually


@pytest.fixture
def child(bao: str, tmp_path: Path) -> Iterator[Child]:
    started = Child("openbao", PROGRAM, bao, str(tmp_path), folder=tmp_path, environment={})
    yield started
    started.end(SystemClock().elapsed() + 8.0)


def running(folder: Path) -> list[int]:
    """The servers of OpenBao that were started in this folder."""
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    ).stdout
    mine = (line.split(None, 1) for line in listed.splitlines() if str(folder) in line)
    return [int(number) for number, command in mine if "-dev-listen-address" in command]


def test_the_services_read_what_keyturn_writes_and_nothing_else_is_allowed(
    child: Child, tmp_path: Path
) -> None:
    url = child.await_address()
    writer, reader = (token_file(tmp_path, who).read_text().strip() for who in (WRITER, READER))

    def ask(token: str, method: str, path: str, body: object = None) -> int:
        headers = {"X-Vault-Token": token}
        return httpx2.request(method, f"{url}/v1/{path}", headers=headers, json=body).status_code

    mine, secret = "secret/data/keyturn/scheduler-prod", {"data": {"api_key": "anything"}}
    assert ask(reader, "POST", mine, secret) == 403
    assert ask(writer, "POST", mine, secret) == 200
    assert ask(reader, "GET", mine) == 200
    for token in (writer, reader):
        assert ask(token, "GET", "secret/data/other") == 403
        assert ask(token, "POST", "auth/token/create", {}) == 403
        assert ask(token, "GET", "sys/mounts") == 403
    assert token_file(tmp_path, WRITER).stat().st_mode & 0o777 == 0o600
    place = in_openbao(url, tmp_path)
    assert writer not in repr(place)
    assert place.source("secret/keyturn/x#api_key") == "vault:secret/keyturn/x#api_key"


def test_it_ends_when_its_leash_is_let_go(child: Child, tmp_path: Path) -> None:
    child.await_address()
    assert len(running(tmp_path)) == 1
    child.release()
    child.require_end(8.0)
    assert running(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells it of that")
def test_it_ends_with_the_process_that_holds_the_leash(child: Child, tmp_path: Path) -> None:
    child.await_address()
    assert len(running(tmp_path)) == 1
    os.kill(child.id, signal.SIGKILL)
    assert eventually(lambda: running(tmp_path) == [])


def test_its_end_by_itself_is_told(child: Child, tmp_path: Path) -> None:
    child.await_address()
    (number,) = running(tmp_path)
    os.kill(number, signal.SIGKILL)

    def is_told() -> bool:
        try:
            child.require_alive()
        except InstallationFault as fault:
            return "OpenBao has ended by itself" in (fault.remedy or "")
        return False

    assert eventually(is_told)


def test_a_program_that_is_no_openbao_is_told(tmp_path: Path) -> None:
    child = Child("openbao", PROGRAM, "/bin/false", str(tmp_path), folder=tmp_path, environment={})
    with pytest.raises(InstallationFault, match="openbao did not start"):
        child.await_address()
    child.end(SystemClock().elapsed() + 8.0)


def test_it_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bao"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_openbao() == str(program)


def test_without_it_tokens_go_into_a_file_unless_it_was_asked_for() -> None:
    assert chosen_openbao(Choice.AUTO, "/usr/bin/bao") == "/usr/bin/bao"
    assert chosen_openbao(Choice.OPENBAO, "/usr/bin/bao") == "/usr/bin/bao"
    assert chosen_openbao(Choice.FILE, "/usr/bin/bao") is None
    assert chosen_openbao(Choice.AUTO, None) is None
    with pytest.raises(InstallationFault, match="There is no OpenBao here"):
        chosen_openbao(Choice.OPENBAO, None)
