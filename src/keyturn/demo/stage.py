"""The stage: one temporary folder, and in it Keyturn, the publishing API and the services, each a
process of its own on a free port of this machine."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from keyturn.ambient import SystemClock
from keyturn.client import Keyturn, Token
from keyturn.demo import callers, publishing
from keyturn.demo.callers import Duty
from keyturn.demo.child import Child, bypass_proxies
from keyturn.demo.journal import Entry, JournalReader
from keyturn.domain.error import InstallationFault
from keyturn.server.files import make_private_folder, write_private

KEYTURN_PROGRAM = """
import sys
from keyturn.demo.leash import leashed
with leashed(int(sys.argv[1]), sys.argv[2]):
    from keyturn.cli.main import main
    main(["dev"])
"""
CLEAN_END_SECONDS = 10.0
HURRIED_END_SECONDS = 1.5


class Stage:
    """All that runs. Make it with `open_stage`."""

    def __init__(self, folder: Path, *, is_kept: bool) -> None:
        self.folder = folder
        self._is_kept = is_kept
        self._children: dict[str, Child] = {}
        self._services: list[str] = []
        self._journals: dict[str, JournalReader] = {}
        self.publishing_url = ""
        make_private_folder(folder / "keys")

    # --- what runs -------------------------------------------------------------------------------

    def start_keyturn(self) -> Keyturn:
        """Starts Keyturn on SQLite; gives a client that is its first operator's."""
        abandoned = "" if self._is_kept else str(self.folder)
        child = self._start("keyturn", KEYTURN_PROGRAM, str(os.getpid()), abandoned)
        token_file = self.folder / "keyturn" / "operator.token"
        return Keyturn(child.await_address(), api_key_file=token_file)

    def start_publishing(self, keyturn_url: str) -> None:
        """Starts the API that verifies each call; its own key must have been delivered."""
        key_file = str(self.key_file("publishing"))
        child = self._start("publishing", publishing.PROGRAM, keyturn_url, key_file)
        self.publishing_url = child.await_address()

    def start_service(
        self, name: str, *, steps: list[str], lanes: int, pause_seconds: float
    ) -> None:
        """Starts a service; its key must have been delivered."""
        journal = self.folder / f"{name}.jsonl"
        duty = Duty(
            name=name,
            url=self.publishing_url,
            key_file=str(self.key_file(name)),
            journal_file=str(journal),
            steps=steps,
            lanes=lanes,
            pause_seconds=pause_seconds,
        )
        self._start(name, callers.PROGRAM, msgspec.json.encode(duty).decode())
        self._services.append(name)
        self._journals[name] = JournalReader(journal)

    def stop_callers(self) -> None:
        """Ends the services, and then the API, so that nothing is in flight. Raises
        `InstallationFault` where one does not end cleanly."""
        for names in (self._services, ["publishing"]):
            for name in names:
                self._children[name].release()
            for name in names:
                self._children[name].require_end(CLEAN_END_SECONDS)

    def require_alive(self) -> None:
        """Raises `InstallationFault` where a process has ended unasked."""
        for child in self._children.values():
            child.require_alive()

    def end(self, patience_seconds: float) -> None:
        """Ends whatever still runs, by its own id."""
        for child in self._children.values():
            child.release()
        deadline = SystemClock().elapsed() + patience_seconds
        for child in self._children.values():
            child.end(deadline)

    # --- what is delivered and written down ------------------------------------------------------

    def key_file(self, service: str) -> Path:
        return self.folder / "keys" / f"{service}.token"

    def deliver(self, service: str, token: Token) -> None:
        """Puts a token where its service reads it: a private file, replaced whole."""
        write_private(self.key_file(service), token.reveal() + "\n")

    def journals(self) -> Mapping[str, list[Entry]]:
        """What each service has written down so far."""
        for journal in self._journals.values():
            journal.refresh()
        return {name: journal.entries for name, journal in self._journals.items()}

    def _start(self, name: str, program: str, *arguments: str) -> Child:
        child = Child(name, program, *arguments, folder=self.folder)
        self._children[name] = child
        return child


@contextmanager
def open_stage(*, is_kept: bool) -> Iterator[Stage]:
    """A stage in a new temporary folder. At its end nothing is left: no process, and no folder
    unless it `is_kept`."""
    bypass_proxies()
    try:
        folder = Path(tempfile.mkdtemp(prefix="keyturn-demo-")).resolve()
    except OSError as error:
        raise InstallationFault(
            f"No temporary folder can be made ({error.strerror}).",
            remedy="Name one with room in TMPDIR.",
        ) from error
    with contextlib.ExitStack() as stack:
        if not is_kept:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stage = Stage(folder, is_kept=is_kept)
        try:
            yield stage
        except BaseException:
            stage.end(HURRIED_END_SECONDS)
            raise
        stage.end(CLEAN_END_SECONDS)
