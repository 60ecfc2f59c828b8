"""OpenBao for the story: its dev mode, in memory, on a free port of this machine.

1. It knows no leash, so it is started by a process that has one, and that ends it by its own id. On
   Linux it also ends with that process, however that one ends.
2. Its root token is in the memory of that process alone. Keyturn has a token that may write below
   `secret/keyturn`, the services one that may read there.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import httpx2
import msgspec

from keyturn.demo.leash import when_released
from keyturn.server.files import write_private

PROGRAM = "from keyturn.demo.openbao import main; main()"
BELOW = "keyturn"
MOUNT = "secret"
WRITER, READER = "keyturn", "services"

_LAUNCH = "from keyturn.cli.run_launch import main; main()"
_ATTEMPTS = 3
_END_SECONDS = 4.0
_CALL_SECONDS = 10.0
_MAY = {WRITER: ["create", "read", "update"], READER: ["read"]}


class _Lease(msgspec.Struct):
    client_token: str


class _Issued(msgspec.Struct):
    auth: _Lease


def find_openbao() -> str | None:
    """The program of OpenBao: on the path, or beside this interpreter, where a wheel puts it."""
    beside = Path(sys.executable).with_name("bao")
    return shutil.which("bao") or (str(beside) if os.access(beside, os.X_OK) else None)


def token_file(folder: Path, who: str) -> Path:
    """Where the token of `WRITER` or of `READER` is, once OpenBao has told its address."""
    return folder / f"{who}.token"


class Server:
    """The program, run on a free port."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = threading.Event()
        self.url = ""

    def start(self) -> str:
        """Starts it, and gives its root token once it serves."""
        for _ in range(_ATTEMPTS):
            port = _free_port()
            self.url = f"http://127.0.0.1:{port}"
            self._process = process = _started(self._program, port, self._folder)
            root = _root_token(process.stdout)
            if root is not None:
                return root
            process.wait()
            if self._is_stopped.is_set():
                break
            # Else somebody took the port meanwhile.
        raise SystemExit("OpenBao did not start.")

    def admit(self, root: str) -> None:
        """Makes the two tokens, each in a private file."""
        with httpx2.Client(
            base_url=self.url, headers={"X-Vault-Token": root}, timeout=_CALL_SECONDS
        ) as client:
            for who, acts in _MAY.items():
                rule = f'path "{MOUNT}/data/{BELOW}/*" {{ capabilities = {acts} }}'
                policy = {"policy": rule.replace("'", '"')}
                client.put(f"/v1/sys/policies/acl/{who}", json=policy).raise_for_status()
                asked = {"policies": [who], "no_default_policy": True, "no_parent": True}
                answer = client.post("/v1/auth/token/create", json=asked).raise_for_status()
                issued = msgspec.json.decode(answer.content, type=_Issued)
                write_private(token_file(self._folder, who), issued.auth.client_token + "\n")

    def wait(self) -> None:
        """Until it was stopped. It does not end by itself."""
        code = None if self._process is None else self._process.wait()
        if not self._is_stopped.is_set():
            raise SystemExit(f"OpenBao has ended by itself (exit code {code}).")

    def stop(self) -> None:
        """Ends it, from any thread."""
        self._is_stopped.set()
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> None:
    """Serves until the leash is let go. Arguments: the program, and a folder of its own."""
    program, folder = sys.argv[1:]
    server = Server(program, Path(folder))
    when_released(server.stop)
    try:
        server.admit(server.start())
    except httpx2.HTTPError as error:
        raise SystemExit(f"OpenBao could not be set up ({type(error).__name__}).") from None
    else:
        sys.stdout.write(f"OpenBao serves {server.url}\n")
        sys.stdout.flush()
        server.wait()
    finally:
        server.stop()


def _started(program: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Without this process's environment: none of somebody's own settings of OpenBao holds."""
    launched = [sys.executable, "-c", _LAUNCH, str(os.getpid()), program, "bao", "server"]
    options = ["-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    return subprocess.Popen(  # noqa: S603  (the program that was found, and our own text)
        [*launched, *options, "-log-level=warn", f"-log-file={folder / 'openbao.log'}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath)},
    )


def _root_token(output: IO[bytes] | None) -> str | None:
    """What it tells once it serves; None where it ends before. The rest is read by and by."""
    if output is None:
        raise TypeError("its output is a pipe")
    for line in output:
        title, _, text = line.decode(errors="replace").partition(":")
        if title.strip() == "Root Token":
            threading.Thread(target=output.read, name="openbao-output", daemon=True).start()
            return text.strip()
    return None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
