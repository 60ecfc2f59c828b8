"""The canary sweep in a run of pytest: register before the first test, sweep after the last.

The process that leads the run makes a private folder, puts the hook in it on PYTHONPATH (workers
and programs inherit it), keeps what tests print and what programs write into pipes, and at the end
sweeps. A hit fails the run.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.canary import hook
from tests.canary.allowed import OUTPUT
from tests.canary.sinks import BASES, REPORTS
from tests.servers.memory import USUAL
from tests.servers.postgres import flush_server

PROJECT = Path(__file__).parents[2]
LONGEST_SECONDS = 600
MOST_TOLD = 40
_GIVEN = "canary_folder"


CANARIES = pytest.StashKey["Canaries"]()


# Before anything of the product is imported, which conftest.py in a folder of tests may do. (In a
# worker the hook is there already.)
_register = hook.Register()
hook.watch(_register)


class Canaries:
    """The plugin, in the process that leads the run and in each worker."""

    def __init__(self, config: pytest.Config, postgres: Path) -> None:
        given = getattr(config, "workerinput", None)
        self._leads = given is None
        self.folder = _make_folder() if given is None else Path(given[_GIVEN])
        self.postgres = postgres
        self._began = time.time()
        self._lines: list[str] = []
        self._has_leaks = False
        config.stash[CANARIES] = self
        _register.run_folder = self.folder
        keep_pipes(self.folder / OUTPUT)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_GIVEN] = str(self.folder)

    def note_base(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Notes where this process's tests have their folders."""
        with (self.folder / BASES).open("a") as file:
            file.write(f"{tmp_path_factory.getbasetemp()}\n")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps what tests print and how they fail."""
        if self._leads:
            told = [report.nodeid, report.longreprtext, *(text for _, text in report.sections)]
            with (self.folder / REPORTS / "tests").open("ab") as file:
                file.write("\n".join([*told, ""]).encode("utf-8", "backslashreplace"))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        is_cut_off = session.exitstatus == pytest.ExitCode.INTERRUPTED
        if not self._leads or is_cut_off or not (self.folder / hook.REGISTRY).exists():
            return
        outcome = self._sweep()
        self._lines = [outcome["line"], *outcome["leaks"][:MOST_TOLD]]
        if session.config.get_verbosity() > 0:
            self._lines += [f"  {times} times: {why}" for why, times in outcome["allowed"].items()]
        self._has_leaks = bool(outcome["leaks"])
        if self._has_leaks:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._lines:
            terminalreporter.write_line(line, red=self._has_leaks)

    def pytest_unconfigure(self) -> None:
        if self._leads:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> Any:
        flush_server(self.postgres)
        description = self.folder / "run.json"
        description.write_text(
            json.dumps(
                {
                    "folder": str(self.folder),
                    "postgres": str(self.postgres),
                    "project": str(PROJECT),
                    "home": str(Path.home()),
                    "temporary": sorted({tempfile.gettempdir(), str(USUAL)}),
                    "began": self._began,
                }
            )
        )
        done = subprocess.run(
            [sys.executable, "-m", "tests.canary.judge", str(description)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
        )
        if done.returncode != 0:
            told = done.stderr.splitlines()
            return {"line": "canary: the sweep failed", "leaks": told, "allowed": {}}
        return json.loads(done.stdout)


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="keyturn-canary-"))
    for name in (hook.FOLDER, hook.ANSWERS, OUTPUT, REPORTS):
        (folder / name).mkdir(mode=0o700)
    shutil.copyfile(hook.__file__, folder / hook.FOLDER / "sitecustomize.py")
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / hook.FOLDER), *others])
    return folder


def keep_pipes(folder: Path) -> None:
    """From here on what programs write into pipes of this process is kept, too."""
    communicate = subprocess.Popen.communicate

    def kept(self: "subprocess.Popen[Any]", *given: Any, **named: Any) -> tuple[Any, Any]:
        both = communicate(self, *given, **named)
        command: Any = self.args if isinstance(self.args, list | tuple) else [self.args]
        program = Path(os.fsdecode(command[0])).name
        with (folder / f"{self.pid}-{program}").open("ab") as file:
            for data in both:
                file.write(data.encode() if isinstance(data, str) else data or b"")
        return both

    subprocess.Popen.communicate = kept  # type: ignore[method-assign]
