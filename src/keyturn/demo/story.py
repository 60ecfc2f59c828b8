"""The story, chapter by chapter.

It makes the calls that a person would make.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from keyturn.client import (
    Delivery,
    Destination,
    ExpectedRuntime,
    IssuedKey,
    Keyturn,
    RecordedRequest,
)
from keyturn.demo.figures import Chapter, Evidence, Figures, Revocation, measure, tally
from keyturn.demo.journal import Entry
from keyturn.demo.onlooker import LOOK_SECONDS, Onlooker
from keyturn.demo.pace import Pace
from keyturn.demo.place import Place
from keyturn.demo.rotating import JOB, PAGE_SIZE, Delivered, Rotating
from keyturn.demo.stage import Stage
from keyturn.demo.telling import Telling
from keyturn.domain.error import InstallationFault

OWNER = "publishing@example.com"
RUNBOOKS = "https://runbooks.example.com"
LOG_PATIENCE_SECONDS = 10.0


class Story:
    """The story on a stage, told as it happens."""

    def __init__(self, stage: Stage, telling: Telling, pace: Pace) -> None:
        self._stage = stage
        self._telling = telling
        self._pace = pace
        self._onlooker = Onlooker(stage, telling)
        self._clock = self._onlooker.clock
        self._hints: dict[str, str] = {}
        self._chapters: list[Chapter] = []

    def play(self) -> Figures:
        """Plays it all; gives the figures. Raises `InstallationFault` where it cannot go on, and
        what the client raises."""
        with self._chapter("start", "Keyturn starts"):
            place = self._stage.start_place()
            self._say(place.about)
            keyturn = self._stage.start_keyturn(place)
            self._say(f"It listens on {keyturn.url} and keeps its data in {self._stage.folder}.")
        with keyturn:
            with self._chapter("keys", "The services get their keys"):
                delivered, worker = self._hand_out(keyturn, place)
            with self._chapter("traffic", "They call a publishing API that verifies each call"):
                self._begin(keyturn, delivered)
            with self._chapter("rotation", "scheduler-prod is rotated by its schedule"):
                rotating = Rotating(keyturn, self._onlooker, self._pace, self._hints)
                replacement = rotating.play(delivered)
            with self._chapter("revocation", "worker-prod has leaked: it is revoked"):
                revocation = self._revoke(keyturn, worker)
            with self._chapter("log", "What was sent is compared with the request log"):
                self._stage.stop_callers()
                recorded = self._recorded(keyturn)
                self._say("All services have ended cleanly; nothing is in flight.")
        return measure(
            Evidence(
                journals=self._stage.journals(),
                recorded=recorded,
                hints=self._hints,
                replacement=replacement,
                revocation=revocation,
                chapters=self._chapters,
            )
        )

    # --- the chapters ----------------------------------------------------------------------------

    def _hand_out(self, keyturn: Keyturn, place: Place) -> tuple[Delivered, IssuedKey]:
        destination = self._connect(keyturn, place)
        key = self._create(keyturn, "scheduler", destinations=[destination.name])
        location = self._await_delivery(keyturn, key).location or ""
        source = place.source(location)
        self._say(f"Its token was delivered to {source}: nobody was shown it.")
        worker = self._create(keyturn, "worker")
        self._stage.deliver("worker", worker.token)
        verifier = keyturn.keys.create(
            "publishing-prod", permissions=["verify"], owner=OWNER, purpose="Verifies each call"
        )
        self._stage.deliver("publishing", verifier.token)
        self._say(f"{verifier.name}  verify              {verifier.hint}  (the API's own)")
        self._say("The tokens of these two went by hand into private files (0600).")
        return Delivered(key=key, destination=destination, place=place, source=source), worker

    def _connect(self, keyturn: Keyturn, place: Place) -> Destination:
        made = keyturn.destinations.create(
            place.name, place.kind, config=place.config, credential=place.credential
        )
        if not made.is_proven:
            raise InstallationFault(
                f"The destination {made.name} could not be proven: {made.fault}",
                remedy="Run it again with --destination file.",
            )
        self._say(f"{made.name} ({made.kind}) is proven: a mark was written there and read back.")
        return made

    def _await_delivery(self, keyturn: Keyturn, key: IssuedKey) -> Delivery:
        found: list[Delivery] = []

        def is_there() -> bool:
            found[:] = list(keyturn.deliveries.list(key_id=key.id, state="delivered"))
            return bool(found)

        self._onlooker.until(is_there, f"The token of {key.name} has not been delivered")
        return found[0]

    def _begin(self, keyturn: Keyturn, delivered: Delivered) -> None:
        self._stage.start_publishing(keyturn.url)
        services = self._pace.services
        place, source = delivered.place, delivered.source
        self._stage.start_run("scheduler", services["scheduler"], place, source)
        self._stage.start_job(JOB, services[JOB], place, source)
        self._stage.start_service("worker", services["worker"])
        self._say(f"scheduler  under `keyturn run --from {source} --on-change signal`")
        self._say(f"{JOB:<9}  a rare job, which takes its token from there by itself (KeySource)")
        self._say("worker     from its private file")
        self._onlooker.until(
            lambda: all(self._stage.journals().values()) and self._stage.is_done(JOB),
            "Not every service has begun",
        )
        self._onlooker.let_pass(self._pace.before_seconds)
        self._onlooker.say_traffic()

    def _revoke(self, keyturn: Keyturn, key: IssuedKey) -> Revocation:
        asked_at = self._clock.elapsed()
        effect = keyturn.keys.revoke(key.id, reason="compromised")
        answered_at = self._clock.elapsed()
        taken_ms = (answered_at - asked_at) * 1_000
        self._say(f"DELETE was answered after {taken_ms:.1f} ms ({effect.propagation}).")
        self._say("The worker goes on trying.")
        self._onlooker.let_pass(self._pace.aftermath_seconds)
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

    def _create(
        self, keyturn: Keyturn, service: str, *, destinations: Sequence[str] | None = None
    ) -> IssuedKey:
        name = f"{service}-prod"
        about = self._pace.keys[service]
        users = {user: self._pace.services[user] for user in self._pace.users(service)}
        key = keyturn.keys.create(
            name,
            scopes=about.scopes,
            owner=OWNER,
            purpose=about.purpose,
            runbook_url=f"{RUNBOOKS}/{name}",
            runtimes=[
                ExpectedRuntime(name=user, max_call_interval_seconds=one.rare_seconds)
                for user, one in users.items()
            ],
            destinations=destinations,
        )
        self._hints[key.id] = key.hint
        self._say(
            f"{key.name:<15}  {', '.join(about.scopes):<18}  {key.hint}  ({' and '.join(users)})"
        )
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
