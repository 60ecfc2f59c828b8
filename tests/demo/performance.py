"""`keyturn demo` as a process in a place of its own, and all that it started."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.cli.programs import PROGRAM

PATIENCE_SECONDS = 180
CHAPTER = re.compile(r"^(\d)  \S", re.MULTILINE)


class Performance:
    """A run of the demonstration. Its temporary folder is made in `folder`, which stands in the
    arguments of every process that it starts: by it they are found."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._output = folder.with_suffix(".output")
        self._errors = folder.with_suffix(".errors")
        folder.mkdir()
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")
        }
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*PROGRAM, "demo", "--seconds", "6", *options],
                cwd=folder.parent,
                env=environment | {"TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    @property
    def output(self) -> str:
        return self._output.read_text("utf-8")

    @property
    def errors(self) -> str:
        return self._errors.read_text("utf-8")

    @property
    def home(self) -> Path:
        """The temporary folder of the story."""
        (home,) = self.folder.iterdir()
        return home

    def processes(self) -> dict[str, int]:
        """What it started and still runs: the ids, by what they run."""
        # Only its own leave the pipe: another test may give a token as an argument, on purpose.
        listing = 'ps -axww -o pid=,command= | grep -F -- "$0"'
        listed = subprocess.run(
            ["sh", "-c", listing, str(self.folder)], capture_output=True, text=True
        ).stdout
        mine = [
            line.split(None, 1)
            for line in listed.splitlines()
            if "grep -F" not in line  # nor the listing itself
        ]
        return {_name(command): int(number) for number, command in mine}

    def await_chapter(self, number: int) -> None:
        self._await(lambda: str(number) in CHAPTER.findall(self.output))

    def await_said(self, text: str) -> None:
        self._await(lambda: text in self.output)

    def _await(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert self.process.poll() is None, self.output + self.errors
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def leaves_nothing(self) -> bool:
        """Whether no process and no file of it is left, in time."""
        return eventually(lambda: not self.processes() and not any(self.folder.iterdir()))

    def close(self) -> None:
        """Ends what a failed test has left running, and removes what was kept."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)  # with the tokens that it kept


def _name(command: str) -> str:
    """What runs there: a service by its own name."""
    if "--on-change" in command:
        return "run-" + command.partition("/keys/")[2].partition(".token")[0]
    if "-dev-listen-address" in command:
        return "bao"
    if "keyturn.demo.openbao" in command:
        return "openbao"
    if "keyturn.demo.callers" in command:
        return command.partition('"name":"')[2].partition('"')[0]
    return "publishing" if "keyturn.demo.publishing" in command else "keyturn"


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
