"""Private files: the old one or the new one, never a part, and for their owner alone."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from keyturn.domain.error import InstallationFault
from keyturn.server.files import append_line, make_private_folder, write_private
from keyturn.server.lock import FileLock

FORKS = multiprocessing.get_context("forkserver")
LONG = "x" * 200_000


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_file_is_private_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_private(tmp_path / "file", "text")
        append_line(tmp_path / "lines", "line")
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") & 0o077 == 0
    assert mode(tmp_path / "lines") & 0o077 == 0


def test_a_file_that_others_could_read_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o666)
    write_private(tmp_path / "file", "new")
    assert mode(tmp_path / "file") == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for name in ("file", ".file.draft"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    write_private(tmp_path / "file", "token")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


def _write_again_and_again(path: Path) -> None:
    while True:
        for letter in "ab":
            write_private(path, letter * len(LONG))


def test_a_crash_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, LONG)
    for _ in range(5):
        process = FORKS.Process(target=_write_again_and_again, args=(path,))
        process.start()
        deadline = time.monotonic() + 20
        while path.read_text() == LONG and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.join()
        text = path.read_text()
        assert len(text) == len(LONG)
        assert len(set(text)) == 1
        write_private(path, LONG)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_private(tmp_path / "folder", "text")
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "file", "\ud800")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_lines_are_added_and_nothing_is_overwritten(tmp_path: Path) -> None:
    for number in range(3):
        append_line(tmp_path / "lines", str(number))
    assert (tmp_path / "lines").read_text() == "0\n1\n2\n"
    assert mode(tmp_path / "lines") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator acts for another user")
def test_lines_that_an_administrator_begins_belong_to_whom_the_folder_belongs(
    tmp_path: Path,
) -> None:
    os.chown(tmp_path, 65534, 65534)
    append_line(tmp_path / "lines", "line")
    found = (tmp_path / "lines").stat()
    assert (found.st_uid, found.st_gid) == (65534, 65534)


def test_a_folder_is_made_private_with_its_parents_and_one_that_is_there_is_left(
    tmp_path: Path,
) -> None:
    make_private_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    (tmp_path / "there").mkdir(mode=0o755)
    make_private_folder(tmp_path / "there")
    assert mode(tmp_path / "there") == 0o755


# --- the lock -------------------------------------------------------------------------------------


def test_a_folder_is_locked_once_and_the_holder_is_named(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock", tmp_path):
        with (
            pytest.raises(InstallationFault, match=rf"process {os.getpid()}\) runs on") as refused,
            FileLock(tmp_path / "lock", tmp_path),
        ):
            pass
        assert "Stop it first" in refused.value.remedy
    with FileLock(tmp_path / "lock", tmp_path):
        pass


def _hold(folder: Path) -> None:
    with FileLock(folder / "lock", folder):
        (folder / "held").touch()
        time.sleep(60)


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    process = FORKS.Process(target=_hold, args=(tmp_path,))
    process.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "held").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with (
        pytest.raises(InstallationFault, match=f"process {process.pid}"),
        FileLock(tmp_path / "lock", tmp_path),
    ):
        pass
    process.kill()
    process.join()
    with FileLock(tmp_path / "lock", tmp_path):
        pass


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_folder_that_cannot_be_locked_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InstallationFault, match=f"{name} cannot be used"),
        FileLock(tmp_path / name / "lock", tmp_path / name),
    ):
        pass
