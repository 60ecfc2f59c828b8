"""A child process, seen by its parent: started, spoken to over HTTP, and ended by its own id."""

import contextlib
import os
import re
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from keyturn.ambient import SystemClock
from keyturn.domain.error import InstallationFault

START_SECONDS = 60.0
_ADDRESS = re.compile(rb"http://127\.0\.0\.1:\d+")
_LOOPBACK = "127.0.0.1"
_OTHERS = ("KEYTURN_", "VAULT_", "BAO_")


class Child:
    """One process. It has a session of its own, so that Ctrl-C reaches the parent alone, which ends
    its children in order."""

    def __init__(
        self,
        name: str,
        program: str,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603  (this interpreter, our own text)
                    [sys.executable, "-c", program, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=folder,
                    env=_environment(folder) | dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise InstallationFault(
                f"A process for {name} cannot be started ({error.strerror}).",
                remedy="Let this user have more processes, files or memory.",
            ) from error

    @property
    def id(self) -> int:
        return self._process.pid

    def await_address(self) -> str:
        """Where it listens, by its first line of output. Raises `InstallationFault`."""
        output = self._process.stdout
        if output is None:
            raise TypeError("its output is a pipe")
        ready, _, _ = select.select([output], [], [], START_SECONDS)
        found = _ADDRESS.search(output.readline()) if ready else None
        if found is None:
            raise self._fault("did not start")
        return found[0].decode()

    def is_done(self) -> bool:
        """Whether it has ended cleanly. Raises `InstallationFault` where it ended otherwise."""
        code = self._process.poll()
        if code:
            raise self._fault(f"ended with exit code {code}")
        return code is not None

    def require_alive(self) -> None:
        """Raises `InstallationFault` where it has ended."""
        if self._process.poll() is not None:
            raise self._fault(f"ended unasked (exit code {self._process.returncode})")

    def release(self) -> None:
        """Asks it to end, and does not wait."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def require_end(self, seconds: float) -> None:
        """Waits until it has ended cleanly. Raises `InstallationFault` where it does not."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._fault(f"did not end within {seconds:.0f} s") from None
        if code != 0:
            raise self._fault(f"ended with exit code {code}")

    def end(self, deadline: float) -> None:
        """Waits for it until the deadline, then ends it with no chance to do anything."""
        self.release()
        try:
            self._process.wait(max(0.0, deadline - SystemClock().elapsed()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _fault(self, what: str) -> InstallationFault:
        lines = self._log.read_text("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return InstallationFault(
            f"The demonstration cannot go on: {self.name} {what}.",
            remedy=f"The last line of its log: {last[:500]}" if last else "Its log is empty.",
        )


def bypass_proxies() -> None:
    """Lets this process and its children speak to this machine directly, whatever proxy is set."""
    for name in ("no_proxy", "NO_PROXY"):
        known = os.environ.get(name)
        os.environ[name] = f"{known},{_LOOPBACK}" if known else _LOOPBACK


def _environment(folder: Path) -> dict[str, str]:
    """The environment of this process without its settings of Keyturn, Vault and OpenBao. No token
    is in it."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(_OTHERS)}
    return own | {"KEYTURN_HOME": str(folder / "keyturn"), "KEYTURN_PORT": "0"}
