"""Steering a rotation: what a person may do to it between its start and its end.

Each verb judges in the transaction that acts, on what the witness knew just before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.delivery import Delivery
from keyturn.domain.error import (
    CheckInMissing,
    EvidenceMissing,
    RequestInvalid,
    RollbackUnsafe,
    RotationUnknown,
)
from keyturn.domain.evidence import Observation
from keyturn.domain.instant import SECOND
from keyturn.domain.key import KeyState
from keyturn.domain.permission import Permission
from keyturn.domain.progress import begin_end
from keyturn.domain.rotation import (
    DEFAULT_BROWNOUT_SECONDS,
    LONGEST_BROWNOUT_SECONDS,
    LONGEST_SECONDS,
    Decision,
    Rotation,
    RotationAct,
    RotationState,
    Standing,
)
from keyturn.domain.runtime import check_runtime
from keyturn.domain.text import TEXT_LENGTH, check_text
from keyturn.services.conclude import (
    brown_out,
    complete_rotation,
    keep_rotation,
    roll_back_rotation,
)
from keyturn.services.context import Context
from keyturn.services.identify import reaffirm
from keyturn.services.journal import Act, Author
from keyturn.services.survey import deliveries_of
from keyturn.services.weigh import Weighed, weigh
from keyturn.services.witness import Witness
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeredRotation:
    """A rotation after a call, and what was known of it then; None once it has ended."""

    rotation: Rotation
    weighed: Weighed | None
    deliveries: Sequence[Delivery] = ()


# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, SteeredRotation], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A runtime that is to be left out, and why."""

    runtime: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Helm:
    """One call that steers: who calls, about which rotation, with which witness."""

    context: Context
    witness: Witness
    act: Act
    workspace_id: UUID
    id: UUID
    remember: Remember | None = None

    def steer(self, move: Callable[["_Turn"], Rotation]) -> SteeredRotation:
        """Carries out one move in one transaction. Raises `RotationUnknown`, `PermissionMissing`
        and what the move raises; then nothing has happened."""
        observation = self.witness.observe()
        with self.context.store.change() as transaction:
            now = self.context.clock.now()
            rights = reaffirm(transaction, self.act.caller, now)
            rotation = transaction.rotations.find(self.workspace_id, self.id)
            if rotation is None:
                raise RotationUnknown("There is no rotation with this id.")
            rights.require(Permission.ROTATIONS_WRITE, rotation.slot)
            turn = _Turn(
                context=self.context,
                transaction=transaction,
                author=Author.of(self.act),
                observation=observation,
                now=now,
                rotation=rotation,
            )
            following = move(turn)
            weighed = turn.weigh(following) if following.is_open else None
            deliveries = deliveries_of(transaction, following)
            steered = SteeredRotation(rotation=following, weighed=weighed, deliveries=deliveries)
            if self.remember is not None:
                self.remember(transaction, steered)
        return steered


@dataclass(slots=True, kw_only=True)
class _Turn:
    """What a move works with: the rotation as it stands in this transaction."""

    context: Context
    transaction: Writing
    author: Author
    observation: Observation
    now: int
    rotation: Rotation

    def weigh(self, rotation: Rotation | None = None) -> Weighed:
        return weigh(self.transaction, rotation or self.rotation, self.observation)

    def keep(self, following: Rotation, verb: str, **told: object) -> None:
        """Writes the rotation over the one that was found."""
        if following is self.rotation:
            return
        keep_rotation(
            self.context,
            self.transaction,
            self.author,
            following,
            self.rotation.version,
            verb,
            told,
        )
        self.rotation = following

    def decide(self, runtime: str, standing: Standing, place: str | None, reason: str) -> None:
        """Writes down a person's word."""
        decision = Decision(
            runtime=runtime,
            standing=standing,
            place=place,
            reason=reason,
            by=self.author.actor.label,
            at=self.now,
        )
        following = self.rotation.decided((decision,), self.now)
        self.keep(following, "decided", runtime=runtime, standing=standing, place=place)

    def complete(self, reason: str | None, *, is_forced: bool) -> Rotation:
        return complete_rotation(
            self.context,
            self.transaction,
            self.author,
            self.weigh(),
            self.now,
            reason=reason or "The evidence allowed it.",
            is_forced=is_forced,
        )

    def brown_out(self, seconds: int, *, is_trial: bool) -> Rotation:
        return brown_out(
            self.context,
            self.transaction,
            self.author,
            self.rotation,
            self.weigh().old,
            self.now,
            began_at=self.observation.now,
            seconds=seconds,
            is_trial=is_trial,
        )


def complete(
    helm: Helm, *, force: bool = False, reason: str | None = None, waive: tuple[Waiver, ...] = ()
) -> SteeredRotation:
    """Retires the old key if the evidence allows it, by a brown-out first. Raises
    `EvidenceMissing` or `RotationClosed`."""
    reason = _checked_reason(reason, is_needed=force)
    for one in waive:
        check_runtime(one.runtime, "/waive")

    def move(turn: _Turn) -> Rotation:
        if not turn.rotation.is_open:
            turn.rotation.after(RotationAct.COMPLETE)
            return turn.rotation
        for one in waive:
            _require_known(turn.weigh(), one.runtime, "/waive")
            waived = check_text(one.reason, "/waive", longest=TEXT_LENGTH)
            turn.decide(one.runtime, Standing.WAIVED, None, waived)
        weighed = turn.weigh()
        if force:
            return turn.complete(reason, is_forced=True)
        if not weighed.evidence.allows_person:
            blocked_by = weighed.evidence.blocked_by
            raise EvidenceMissing(_tell_blocked(weighed), blocked_by)
        if turn.rotation.state is RotationState.BROWNOUT:
            turn.keep(turn.rotation.meant(turn.now), "meant")
            return turn.rotation
        if begin_end(turn.rotation, weighed.old, turn.now) is RotationAct.COMPLETE:
            return turn.complete(reason, is_forced=False)
        return turn.brown_out(turn.rotation.terms.brownout_seconds, is_trial=False)

    return helm.steer(move)


def roll_back(
    helm: Helm, *, force: bool = False, reason: str | None = None, keep_both: bool = False
) -> SteeredRotation:
    """Goes back to the old key. Raises `RollbackUnsafe` where somebody uses only the new one, or
    `RotationClosed`."""
    reason = _checked_reason(reason, is_needed=force)

    def move(turn: _Turn) -> Rotation:
        if not turn.rotation.is_open:
            turn.rotation.after(RotationAct.ROLL_BACK)
            return turn.rotation
        weighed = turn.weigh()
        cut_off = weighed.evidence.only_on_new
        if cut_off and not (force or keep_both):
            raise RollbackUnsafe(
                f"These use the new key, which a rollback would revoke: {', '.join(cut_off)}.",
                cut_off,
            )
        if not (force or keep_both or _works_again(weighed, turn.now)):
            raise RollbackUnsafe(
                "The old key does not work any more, and a rollback would revoke the new one.", ()
            )
        return roll_back_rotation(
            turn.context,
            turn.transaction,
            turn.author,
            weighed,
            turn.now,
            reason=reason or "It was rolled back.",
            is_forced=bool(cut_off) and force,
            keeps_both=keep_both,
        )

    return helm.steer(move)


def extend(
    helm: Helm, *, deadline: int | None = None, overlap_seconds: int | None = None
) -> SteeredRotation:
    """Gives it a later deadline, by its time or counted from the start. Raises `RequestInvalid`
    where it is not later, or `RotationClosed`."""
    if (deadline is None) is (overlap_seconds is None):
        raise RequestInvalid.at("", "Give either `deadline` or `overlap_seconds`.")
    if overlap_seconds is not None and not 1 <= overlap_seconds <= LONGEST_SECONDS:
        raise RequestInvalid.at("/overlap_seconds", f"This is 1 to {LONGEST_SECONDS} seconds.")

    def move(turn: _Turn) -> Rotation:
        started = turn.rotation.started_at
        latest = turn.now + LONGEST_SECONDS * SECOND
        asked = deadline if overlap_seconds is None else started + overlap_seconds * SECOND
        following = turn.rotation.extended(asked or 0, turn.now)
        if following.deadline > latest:
            raise RequestInvalid.at("/deadline", "This lies more than a year ahead.")
        turn.keep(following, "extended", deadline=following.deadline)
        return turn.rotation

    return helm.steer(move)


def try_brownout(helm: Helm, *, seconds: int | None = None) -> SteeredRotation:
    """Suspends the old key for a stated time, as a test. Raises `RotationClosed`, also where a
    brown-out has begun already."""
    if seconds is not None and not 1 <= seconds <= LONGEST_BROWNOUT_SECONDS:
        raise RequestInvalid.at(
            "/brownout_seconds", f"This is 1 to {LONGEST_BROWNOUT_SECONDS} seconds."
        )

    def move(turn: _Turn) -> Rotation:
        usual = turn.rotation.terms.brownout_seconds or DEFAULT_BROWNOUT_SECONDS
        turn.rotation.after(RotationAct.BROWN_OUT)
        return turn.brown_out(usual if seconds is None else seconds, is_trial=True)

    return helm.steer(move)


def decide(
    helm: Helm, *, runtime: str, standing: Standing, place: str | None, reason: str | None
) -> SteeredRotation:
    """Takes a person's word on one runtime. Raises `RequestInvalid` for one that nobody has seen,
    `CheckInMissing`, or `RotationClosed`."""
    check_runtime(runtime, "/runtime")
    needs_reason = standing in (Standing.WAIVED, Standing.CHECKED_IN)
    reason = _checked_reason(reason, is_needed=needs_reason)
    place = None if place is None else check_text(place, "/network")
    if place is not None and needs_reason:
        raise RequestInvalid.at("/network", f"What is {standing} is so from everywhere.")

    def move(turn: _Turn) -> Rotation:
        turn.rotation.after(RotationAct.AMEND)
        weighed = turn.weigh()
        _require_known(weighed, runtime, "/runtime")
        _require_seen(weighed, runtime, place, standing)
        if standing is Standing.CHECKED_IN and not _has_checked_in(weighed, runtime):
            raise CheckInMissing(
                "This runtime has not asked `GET /v1/self` with the new key since the start, or "
                "not from where it was before."
            )
        turn.decide(runtime, standing, place, reason or "")
        return turn.rotation

    return helm.steer(move)


def _works_again(weighed: Weighed, now: int) -> bool:
    """Whether the old key works after a rollback."""
    brownout = weighed.rotation.brownout
    if weighed.old.is_expired(now):
        return False
    return weighed.old.state is KeyState.ACTIVE or (brownout is not None and brownout.is_ours)


def _require_known(weighed: Weighed, runtime: str, pointer: str) -> None:
    known = {one.runtime for one in weighed.evidence.runtimes}
    if runtime not in known:
        raise RequestInvalid.at(pointer, "No such runtime is in the evidence of this rotation.")


def _require_seen(weighed: Weighed, runtime: str, place: str | None, standing: Standing) -> None:
    """One place that it was seen at; for an intruder one must be named where there are several."""
    mine = [one for one in weighed.evidence.runtimes if one.runtime == runtime]
    networks = sorted({network for one in mine for network in one.networks})
    is_unclear = standing is Standing.INTRUDER and len(networks) > 1
    if (place is None and is_unclear) or (place is not None and place not in networks):
        told = ", ".join(networks) or "no known network"
        raise RequestInvalid.at("/network", f"This runtime was seen from {told}.")


def _has_checked_in(weighed: Weighed, runtime: str) -> bool:
    return any(
        one.checked_in_at is not None for one in weighed.evidence.runtimes if one.runtime == runtime
    )


def _checked_reason(reason: str | None, *, is_needed: bool) -> str | None:
    if reason is None and is_needed:
        raise RequestInvalid.at("/reason", "Say why: this goes past what is known.")
    return None if reason is None else check_text(reason, "/reason", longest=TEXT_LENGTH)


def _tell_blocked(weighed: Weighed) -> str:
    blocked_by = weighed.evidence.blocked_by
    names = sorted({one.runtime for one in blocked_by if one.runtime is not None})
    if not names:
        return blocked_by[0].detail
    told = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"This would cut off {told}; see `blocked_by`."
