"""Runs a program for one question: bounded in time and output, without our environment."""

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence
from typing import IO, cast

from keyturn.destinations.contract import DestinationFault, FaultKind
from keyturn.domain.ambience import Clock

MOST_OUTPUT_BYTES = 65_536

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
_PIECE_BYTES = 4_096  # a pipe takes as much at once as it says that it takes


def run_program(
    words: Sequence[str], question: bytes, *, clock: Clock, seconds: float
) -> tuple[int, bytes]:
    """How the program ended and what it said. Raises `DestinationFault`."""
    end = clock.elapsed() + seconds
    process = _start(words)
    try:
        output = _converse(process, question, clock, end)
        code = process.wait(timeout=max(0.0, end - clock.elapsed()))
    except subprocess.TimeoutExpired:
        raise _too_slow() from None
    finally:
        if process.returncode is None:  # not waited for yet, so its number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return code, output


def _start(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603 # the operator has named it
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,  # a group of its own, that can be ended whole
        )
    except PermissionError:
        raise DestinationFault(FaultKind.DENIED, "The program may not be run.") from None
    except OSError:
        raise DestinationFault(FaultKind.MISSING, "The program is not there.") from None


def _converse(
    process: "subprocess.Popen[bytes]", question: bytes, clock: Clock, end: float
) -> bytes:
    asked, told = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    left, output = memoryview(question), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_WRITE)
        selector.register(told, selectors.EVENT_READ)
        while selector.get_map():
            events = selector.select(max(0.0, end - clock.elapsed()))
            if not events or clock.elapsed() >= end:
                raise _too_slow()
            for key, _ in events:
                if key.fileobj is asked:
                    left = _pass(asked.fileno(), left)
                    if not left:
                        selector.unregister(asked)
                        asked.close()
                    continue
                piece = os.read(key.fd, _PIECE_BYTES)
                output += piece
                if not piece:
                    return bytes(output)
                if len(output) > MOST_OUTPUT_BYTES:
                    raise DestinationFault(
                        FaultKind.NOT_UNDERSTOOD, "The program has said too much."
                    )
    return bytes(output)


def _pass(pipe: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(pipe, left[:_PIECE_BYTES]) :]
    except BrokenPipeError:  # it does not read on; what it answers is judged all the same
        return left[:0]


def _too_slow() -> DestinationFault:
    return DestinationFault(FaultKind.TIMED_OUT, "The program took too long and was ended.")
