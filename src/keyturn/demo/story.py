"""The story, chapter by chapter.

It does what the guide to key security says, by the calls that a person would make. A key is never
retired by time alone: the old one is revoked when its successor has been seen at work and the old
one has fallen silent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from keyturn.ambient import SystemClock
from keyturn.client import IssuedKey, Keyturn, RecordedRequest
from keyturn.demo.figures import Chapter, Evidence, Figures, Revocation, measure, tally
from keyturn.demo.journal import Entry
from keyturn.demo.pace import Pace
from keyturn.demo.stage import Stage
from keyturn.demo.telling import Telling
from keyturn.domain.error import InstallationFault

OWNER = "publishing@example.com"
RUNBOOKS = "https://runbooks.example.com"
LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
LOG_PATIENCE_SECONDS = 10.0
PAGE_SIZE = 1_000


class Story:
    """The story on a stage, told as it happens."""

    def __init__(self, stage: Stage, telling: Telling, pace: Pace) -> None:
        self._stage = stage
        self._telling = telling
        self._pace = pace
        self._clock = SystemClock()
        self._hints: dict[str, str] = {}
        self._chapters: list[Chapter] = []

    def play(self) -> Figures:
        """Plays it all; gives the figures. Raises `InstallationFault` where it cannot go on, and
        what the client raises."""
        with self._chapter("start", "Keyturn starts"):
            keyturn = self._stage.start_keyturn()
            self._say(f"It listens on {keyturn.url} and keeps its data in {self._stage.folder}.")
        with keyturn:
            with self._chapter("keys", "Each service gets a key of its own"):
                keys = self._hand_out(keyturn)
            with self._chapter("traffic", "They call a publishing API that verifies each call"):
                self._begin(keyturn)
            with self._chapter("rotation", "scheduler-prod is rotated while it works"):
                rotation = self._rotate(keyturn, keys["scheduler"])
            with self._chapter("revocation", "worker-prod has leaked: it is revoked"):
                revocation = self._revoke(keyturn, keys["worker"])
            with self._chapter("log", "What was sent is compared with the request log"):
                self._stage.stop_callers()
                recorded = self._recorded(keyturn)
                self._say("All services have ended cleanly; nothing is in flight.")
        return measure(
            Evidence(
                journals=self._stage.journals(),
                recorded=recorded,
                hints=self._hints,
                rotation=rotation,
                revocation=revocation,
                chapters=self._chapters,
            )
        )

    # --- the chapters ----------------------------------------------------------------------------

    def _hand_out(self, keyturn: Keyturn) -> dict[str, IssuedKey]:
        keys = {}
        for name, service in self._pace.services.items():
            keys[name] = self._create(keyturn, name)
            self._stage.deliver(name, keys[name].token)
            self._say(f"{keys[name].name:<15}  {', '.join(service.scopes):<11}  {keys[name].hint}")
        verifier = keyturn.keys.create(
            "publishing-prod", permissions=["verify"], owner=OWNER, purpose="Verifies each call"
        )
        self._stage.deliver("publishing", verifier.token)
        self._say(f"{verifier.name}  verify       {verifier.hint}  (the API's own)")
        self._say("The tokens are in private files (0600), which the services read at run time.")
        return keys

    def _begin(self, keyturn: Keyturn) -> None:
        self._stage.start_publishing(keyturn.url)
        for name, service in self._pace.services.items():
            self._stage.start_service(
                name,
                steps=list(service.steps),
                lanes=service.lanes,
                pause_seconds=service.pause_seconds,
            )
        self._until(lambda: all(self._stage.journals().values()), "Not every service has begun")
        self._pass(self._pace.before_seconds)
        for name, entries in self._stage.journals().items():
            found = tally(entries)
            self._say(f"{name:<9}  {found.served:>5,} served  {found.sent - found.served} failed")

    def _rotate(self, keyturn: Keyturn, old: IssuedKey) -> tuple[float, float]:
        """The guide's four steps: create, deploy, watch, revoke."""
        began = self._clock.elapsed()
        new = self._create(keyturn, "scheduler")
        self._say(f"Create: its replacement is {new.hint}.")
        self._stage.deliver("scheduler", new.token)
        self._say("Deploy: the service finds it in its file; there is no restart.")
        self._watch(keyturn, old, new)
        effect = keyturn.keys.revoke(old.id, reason="superseded")
        self._say(f"Revoke: the old key is dead ({effect.propagation}).")
        self._pass(self._pace.aftermath_seconds)
        ended = self._clock.elapsed()
        for name, entries in self._stage.journals().items():
            found = tally(one for one in entries if one.sent_at >= began)
            self._say(f"{name:<9}  {found.served:>5,} served  {found.sent - found.served} failed")
        return began, ended

    def _watch(self, keyturn: Keyturn, old: IssuedKey, new: IssuedKey) -> None:
        """Waits until the new key is seen at work, and the old one no more."""

        def is_proven() -> bool:
            return keyturn.keys.usage(new.id).totals.allowed >= self._pace.proof_requests

        def quiet_seconds() -> float:
            last = keyturn.keys.usage(old.id).last_used_at
            now = datetime.fromtimestamp(self._clock.now() / 1_000_000, UTC)
            return 0.0 if last is None else (now - last).total_seconds()

        self._until(is_proven, "The new key has not been used often enough")
        self._until(
            lambda: quiet_seconds() >= self._pace.quiet_seconds, "The old key is not silent"
        )
        allowed = keyturn.keys.usage(new.id).totals.allowed
        self._say(
            f"Watch: {allowed:,} successful requests with the new key; the old one has been silent "
            f"for {quiet_seconds():.1f} s."
        )

    def _revoke(self, keyturn: Keyturn, key: IssuedKey) -> Revocation:
        asked_at = self._clock.elapsed()
        effect = keyturn.keys.revoke(key.id, reason="compromised")
        answered_at = self._clock.elapsed()
        taken_ms = (answered_at - asked_at) * 1_000
        self._say(f"DELETE was answered after {taken_ms:.1f} ms ({effect.propagation}).")
        self._say("The worker goes on trying.")
        self._pass(self._pace.aftermath_seconds)
        after = [one for one in self._stage.journals()["worker"] if one.sent_at > answered_at]
        found = tally(after)
        self._say(f"It sent {found.sent:,} requests after the answer: {found.refused:,} refused.")
        return Revocation(service="worker", asked_at=asked_at, answered_at=answered_at)

    def _recorded(self, keyturn: Keyturn) -> list[RecordedRequest]:
        """The whole request log, once it has as many requests as were sent or time is up."""
        sent = len(self._sent())
        deadline = self._clock.elapsed() + LOG_PATIENCE_SECONDS
        while self._clock.elapsed() < deadline:
            page = next(keyturn.requests.list(limit=1, count=True).pages())
            if (page.total or 0) >= sent:
                break
            self._clock.sleep(LOOK_SECONDS)
        return list(keyturn.requests.list(limit=PAGE_SIZE))

    # --- what they share -------------------------------------------------------------------------

    def _create(self, keyturn: Keyturn, service: str) -> IssuedKey:
        name = f"{service}-prod"
        about = self._pace.services[service]
        key = keyturn.keys.create(
            name,
            scopes=about.scopes,
            owner=OWNER,
            purpose=about.purpose,
            runbook_url=f"{RUNBOOKS}/{name}",
        )
        self._hints[key.id] = key.hint
        return key

    @contextmanager
    def _chapter(self, name: str, title: str) -> Iterator[None]:
        self._telling.chapter(len(self._chapters) + 1, title)
        began = self._clock.elapsed()
        yield
        self._chapters.append(Chapter(name, round(self._clock.elapsed() - began, 1)))

    def _say(self, sentence: str) -> None:
        self._telling.say(sentence)

    def _sent(self) -> list[Entry]:
        return [entry for entries in self._stage.journals().values() for entry in entries]

    def _pass(self, seconds: float) -> None:
        """Lets time pass, and shows the traffic meanwhile."""
        deadline = self._clock.elapsed() + seconds
        while (left := deadline - self._clock.elapsed()) > 0:
            self._look()
            self._clock.sleep(min(LOOK_SECONDS, left))

    def _until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        """Waits until something is so. Raises `InstallationFault` where it does not come to be."""
        deadline = self._clock.elapsed() + PATIENCE_SECONDS
        while not is_so():
            self._look()
            if self._clock.elapsed() > deadline:
                raise InstallationFault(
                    f"{otherwise} after {PATIENCE_SECONDS:.0f} s; nothing more was changed.",
                    remedy="Try it again when the machine has less to do.",
                )
            self._clock.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        self._stage.require_alive()
        journals = self._stage.journals()
        self._telling.traffic({name: tally(entries) for name, entries in journals.items()})
