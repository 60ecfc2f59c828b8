"""The rotation of the story, without a hand: a person says how often and when, and nothing more.

1. Keyturn starts it by its schedule and delivers the new token; each service finds it by itself.
2. The old key is never retired by time alone: it ends by itself when each that used it has been
   seen at work with the new one, and not while one is left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from keyturn.client import (
    Activity,
    Conflict,
    Destination,
    EvidenceMissing,
    IssuedKey,
    Keyturn,
    MaintenanceWindow,
    Rotation,
    RotationPolicy,
)
from keyturn.demo.evidence import Replacement
from keyturn.demo.onlooker import Onlooker
from keyturn.demo.pace import PERIOD_DAYS, WINDOW_MINUTES, Pace
from keyturn.demo.place import Place
from keyturn.domain.instant import SECOND
from keyturn.domain.policy import WEEK

PAGE_SIZE = 1_000
JOB = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A key whose token stands in a place: `source` is how its services take it from there."""

    key: IssuedKey
    destination: Destination
    place: Place
    source: str


class Rotating:
    """The chapter. `hints` are told of the new key's."""

    def __init__(
        self, keyturn: Keyturn, onlooker: Onlooker, pace: Pace, hints: dict[str, str]
    ) -> None:
        self._keyturn = keyturn
        self._onlooker = onlooker
        self._pace = pace
        self._hints = hints
        self._answers = [False]  # whether each answer that could have had a token had one

    def play(self, old: Delivered) -> Replacement:
        self._answers = [old.key.api_key is not None]
        clock = self._onlooker.clock
        began_at = clock.elapsed()
        started = self._begin(old.key)
        self._follow(started)
        rotation = self._watch(started.id, lambda one: _waited_for(one) == [JOB])
        stragglers = _waited_for(rotation)
        was_refused = self._try_to_complete(rotation)
        self._ask_for_token(old.key, rotation)
        self._run_job(old)
        rotation = self._watch(started.id, lambda one: one.state == "brownout")
        if rotation.is_open:
            self._say(
                f"Brown-out: each has moved. The old key is suspended for "
                f"{rotation.brownout_seconds} s, as a test."
            )
        rotation = self._watch(started.id, lambda one: not one.is_open)
        self._say(f"{rotation.state.capitalize()} by {rotation.ended_by}: {rotation.reason}")
        self._onlooker.let_pass(self._pace.aftermath_seconds)
        ended_at = clock.elapsed()
        self._onlooker.say_traffic(since=began_at)
        browned_out = self._noted(rotation, "browned_out")
        return Replacement(
            began_at=began_at,
            ended_at=ended_at,
            runtimes=tuple(self._pace.users("scheduler")),
            stragglers=tuple(stragglers),
            was_refused=was_refused,
            browned_out_at=None if browned_out is None else browned_out.created_at,
            rotation=rotation,
            destination=old.destination,
            started=self._noted(rotation, "started"),
            answers=len(self._answers),
            tokens_shown=sum(self._answers),
        )

    # --- what a person does ----------------------------------------------------------------------

    def _begin(self, old: IssuedKey) -> Rotation:
        """The rotation that starts by itself when the workspace has its policy."""
        now = datetime.fromtimestamp(self._onlooker.clock.now() / SECOND, UTC)
        window = MaintenanceWindow(
            days=[WEEK[now.weekday()]], starts=f"{now:%H:%M}", minutes=WINDOW_MINUTES
        )
        self._set_policy(old, PERIOD_DAYS, window)
        self._say(
            f"Policy: each key is rotated every day, in the window that is open now "
            f"({window.days[0]} {window.starts} UTC); worker-prod has a longer period of its own. "
            f"Nobody does more than that."
        )
        asked_at = self._onlooker.clock.elapsed()
        found: list[Rotation] = []

        def is_started() -> bool:
            found[:] = list(self._keyturn.rotations.list(state="all", slot=old.slot))
            return bool(found)

        self._onlooker.until(is_started, "No rotation has started by itself")
        taken = self._onlooker.clock.elapsed() - asked_at
        new = self._keyturn.keys.read(found[0].new_key_id)
        self._hints[new.id] = new.hint
        self._say(
            f"Start: by {found[0].started_by}, {taken:.1f} s later. Its successor is {new.hint}; "
            f"both keys work for now."
        )
        return found[0]

    def _set_policy(self, key: IssuedKey, days: int, window: MaintenanceWindow) -> None:
        policy = RotationPolicy(
            rotation_period_days=days,
            maintenance_windows=[window],
            quiet_seconds=self._pace.quiet_seconds,
            brownout_seconds=self._pace.brownout_seconds,
        )
        self._keyturn.workspaces.change(key.workspace_id, rotation_policy=policy)

    def _try_to_complete(self, rotation: Rotation) -> bool:
        """What comes of it where somebody loses patience. Says whether it was refused."""
        if not rotation.is_open:
            return False
        for blocker in rotation.blocked_by:
            self._say(f"Straggler: {blocker.runtime}. {blocker.detail}")
        try:
            self._keyturn.rotations.complete(rotation.id)
        except EvidenceMissing as error:
            self._say(f"Complete now? Refused ({error.code}): {error.detail}")
            return True
        self._say("Complete now? That was done.")
        return False

    def _ask_for_token(self, old: IssuedKey, rotation: Rotation) -> None:
        """What a person is shown who asks for the rotation that there is."""
        if not rotation.is_open:
            return
        try:
            asked = self._keyturn.rotations.start(old.id)
        except Conflict:
            return  # it has just ended
        self._answers.append(asked.api_key is not None)
        shown = "no token (api_key: null)" if asked.api_key is None else "a token"
        self._say(f"Ask for the token? The answer has {shown}; it was delivered.")

    # --- what happens by itself ------------------------------------------------------------------

    def _follow(self, started: Rotation) -> None:
        """The new token arrives, and is used."""
        rotation = self._watch(
            started.id, lambda one: all(sent.state == "delivered" for sent in one.deliveries)
        )
        for sent in rotation.deliveries:
            ms = _ms_after(rotation, sent.delivered_at)
            self._say(f"Deliver: {sent.destination} has it at {sent.location}, {ms} the start.")
        used: list[datetime] = []

        def is_used(rotation: Rotation) -> bool:
            if any(one.new_allowed for one in rotation.evidence):
                found = self._keyturn.requests.list(
                    key_id=rotation.new_key_id, valid=True, limit=PAGE_SIZE
                )
                used[:] = [one.at for one in found]
            return bool(used)

        rotation = self._watch(started.id, is_used)
        if used:
            self._say(
                f"Follow: `keyturn run` has told scheduler, whose first request with it was "
                f"{_ms_after(rotation, min(used))} the start."
            )

    def _run_job(self, old: Delivered) -> None:
        stage = self._onlooker.stage
        stage.start_job(JOB, self._pace.services[JOB], old.place, old.source)
        self._onlooker.until(lambda: stage.is_done(JOB), f"{JOB} has not ended")
        self._say(f"Follow: {JOB} has run, and took from its source what stands there now.")

    def _watch(self, id_: str, is_so: Callable[[Rotation], bool]) -> Rotation:
        """Looks on until the rotation is so, or has ended."""
        seen: list[Rotation] = []

        def is_reached() -> bool:
            seen[:] = [self._keyturn.rotations.read(id_)]
            self._onlooker.telling.rotation(seen[0])
            return is_so(seen[0]) or not seen[0].is_open

        self._onlooker.until(is_reached, "The rotation has not gone on")
        return seen[0]

    def _noted(self, rotation: Rotation, what: str) -> Activity | None:
        """The last such event of the rotation, by the activity log."""
        noted = self._keyturn.activity.list(
            resource_type="rotation",
            resource_id=rotation.id,
            action=f"rotation.{what}",
            limit=1,
        )
        return next(iter(noted), None)

    def _say(self, sentence: str) -> None:
        self._onlooker.say(sentence)


def _waited_for(rotation: Rotation) -> list[str]:
    """The services that have not moved yet."""
    return list(dict.fromkeys(one.runtime for one in rotation.blocked_by if one.runtime))


def _ms_after(rotation: Rotation, moment: datetime | None) -> str:
    if moment is None:
        return "at no time after"
    return f"{(moment - rotation.started_at).total_seconds() * 1_000:,.0f} ms after"
