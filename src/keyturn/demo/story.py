"""The story, chapter by chapter.

It makes the calls that a person would make.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.client import (
    Delivery,
    Destination,
    ExpectedRuntime,
    IssuedKey,
    Keyturn,
    NamedNetwork,
    RecordedRequest,
)
from keyturn.demo.evidence import Chapter, Evidence, Response
from keyturn.demo.figures import Figures, measure
from keyturn.demo.journal import Entry
from keyturn.demo.onlooker import LOOK_SECONDS, Onlooker
from keyturn.demo.pace import BLOCK, NETWORK, THIEF, Pace
from keyturn.demo.place import Place
from keyturn.demo.responding import Responded, Responding
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
                scheduler, worker = self._hand_out(keyturn, place)
            with self._chapter("traffic", "They call a publishing API that verifies each call"):
                self._begin(keyturn, scheduler, worker)
            with self._chapter("rotation", "scheduler-prod is rotated by its schedule"):
                rotating = Rotating(keyturn, self._onlooker, self._pace, self._hints)
                replacement = rotating.play(scheduler)
            with self._chapter("incident", "worker-prod has leaked: an incident"):
                responding = Responding(keyturn, self._onlooker, self._pace, self._hints)
                responded = responding.play(worker.key)
            with self._chapter("log", "What was sent is compared with the request log"):
                self._stage.stop_callers()
                self._say("All services have ended cleanly; nothing is in flight.")
                recorded = self._recorded(keyturn)
                response = self._response(keyturn, responded)
        journals = dict(self._stage.journals())
        return measure(
            Evidence(
                stolen=journals.pop(THIEF),
                journals=journals,
                recorded=recorded,
                hints=self._hints,
                replacement=replacement,
                response=response,
                chapters=self._chapters,
            )
        )

    # --- the chapters ----------------------------------------------------------------------------

    def _hand_out(self, keyturn: Keyturn, place: Place) -> tuple[Delivered, Delivered]:
        destination = self._connect(keyturn, place)
        scheduler = self._create(keyturn, "scheduler", destination, place)
        worker = self._create(keyturn, "worker", destination, place)
        keyturn.workspaces.change(
            worker.key.workspace_id, networks=[NamedNetwork(name=NETWORK, cidrs=[BLOCK])]
        )
        verifier = keyturn.keys.create(
            "publishing-prod", permissions=["verify"], owner=OWNER, purpose="Verifies each call"
        )
        self._stage.deliver("publishing", verifier.token)
        self._say(f"{verifier.name}  verify              {verifier.hint}  (the API's own)")
        self._say("The token of this one went by hand into a private file (0600).")
        self._say(f"All services call from the network {NETWORK} ({BLOCK}).")
        return scheduler, worker

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

    def _begin(self, keyturn: Keyturn, scheduler: Delivered, worker: Delivered) -> None:
        self._stage.start_publishing(keyturn.url)
        services = self._pace.services
        for name, one in (("scheduler", scheduler), ("worker", worker)):
            self._stage.start_run(name, services[name], one.place, one.source)
            self._say(f"{name:<9}  under `keyturn run --from {one.source} --on-change signal`")
        self._stage.start_job(JOB, services[JOB], scheduler.place, scheduler.source)
        self._say(f"{JOB:<9}  a rare job, which takes scheduler's token by itself (KeySource)")
        self._onlooker.until(
            lambda: all(self._stage.journals().values()) and self._stage.is_done(JOB),
            "Not every service has begun",
        )
        self._onlooker.let_pass(self._pace.before_seconds)
        self._onlooker.say_traffic()

    def _response(self, keyturn: Keyturn, responded: Responded) -> Response:
        """How it was responded to, with the incident and its report as they are now."""
        id_ = responded.incident_id
        self._stage.keep_report(keyturn.incidents.export(id_, "html"))
        how_long = "" if self._stage.is_kept else ", for as long as the folder is there (--keep)"
        self._say(f"Report: to print, {self._stage.report}{how_long}.")
        return Response(
            service="worker",
            asked_at=responded.asked_at,
            answered_at=responded.answered_at,
            was_refused=responded.was_refused,
            incident=keyturn.incidents.read(id_),
            report=keyturn.incidents.report(id_),
            answers=responded.answers,
            tokens_shown=responded.tokens_shown,
        )

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
        self, keyturn: Keyturn, service: str, destination: Destination, place: Place
    ) -> Delivered:
        name = f"{service}-prod"
        about = self._pace.keys[service]
        users = {user: self._pace.services[user] for user in self._pace.users(service)}
        key = keyturn.keys.create(
            name,
            scopes=about.scopes,
            owner=OWNER,
            purpose=about.purpose,
            runbook_url=f"{RUNBOOKS}/{name}",
            rotation_period_days=about.rotation_period_days,
            runtimes=[
                ExpectedRuntime(name=user, max_call_interval_seconds=one.rare_seconds)
                for user, one in users.items()
            ],
            destinations=[destination.name],
        )
        self._hints[key.id] = key.hint
        self._say(
            f"{key.name:<15}  {', '.join(about.scopes):<18}  {key.hint}  ({' and '.join(users)})"
        )
        source = place.source(self._await_delivery(keyturn, key).location or "")
        self._say(f"Its token was delivered to {source}: nobody was shown it.")
        return Delivered(key=key, destination=destination, place=place, source=source)

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
