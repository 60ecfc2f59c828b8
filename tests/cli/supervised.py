"""`keyturn run` as a process of its own, with a worker that tells what it was given and what it was
sent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from keyturn.domain.token import Token, make_token
from tests.cli.programs import PATIENCE_SECONDS, PROGRAM

WORKER = """
import os, signal, sys, time
from pathlib import Path
from keyturn.domain.token import parse_token

def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

def held():
    file = os.environ.get("KEYTURN_API_KEY_FILE")
    text = Path(file).read_text() if file else os.environ["KEYTURN_API_KEY"]
    token = parse_token(text.strip())
    return "garbage" if token is None else token.hint

def tell(number, frame):
    say(signal.Signals(number).name, held())
    if signal.Signals(number).name in os.environ.get("ENDS_ON", "SIGTERM").split():
        time.sleep(float(os.environ.get("ENDS_AFTER", 0)))
        say("ends", os.getpid())
        sys.exit(int(os.environ.get("ENDS_WITH", 0)))

for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2"):
    signal.signal(getattr(signal, f"SIG{name}"), tell)
say("started", os.getpid(), held())
if held() == os.environ.get("CRASHES_WITH"):
    sys.exit(3)
while True:
    time.sleep(0.02)
"""


def token(number: int) -> Token:
    """One of a row; nobody has issued it."""
    return make_token(
        brand="kt", environment="prod", id=UUID(int=number), secret=bytes([number]) * 32
    )


def replace(file: Path, text: str) -> None:
    """Puts a whole new file in the old one's place."""
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


@dataclass
class Supervised:
    """`keyturn run`, begun."""

    process: "subprocess.Popen[bytes]"
    output_file: Path
    errors_file: Path

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    @property
    def errors(self) -> str:
        return self.errors_file.read_text()

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    def sees(self, *texts: str) -> None:
        """Waits until all of these stand in the output."""
        self.until(lambda: all(text in self.output for text in texts), f"no {texts}")

    def tells(self, *texts: str) -> None:
        """Waits until all of these stand in the errors."""
        self.until(lambda: all(text in self.errors for text in texts), f"no {texts}")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"{what}:\n{self.output}{self.errors}"
            time.sleep(0.01)

    def worker(self) -> int:
        """The process id of the worker that was started last."""
        self.sees("started")
        return int([line for line in self.lines if line.startswith("started")][-1].split()[1])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def code(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not merely what is left of one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return sys.platform != "linux"


class Runs:
    """Starts them in a folder, and sees to it that they end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "worker.py"
        self.script.write_text(WORKER)
        self.file = folder / "scheduler.token"
        self._started: list[Supervised] = []

    @property
    def worker(self) -> tuple[str, ...]:
        return (sys.executable, str(self.script))

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        left_out = ("KEYTURN_", "VAULT_", "BAO_", "XDG_RUNTIME_DIR")
        own = {name: text for name, text in os.environ.items() if not name.startswith(left_out)}
        return own | {"TMPDIR": str(self.folder)} | dict(settings)

    def start(self, *arguments: str, before: tuple[str, ...] = (), **settings: str) -> Supervised:
        number = len(self._started)
        streams = self.folder / f"{number}.output", self.folder / f"{number}.errors"
        with streams[0].open("wb") as output, streams[1].open("wb") as errors:
            process = subprocess.Popen(
                [*before, *PROGRAM, "run", *arguments],
                cwd=self.folder,
                env=self.environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        started = Supervised(process, *streams)
        self._started.append(started)
        return started

    def close(self) -> None:
        for one in self._started:
            if one.process.poll() is None:
                one.process.kill()
            one.process.wait()


@contextmanager
def runs_in(folder: Path) -> Iterator[Runs]:
    made = Runs(folder)
    try:
        yield made
    finally:
        made.close()
