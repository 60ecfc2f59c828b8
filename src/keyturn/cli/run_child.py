"""The command that `keyturn run` runs: found, started, signalled, and its end told.

It has the terminal, the standard streams and every other open file of ours, and is in our process
group: what is typed at the terminal reaches it as it would without us.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyturn.cli import run_launch
from keyturn.cli.ending import CommandFailed

NOT_EXECUTABLE = 126
NOT_FOUND = 127
BY_SIGNAL = 128

_INIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program that was found, and all of its arguments, its own name first."""

    program: str
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        return Path(self.arguments[0]).name or self.program


def find_command(arguments: Sequence[str], environment: Mapping[str, str]) -> Command:
    """The command as a shell would find it. Raises `CommandFailed`, with a shell's exit codes."""
    named = arguments[0]
    found = shutil.which(named, path=environment.get("PATH", os.defpath))
    if found is not None:
        return Command(program=str(Path(found).absolute()), arguments=tuple(arguments))
    if "/" in named and Path(named).exists():
        raise CommandFailed(
            f"{named} is not a program that may be run.",
            remedy=f"Make it one with `chmod +x {named}`, or name its interpreter first.",
            code=NOT_EXECUTABLE,
        )
    raise CommandFailed(
        f"There is no program {named}.",
        remedy="Check its spelling and PATH, or give its whole path.",
        code=NOT_FOUND,
    )


class Child:
    """One process of the command."""

    def __init__(self, command: Command, environment: Mapping[str, str]) -> None:
        try:
            # Descriptors that we were given are its own too (systemd's sockets); ours are not.
            self._process = subprocess.Popen(  # noqa: S603  (the command is what was asked for)
                _launched(command), env=dict(environment), close_fds=False
            )
        except OSError as error:
            raise CommandFailed(
                f"{command.name} cannot be started ({error.strerror}).",
                code=NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE,
            ) from error

    def send(self, number: int) -> None:
        """Nothing happens where it has ended."""
        self._process.send_signal(number)

    def code(self) -> int | None:
        """Its exit code, as a shell tells it; None while it runs."""
        code = self._process.poll()
        return None if code is None else BY_SIGNAL - code if code < 0 else code

    def reap_others(self) -> None:
        """As the first process of a container we are given every one that has lost its parent:
        takes note of the ends of those, and leaves none as a zombie."""
        if os.getpid() != _INIT or sys.platform != "linux":
            return
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid == self._process.pid:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)


def _launched(command: Command) -> list[str]:
    """What is started. Elsewhere than on Linux, and in a program of one file, the command outlives
    a parent that is killed."""
    launcher = Path(run_launch.__file__)
    is_apart = launcher.is_file() and not getattr(sys, "frozen", False)
    if sys.platform != "linux" or not sys.executable or not is_apart:
        return [command.program, *command.arguments[1:]]
    return [
        sys.executable,
        "-I",
        "-S",
        str(launcher),
        str(os.getpid()),
        command.program,
        *command.arguments,
    ]


def become(command: Command, environment: Mapping[str, str]) -> None:
    """Ends this program by becoming the command: its signals and its exit code are its own."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    run_launch.restore_signals()
    run_launch.become(command.program, list(command.arguments), dict(environment))
