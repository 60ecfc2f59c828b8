"""The rotation: one key replaced by another in its slot, with an overlap and a way back.

`TRANSITIONS` is the whole machine: what is not in it cannot happen, and changes nothing. Whether
the old key may be retired is judged elsewhere (`evidence`); here stands what each step does to the
rotation. What it does to the two keys stands in `services/conclude.py`, in the same transaction.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.error import RequestInvalid, RotationClosed, RotationWider
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key
from keyturn.domain.network import holds_networks
from keyturn.domain.permission import holds_permission
from keyturn.domain.scope import holds_scope
from keyturn.domain.slot import SlotName

LONGEST_SECONDS = 366 * 86_400
LONGEST_BROWNOUT_SECONDS = 86_400
DEFAULT_OVERLAP_SECONDS = 86_400
DEFAULT_QUIET_SECONDS = 300
LEAST_QUIET_SECONDS = 2
DEFAULT_BROWNOUT_SECONDS = 60
DEFAULT_LOOKBACK_SECONDS = 35 * 86_400
MOST_LIFTS = 2
MOST_DECISIONS = 1_000


class RotationState(StrEnum):
    OVERLAPPING = "overlapping"
    BROWNOUT = "brownout"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"


OPEN_STATES = frozenset({RotationState.OVERLAPPING, RotationState.BROWNOUT})


class RotationAct(StrEnum):
    AMEND = "amend"
    BROWN_OUT = "brown_out"
    LIFT = "lift"
    COMPLETE = "complete"
    ROLL_BACK = "roll_back"
    CANCEL = "cancel"


TRANSITIONS: dict[tuple[RotationState, RotationAct], RotationState] = {
    (RotationState.OVERLAPPING, RotationAct.AMEND): RotationState.OVERLAPPING,
    (RotationState.OVERLAPPING, RotationAct.BROWN_OUT): RotationState.BROWNOUT,
    (RotationState.OVERLAPPING, RotationAct.COMPLETE): RotationState.COMPLETED,
    (RotationState.OVERLAPPING, RotationAct.ROLL_BACK): RotationState.ROLLED_BACK,
    (RotationState.OVERLAPPING, RotationAct.CANCEL): RotationState.CANCELLED,
    (RotationState.BROWNOUT, RotationAct.AMEND): RotationState.BROWNOUT,
    (RotationState.BROWNOUT, RotationAct.LIFT): RotationState.OVERLAPPING,
    (RotationState.BROWNOUT, RotationAct.COMPLETE): RotationState.COMPLETED,
    (RotationState.BROWNOUT, RotationAct.ROLL_BACK): RotationState.ROLLED_BACK,
    (RotationState.BROWNOUT, RotationAct.CANCEL): RotationState.CANCELLED,
    (RotationState.COMPLETED, RotationAct.COMPLETE): RotationState.COMPLETED,
    (RotationState.ROLLED_BACK, RotationAct.ROLL_BACK): RotationState.ROLLED_BACK,
}


class Standing(StrEnum):
    """What a person says of a runtime.

    `ours`: it counts, also from the place named. `intruder`: what is done under its name, from the
    place named or from any, counts for nothing. `waived`: it is left out.
    `checked_in`: that it asked `/v1/self` with the new key is taken for its run.
    """

    OURS = "ours"
    INTRUDER = "intruder"
    WAIVED = "waived"
    CHECKED_IN = "checked_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person's word on one runtime, from one place or, where that is None, from any."""

    runtime: str
    standing: Standing
    place: str | None
    reason: str
    by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTerms:
    """How a rotation is carried out. Whole seconds; see `settle_terms` for what is sensible."""

    quiet_seconds: int
    brownout_seconds: int
    lookback_seconds: int
    auto_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Brownout:
    """The old key suspended as a test. One that `is_trial` was asked for by a person, for itself;
    else it is the last step before the end. `is_ours` is False where a person had suspended the key
    before, or says so meanwhile: then no end of the test lets it work again."""

    began_at: int
    seconds: int
    is_trial: bool
    is_ours: bool

    @property
    def until(self) -> int:
        return self.began_at + self.seconds * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a rotation ended. `evidence` is the JSON text of what was judged, `until` the time up to
    which it counts; None where nothing was judged."""

    at: int
    by: str
    reason: str
    is_forced: bool
    evidence: str | None
    evidence_until: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The record of a rotation. Times are microseconds since the epoch, UTC."""

    id: UUID
    workspace_id: UUID
    slot: SlotName
    old_key_id: UUID
    new_key_id: UUID
    state: RotationState
    terms: RotationTerms
    started_at: int
    started_by: str
    deadline: int
    brownout: Brownout | None
    lifts: int
    lifted_at: int | None
    met: tuple[str, ...]
    decisions: tuple[Decision, ...]
    ending: Ending | None
    updated_at: int
    version: int

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    def is_overdue(self, now: int) -> bool:
        """Whether it was still open at its deadline. Nothing is cut by that."""
        return (now if self.ending is None else self.ending.at) >= self.deadline

    def after(self, act: RotationAct) -> RotationState:
        """The state that `act` leads to. Raises `RotationClosed` where there is no such step."""
        following = TRANSITIONS.get((self.state, act))
        if following is None:
            raise RotationClosed(f"This rotation is {self.state}: {_WAY_OUT[self.state]}")
        return following

    def extended(self, deadline: int, now: int) -> "Rotation":
        """With a later deadline. Raises `RequestInvalid` where it is not later."""
        self.after(RotationAct.AMEND)
        if deadline <= self.deadline:
            raise RequestInvalid.at("/deadline", "This must lie after the present deadline.")
        return self._changed(now, deadline=deadline)

    def decided(self, decisions: tuple[Decision, ...], now: int) -> "Rotation":
        """With more decisions, each instead of an earlier one on the same runtime and place."""
        self.after(RotationAct.AMEND)
        named = {(one.runtime, one.place) for one in decisions}
        kept = tuple(one for one in self.decisions if (one.runtime, one.place) not in named)
        if len(kept) + len(decisions) > MOST_DECISIONS:
            raise RequestInvalid.at("/runtime", f"There may be {MOST_DECISIONS} decisions.")
        return self._changed(now, decisions=(*kept, *decisions))

    def browned_out(self, brownout: Brownout, now: int) -> "Rotation":
        return self._changed(now, state=self.after(RotationAct.BROWN_OUT), brownout=brownout)

    def lifted(self, met: tuple[str, ...], now: int) -> "Rotation":
        """Out of the brown-out. `met` are the runtimes of ours that it hit; a trial, or one that
        hit nobody, is not counted."""
        counts = bool(met) and self.brownout is not None and not self.brownout.is_trial
        return self._changed(
            now,
            state=self.after(RotationAct.LIFT),
            brownout=None,
            lifts=self.lifts + counts,
            lifted_at=now if met else self.lifted_at,
            met=tuple(sorted({*self.met, *met})),
        )

    def meant(self, now: int) -> "Rotation":
        """The same brown-out, now as the last step before the end."""
        self.after(RotationAct.AMEND)
        if self.brownout is None or not self.brownout.is_trial:
            return self
        return self._changed(now, brownout=replace(self.brownout, is_trial=False))

    def disowned(self, now: int) -> "Rotation":
        """The same brown-out of a key that a person wants suspended whatever comes of it."""
        self.after(RotationAct.AMEND)
        if self.brownout is None or not self.brownout.is_ours:
            return self
        return self._changed(now, brownout=replace(self.brownout, is_ours=False))

    def vetoed(self, now: int) -> "Rotation":
        """A person has resumed the old key: its brown-out, if there is one, is over. The last step
        does not begin again by itself; quiet is counted from now."""
        act = RotationAct.AMEND if self.brownout is None else RotationAct.LIFT
        return self._changed(
            now,
            state=self.after(act),
            brownout=None,
            lifts=max(self.lifts, MOST_LIFTS),
            lifted_at=now,
        )

    def ended(self, act: RotationAct, ending: Ending) -> "Rotation":
        """At its end; once more, it stays as it is."""
        state = self.after(act)
        if state is self.state:
            return self
        return self._changed(ending.at, state=state, brownout=None, ending=ending)

    def _changed(self, now: int, **members: object) -> "Rotation":
        return replace(self, updated_at=now, version=self.version + 1, **members)  # type: ignore[arg-type]


_WAY_OUT = {
    RotationState.OVERLAPPING: "there is no brown-out to lift.",
    RotationState.BROWNOUT: "its brown-out has begun already.",
    RotationState.COMPLETED: "the old key is revoked. Only forward: rotate once more.",
    RotationState.ROLLED_BACK: "the new key was given up. Start another one.",
    RotationState.CANCELLED: "see to its keys, and start another one.",
}


def settle_terms(
    *,
    overlap_seconds: int | None,
    quiet_seconds: int | None,
    brownout_seconds: int | None,
    lookback_seconds: int | None,
    auto_complete: bool | None,
) -> tuple[int, RotationTerms]:
    """The overlap in seconds and the terms, with what was left out filled in.

    The quiet asked for is five minutes, or a tenth of an overlap that is shorter than that, and
    two seconds at least; the brown-out lasts as long as the quiet, at most a minute. Raises
    `RequestInvalid`.
    """
    overlap = DEFAULT_OVERLAP_SECONDS if overlap_seconds is None else overlap_seconds
    quiet = max(LEAST_QUIET_SECONDS, min(DEFAULT_QUIET_SECONDS, overlap // 10))
    if quiet_seconds is not None:
        quiet = quiet_seconds
    brownout = (
        min(DEFAULT_BROWNOUT_SECONDS, quiet) if brownout_seconds is None else brownout_seconds
    )
    lookback = DEFAULT_LOOKBACK_SECONDS if lookback_seconds is None else lookback_seconds
    bounds = (
        ("overlap_seconds", overlap, 1, LONGEST_SECONDS),
        ("quiet_seconds", quiet, 0, LONGEST_SECONDS),
        ("brownout_seconds", brownout, 0, LONGEST_BROWNOUT_SECONDS),
        ("lookback_seconds", lookback, 0, 10 * LONGEST_SECONDS),
    )
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise RequestInvalid.at(f"/{name}", f"This is {least} to {most} seconds.")
    return overlap, RotationTerms(
        quiet_seconds=quiet,
        brownout_seconds=brownout,
        lookback_seconds=lookback,
        auto_complete=True if auto_complete is None else auto_complete,
    )


def require_no_wider(new: Key, old: Key) -> None:
    """Raises `RotationWider` unless everything that the new key may do, the old one may."""
    for scope in new.scopes:
        if not holds_scope(old.scopes, scope):
            raise RotationWider(f"The key to be replaced does not hold the scope {scope}.")
    for permission in new.permissions:
        if not holds_permission(old.permissions, permission):
            raise RotationWider(f"The key to be replaced does not hold {permission}.")
    if not holds_networks(old.allowed_cidrs, new.allowed_cidrs):
        raise RotationWider("The networks must lie within those of the key to be replaced.")


def lifetime_from(old: Key, now: int) -> int | None:
    """When a key made now ends that is to live as long as the old one was made to live."""
    if old.expires_at is None:
        return None
    began = old.created_at if old.not_before is None else max(old.created_at, old.not_before)
    return now + max(old.expires_at - began, SECOND)
