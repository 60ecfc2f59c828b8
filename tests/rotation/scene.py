"""A scene to be judged: a rotation in the middle of its overlap, and who used which key when.

Times are whole seconds from the start of the rotation; negative ones lie before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from keyturn.domain.evidence import Evidence, Observation, Use, judge_rotation
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key
from keyturn.domain.rotation import (
    Brownout,
    Decision,
    Rotation,
    RotationState,
    RotationTerms,
    Standing,
)
from keyturn.domain.slot import ExpectedRuntime
from tests.domain.samples import NOW, SAMPLE_KEY, sample_id

DAY_SECONDS = 86_400
QUIET = 300
LOOKBACK = 35 * DAY_SECONDS
HOME = "10.0.0.0/8"
AWAY = "203.0.0.0/16"

# It was made long before the start, and is known for all that time.
MADE = NOW - 400 * DAY_SECONDS * SECOND
OLD = replace(SAMPLE_KEY, id=sample_id(11), created_at=MADE, updated_at=MADE)
NEW = replace(SAMPLE_KEY, id=sample_id(12), created_at=NOW)

STARTED = Rotation(
    id=sample_id(13),
    workspace_id=SAMPLE_KEY.workspace_id,
    slot=SAMPLE_KEY.slot,
    old_key_id=OLD.id,
    new_key_id=NEW.id,
    state=RotationState.OVERLAPPING,
    terms=RotationTerms(
        quiet_seconds=QUIET, brownout_seconds=60, lookback_seconds=LOOKBACK, auto_complete=True
    ),
    started_at=NOW,
    started_by="first operator",
    deadline=NOW + DAY_SECONDS * SECOND,
    brownout=None,
    lifts=0,
    lifted_at=None,
    met=(),
    decisions=(),
    ending=None,
    updated_at=NOW,
    version=1,
)


def moment(seconds: float) -> int:
    return NOW + int(seconds * SECOND)


def old_use(runtime: str, first: float, last: float, **members: Any) -> Use:
    """Allowed uses of the old key, from `first` to `last`."""
    return _use(OLD, runtime, first, last, **members)


def new_use(runtime: str, first: float, last: float, **members: Any) -> Use:
    return _use(NEW, runtime, first, last, **members)


def _use(key: Key, runtime: str, first: float, last: float, **members: Any) -> Use:
    made = Use(
        key_id=key.id,
        runtime=runtime,
        declared=not runtime.startswith("ua:") and runtime != "other",
        environment=None,
        place=HOME,
        first_seen_at=moment(first),
        last_seen_at=moment(last),
        last_denied_at=None,
        checked_in_at=None,
        longest_gap=None,
        allowed=2,
        denied=0,
    )
    return replace(made, **members)


def check_in(runtime: str, at: float) -> Use:
    """A look at `/v1/self` with the new key, and no use of it."""
    seen = {"first_seen_at": None, "last_seen_at": None, "allowed": 0}
    return _use(NEW, runtime, at, at, **seen, checked_in_at=moment(at))


def refused(runtime: str, at: float, *, first: float, last: float) -> Use:
    """The old key used from `first` to `last`, and refused at `at`."""
    return old_use(runtime, first, last, last_denied_at=moment(at), denied=1)


def said(standing: Standing, runtime: str, place: str | None = None) -> Decision:
    return Decision(
        runtime=runtime, standing=standing, place=place, reason="", by="somebody", at=NOW
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is judged, at `at` seconds, by a process that has watched since `watched_since`."""

    at: float
    uses: Sequence[Use] = ()
    expected: Sequence[ExpectedRuntime] = ()
    decisions: tuple[Decision, ...] = ()
    watched_since: float = -10 * DAY_SECONDS
    unbroken_since: float = -1_000 * DAY_SECONDS
    borne_out: float | None = None
    until: float | None = None
    complete_since: float | None = None
    rotation: Rotation = STARTED
    old: Key = OLD
    new: Key = NEW

    @property
    def observation(self) -> Observation:
        until = self.at if self.until is None else self.until
        borne_out = until if self.borne_out is None else min(until, self.borne_out)
        gap = self.complete_since
        return Observation(
            now=moment(self.at),
            until=moment(until),
            borne_out=moment(borne_out),
            watched_since=moment(self.watched_since),
            unbroken_since=moment(self.unbroken_since),
            complete_since=None if gap is None else moment(gap),
        )

    def judged(self) -> Evidence:
        return judge_rotation(
            replace(self.rotation, decisions=self.decisions),
            self.old,
            self.new,
            self.uses,
            self.expected,
            self.observation,
        )

    def blockers(self) -> set[tuple[str, str | None]]:
        return {(one.code, one.runtime) for one in self.judged().blocked_by}

    def later(self, at: float, **members: Any) -> "Scene":
        return replace(self, at=at, **members)


def browned_out(began: float, *, is_trial: bool = False) -> Rotation:
    brownout = Brownout(began_at=moment(began), seconds=60, is_trial=is_trial, is_ours=True)
    return STARTED.browned_out(brownout, moment(began))


def registered(*names: str, seconds: int | None = None) -> tuple[ExpectedRuntime, ...]:
    return tuple(ExpectedRuntime(name=one, max_call_interval_seconds=seconds) for one in names)
