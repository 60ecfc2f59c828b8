"""The story, chapter by chapter.

It makes the calls that a person would make. A key is never retired by time alone: the old one ends
by itself when each that used it has been seen at work with the new one, and not while one is left.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from keyturn.ambient import SystemClock
from keyturn.client import (
    EvidenceMissing,
    ExpectedRuntime,
    IssuedKey,
    Keyturn,
    RecordedRequest,
    Rotation,
)
from keyturn.demo.figures import Chapter, Evidence, Figures, Replacement, Revocation, measure, tally
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
            with self._chapter("keys", "The services get their keys"):
                keys = self._hand_out(keyturn)
            with self._chapter("traffic", "They call a publishing API that verifies each call"):
                self._begin(keyturn)
            with self._chapter("rotation", "scheduler-prod is rotated while it works"):
                replacement = self._rotate(keyturn, keys["scheduler"])
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
                replacement=replacement,
                revocation=revocation,
                chapters=self._chapters,
            )
        )

    # --- the chapters ----------------------------------------------------------------------------

    def _hand_out(self, keyturn: Keyturn) -> dict[str, IssuedKey]:
        keys = {}
        for name, access in self._pace.keys.items():
            keys[name] = self._create(keyturn, name)
            users = self._pace.users(name)
            for user in users:
                self._stage.deliver(user, keys[name].token)
            self._say(
                f"{keys[name].name:<15}  {', '.join(access.scopes):<18}  {keys[name].hint}  "
                f"({' and '.join(users)})"
            )
        verifier = keyturn.keys.create(
            "publishing-prod", permissions=["verify"], owner=OWNER, purpose="Verifies each call"
        )
        self._stage.deliver("publishing", verifier.token)
        self._say(f"{verifier.name}  verify              {verifier.hint}  (the API's own)")
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

    def _rotate(self, keyturn: Keyturn, old: IssuedKey) -> Replacement:
        """A successor is made and delivered, the one who was forgotten is found, and the old key
        ends by itself."""
        began_at = self._clock.elapsed()
        started = keyturn.rotations.start(
            old.id,
            quiet_seconds=self._pace.quiet_seconds,
            brownout_seconds=self._pace.brownout_seconds,
        )
        self._hints[started.new_key_id] = started.new_key.hint
        self._say(f"Start: its successor is {started.new_key.hint}; both keys work for now.")
        self._stage.deliver("scheduler", started.token)
        self._say("Deploy: scheduler finds it in its file, without a restart. admin was forgotten.")
        rotation = self._watch(keyturn, started.id, lambda one: _waited_for(one) == ["admin"])
        stragglers = _waited_for(rotation)
        was_refused = self._try_to_complete(keyturn, rotation)
        for name in self._pace.users("scheduler"):
            self._stage.deliver(name, started.token)
        self._say("Deploy: admin gets the new token too, and uses it when it runs next.")
        rotation = self._watch(keyturn, started.id, lambda one: one.state == "brownout")
        if rotation.is_open:
            self._say(
                f"Brown-out: each has moved. The old key is suspended for "
                f"{rotation.brownout_seconds} s, as a test."
            )
        rotation = self._watch(keyturn, started.id, lambda one: not one.is_open)
        self._say(f"{rotation.state.capitalize()} by {rotation.ended_by}: {rotation.reason}")
        self._pass(self._pace.aftermath_seconds)
        ended_at = self._clock.elapsed()
        for name, entries in self._stage.journals().items():
            found = tally(one for one in entries if one.sent_at >= began_at)
            self._say(f"{name:<9}  {found.served:>5,} served  {found.sent - found.served} failed")
        return Replacement(
            began_at=began_at,
            ended_at=ended_at,
            runtimes=tuple(self._pace.users("scheduler")),
            stragglers=tuple(stragglers),
            was_refused=was_refused,
            browned_out_at=_browned_out_at(keyturn, rotation),
            rotation=rotation,
        )

    def _watch(self, keyturn: Keyturn, id_: str, is_so: Callable[[Rotation], bool]) -> Rotation:
        """Looks on until the rotation is so, or has ended."""
        seen: list[Rotation] = []

        def is_reached() -> bool:
            seen[:] = [keyturn.rotations.read(id_)]
            self._telling.rotation(seen[0])
            return is_so(seen[0]) or not seen[0].is_open

        self._until(is_reached, "The rotation has not gone on")
        return seen[0]

    def _try_to_complete(self, keyturn: Keyturn, rotation: Rotation) -> bool:
        """What comes of it where somebody loses patience. Says whether it was refused."""
        if not rotation.is_open:
            return False
        for blocker in rotation.blocked_by:
            self._say(f"Straggler: {blocker.runtime}. {blocker.detail}")
        try:
            keyturn.rotations.complete(rotation.id)
        except EvidenceMissing as error:
            self._say(f"Complete now? Refused ({error.code}): {error.detail}")
            return True
        self._say("Complete now? That was done.")
        return False

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


def _waited_for(rotation: Rotation) -> list[str]:
    """The services that have not moved yet."""
    return list(dict.fromkeys(one.runtime for one in rotation.blocked_by if one.runtime))


def _browned_out_at(keyturn: Keyturn, rotation: Rotation) -> datetime | None:
    """When the last brown-out began, by the activity log."""
    began = keyturn.activity.list(
        resource_type="rotation",
        resource_id=rotation.id,
        action="rotation.browned_out",
        limit=1,
    )
    return next((entry.created_at for entry in began), None)
