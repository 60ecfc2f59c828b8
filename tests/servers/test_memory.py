"""Where the tests have their files: who says where keeps them there, and nothing is left behind."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.servers.memory import move_into_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /dev/shm")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the machine's memory; nobody has said where files are made."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "")  # so that it is put back
    monkeypatch.delenv("TMPDIR")
    return tmp_path


def test_a_run_has_a_folder_of_its_own_that_its_programs_use_too(shared: Path) -> None:
    folder = move_into_memory(shared, 0)
    assert folder is not None
    assert folder.parent == shared
    assert os.environ["TMPDIR"] == str(folder)
    assert move_into_memory(shared, 0) is None  # as a worker of the run sees it


def test_who_says_where_is_obeyed(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert move_into_memory(shared, 0) is None
    assert os.environ["TMPDIR"] == "/elsewhere"


def test_nothing_is_moved_where_there_is_no_room_or_no_such_place(shared: Path) -> None:
    assert move_into_memory(shared, 1 << 60) is None
    assert move_into_memory(shared / "nowhere", 0) is None


def test_what_a_killed_run_left_is_removed_and_nothing_of_others(shared: Path) -> None:
    none = 2**22 + 1  # above the largest process id there is
    for name in (f"keyturn-{none}", f"keyturn-{os.getppid()}", "keyturn-other", "other"):
        (shared / name).mkdir()
    assert move_into_memory(shared, 0) is not None
    assert not (shared / f"keyturn-{none}").exists()
    assert all(
        (shared / name).exists() for name in (f"keyturn-{os.getppid()}", "keyturn-other", "other")
    )
