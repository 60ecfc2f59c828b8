"""The pages of docs/reference that follow from the code say what the code says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.domain.key import TRANSITIONS, KeyAct, KeyState

PROJECT = Path(__file__).parents[2]


def make_reference(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, project / "tools" / "make_reference", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tool and its pages, to be spoiled."""
    (tmp_path / "tools").mkdir()
    shutil.copy(PROJECT / "tools" / "make_reference", tmp_path / "tools")
    shutil.copytree(PROJECT / "docs" / "reference", tmp_path / "docs" / "reference")
    return tmp_path


def test_the_reference_is_what_the_code_says() -> None:
    check = make_reference(PROJECT, "--check")
    assert check.returncode == 0, check.stdout + check.stderr


def test_a_stale_or_missing_page_is_named_and_written_anew(copy: Path) -> None:
    page = copy / "docs" / "reference" / "states.md"
    genuine = page.read_text()
    page.write_text(genuine.replace("refused", "allowed", 1))
    stale = make_reference(copy, "--check")
    assert stale.returncode == 1
    assert "states.md" in stale.stdout
    page.unlink()
    assert make_reference(copy, "--check").returncode == 1
    assert make_reference(copy).returncode == 0
    assert page.read_text() == genuine


def test_an_unknown_argument_is_refused(copy: Path) -> None:
    assert make_reference(copy, "--force").returncode == 2


def test_the_table_of_states_has_every_state_and_every_act() -> None:
    page = (PROJECT / "docs" / "reference" / "states.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    acts = rows[0][1:]
    assert acts == list(KeyAct)
    told = {
        (KeyState(row[0].strip("`")), KeyAct(act)): cell.strip("`")
        for row in rows[2:]
        for act, cell in zip(acts, row[1:], strict=True)
    }
    assert len(told) == len(KeyState) * len(KeyAct)
    assert {step: to for step, to in told.items() if to != "refused"} == TRANSITIONS
