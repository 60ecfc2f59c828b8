"""`keyturn run`: the token reaches the command and nobody else, the new one as well, and the
command lives as it would without it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from keyturn.domain.redaction import holds_shape
from tests.cli.calling import terminal
from tests.cli.programs import Place
from tests.cli.supervised import Runs, Supervised, is_alive, replace, runs_in, token
from tests.servers.openbao import OpenBao, obtain_openbao

FIRST, SECOND, THIRD = (token(number).reveal() for number in (1, 2, 3))
HINTS = [token(number).hint for number in (1, 2, 3)]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells of it")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with runs_in(tmp_path) as made:
        made.file.write_text(FIRST + "\n")
        yield made


@pytest.fixture(autouse=True)
def nothing_shows_a_token(tmp_path: Path) -> Iterator[None]:
    """What `keyturn run` says never has a token in it."""
    yield
    for file in tmp_path.glob("*.errors"):
        assert not holds_shape(file.read_text())
        assert "Traceback" not in file.read_text()


# --- how it is given ------------------------------------------------------------------------------


def test_the_token_is_in_the_environment_of_the_command(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker)
    run.sees(HINTS[0])
    run.send(signal.SIGTERM)
    assert run.code() == 0
    assert run.errors == ""


def test_the_token_is_in_the_variable_that_is_named_and_in_no_other(runs: Runs) -> None:
    run = runs.start(
        *("--from", "env:MINE", "--env", "THEIRS", "--", "sh", "-c"),
        'printf "%s|%s|" "$THEIRS" "$KEYTURN_API_KEY" | wc -c',
        MINE=f" {FIRST} ",
    )
    assert run.code() == 0
    assert int(run.output) == len(FIRST) + 2


@pytest.mark.parametrize("reaction", [("--on-change", "restart"), ("--once",)])
def test_a_file_that_is_named_is_private_and_stays(runs: Runs, reaction: tuple[str, ...]) -> None:
    arguments = ("--from", "file:scheduler.token", "--file", "given", *reaction)
    script = 'cat "$KEYTURN_API_KEY_FILE" | wc -c; echo "${KEYTURN_API_KEY-none}"'
    run = runs.start(*arguments, "--", "sh", "-c", script, KEYTURN_API_KEY=SECOND)
    assert run.code() == 0
    assert run.output.split() == [str(len(FIRST) + 1), "none"]
    given = runs.folder / "given"
    assert given.read_text().strip() == FIRST
    assert stat.S_IMODE(given.stat().st_mode) == 0o600


@LINUX
def test_no_token_is_in_the_arguments_of_any_process(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker)
    run.sees(HINTS[0])
    for pid in (run.process.pid, run.worker()):
        assert b"kt_prod_" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_with_once_the_process_becomes_the_command(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--once", "--", *runs.worker)
    assert run.worker() == run.process.pid
    run.send(signal.SIGTERM)
    assert run.code() == 0


@LINUX
@pytest.mark.parametrize("reaction", ["restart", "ignore"])
def test_the_command_ignores_no_signal_that_it_did_not_ignore_before(
    runs: Runs, reaction: str
) -> None:
    run = runs.start(
        *("--from", "file:scheduler.token", "--on-change", reaction),
        *("--", "grep", "SigIgn", "/proc/self/status"),
    )
    assert run.code() == 0
    # Of those that have names; the C library keeps some above them for itself.
    assert int(run.output.split()[1], 16) & 0x7FFFFFFF == 0


# --- what happens on a change ---------------------------------------------------------------------


def test_a_new_token_restarts_the_command_with_it_after_the_old_one_has_ended(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker, ENDS_AFTER="0.3")
    old = run.worker()
    replace(runs.file, SECOND)
    run.sees(HINTS[1])
    new = run.worker()
    assert run.lines == [
        f"started {old} {HINTS[0]}",
        f"SIGTERM {HINTS[0]}",
        f"ends {old}",
        f"started {new} {HINTS[1]}",
    ]
    name = Path(sys.executable).name
    told = f"keyturn: the token in file:scheduler.token changed ({HINTS[1]}…): restarting {name}\n"
    assert run.errors == told
    run.send(signal.SIGTERM)
    assert run.code() == 0


def test_a_command_that_does_not_end_in_time_is_killed_and_started_anew(runs: Runs) -> None:
    arguments = ("--from", "file:scheduler.token", "--grace", "0.3")
    run = runs.start(*arguments, "--", *runs.worker, ENDS_ON="SIGINT")
    old = run.worker()
    replace(runs.file, SECOND)
    run.sees(f"started {old} {HINTS[0]}", f"SIGTERM {HINTS[0]}", HINTS[1])
    assert not is_alive(old)
    assert "killing it" in run.errors


def test_a_signal_is_sent_once_the_new_token_is_in_its_file_and_nothing_is_restarted(
    runs: Runs,
) -> None:
    arguments = ("--from", "file:scheduler.token", "--signal", "usr1", "--settle", "0")
    run = runs.start(*arguments, "--", *runs.worker)
    pid = run.worker()
    [folder] = runs.folder.glob("keyturn-run-*")
    for number in (1, 2):
        replace(runs.file, (FIRST, SECOND, THIRD)[number])
        run.sees(f"SIGUSR1 {HINTS[number]}")
        assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(run.lines) == 3
    assert run.worker() == pid
    run.send(signal.SIGTERM)
    assert run.code() == 0
    assert not folder.exists()


SLOW = """
import os, signal, sys, time
def tell(number, frame):
    with open(os.environ["KEYTURN_API_KEY_FILE"]) as file:
        print("told", file.read()[:30], flush=True)
print("begins", flush=True)
time.sleep(1)
signal.signal(signal.SIGHUP, tell)
print("is ready", flush=True)
while True:
    time.sleep(0.02)
"""


def test_a_command_that_is_starting_is_told_once_of_the_newest_token_and_not_killed(
    runs: Runs,
) -> None:
    arguments = ("--from", "file:scheduler.token", "--signal", "HUP", "--settle", "3")
    run = runs.start(*arguments, "--", sys.executable, "-c", SLOW)
    run.sees("begins")
    replace(runs.file, SECOND)
    time.sleep(0.7)
    replace(runs.file, THIRD)
    run.sees("told")
    time.sleep(0.7)
    assert run.lines == ["begins", "is ready", f"told {THIRD[:30]}"]


def test_on_change_exit_ends_the_command_and_gives_its_code(runs: Runs) -> None:
    arguments = ("--from", "file:scheduler.token", "--on-change", "exit")
    run = runs.start(*arguments, "--", *runs.worker, ENDS_WITH="9")
    run.worker()
    replace(runs.file, SECOND)
    assert run.code() == 9
    assert sum(line.startswith("started") for line in run.lines) == 1


def test_a_half_written_file_is_never_given_to_the_command(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker)
    pid = run.worker()
    for part in ("", SECOND[:20], SECOND[:-1], f"{SECOND}\n{THIRD}", "<html>login</html>"):
        runs.file.write_text(part)
        time.sleep(0.7)
    run.tells("No token can be taken from file:scheduler.token")
    assert run.worker() == pid
    runs.file.write_text(SECOND)
    run.sees(f"started {pid} {HINTS[0]}", HINTS[1])
    assert "garbage" not in run.output
    assert run.errors.count("No token can be taken") == 1
    assert run.errors.count("can be read again") == 1


def test_a_place_that_is_gone_harms_nothing_and_is_told_once(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--every", "0.1", "--", *runs.worker)
    pid = run.worker()
    runs.file.unlink()
    run.tells("there is no such file", "goes on with the token that it has")
    time.sleep(0.5)
    assert run.errors.count("\n") == 1
    runs.file.write_text(FIRST)
    run.tells("can be read again")
    assert run.lines == [f"started {pid} {HINTS[0]}"]


def test_a_command_that_crashes_after_a_restart_is_not_started_again(runs: Runs) -> None:
    arguments = ("--from", "file:scheduler.token", "--", *runs.worker)
    run = runs.start(*arguments, CRASHES_WITH=HINTS[1])
    run.worker()
    replace(runs.file, SECOND)
    assert run.code() == 3
    assert sum(line.startswith("started") for line in run.lines) == 2


def ends_with(run: Supervised, hint: str) -> bool:
    return run.output.endswith(f"{hint}\n")


@LINUX
def test_no_zombie_is_left_by_restarts(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker)
    for text, hint in ((SECOND, HINTS[1]), (THIRD, HINTS[2]), (SECOND, HINTS[1])):
        replace(runs.file, text)
        run.until(partial(ends_with, run, hint), hint)
    pid = run.process.pid
    assert children(pid) == [run.worker()]


# --- signals and ends -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signals_are_passed_on_and_the_exit_code_is_the_commands(runs: Runs, name: str) -> None:
    arguments = ("--from", "file:scheduler.token", "--", *runs.worker)
    run = runs.start(*arguments, ENDS_ON=name, ENDS_WITH="21")
    run.worker()
    run.send(signal.Signals[name])
    assert run.code() == 21
    assert run.lines[1] == f"{name} {HINTS[0]}"


def test_a_command_that_is_killed_gives_128_and_the_number(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker)
    os.kill(run.worker(), signal.SIGKILL)
    assert run.code() == 128 + signal.SIGKILL


@LINUX
def test_kill_9_leaves_no_command_behind(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker, ENDS_ON="")
    pid = run.worker()
    run.process.kill()
    run.process.wait()
    run.until(lambda: not is_alive(pid), "it lives on")


def test_what_kill_9_left_in_a_private_folder_is_removed_by_the_next_one(runs: Runs) -> None:
    options = ("--from", "file:scheduler.token", "--signal", "HUP", "--settle", "0")
    arguments = (*options, "--", *runs.worker)
    killed, lives = runs.start(*arguments), runs.start(*arguments)
    for one in (killed, lives):
        one.worker()
    left = set(runs.folder.glob("keyturn-run-*"))
    killed.process.kill()
    killed.process.wait()
    run = runs.start(*arguments)
    run.worker()
    folders = set(runs.folder.glob("keyturn-run-*"))
    assert len(left) == len(folders) == 2
    assert len(left & folders) == 1
    replace(runs.file, SECOND)
    for one in (lives, run):
        one.sees(f"SIGHUP {HINTS[1]}")


def test_nothing_is_started_once_it_was_asked_to_end(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker, ENDS_AFTER="0.5")
    run.worker()
    replace(runs.file, SECOND)
    run.tells("restarting")
    run.sees("SIGTERM")
    run.send(signal.SIGINT)
    assert run.code() == 0
    assert sum(line.startswith("started") for line in run.lines) == 1


def test_a_change_after_it_was_asked_to_end_restarts_nothing(runs: Runs) -> None:
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker, ENDS_AFTER="1.5")
    run.worker()
    run.send(signal.SIGTERM)
    run.sees("SIGTERM")
    replace(runs.file, SECOND)
    assert run.code() == 0
    assert sum(line.startswith("started") for line in run.lines) == 1


def test_on_a_terminal_the_command_has_it_and_ctrl_c_comes_once(runs: Runs, place: Place) -> None:
    (place.folder / "scheduler.token").write_text(FIRST)
    arguments = ("run", "--from", "file:scheduler.token", "--", *runs.worker)
    with terminal(place, *arguments, ENDS_ON="SIGQUIT", ENDS_WITH="4") as shown:
        shown.read(until="started")
        shown.type("\x03")
        shown.read(until="SIGINT")
        shown.type("\x1c")
        code, text = shown.end()
    assert code == 4
    assert text.count("SIGINT") == 1


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def may_make_a_space_of_processes() -> bool:
    program = shutil.which("unshare")
    return (
        program is not None
        and not subprocess.run(
            [program, "--pid", "--fork", "--mount-proc", "true"], stderr=subprocess.DEVNULL
        ).returncode
    )


@LINUX
def test_as_the_first_process_it_leaves_no_zombie_and_obeys_signals(runs: Runs) -> None:
    """As in a container: orphans are given to it, and signals that it does not hear are lost."""
    if not may_make_a_space_of_processes():
        pytest.skip("this user may not make a space of processes")
    script = "(sleep 0.1 &) ; sleep 0.6; exec grep -c '^State:.*zombie' /proc/[0-9]*/status"
    first = ("unshare", "--pid", "--fork", "--mount-proc")
    run = runs.start("--from", "file:scheduler.token", "--", "sh", "-c", script, before=first)
    run.code()
    assert run.lines
    assert all(line.endswith(":0") for line in run.lines)
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker, before=first)
    run.worker()
    [inner] = children(run.process.pid)
    os.kill(inner, signal.SIGTERM)
    assert run.code() == 0
    run.sees(f"SIGTERM {HINTS[0]}")


# --- from Vault -----------------------------------------------------------------------------------


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    (tmp_path / "openbao").mkdir()
    yield from obtain_openbao(tmp_path / "openbao")


def test_a_secret_of_vault_is_followed_and_a_vault_that_has_none_harms_nothing(
    runs: Runs, bao: OpenBao
) -> None:
    bao.put("keyturn/scheduler-prod", {"api_key": FIRST})
    run = runs.start(
        *("--from", "vault:secret/keyturn/scheduler-prod", "--every", "0.2", "--", *runs.worker),
        VAULT_ADDR=bao.address,
        VAULT_TOKEN=bao.root_token,
    )
    pid = run.worker()
    bao.ask("DELETE", "secret/metadata/keyturn/scheduler-prod")
    run.tells("there is no such secret", "goes on with the token that it has")
    bao.put("keyturn/scheduler-prod", {"api_key": SECOND})
    run.tells("can be read again")
    run.sees(f"started {pid} {HINTS[0]}", f"ends {pid}", HINTS[1])
    assert bao.root_token not in run.errors
    run.send(signal.SIGTERM)
    assert run.code() == 0


# --- the start ------------------------------------------------------------------------------------


def test_a_place_that_comes_late_is_waited_for(runs: Runs) -> None:
    runs.file.unlink()
    run = runs.start("--from", "file:scheduler.token", "--", *runs.worker)
    run.tells("there is no such file. Trying again for 30 s.")
    runs.file.write_text(FIRST)
    run.sees(HINTS[0])


def test_a_place_that_has_none_ends_it_with_7_and_nothing_is_started(runs: Runs) -> None:
    run = runs.start("--from", "file:absent", "--wait", "0.3", "--", *runs.worker)
    assert run.code() == 7
    assert "Nothing was started" in run.errors
    assert run.output == ""


def test_it_can_be_ended_while_it_waits(runs: Runs) -> None:
    run = runs.start("--from", "file:absent", "--", *runs.worker)
    run.tells("Trying again")
    run.send(signal.SIGTERM)
    assert run.code() == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--from", "file:scheduler.token"), 2, "Name the command"),
        (("--", "true"), 2, "--from"),
        (("--from", "ftp:a", "--", "true"), 2, "is no source: one begins with env:"),
        (("--from", "vault:a", "--", "true"), 2, "vault:MOUNT/PATH#FIELD"),
        (("--from", "vault:a/b", "--", "true"), 2, "VAULT_TOKEN_FILE"),
        (("--from", "env:UNSET", "--", "true"), 7, "the variable is not set"),
        (("--from", "env:EMPTY", "--wait", "0", "--", "true"), 7, "it is empty"),
        (("--from", "file:.", "--wait", "0", "--", "true"), 7, "Is a directory"),
        (("--from", "file:scheduler.token", "--", "./absent"), 127, "There is no program"),
        (("--from", "file:scheduler.token", "--", "no-such-program"), 127, "PATH"),
        (("--from", "file:scheduler.token", "--", "./scheduler.token"), 126, "chmod +x"),
        (("--from", "file:scheduler.token", "--", "."), 127, "There is no program"),
        (("--from", "file:scheduler.token", "--", "./"), 126, "not a program that may be run"),
        (("--from", "file:a", "--signal", "KILL", "--", "true"), 2, "like HUP"),
        (("--from", "file:a", "--signal", "HUP", "--once", "--", "true"), 2, "--signal goes"),
        (("--from", "file:a", "--env", "A", "--file", "b", "--", "true"), 2, "not both"),
        (("--from", "file:a", "--env", "A", "--signal", "HUP", "--", "true"), 2, "--env out"),
        (("--from", "file:a", "--once", "--on-change", "exit", "--", "true"), 2, "--once"),
        (("--from", "file:scheduler.token", "--file", "no/b", "--", "true"), 1, "not there"),
    ],
)
def test_what_is_wrong_is_said_with_a_way_out(
    runs: Runs, arguments: tuple[str, ...], code: int, told: str
) -> None:
    run = runs.start(*arguments, EMPTY="")
    assert run.code() == code, run.errors
    assert told in " ".join(run.errors.split())


@pytest.mark.parametrize("reaction", ["restart", "ignore"])
def test_what_the_system_cannot_run_ends_with_126(runs: Runs, reaction: str) -> None:
    program = runs.folder / "program"
    program.write_bytes(b"\x00\x01\x02")
    program.chmod(0o755)
    run = runs.start("--from", "file:scheduler.token", "--on-change", reaction, "--", "./program")
    assert run.code() == 126
    assert "cannot be" in run.errors


def test_a_token_on_the_command_line_is_not_shown_again(runs: Runs) -> None:
    run = runs.start("--from", f"file:{FIRST}", "--", "true")
    assert run.code() == 2
    assert "A token was given" in run.errors


def test_its_help_needs_nothing_but_the_light_install() -> None:
    script = (
        "import sys\nfrom keyturn.cli.main import run\nrun(['run', '--help'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert "keyturn run --from" in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"httpx2", "sqlalchemy", "fastapi", "cryptography", "boto3", "google"}
