"""A real emulation of AWS for the tests: `ministack`, one server a test process, on loopback only.

1. It binds where BIND_HOST says, except its listener for devices, which IOT_MTLS_ENABLED=0 turns
   off. A start that listens anywhere else than on loopback is refused.
2. It keeps all in memory. A test that wants the place for itself takes a region or a name of its
   own.
"""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60


class MinistackUnavailable(Exception):
    """No server could be had; the message says why, for people."""


@contextmanager
def run_ministack(folder: Path) -> Iterator[int]:
    """The server's port. `folder` takes its files and its log."""
    if importlib.util.find_spec("ministack") is None:
        raise MinistackUnavailable("ministack is not installed.")
    port = _free_port()
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=_environment(folder, port),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url)
        refuse_strangers(process.pid)
        yield port
    finally:
        _stop(process)


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Nothing of this process's environment but the way to its programs."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SERVICES": "secretsmanager,sts,iam",
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
        "LOG_LEVEL": "WARNING",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MinistackUnavailable("ministack has ended by itself at its start.")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{url}/_ministack/health", timeout=2),
        ):
            return
        time.sleep(0.05)
    raise MinistackUnavailable(f"ministack has not answered within {START_SECONDS} seconds.")


def refuse_strangers(pid: int) -> None:
    """Where the system tells (Linux): every socket of the process that listens does so on
    127.0.0.1 or ::1. Raises `MinistackUnavailable`."""
    sockets = _sockets_of(pid)
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        path = Path(f"/proc/{pid}/net/{table}")
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            address, state, inode = fields[1].partition(":")[0], fields[3], fields[9]
            if state == "0A" and inode in sockets and address != loopback:
                raise MinistackUnavailable("ministack would listen beyond this machine.")


def _sockets_of(pid: int) -> set[str]:
    found = set()
    folder = Path(f"/proc/{pid}/fd")
    for entry in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
