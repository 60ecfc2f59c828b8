"""Becomes the command that `keyturn run` starts, once the command is sure to end with it.

Started by itself (`python -I -S run_launch.py PARENT PROGRAM NAME ARGUMENTS…`) and of the standard
library alone: between a fork and an exec in a program with threads nothing of this may be done.
Linux sends the signal that is asked for here when the parent ends, however it ends, kill -9 too.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


def main() -> None:
    """Asks for the signal, and becomes the program."""
    parent, program, *arguments = sys.argv[1:]
    restore_signals()
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        pass  # then the command outlives a parent that is killed; everything else works
    if os.getppid() != int(parent):  # it ended before it was asked
        os.kill(os.getpid(), signal.SIGKILL)
    become(program, arguments, dict(os.environ))


def become(program: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Becomes the program; returns never."""
    try:
        os.execve(program, arguments, environment)  # noqa: S606  (no shell, on purpose)
    except OSError as error:
        sys.stderr.write(f"keyturn: {program} cannot be run ({error.strerror}).\n")
        sys.stderr.flush()
        is_missing = isinstance(error, FileNotFoundError)
        os._exit(_NOT_FOUND if is_missing else _NOT_EXECUTABLE)


def restore_signals() -> None:
    """What Python ignores for itself, a program does not expect to be ignored."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
