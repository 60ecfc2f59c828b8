"""A program of the operator's: asked by JSON, bounded, and without our environment."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keyturn.destinations.command import CommandKind, parse_commands
from keyturn.destinations.contract import (
    ConfigurationFault,
    Destination,
    DestinationFault,
    FaultKind,
    Opening,
)
from keyturn.domain.slot import SlotName
from keyturn.testing.destinations import DestinationContract
from keyturn.testing.destinations.behind import FIRST_VALUE, ONE, SECOND_VALUE
from tests.destinations import store_program
from tests.destinations.opening import CLOCK, DESTINATION_ID, WORKSPACE_ID, open_kind

SAID = "words-of-the-other-side"


class BehindCommand:
    def __init__(self, path: Path) -> None:
        self.path = path

    def value(self, slot: SlotName) -> str | None:
        found = self._kept()["values"].get(str(slot))
        return None if found is None else str(found["value"])

    def put(self, slot: SlotName, value: str) -> None:
        kept = self._kept()
        kept["count"] += 1
        kept["values"][str(slot)] = {"value": value, "version": str(kept["count"])}
        self.path.write_text(json.dumps(kept))

    def remove(self, slot: SlotName) -> None:
        kept = self._kept()
        del kept["values"][str(slot)]
        self.path.write_text(json.dumps(kept))

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        return None

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        raise AssertionError("this program keeps nothing else")

    def _kept(self) -> dict[str, Any]:
        kept = json.loads(self.path.read_text() or '{"count": 0, "values": {}}')
        assert isinstance(kept, dict)
        return kept


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", text)


def one_of(*words: str, seconds: float = 5.0) -> Destination:
    kind = CommandKind({"one": words}, CLOCK, seconds=seconds)
    return open_kind(kind, {"command": "one"}, {})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.json"
    path.touch()
    return path


@pytest.fixture
def behind(store: Path) -> BehindCommand:
    return BehindCommand(store)


@pytest.fixture
def destination(store: Path) -> Destination:
    return one_of(sys.executable, "-I", store_program.__file__, str(store))


@pytest.fixture
def another(store: Path) -> Destination:
    return one_of(sys.executable, "-I", store_program.__file__, str(store))


@pytest.fixture
def hidden() -> tuple[str, ...]:
    return (SAID,)


class TestCommand(DestinationContract):
    @pytest.fixture
    def broken(self, tmp_path: Path) -> Mapping[FaultKind, Destination]:
        told = f"import sys; print('{SAID}'); print('{SAID}', file=sys.stderr); sys.exit"
        text = tmp_path / "text"
        text.write_text("no program")
        return {
            FaultKind.BROKEN: one_of(*python(f"{told}(1)")),
            FaultKind.DENIED: one_of(*python(f"{told}(8)")),
            FaultKind.MISSING: one_of(*python(f"{told}(7)")),
            FaultKind.NOT_UNDERSTOOD: one_of(*python(f"{told}(0)")),
            FaultKind.TIMED_OUT: one_of(*python("import time; time.sleep(60)"), seconds=0.3),
        }


def fault_of(destination: Destination) -> DestinationFault:
    with pytest.raises(DestinationFault) as caught:
        destination.read(ONE)
    return caught.value


def test_the_program_is_told_all_that_it_needs_and_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_SECRET", "hush")
    seen = tmp_path / "seen"
    text = (
        "import json, os, sys\n"
        "asked = json.load(sys.stdin)\n"
        f"open({str(seen)!r}, 'w').write(json.dumps([asked, dict(os.environ), os.getcwd(),"
        " os.getsid(0) == os.getpid(), len(os.listdir('/proc/self/fd'))"
        " if os.path.exists('/proc/self/fd') else 5]))\n"
        "print(json.dumps({'version': 'v'}))\n"
    )
    one_of(*python(text)).write(ONE, FIRST_VALUE, "before")
    asked, environment, folder, leads, files = json.loads(seen.read_text())
    assert asked == {
        "action": "write",
        "workspace_id": str(WORKSPACE_ID),
        "destination_id": str(DESTINATION_ID),
        "slot": "scheduler-prod",
        "service": "scheduler",
        "environment": "prod",
        "value": FIRST_VALUE,
        "expected": "before",
    }
    assert set(environment) - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == {"PATH"}
    assert (folder, leads) == ("/", True)
    assert files <= 5  # the three, the file of this test, the folder that is listed


def test_nine_is_a_conflict() -> None:
    assert fault_of(one_of(*python("import sys; sys.exit(9)"))).kind is FaultKind.CONFLICT


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "null", "{}", '{"value": 5, "version": "1"}', '{"value": "x"}',
     '{"value": "x", "version": 1}', '{"value": "x", "version": ""}',
     '{"value": "x", "version": "1"',
     "[" * 50_000, '{"value": "x", "version": "' + "1" * 300 + '"}'],
    ids=range(11),
)  # fmt: skip
def test_an_answer_of_another_shape_is_not_understood(answer: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text(answer)
    assert fault_of(one_of("/bin/cat", str(said))).kind is FaultKind.NOT_UNDERSTOOD


def test_a_program_that_says_too_much_is_ended() -> None:
    began = time.monotonic()
    fault = fault_of(one_of(*python("while True: print('x' * 1000)"), seconds=20))
    assert fault.kind is FaultKind.NOT_UNDERSTOOD
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "text",
    [
        "import time; time.sleep(60)",
        "import os, time; os.close(1); time.sleep(60)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "import subprocess; subprocess.Popen(['/bin/sleep', '60'])",
        "import time\nwhile True: print(end=' ', flush=True); time.sleep(0.05)",
    ],
    ids=["sleeps", "closes its output", "ignores a signal", "leaves a child", "drips"],
)
def test_a_program_that_does_not_end_is_ended(text: str) -> None:
    began = time.monotonic()
    assert fault_of(one_of(*python(text), seconds=0.5)).kind is FaultKind.TIMED_OUT
    assert time.monotonic() - began < 4


def test_what_a_program_has_started_is_ended_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    text = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    assert fault_of(one_of(*python(text), seconds=1.0)).kind is FaultKind.TIMED_OUT
    child = int(pid.read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.02)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """A zombie that nobody has collected yet runs no longer."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_program_that_does_not_read_its_question_is_judged_by_its_answer() -> None:
    destination = one_of("/bin/echo", '{"version": "v"}')
    assert destination.write(ONE, SECOND_VALUE * 10_000, None) == "v"


def test_a_program_that_is_not_there_or_none_is_said(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    assert fault_of(one_of(str(tmp_path / "nothing"))).kind is FaultKind.MISSING
    assert fault_of(one_of(str(text))).kind is FaultKind.DENIED
    text.chmod(0o755)
    assert fault_of(one_of(str(text))).kind is FaultKind.MISSING


# --- what is configured --------------------------------------------------------------------------


def test_the_setting_names_programs_and_their_arguments() -> None:
    text = "one=/bin/a --b 'c d;e' ; two = /bin/b;;three=\"/opt/my programs/c\" 'x=y';"
    assert parse_commands(text) == {
        "one": ("/bin/a", "--b", "c d;e"),
        "two": ("/bin/b",),
        "three": ("/opt/my programs/c", "x=y"),
    }
    assert parse_commands("") == parse_commands(" ; ") == {}


@pytest.mark.parametrize(
    "text",
    ["one", "one=", "=/bin/a", "one=bin/a", "One=/bin/a", "one=/bin/a; one=/bin/b", "one='/bin/a",
     "one=/bin/a \\", "a b=/bin/a", "one=~/a", 'one=""'],
)  # fmt: skip
def test_a_slip_in_the_setting_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        parse_commands(text)


@pytest.mark.parametrize("name", ["other", "../one", "", None, 5, "/bin/sh"])
def test_only_a_program_of_the_settings_can_be_named(name: object) -> None:
    kind = CommandKind({"one": ("/bin/true",)}, CLOCK)
    with pytest.raises(ConfigurationFault) as caught:
        kind.check({"command": name}, {})
    assert [fault[0] for fault in caught.value.faults] == ["/config/command"]
    assert kind.check({"command": "one"}, {}) == {"command": "one"}


def test_a_program_that_the_settings_no_longer_have_is_missing() -> None:
    opening = Opening(
        workspace_id=WORKSPACE_ID,
        destination_id=DESTINATION_ID,
        config={"command": "gone"},
        credential={},
    )
    with pytest.raises(DestinationFault) as caught:
        CommandKind({}, CLOCK).open(opening)
    assert caught.value.kind is FaultKind.MISSING
