import os
import sys
from pathlib import Path

import pytest

from tests.servers.openbao import (
    BIN_VARIABLE,
    OpenBaoUnavailable,
    go_without,
    obtain_openbao,
    require_program,
    run_openbao,
)


def test_a_server_leaves_no_process_and_no_token_behind(tmp_path: Path) -> None:
    try:
        with run_openbao(tmp_path) as server:
            server.mount("kv")
            server.ask("POST", "kv/data/a", {"data": {"b": "c"}})
            assert server.root_token not in repr(server)
    except OpenBaoUnavailable as refusal:
        go_without(str(refusal))
    with pytest.raises(OSError, match="refused"):
        server.ask("GET", "sys/mounts")
    assert [one.name for one in tmp_path.iterdir()] == ["openbao.log"]


def test_a_wrong_choice_of_program_is_said_and_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BIN_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(OpenBaoUnavailable, match=BIN_VARIABLE), run_openbao(tmp_path):
        pass


def test_a_server_that_cannot_be_had_is_a_skip_and_in_ci_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BIN_VARIABLE, os.devnull + "/nothing")
    monkeypatch.setenv("CI", "false")
    with pytest.raises(pytest.skip.Exception, match="NOT TESTED"):
        next(obtain_openbao(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not to be missed"):
        next(obtain_openbao(tmp_path))


def test_so_is_a_program_that_the_demonstration_does_not_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("CI", "false")
    with pytest.raises(pytest.skip.Exception, match="NOT TESTED"):
        require_program()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not to be missed"):
        require_program()
