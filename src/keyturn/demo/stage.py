"""The stage: one temporary folder, and in it Keyturn, the publishing API, the services, and OpenBao
where it takes part, each a process of its own on a free port of this machine."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from keyturn.ambient import SystemClock
from keyturn.client import Keyturn, Token
from keyturn.demo import callers, openbao, publishing
from keyturn.demo.callers import Duty
from keyturn.demo.child import Child, bypass_proxies
from keyturn.demo.journal import Entry, JournalReader
from keyturn.demo.pace import Service
from keyturn.demo.place import Place, in_folder, in_openbao
from keyturn.domain.error import InstallationFault
from keyturn.server.files import make_private_folder, write_private

KEYTURN_PROGRAM = """
import sys
from keyturn.demo.leash import leashed
with leashed(int(sys.argv[1]), sys.argv[2]):
    from keyturn.cli.main import main
    main(["dev"])
"""
RUN_PROGRAM = """
import sys
from keyturn.cli.main import main
main(["run", *sys.argv[1:]])
"""
# How often the place of a token is looked at: a few seconds, where nobody looks on.
EVERY_SECONDS = 0.5
CLEAN_END_SECONDS = 10.0
HURRIED_END_SECONDS = 1.5
NOTHING: Mapping[str, str] = {}


class Stage:
    """All that runs. Make it with `open_stage`."""

    def __init__(self, folder: Path, *, is_kept: bool, bao: str | None) -> None:
        self.folder = folder
        self.is_kept = is_kept
        self._bao = bao
        self._children: dict[str, Child] = {}
        self._jobs: dict[str, Child] = {}
        self._services: list[str] = []
        self._journals: dict[str, JournalReader] = {}
        self.publishing_url = ""
        make_private_folder(folder / "keys")

    # --- what runs -------------------------------------------------------------------------------

    def start_place(self) -> Place:
        """Where tokens are delivered. Starts OpenBao, where it takes part."""
        if self._bao is None:
            make_private_folder(self.folder / "delivered")
            return in_folder(self.folder / "delivered")
        home = self.folder / "openbao"
        make_private_folder(home)
        child = self._start("openbao", openbao.PROGRAM, self._bao, str(home))
        return in_openbao(child.await_address(), home)

    def start_keyturn(self, place: Place) -> Keyturn:
        """Starts Keyturn on SQLite; gives a client that is its first operator's."""
        abandoned = "" if self.is_kept else str(self.folder)
        child = self._start(
            "keyturn",
            KEYTURN_PROGRAM,
            str(os.getpid()),
            abandoned,
            environment=place.settings,
        )
        token_file = self.folder / "keyturn" / "operator.token"
        return Keyturn(child.await_address(), api_key_file=token_file)

    def start_publishing(self, keyturn_url: str) -> None:
        """Starts the API that verifies each call; its own key must have been delivered."""
        key_file = str(self.key_file("publishing"))
        child = self._start("publishing", publishing.PROGRAM, keyturn_url, key_file)
        self.publishing_url = child.await_address()

    def start_run(self, name: str, service: Service, place: Place, source: str) -> None:
        """Starts a service under `keyturn run`, which takes its token from the place."""
        options = ["--from", source, "--every", str(EVERY_SECONDS), "--on-change", "signal"]
        command = [sys.executable, "-c", callers.PROGRAM, self._duty(name, service)]
        self._start(
            name,
            RUN_PROGRAM,
            *options,
            "--file",
            str(self.key_file(name)),
            "--",
            *command,
            environment=place.environment,
        )
        self._services.append(name)

    def start_job(self, name: str, service: Service, place: Place, source: str) -> None:
        """Starts a service that takes its token from the place by itself, and ends when its work is
        done: `is_done`."""
        duty = self._duty(name, service, source=source)
        self._jobs[name] = self._child(name, callers.PROGRAM, duty, environment=place.environment)

    def start_thief(self, name: str, service: Service, found_in: Path) -> None:
        """Starts a caller that has its token from a file that is not its own."""
        duty = self._duty(name, service, found_in=str(found_in))
        self._start(name, callers.PROGRAM, duty)
        self._services.append(name)

    def is_done(self, name: str) -> bool:
        """Whether this job has ended well. Raises `InstallationFault` where it ended otherwise."""
        return self._jobs[name].is_done()

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
        running = [*self._jobs.values(), *self._children.values()]
        for child in running:
            child.release()
        deadline = SystemClock().elapsed() + patience_seconds
        for child in running:
            child.end(deadline)

    # --- what is delivered and written down ------------------------------------------------------

    def key_file(self, service: str) -> Path:
        return self.folder / "keys" / f"{service}.token"

    def deliver(self, service: str, token: Token) -> None:
        """Puts a token where its service reads it: a private file, replaced whole."""
        write_private(self.key_file(service), token.reveal() + "\n")

    def leak(self, service: str) -> Path:
        """What a careless build does: the token of a service is in a file for everybody. (In the
        story it is as private as all others.)"""
        token = self.key_file(service).read_text("ascii").strip()
        write_private(self.bundle, f'const client = connect("/api", {{ apiKey: "{token}" }});\n')
        return self.bundle

    @property
    def bundle(self) -> Path:
        return self.folder / "app.js"

    @property
    def report(self) -> Path:
        """Where the report of the incident is kept, for people."""
        return self.folder / "report.html"

    def keep_report(self, text: str) -> None:
        write_private(self.report, text)

    def journals(self) -> Mapping[str, list[Entry]]:
        """What each caller has written down so far."""
        for journal in self._journals.values():
            journal.refresh()
        return {name: journal.entries for name, journal in self._journals.items()}

    def _duty(
        self,
        name: str,
        service: Service,
        *,
        source: str | None = None,
        found_in: str | None = None,
    ) -> str:
        """The duty of a caller, spelled, with a journal that is followed from now on."""
        journal = self.folder / f"{name}.jsonl"
        self._journals.setdefault(name, JournalReader(journal))
        duty = Duty(
            name=name,
            url=self.publishing_url,
            address=service.address,
            user_agent=service.user_agent,
            source=source,
            found_in=found_in,
            journal_file=str(journal),
            steps=list(service.steps),
            lanes=service.lanes,
            pause_seconds=service.pause_seconds,
            rounds=service.rounds,
        )
        return msgspec.json.encode(duty).decode()

    def _start(
        self, name: str, program: str, *arguments: str, environment: Mapping[str, str] = NOTHING
    ) -> Child:
        """Starts what runs until the story is over."""
        child = self._child(name, program, *arguments, environment=environment)
        self._children[name] = child
        return child

    def _child(
        self, name: str, program: str, *arguments: str, environment: Mapping[str, str]
    ) -> Child:
        return Child(name, program, *arguments, folder=self.folder, environment=environment)


@contextmanager
def open_stage(*, is_kept: bool, bao: str | None) -> Iterator[Stage]:
    """A stage in a new temporary folder, with this program of OpenBao. At its end nothing is left:
    no process, and no folder unless it `is_kept`."""
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
        stage = Stage(folder, is_kept=is_kept, bao=bao)
        try:
            yield stage
        except BaseException:
            stage.end(HURRIED_END_SECONDS)
            raise
        stage.end(CLEAN_END_SECONDS)
