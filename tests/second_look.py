"""A test that failed in CI is run once more by itself, and named, before the run is called failed.

Ten thousand tests share two cores with four servers and whatever else the machine does; some wait
for a moment that comes late. See docs/decisions/0032 for what this may not hide.
"""

import os
import subprocess
import sys
from typing import Any

import pytest

# More than these at once are a fault of the product, not of a moment.
MOST = 4
# What fails here once may be a race that lets somebody in or loses something: it fails for good.
NEVER = ("architecture", "canary", "domain", "fuzz", "kills", "nodes", "verifier")
IS_SECOND = "KEYTURN_TEST_IS_SECOND_LOOK"
SECONDS_MOST = 600


def may_be_looked_at_again(failed: list[str]) -> bool:
    """Whether these tests (node ids) are few, and none states what a race could break."""
    return 0 < len(failed) <= MOST and not any(one.split("/")[1] in NEVER for one in failed)


class SecondLook:
    """The plugin of the process that leads the run, and not of a second look."""

    def __init__(self, config: pytest.Config) -> None:
        self._root = config.rootpath
        self._failed: list[str] = []
        self._lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self._failed:
            self._failed.append(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Any:
        before = session.exitstatus
        # Only what failed for its tests: the sweep for secrets has not looked yet.
        if before == pytest.ExitCode.TESTS_FAILED and may_be_looked_at_again(self._failed):
            session.exitstatus = pytest.ExitCode.OK
            result = yield  # the workers end, and the sweep for secrets has its say
            if session.exitstatus == pytest.ExitCode.OK and not self._passes_alone():
                session.exitstatus = before
            elif session.exitstatus == pytest.ExitCode.OK:
                told = "UNSTEADY: failed once, passed alone:"
                self._lines = [f"{told} {one}" for one in self._failed]
            return result
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._lines:
            terminalreporter.write_line(line, yellow=True)

    def _passes_alone(self) -> bool:
        command = [sys.executable, "-m", "pytest", "-n0", "-q", *self._failed]
        print("\nOnce more, alone:", *self._failed, sep="\n  ", flush=True)
        try:
            done = subprocess.run(
                command,
                cwd=self._root,
                env=os.environ | {IS_SECOND: "true"},
                timeout=SECONDS_MOST,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == pytest.ExitCode.OK
