"""The incident of the story: the worker's key has leaked, and somebody calls with it.

1. Contained first: the key is dead everywhere when the call is answered. Only then is it asked who
   used it, by the report, which knows nothing of a thief but what was done.
2. It ends when the worker has been seen at work with its new key, and not before. What is done by
   hand is to open it, to say who the stranger is, to ask for the replacement, and to close it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keyturn.client import (
    Incident,
    IncidentReport,
    IssuedKey,
    KeysOpen,
    Keyturn,
    OpenedIncident,
)
from keyturn.demo.incident_figures import OURS
from keyturn.demo.journal import Entry
from keyturn.demo.onlooker import Onlooker
from keyturn.demo.pace import THIEF, Pace
from keyturn.demo.tally import tally
from keyturn.domain.error import InstallationFault
from keyturn.domain.redaction import find_token

FOUND_URL = "https://www.example.com/app.js"
LATE_USE = "incident.contained_key_used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Responded:
    """What was done, and when; the incident is to be read again when nothing is in flight."""

    asked_at: float
    answered_at: float
    was_refused: bool
    incident_id: str
    answers: int
    tokens_shown: int


class Responding:
    """The chapter. `hints` are told of the new key's."""

    def __init__(
        self, keyturn: Keyturn, onlooker: Onlooker, pace: Pace, hints: dict[str, str]
    ) -> None:
        self._keyturn = keyturn
        self._onlooker = onlooker
        self._clock = onlooker.clock
        self._pace = pace
        self._hints = hints
        self._answers: list[bool] = []  # whether each answer that could have had a token had one

    def play(self, leaked: IssuedKey) -> Responded:
        self._answers = [leaked.api_key is not None]
        found_in = self._leak()
        asked_at = self._clock.elapsed()
        opened = self._contain(found_in)
        answered_at = self._clock.elapsed()
        self._say(
            f"Contain: the token that stands in it, POSTed to /v1/incidents, was answered after "
            f"{(answered_at - asked_at) * 1_000:.1f} ms ({opened.propagation}): no verifier "
            f"accepts it any more."
        )
        self._know(opened, answered_at)
        was_refused = self._try_to_close(opened)
        self._replace(opened)
        self._follow(opened)
        closed = self._close(opened)
        self._onlooker.let_pass(self._pace.aftermath_seconds)
        self._look_on(closed, answered_at)
        return Responded(
            asked_at=asked_at,
            answered_at=answered_at,
            was_refused=was_refused,
            incident_id=opened.id,
            answers=len(self._answers),
            tokens_shown=sum(self._answers),
        )

    # --- what happens to the key -----------------------------------------------------------------

    def _leak(self) -> Path:
        stage, thief = self._onlooker.stage, self._pace.thief
        found_in = stage.leak("worker")
        self._say(f"Leak: a build has put the worker's token into {found_in.name}.")
        stage.start_thief(THIEF, thief, found_in)
        self._onlooker.until(
            lambda: len(self._stolen()) >= len(thief.steps), "The thief has not called"
        )
        self._onlooker.let_pass(self._pace.exposure_seconds)
        tried = tally(self._stolen())
        self._say(
            f"Thief: whoever found it there has called {tried.sent:,} times from {thief.address}, "
            f"while the worker works: {tried.served:,} served, {tried.refused:,} refused."
        )
        return found_in

    def _look_on(self, closed: Incident, answered_at: float) -> None:
        """What the thief has come to."""
        after = tally(one for one in self._stolen() if one.sent_at > answered_at)
        self._say(
            f"The thief goes on trying: {after.sent:,} requests since the answer, "
            f"{after.refused:,} refused."
        )
        for finding in self._keyturn.findings.list(kind=LATE_USE):
            if finding.subject.id == closed.id:
                self._say(f"Finding ({finding.severity}): {finding.kind}, on the closed incident.")

    # --- what a person does ----------------------------------------------------------------------

    def _contain(self, found_in: Path) -> OpenedIncident:
        token = find_token(found_in.read_text("utf-8"))
        if token is None:
            raise InstallationFault(
                f"There is no token in {found_in}.", remedy="Run it again and leave its folder."
            )
        return self._keyturn.incidents.open(tokens=[token], found_url=FOUND_URL)

    def _know(self, opened: OpenedIncident, answered_at: float) -> None:
        """Reads the report, and says of who is not ours that it is an intruder."""
        report = self._keyturn.incidents.report(opened.id)
        ms = (self._clock.elapsed() - answered_at) * 1_000
        self._say(f"Know: the report, {ms:,.0f} ms after that:")
        for line in tell_report(report):
            self._say(line)
        for one in report.runtimes:
            if one.standing != OURS:
                self._keyturn.incidents.place(
                    opened.id, one.runtime, "intruder", network=one.network
                )
                self._say(f"Place: {one.runtime} at {one.network} is nobody of ours.")

    def _try_to_close(self, opened: OpenedIncident) -> bool:
        """What comes of it where somebody loses patience. Says whether it was refused."""
        try:
            self._keyturn.incidents.close(opened.id, "confirmed")
        except KeysOpen as error:
            self._say(f"Close now? Refused ({error.code}): {error.detail}")
            return True
        self._say("Close now? That was done.")
        return False

    def _replace(self, opened: OpenedIncident) -> None:
        made = self._keyturn.incidents.replace(opened.id)
        for one in made.replacements:
            new = self._keyturn.keys.read(one.id)
            self._hints[new.id] = new.hint
            self._answers.append(one.api_key is not None)
            shown = "no token (api_key: null)" if one.api_key is None else "a token"
            where = ", ".join(sent.destination for sent in one.deliveries) or "nobody"
            self._say(f"Replace: {new.hint}. The answer has {shown}; it goes to {where}.")
        self._onlooker.telling.incident(made.incident)
        self._say(f"It is {made.incident.state}: {made.incident.next_step}")

    def _follow(self, opened: OpenedIncident) -> None:
        """The worker finds its new key by itself, and is seen at work with it."""
        seen: list[Incident] = []

        def is_recovered() -> bool:
            seen[:] = [self._keyturn.incidents.read(opened.id)]
            self._onlooker.telling.incident(seen[0])
            return not seen[0].is_open or seen[0].recovered_at is not None

        self._onlooker.until(is_recovered, "The worker has not recovered")
        seconds = seen[0].seconds.recover
        if seconds is not None:
            self._say(
                f"Recover: `keyturn run` has told worker, which was seen at work with its new key "
                f"{seconds:.1f} s after the call."
            )

    def _close(self, opened: OpenedIncident) -> Incident:
        closed = self._keyturn.incidents.close(opened.id, "confirmed")
        self._onlooker.telling.incident(closed)
        self._say(f"Close: {closed.outcome}. {closed.next_step}")
        return closed

    def _stolen(self) -> Sequence[Entry]:
        return self._onlooker.stage.journals().get(THIEF, ())

    def _say(self, sentence: str) -> None:
        self._onlooker.say(sentence)


def tell_report(report: IncidentReport) -> list[str]:
    """Who used the key, what those did who are not ours, and what cannot be told apart."""
    told = [
        f"  {one.runtime:<18}  {one.standing:<8}  {one.network or '-':<12}  "
        f"{one.allowed:>5,} let in  {one.denied:,} denied"
        for one in report.runtimes
    ]
    calls = Counter(f"{one.method} {one.path}" for one in report.requests)
    if calls:
        shown = ", ".join(f"{call} ({number})" for call, number in sorted(calls.items()))
        ids = [one.request_id for one in reversed(report.requests)]
        told.append(f"  Not ours: {shown}; by request id, from {ids[0]} to {ids[-1]}.")
    return [*told, f"  {report.indistinguishable.detail}"]
