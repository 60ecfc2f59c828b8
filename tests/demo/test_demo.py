"""`keyturn demo`, whole: real processes, real HTTP, and figures that can be wrong."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from keyturn.client import Keyturn
from keyturn.demo.figures import Figures
from keyturn.demo.journal import Entry
from keyturn.demo.openbao import READER, WRITER, token_file
from keyturn.domain.redaction import find_token, holds_shape
from tests.cli.programs import PROGRAM
from tests.demo.conftest import Perform
from tests.demo.performance import Performance, eventually

ADDRESS = re.compile(r"It listens on (http://127\.0\.0\.1:\d+)")
# A line ends, or is gone back to and written anew.
LINE_END = re.compile(rb"\r|\n|\x1b\[1A|\x1b\[2K")
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
ROTATION = 4
ABOUT_TERMINALS = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
ANYWHERE = {"keyturn", "publishing", "run-scheduler", "scheduler", "run-worker", "worker"}
ALL = ANYWHERE | {"openbao", "bao"}
# Where it makes no difference, without the second that OpenBao needs to start.
QUICK = ("--destination", "file")
needs_openbao = pytest.mark.usefixtures("bao")
KINDS = {"openbao": "vault", "file": "file"}


@pytest.fixture(scope="module", params=KINDS)
def choice(request: pytest.FixtureRequest) -> str:
    """Each place that tokens may be delivered to, as it is chosen."""
    if request.param == "openbao":
        request.getfixturevalue("bao")
    return str(request.param)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What an undisturbed play left, which was to be kept, and what its processes were called by
    in its middle."""

    performance: Performance
    commands: list[str]


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Kept]]:
    """Plays for each destination once; tests look at what is left of it, and change nothing."""
    plays: dict[str, Kept] = {}

    def play(choice: str) -> Kept:
        if choice not in plays:
            folder = tmp_path_factory.mktemp("kept") / "stage"
            performance = Performance(folder, "--keep", "--destination", choice)
            stack.callback(performance.close)
            performance.await_chapter(ROTATION)
            commands = [
                Path(f"/proc/{number}/{part}").read_text(errors="replace")
                for number in performance.processes().values()
                for part in ("cmdline", "environ")
                if Path("/proc").is_dir()
            ]
            assert performance.wait() == 0, performance.errors
            plays[choice] = Kept(performance=performance, commands=commands)
        return plays[choice]

    with ExitStack() as stack:
        yield play


def client(performance: Performance) -> Keyturn:
    """The story's own Keyturn, as its operator sees it."""
    found = ADDRESS.search(performance.output)
    assert found is not None
    token_file = performance.home / "keyturn" / "operator.token"
    return Keyturn(found[1], api_key_file=token_file)


# --- it goes well ---------------------------------------------------------------------------------


def test_for_programs_it_prints_the_figures_alone_and_all_are_right(
    choice: str, perform: Perform
) -> None:
    performance = perform("--json", "--destination", choice)
    assert performance.wait() == 0, performance.errors
    told = json.loads(performance.output)
    assert told["faults"] == []
    figures = msgspec.convert(told, Figures)
    assert figures.served > 0
    assert figures.sent == sum(one.sent for one in figures.services.values())
    assert (figures.failed_during_rotation, figures.failed_otherwise) == (0, 0)
    assert figures.sent_during_rotation > 0
    assert (figures.started_by, figures.has_started_by_itself) == ("keyturn rotations", True)
    assert figures.destination_kind == KINDS[choice]
    assert figures.delivered_ms is not None
    assert figures.first_use_ms is not None
    assert min(figures.delivered_ms, figures.first_use_ms) > 0
    assert (figures.answers, figures.tokens_shown) == (4, 0)
    assert (figures.stragglers, figures.was_refused) == (["admin"], True)
    assert (figures.has_retired_by_itself, figures.lifts) == (True, 0)
    assert figures.move_to_retirement_ms is not None
    assert figures.brownout_ms is not None
    assert figures.move_to_retirement_ms > figures.brownout_ms >= 1_000
    incident = figures.incident
    assert incident.accepted_after == 0
    assert incident.sent_after > incident.tried > 0
    assert incident.last_accepted_sent_ms is not None
    assert incident.last_accepted_sent_ms < 0
    assert incident.strangers == ["ua:python-requests at 203.0.113.66"]
    assert incident.reported == incident.thief.sent > 0
    assert (incident.misreported, incident.is_complete) == (0, True)
    assert incident.thief.served > 0
    assert (incident.was_refused, incident.is_closed) == (True, True)
    assert incident.replaced_ms is not None
    assert incident.used_ms is not None
    assert incident.recovered_ms is not None
    assert incident.replaced_ms < incident.used_ms < incident.recovered_ms
    assert figures.logged == figures.sent + incident.thief.sent
    assert figures.found_in_log == figures.agreeing_with_log == figures.logged
    assert figures.unknown_in_log == 0
    assert figures.services["worker"].refused > 0
    assert figures.services["scheduler"].served == figures.services["scheduler"].sent
    assert figures.services["admin"].served == figures.services["admin"].sent > 0
    assert performance.leaves_nothing()


def test_without_a_terminal_it_is_plain_lines_and_what_it_keeps_bears_it_out(
    keep: Callable[[str], Kept],
) -> None:
    performance = keep("file").performance
    output = performance.output
    assert "\x1b" not in output
    assert output.rstrip().endswith("Every figure is as it must be.")
    steps = (
        "files (file) is proven: ",
        "Its token was delivered to file:",
        "All services call from the network cluster ",
        "Policy: each key is rotated every day, ",
        "Start: by keyturn rotations, ",
        "Deliver: files has it at /",
        "Follow: `keyturn run` has told scheduler, ",
        "scheduler  has moved to the new key",
        "Straggler: admin. It used the old key last at ",
        "Complete now? Refused (rotation.evidence_missing): ",
        "Ask for the token? The answer has no token (api_key: null)",
        "Follow: admin has run, ",
        "admin      has moved to the new key",
        "Brown-out: ",
        "Completed by keyturn rotations: The evidence allowed it.",
        "Leak: a build has put the worker's token into app.js.",
        "Thief: whoever found it there has called ",
        "Contain: the token that stands in it, POSTed to /v1/incidents, was answered after ",
        "Know: the report, ",
        "  Not ours: DELETE /articles (",
        " requests by worker look like the usual callers. A thief behind the same address ",
        "Place: ua:python-requests at 203.0.113.66 is nobody of ours.",
        "Close now? Refused (incident.keys_open): ",
        "Replace: kt_prod_",
        "It is recovering: Bring the replacement of worker-prod to worker",
        "Recover: `keyturn run` has told worker, ",
        "Close: confirmed. ",
        "The thief goes on trying: ",
        "Report: to print, ",
    )
    assert [step for step in steps if step not in output] == []
    assert sorted(map(output.index, steps)) == [output.index(step) for step in steps]
    assert f"Kept, with the tokens in it: {performance.home}" in performance.errors
    everything = {
        journal.stem: [
            msgspec.json.decode(line, type=Entry) for line in journal.read_bytes().splitlines()
        ]
        for journal in performance.home.glob("*.jsonl")
    }
    stolen = everything.pop("thief")
    report = (performance.home / "report.html").read_text("utf-8")
    assert [one for one in stolen if one.request_id not in report] == []
    assert "203.0.113.66" in report
    journals = [one for entries in everything.values() for one in entries]
    assert not any(one.request_id in report for one in journals)
    assert len({one.request_id for one in journals}) == len(journals)
    found = re.search(r"Requests served / sent\s+([\d,]+) / ([\d,]+)", output)
    assert found is not None
    served = sum(one.is_served for one in journals)
    assert found.groups() == (f"{served:,}", f"{len(journals):,}")
    assert performance.processes() == {}


def test_no_token_leaves_its_private_file(choice: str, keep: Callable[[str], Kept]) -> None:
    kept = keep(choice)
    performance = kept.performance
    told = [performance.output, performance.errors, *kept.commands]
    foreign = [
        file.read_text().strip()
        for who in (WRITER, READER)
        if (file := token_file(performance.home / "openbao", who)).exists()
    ]

    def holds_token(text: str) -> bool:
        return holds_shape(text) or any(token in text for token in foreign)

    holding = set()
    for file in performance.home.rglob("*"):
        if file.is_file() and holds_token(file.read_text(errors="replace")):
            holding.add(file.relative_to(performance.home))
            assert file.stat().st_mode & 0o777 == 0o600
    assert not any(holds_token(text) for text in told)
    services = ("scheduler", "worker", "publishing")
    expected = {Path("keyturn/operator.token"), *(Path(f"keys/{name}.token") for name in services)}
    expected.add(Path("app.js"))  # the one that leaks, and it is dead
    if choice == "openbao":
        expected |= {token_file(Path("openbao"), who) for who in (WRITER, READER)}
    else:
        (workspace,) = (performance.home / "delivered").iterdir()
        delivered = Path("delivered", workspace.name)
        expected |= {delivered / "scheduler-prod.token", delivered / "worker-prod.token"}
    assert holding == expected
    assert performance.home.stat().st_mode & 0o777 == 0o700


@contextmanager
def on_terminal(columns: int, folder: Path) -> Iterator[tuple[int, int]]:
    """The demonstration on a terminal of this width: its process, and the terminal's other end."""
    child, terminal = pty.fork()
    if child == 0:
        # Handed over whole: a library may have set COLUMNS where Python does not see it.
        own = {name: text for name, text in os.environ.items() if name not in ABOUT_TERMINALS}
        own |= {"TMPDIR": str(folder), "TERM": "xterm-256color"}
        os.execve(sys.executable, [*PROGRAM, "demo", "--seconds", "6", *QUICK], own)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    yield child, terminal
    os.close(terminal)


@pytest.mark.parametrize("columns", [30, 100])
def test_on_a_terminal_it_keeps_to_its_width(columns: int, tmp_path: Path) -> None:
    shown = b""
    with on_terminal(columns, tmp_path) as (child, terminal):
        while chunk := _read(terminal):
            shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    assert b"\x1b[" in shown
    lines = [CONTROL.sub(b"", line).decode() for line in LINE_END.split(shown)]
    assert [line for line in lines if len(line) > columns] == []
    assert "Every figure is as it must be." in " ".join(filter(None, map(str.strip, lines)))
    if columns == 100:
        for shown_of_admin in ("on the old key: it is waited for", "has moved to the new key"):
            rows = (line for line in lines if line.strip().startswith("admin "))
            assert any(shown_of_admin in row for row in rows)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_on_a_terminal_gives_it_back_as_it_was(tmp_path: Path) -> None:
    shown = b""
    with on_terminal(80, tmp_path) as (child, terminal):
        while chunk := _read(terminal):
            if b"Start: " in shown + chunk and b"Start: " not in shown:
                os.write(terminal, b"\x03")
            shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130, shown
    assert b"Interrupted." in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is hidden"
    assert list(tmp_path.iterdir()) == []


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so once the other end is closed
        return b""


# --- it goes wrong --------------------------------------------------------------------------------


def test_a_request_that_fails_during_the_rotation_is_told_and_ends_it_with_1(
    perform: Perform,
) -> None:
    performance = perform(*QUICK)
    performance.await_chapter(ROTATION)
    with client(performance) as keyturn:
        (worker,) = keyturn.keys.list(service="worker")
        keyturn.keys.suspend(worker.id)
    assert performance.wait() == 1
    found = re.search(r"Failed during the rotation +([\d,]+) of [\d,]+ +WRONG", performance.output)
    assert found is not None, performance.output
    assert int(found[1]) > 0
    assert "failed during the rotation; none may." in performance.output
    assert "Every figure is as it must be." not in performance.output
    assert performance.leaves_nothing()


def test_a_rotation_that_somebody_ends_by_force_is_told_and_ends_it_with_1(
    perform: Perform,
) -> None:
    performance = perform(*QUICK)
    performance.await_chapter(ROTATION)
    with client(performance) as keyturn:

        def is_begun() -> bool:
            return any(keyturn.rotations.list(state="open"))

        assert eventually(is_begun)
        (rotation,) = keyturn.rotations.list(state="open")
        keyturn.keys.revoke(rotation.old_key_id, reason="superseded")
    assert performance.wait() == 1, performance.output
    assert re.search(r"The old key retired by itself +no +WRONG", performance.output)
    assert "The old key was retired without a brown-out." in performance.output
    assert performance.leaves_nothing()


def test_a_use_of_the_leaked_key_that_the_thief_does_not_know_is_told_and_ends_it_with_1(
    perform: Perform,
) -> None:
    performance = perform("--keep", *QUICK)
    performance.await_said("Contain: ")
    token = find_token((performance.home / "app.js").read_text())
    assert token is not None
    with client(performance) as keyturn:
        assert not keyturn.verify(token, ip="198.51.100.7", user_agent="curl/8.5.0").valid
    assert performance.wait() == 1, performance.output
    assert re.search(r"The thief's requests in the report / sent +.* +WRONG", performance.output)
    assert "The report lays 1 request on a thief who did not send them." in performance.output
    assert "The request log has 1 request that nobody sent." in performance.output


def test_a_thief_who_dies_is_named_and_ends_the_story(perform: Perform) -> None:
    performance = perform(*QUICK)
    performance.await_said("Thief: ")
    running = performance.processes()
    assert running.keys() == ANYWHERE | {"thief"}
    os.kill(running["thief"], signal.SIGKILL)
    assert performance.wait() == 1
    assert performance.errors.startswith("keyturn: The demonstration cannot go on: thief ended ")
    assert performance.leaves_nothing()


@needs_openbao
@pytest.mark.parametrize("name", sorted(ALL))
def test_a_process_that_dies_is_named_and_ends_the_story(name: str, perform: Perform) -> None:
    performance = perform()
    performance.await_chapter(ROTATION)
    running = performance.processes()
    assert running.keys() == ALL
    os.kill(running[name], signal.SIGKILL)
    assert performance.wait() == 1
    assert performance.errors.startswith("keyturn: The demonstration cannot go on: ")
    assert "Traceback" not in performance.errors
    assert performance.leaves_nothing()


@needs_openbao
def test_ctrl_c_ends_it_all_with_130(perform: Perform) -> None:
    performance = perform()
    performance.await_chapter(ROTATION)
    assert performance.processes().keys() == ALL
    performance.process.send_signal(signal.SIGINT)
    assert performance.wait() == 130
    assert performance.errors.strip() == "Interrupted."
    assert performance.leaves_nothing()


@needs_openbao
def test_ctrl_c_while_it_starts_leaves_nothing_either(perform: Perform) -> None:
    performance = perform()
    performance.await_chapter(1)
    performance.process.send_signal(signal.SIGINT)
    assert performance.wait() == 130
    assert performance.leaves_nothing()


@needs_openbao
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_death_of_the_teller_leaves_no_process_and_no_token(
    number: signal.Signals, perform: Perform
) -> None:
    performance = perform()
    performance.await_chapter(ROTATION)
    assert performance.processes().keys() == ALL
    performance.process.send_signal(number)
    assert performance.wait() == -number
    assert performance.leaves_nothing()


def test_a_death_of_the_teller_leaves_no_token_in_a_file_either(perform: Perform) -> None:
    performance = perform(*QUICK)
    performance.await_chapter(ROTATION)
    assert performance.processes().keys() == ANYWHERE
    performance.process.send_signal(signal.SIGKILL)
    assert performance.wait() == -signal.SIGKILL
    assert performance.leaves_nothing()


def test_a_rotation_that_a_person_starts_is_told_and_ends_it_with_1(perform: Perform) -> None:
    performance = perform(*QUICK)
    performance.await_chapter(ROTATION - 1)
    with client(performance) as keyturn:
        (scheduler,) = keyturn.keys.list(service="scheduler")
        keyturn.rotations.start(scheduler.id, quiet_seconds=2, brownout_seconds=1)
    assert performance.wait() == 1, performance.output
    assert re.search(r"The rotation was started by +\S.* +WRONG", performance.output)
    assert "The rotation was started by a person, and not by its schedule." in performance.output
    assert performance.leaves_nothing()


def test_a_time_that_is_too_short_to_show_anything_is_refused(perform: Perform) -> None:
    performance = perform("--seconds", "5")
    assert performance.wait() == 2
    assert "--seconds" in performance.errors
    assert performance.leaves_nothing()
