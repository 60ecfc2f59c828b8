"""The progress of a rotation: which step it takes by itself now, if any. Pure, and all of it here.

1. A brown-out is lifted as soon as it is known to have hit a runtime of ours.
2. A brown-out is over when a process has watched it for its whole length and every request up to
   there is known. Then the rotation ends, if its evidence allows; else the brown-out is lifted. It
   is lifted too where nothing new is known, or where the clock lies before its beginning: a key
   that works is no harm, one that is suspended for ever is.
3. Outside of a brown-out, and only with `auto_complete`, the last step begins when the evidence
   allows it without a person: by a brown-out, unless that takes no time.
4. While its workspace is suspended a rotation rests, since nobody can use either key.
"""

from collections.abc import Sequence

from keyturn.domain.delivery import Delivery, DeliveryState
from keyturn.domain.evidence import UNDELIVERED, UNUSABLE, Evidence, Observation
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key, KeyState
from keyturn.domain.rotation import Rotation, RotationAct, RotationState

# By so much a clock may lie before the beginning of a brown-out.
_SLACK = 5 * SECOND


def next_act(
    rotation: Rotation, old: Key, evidence: Evidence, observation: Observation
) -> RotationAct | None:
    """The step that is due now by itself, None for none."""
    if not rotation.is_open:
        return None
    ends_by_itself = rotation.terms.auto_complete and evidence.may_end_by_itself
    brownout = rotation.brownout
    if brownout is None:
        return begin_end(rotation, old, observation.now) if ends_by_itself else None
    if not brownout.is_ours:
        return RotationAct.LIFT  # a person has suspended the key meanwhile: it is no test any more
    if evidence.met or evidence.is_behind or observation.now < brownout.began_at - _SLACK:
        return RotationAct.LIFT
    watched = observation.until - max(brownout.began_at, observation.watched_since)
    if watched < brownout.seconds * SECOND:
        return None
    allowed = ends_by_itself if brownout.is_trial else evidence.allows_person
    return RotationAct.COMPLETE if allowed else RotationAct.LIFT


def begin_end(rotation: Rotation, old: Key, now: int) -> RotationAct:
    """The first step of the end: the brown-out, or the end itself. A key that does not work any
    more cannot be suspended as a test."""
    is_dead = old.is_expired(now) or old.state is not KeyState.ACTIVE
    if is_dead or rotation.terms.brownout_seconds == 0:
        return RotationAct.COMPLETE
    return RotationAct.BROWN_OUT


def tell_next_step(
    rotation: Rotation, evidence: Evidence | None, deliveries: Sequence[Delivery] = ()
) -> str:
    """What is left to do, in one plain sentence. `deliveries` are those of the new token."""
    if not rotation.is_open:
        return _tell_back(deliveries) or _ENDED[rotation.state]
    if evidence is None:
        return "See the activity log: a record that this rests on was changed from outside."
    conflict = next(iter(evidence.conflicts), None)
    if conflict is not None:
        return f"Say whether {conflict}, seen from a new place, is yours or an intruder."
    if rotation.brownout is not None:
        return "Wait: the old key is suspended as a test, and works again if one of yours needs it."
    unusable = next((one for one in evidence.blocked_by if one.code == UNUSABLE), None)
    if unusable is not None:
        return f"{unusable.detail} Mend that, or roll back."
    delivered_to = tuple(
        one.destination for one in deliveries if one.state is DeliveryState.DELIVERED
    )
    return _tell_evidence(rotation, evidence, delivered_to)


def _tell_back(deliveries: Sequence[Delivery]) -> str | None:
    """What is left to do where a new token was taken back; None where none was."""
    by_state = {
        state: ", ".join(one.destination for one in deliveries if one.state is state)
        for state in (DeliveryState.RESTORING, DeliveryState.RESTORED)
    }
    unknown = ", ".join(
        one.destination
        for one in deliveries
        if one.state is DeliveryState.CANCELLED and one.begun_at is not None
    )
    if unknown:
        return f"Put the old token back in {unknown} by hand: it was not known."
    if by_state[DeliveryState.RESTORING]:
        places = by_state[DeliveryState.RESTORING]
        return f"Wait: the old token is being put back in {places}."
    if by_state[DeliveryState.RESTORED]:
        places = by_state[DeliveryState.RESTORED]
        return f"Nothing is left to do: the old token is back in {places}."
    return None


def _tell_evidence(rotation: Rotation, evidence: Evidence, delivered_to: tuple[str, ...]) -> str:
    """As `tell_next_step`, of an overlap in which the new key can be used."""
    undelivered = next((one for one in evidence.blocked_by if one.code == UNDELIVERED), None)
    if undelivered is not None:
        return f"{undelivered.detail} It is tried again by itself; see `keyturn deliveries list`."
    waiting = [one.runtime for one in evidence.blocked_by if one.runtime is not None]
    if waiting:
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        end = "the old key retires by itself" if rotation.terms.auto_complete else "complete it"
        if delivered_to:
            places = ", ".join(delivered_to)
            return (
                f"Wait until {waiting[0]}{more} has taken the new token from {places}, or restart "
                f"it; then {end}."
            )
        return f"Bring the new token to {waiting[0]}{more}; then {end}."
    if evidence.blocked_by:
        return evidence.blocked_by[0].detail
    if not rotation.terms.auto_complete:
        return "Complete it: nothing is in the way."
    if evidence.may_end_by_itself:
        return "Wait a moment: nothing is in the way any more."
    if delivered_to:
        return f"Wait: the new token is in {', '.join(delivered_to)}, and nobody has used it yet."
    return "Bring the new token to where the old one is used: nobody has used it yet."


_ENDED = {
    RotationState.COMPLETED: "Nothing is left to do: the old key is revoked.",
    RotationState.ROLLED_BACK: "Take the new token away from wherever it was brought.",
    RotationState.CANCELLED: "See to its keys, and start another rotation.",
}
