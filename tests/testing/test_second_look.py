"""What failed once and passes alone is named; what fails again, or may not, fails the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.second_look import IS_SECOND, MOST

PROJECT = Path(__file__).parents[2]
CONFTEST = f"""
import os
from tests.second_look import SecondLook
def pytest_configure(config):
    if not hasattr(config, "workerinput") and {IS_SECOND!r} not in os.environ:
        config.pluginmanager.register(SecondLook(config))
"""
ONCE = f"""
import os
def test_waits_for_a_moment():
    assert {IS_SECOND!r} in os.environ
"""
ALWAYS = "def test_is_broken():\n    assert False\n"


def run(root: Path, *options: str, **files: str) -> subprocess.CompletedProcess[str]:
    """A run of these tests; `name` stands for tests/name/test_it.py."""
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "conftest.py").write_text(CONFTEST)
    for name, text in files.items():
        folder = root / "tests" / name
        folder.mkdir(parents=True)
        (folder / f"test_{name}.py").write_text(text)
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    environment = {key: value for key, value in os.environ.items() if key != IS_SECOND}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=root,
        env=environment | {"PYTHONPATH": path, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_passes_alone_is_named_and_the_run_passes(tmp_path: Path, workers: str) -> None:
    done = run(tmp_path, f"-n{workers}", cli=ONCE)
    assert done.returncode == 0, done.stdout
    named = "UNSTEADY: failed once, passed alone: tests/cli/test_cli.py::test_waits_for_a_moment"
    assert named in done.stdout


def test_what_fails_again_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, "-n0", cli=ONCE, http=ALWAYS)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "Once more, alone:" in done.stdout
    assert "UNSTEADY" not in done.stdout


@pytest.mark.parametrize("folder", ["kills", "verifier", "domain"])
def test_what_may_be_a_race_is_not_looked_at_again(tmp_path: Path, folder: str) -> None:
    done = run(tmp_path, "-n0", **{folder: ONCE})
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "Once more, alone:" not in done.stdout


def test_many_that_fail_are_a_fault_of_the_product(tmp_path: Path) -> None:
    many = ONCE + "".join(
        f"\ndef test_{number}():\n    test_waits_for_a_moment()\n" for number in range(MOST)
    )
    done = run(tmp_path, "-n0", cli=many)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "Once more, alone:" not in done.stdout


def test_a_secret_found_at_the_end_fails_the_run_whatever_passes_alone(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_sessionfinish(session):\n"
        "    session.exitstatus = pytest.ExitCode.TESTS_FAILED\n"
    )
    done = run(tmp_path, "-n0", cli=ONCE)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "UNSTEADY" not in done.stdout
