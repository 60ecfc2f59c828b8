"""Files: whole or not there, private, and never through a link."""

import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest

from keyturn.destinations.contract import (
    ConfigurationFault,
    Destination,
    DestinationFault,
    FaultKind,
)
from keyturn.destinations.file import FileKind
from keyturn.domain.slot import SlotName
from keyturn.testing.destinations import DestinationContract
from keyturn.testing.destinations.behind import (
    FIRST_VALUE,
    ONE,
    OTHER,
    SECOND_VALUE,
    THIRD_VALUE,
)
from tests.destinations.opening import WORKSPACE_ID, open_kind

IS_ROOT = os.geteuid() == 0


class BehindFile:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / str(WORKSPACE_ID)

    def path(self, slot: SlotName) -> Path:
        return self.folder / f"{slot}.token"

    def value(self, slot: SlotName) -> str | None:
        path = self.path(slot)
        return path.read_text().removesuffix("\n") if path.exists() else None

    def put(self, slot: SlotName, value: str) -> None:
        self.folder.mkdir(exist_ok=True)
        draft = self.folder / "somebody.draft"
        draft.write_text(f"{value}\n")
        draft.rename(self.path(slot))

    def remove(self, slot: SlotName) -> None:
        self.path(slot).unlink()

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        return None

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        raise AssertionError("a file holds nothing else")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tokens"
    root.mkdir()
    return root


@pytest.fixture
def behind(folder: Path) -> BehindFile:
    return BehindFile(folder)


@pytest.fixture
def destination(folder: Path) -> Destination:
    return open_kind(FileKind(folder), {}, {})


@pytest.fixture
def another(folder: Path) -> Destination:
    return open_kind(FileKind(folder), {}, {})


@pytest.fixture
def hidden() -> tuple[str, ...]:
    return ()


class TestFile(DestinationContract):
    @pytest.fixture
    def broken(self, tmp_path: Path, folder: Path) -> Mapping[FaultKind, Destination]:
        (folder / str(WORKSPACE_ID)).mkdir()
        (folder / str(WORKSPACE_ID) / f"{ONE}.linked").symlink_to("/dev/null")
        (folder / str(WORKSPACE_ID) / f"{ONE}.long").write_bytes(b"x" * 100_000)
        return {
            FaultKind.MISSING: open_kind(FileKind(tmp_path / "nothing"), {}, {}),
            FaultKind.DENIED: open_kind(FileKind(folder), {"path": "{slot}.linked"}, {}),
            FaultKind.NOT_UNDERSTOOD: open_kind(FileKind(folder), {"path": "{slot}.long"}, {}),
        }


def test_a_file_is_the_value_and_one_newline_and_nobody_elses_to_read(
    folder: Path, behind: BehindFile
) -> None:
    destination = open_kind(FileKind(folder), {"path": "deep/er/{slot}.token"}, {})
    old = os.umask(0)
    try:
        destination.write(ONE, FIRST_VALUE, None)
    finally:
        os.umask(old)
    path = behind.folder / "deep" / "er" / f"{ONE}.token"
    assert path.read_bytes() == f"{FIRST_VALUE}\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for made in (behind.folder, behind.folder / "deep", behind.folder / "deep" / "er"):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE((behind.folder / ".lock").stat().st_mode) == 0o600
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name]
    assert destination.locate(ONE).endswith(f"/{WORKSPACE_ID}/deep/er/{ONE}.token")


def test_a_file_that_others_could_read_is_private_after_a_write(
    destination: Destination, behind: BehindFile
) -> None:
    behind.put(ONE, FIRST_VALUE)
    behind.path(ONE).chmod(0o644)
    held = destination.read(ONE)
    assert held is not None
    destination.write(ONE, SECOND_VALUE, held.version)
    assert stat.S_IMODE(behind.path(ONE).stat().st_mode) == 0o600


def test_one_newline_is_stripped_and_no_more(destination: Destination, behind: BehindFile) -> None:
    behind.folder.mkdir()
    for content, value in (("a", "a"), ("a\n", "a"), ("a\n\n", "a\n"), ("", ""), (" a ", " a ")):
        behind.path(ONE).write_text(content)
        held = destination.read(ONE)
        assert held is not None
        assert held.value == value


def test_many_writes_within_a_moment_have_versions_of_their_own(destination: Destination) -> None:
    versions = [destination.write(ONE, FIRST_VALUE, None)]
    for _ in range(50):
        versions.append(destination.write(ONE, FIRST_VALUE, versions[-1]))
    assert len(set(versions)) == len(versions)


def test_each_workspace_has_a_folder_of_its_own(folder: Path, destination: Destination) -> None:
    other = UUID("0190a5c1-0000-7000-8000-00000000000f")
    stranger = open_kind(FileKind(folder), {}, {}, other)
    destination.write(ONE, FIRST_VALUE, None)
    assert stranger.read(ONE) is None
    stranger.write(ONE, SECOND_VALUE, None)
    held = destination.read(ONE)
    assert held is not None
    assert held.value == FIRST_VALUE


# --- links ---------------------------------------------------------------------------------------


def fault_of_both(destination: Destination) -> set[FaultKind]:
    with pytest.raises(DestinationFault) as reading:
        destination.read(ONE)
    with pytest.raises(DestinationFault) as writing:
        destination.write(ONE, SECOND_VALUE, None)
    return {reading.value.kind, writing.value.kind}


def test_a_link_in_the_place_of_the_file_is_neither_read_nor_written_through(
    tmp_path: Path, destination: Destination, behind: BehindFile
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("inside of the outside")
    behind.folder.mkdir()
    behind.path(ONE).symlink_to(outside)
    assert fault_of_both(destination) == {FaultKind.DENIED}
    assert outside.read_text() == "inside of the outside"
    outside.unlink()  # a link that leads nowhere is one too
    assert fault_of_both(destination) == {FaultKind.DENIED}
    assert not outside.exists()


def test_a_link_in_the_place_of_a_folder_is_not_entered(
    tmp_path: Path, folder: Path, behind: BehindFile
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    behind.folder.symlink_to(outside)
    assert fault_of_both(open_kind(FileKind(folder), {}, {})) == {FaultKind.DENIED}
    behind.folder.unlink()
    behind.folder.mkdir()
    (behind.folder / "deep").symlink_to(outside)
    deep = open_kind(FileKind(folder), {"path": "deep/{slot}.token"}, {})
    assert fault_of_both(deep) == {FaultKind.DENIED}
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_the_lock_or_the_draft_is_not_written_through(
    tmp_path: Path, destination: Destination, behind: BehindFile
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    behind.folder.mkdir()
    (behind.folder / f".{ONE}.token.draft").symlink_to(outside)
    destination.write(ONE, FIRST_VALUE, None)
    (behind.folder / ".lock").unlink()
    (behind.folder / ".lock").symlink_to(outside)
    with pytest.raises(DestinationFault) as caught:
        destination.write(OTHER, FIRST_VALUE, None)
    assert caught.value.kind is FaultKind.DENIED
    assert outside.read_text() == "kept"


def test_a_pipe_a_folder_or_a_device_in_the_place_of_the_file_is_refused_at_once(
    destination: Destination, behind: BehindFile
) -> None:
    behind.folder.mkdir()
    os.mkfifo(behind.path(ONE))
    assert fault_of_both(destination) == {FaultKind.DENIED}
    behind.path(ONE).unlink()
    behind.path(ONE).mkdir()
    assert fault_of_both(destination) == {FaultKind.DENIED}


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_denied(
    destination: Destination, behind: BehindFile
) -> None:
    behind.folder.mkdir(mode=0o500)
    with pytest.raises(DestinationFault) as caught:
        destination.write(ONE, FIRST_VALUE, None)
    assert caught.value.kind is FaultKind.DENIED


# --- at the same moment, and in the middle -------------------------------------------------------


def test_a_lock_that_somebody_holds_is_waited_for(
    destination: Destination, behind: BehindFile
) -> None:
    destination.write(OTHER, FIRST_VALUE, None)
    with (behind.folder / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: destination.write(ONE, FIRST_VALUE, None))
        waiting.start()
        time.sleep(0.3)
        assert behind.value(ONE) is None
        fcntl.flock(lock, fcntl.LOCK_UN)
        waiting.join()
    assert behind.value(ONE) == FIRST_VALUE


def test_what_a_killed_write_has_left_does_not_hinder_the_next(
    destination: Destination, behind: BehindFile
) -> None:
    version = destination.write(ONE, FIRST_VALUE, None)
    (behind.folder / f".{ONE}.token.draft").write_text("half of a val")
    assert behind.value(ONE) == FIRST_VALUE
    destination.write(ONE, SECOND_VALUE, version)
    assert behind.value(ONE) == SECOND_VALUE
    assert not (behind.folder / f".{ONE}.token.draft").exists()


def test_a_program_that_is_killed_while_it_writes_leaves_a_whole_value(
    folder: Path, behind: BehindFile, destination: Destination
) -> None:
    program = (
        "import sys, pathlib\n"
        "from keyturn.destinations.file import FileKind\n"
        "from keyturn.domain.slot import SlotName\n"
        "from tests.destinations.opening import open_kind\n"
        "one = open_kind(FileKind(pathlib.Path(sys.argv[1])), {}, {})\n"
        "slot = SlotName(service='scheduler', environment='prod')\n"
        "version = None\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    for value in sys.argv[2:]:\n"
        "        version = one.write(slot, value * 50, version)\n"
    )
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder), FIRST_VALUE, THIRD_VALUE],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05)
        process.kill()
        process.wait()
        process.stdout.close()
        held = destination.read(ONE)
        if held is not None:
            assert held.value in (FIRST_VALUE * 50, THIRD_VALUE * 50)
            destination.write(ONE, SECOND_VALUE, held.version)
            behind.remove(ONE)


@pytest.mark.parametrize(
    "path",
    [
        "token",
        "../{slot}",
        "/{slot}",
        "a/../{slot}",
        "{slot}/",
        "a//{slot}",
        "./{slot}",
        ".{slot}",
        "a/.b/{slot}",
        "{slot}\0",
        "{slot}\n",
        "{slot} ",
        "~/{slot}",
        "{slot}\\x",
        "{name}/{slot}",
        "{slot}/" * 9 + "x",
        "x" * 200 + "{slot}",
        5,
    ],
)
def test_a_path_that_leads_elsewhere_is_no_configuration(path: object, folder: Path) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        FileKind(folder).check({"path": path}, {})
    assert [fault[0] for fault in caught.value.faults] == ["/config/path"]


def test_a_file_has_no_credential(folder: Path) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        FileKind(folder).check({}, {"token": "hush"})
    assert caught.value.faults[0][0] == "/credential/token"
    assert "hush" not in str(caught.value)
    checked = FileKind(folder).check({}, {})
    assert checked == {"path": "{slot}.token"}
    assert FileKind(folder).check(checked, {}) == checked
