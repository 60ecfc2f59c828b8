"""Walking through a page of documentation as its reader does: its blocks pasted into a shell, in a
bare copy of the project, beside the product that its first block starts.

A `sh` block is run; a `text` block after it is what it shows. Ids, times and the like differ from
run to run, so both are compared in a form without them.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PROJECT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8420"
PATIENCE_SECONDS = 240

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_TYPED = re.compile(r"^\$ (.*)$", re.MULTILINE)
_MARK = "=== the next block ==="
# A reader lets a server run in another terminal; here it is asked to end once it serves.
_SERVE = """keyturn() {
  if [ "$1" = serve ]; then
    : >serve.out
    KEYTURN_PORT=0 command keyturn serve >serve.out 2>serve.err &
    served=$!
    while ! grep -q serves serve.out; do
      kill -0 $served || { cat serve.err; return 1; }
      sleep 0.1
    done
    kill -TERM $served
    wait $served
    rm serve.out serve.err
  else
    command keyturn "$@"
  fi
}"""
_VOLATILE = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\breq-[0-9A-Za-z]{22}\b"), "<id>"),
    (re.compile(r"(?<![0-9A-Za-z])[0-9A-Za-z]{22}(?![0-9A-Za-z])"), "<id>"),
    (re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d+Z)?"), "<time>"),
    (re.compile(r"\d{4}-\d{2}-\d{2}"), "<date>"),
    (re.compile(r"\b\d+ (s|min) ago\b"), "<ago>"),
    (re.compile(r"\b(in|within|after|for) \d+ (ms|s|min)\b"), r"\1 <span>"),
    # What is found of a key's use by itself, and when, is in the log too.
    (re.compile(r"\bSound: \d+ entries, \d+ changes, \d+ signed heads"), "Sound: <so many>"),
    (re.compile(r"\b\d+ signed heads"), "<heads>"),
    # What fails is tried again while it is waited for that somebody is told, at the third time.
    (re.compile(r"\b(waiting|cancelled) +(?:[3-9]|[1-9]\d+)\b"), r"\1 <3 or more>"),
    (re.compile(r"\S*/(?=[\w.-]+\.token\b)"), ""),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A block of a page: what is run, and what the page says that it shows, if it does."""

    script: str
    shows: str | None


def steps(page: Path) -> list[Step]:
    """The blocks of a page, in order."""
    found: list[Step] = []
    for language, content in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "text" and found:
            found[-1] = Step(script=found[-1].script, shows=content)
        elif language == "sh":
            found.append(Step(script=content, shows=None))
        elif language == "console":
            found.append(Step(script="\n".join(_TYPED.findall(content)) + "\n", shows=None))
    return found


def settled(text: str) -> list[str]:
    """The lines of `text` without what differs from run to run."""
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.strip().splitlines()]


def copy_project(folder: Path, *paths: str) -> Path:
    """What a clone has of these paths: the files of the project, and nothing made since."""
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((PROJECT / name).read_bytes())
    return folder


def reader(checkout: Path) -> dict[str, str]:
    """The environment of a reader: no setting of Keyturn, and the copy's own `keyturn`."""
    environment = {name: text for name, text in os.environ.items() if "KEYTURN" not in name}
    mine = os.pathsep.join(filter(None, (str(checkout / "src"), environment.get("PYTHONPATH"))))
    path = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
    return environment | {"PYTHONPATH": mine, "PATH": path}


@contextmanager
def product(checkout: Path, **settings: str) -> Iterator[str]:
    """The product as `make run` starts it, on another port by a setting that is documented, and
    with what else the page says."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", "from keyturn.cli import main; main()", "dev"],
        cwd=checkout,
        env=reader(checkout) | {"KEYTURN_PORT": str(port)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _awaited(f"http://127.0.0.1:{port}", process)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.communicate()


@contextmanager
def serving(
    checkout: Path, step: Step, instead: Mapping[str, str], address: str
) -> Iterator[Callable[[], str]]:
    """A block that ends in a server, as a reader leaves it in a terminal of its own: it serves
    until the end. Gives what it has shown so far."""
    script = replaced(step.script, instead)
    output = checkout / f"{urlsplit(address).port}.shown"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["sh", "-euc", script],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env=reader(checkout),
            start_new_session=True,  # a terminal of its own: the server is asked to end with it
        )
    try:
        if not _is_ready(address, process):
            raise AssertionError(output.read_text())
        yield output.read_text
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)


def walk(
    checkout: Path,
    blocks: list[Step],
    *,
    instead: Mapping[str, str],
    before: Mapping[int, str] | None = None,
) -> list[str]:
    """What each block shows, in one shell, all of them as they stand but for what a test must have
    `instead` (an address, a folder). `before` has what a reader would do ahead of a block."""
    parts = [
        f"{(before or {}).get(number, '')}\necho; echo '{_MARK}'\n{step.script}"
        for number, step in enumerate(blocks)
    ]
    script = replaced("\n".join(parts), instead)
    # A function that runs in the background is a shell between the reader and the program.
    serve = _SERVE if "keyturn serve" in script else ""
    run = subprocess.run(
        ["sh", "-euc", f"exec 2>&1\n{serve}\n{script}"],
        stdin=subprocess.DEVNULL,
        cwd=checkout,
        env=reader(checkout),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    shown = [part.strip() for part in run.stdout.split(_MARK)]
    assert run.returncode == 0, shown[-1]
    return shown[1:]


def replaced(script: str, instead: Mapping[str, str]) -> str:
    for told, mine in instead.items():
        script = script.replace(told, mine)
    return script


def hold(page: Path, blocks: list[Step], shown: list[str]) -> None:
    """Holds what was shown against what the page says is shown."""
    for step, text in zip(blocks, shown, strict=True):
        if step.shows is not None:
            assert settled(text) == settled(step.shows), f"{page.name}: {step.script}"


def _awaited(address: str, process: "subprocess.Popen[bytes]") -> str:
    if _is_ready(address, process):
        return address
    process.kill()
    raise AssertionError(process.communicate()[0].decode())


def _is_ready(address: str, process: "subprocess.Popen[bytes]") -> bool:
    """Whether the server becomes ready in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz"):
                return True
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    return False
