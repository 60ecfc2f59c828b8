"""The progress of a rotation: which step it takes by itself now, if any. Pure, and all of it here.

1. A brown-out is lifted as soon as it is known to have hit a runtime of ours.
2. A brown-out is over when a process has watched it for its whole length and every request up to
   there is known. Then the rotation ends, if its evidence allows; else the brown-out is lifted.
3. Outside of a brown-out, and only with `auto_complete`, the last step begins when the evidence
   allows it without a person: by a brown-out, unless that takes no time or the old key is suspended
   anyway.
4. An old key that has expired is dead already: its rotation is over.
5. While its workspace is suspended a rotation rests, since nobody can use either key.
"""

from keyturn.domain.evidence import Evidence, Observation
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key, KeyState
from keyturn.domain.rotation import Rotation, RotationAct

# So long an expiry must have passed before anything is done about it.
AFTER_EXPIRY = 30 * SECOND


def next_act(
    rotation: Rotation, old: Key, evidence: Evidence, observation: Observation
) -> RotationAct | None:
    """The step that is due now by itself, None for none."""
    if not rotation.is_open:
        return None
    if old.is_expired(observation.borne_out - AFTER_EXPIRY):
        return RotationAct.COMPLETE
    ends_by_itself = rotation.terms.auto_complete and evidence.may_end_by_itself
    brownout = rotation.brownout
    if brownout is None:
        return begin_end(rotation, old) if ends_by_itself else None
    if evidence.met:
        return RotationAct.LIFT
    watched = observation.until - max(brownout.began_at, observation.watched_since)
    if watched < brownout.seconds * SECOND:
        return None
    allowed = ends_by_itself if brownout.is_trial else evidence.allows_person
    return RotationAct.COMPLETE if allowed else RotationAct.LIFT


def begin_end(rotation: Rotation, old: Key) -> RotationAct:
    """The first step of the end: the brown-out, or the end itself."""
    if rotation.terms.brownout_seconds == 0 or old.state is not KeyState.ACTIVE:
        return RotationAct.COMPLETE
    return RotationAct.BROWN_OUT


def tell_next_step(rotation: Rotation, evidence: Evidence | None) -> str:
    """What is left to do, in one plain sentence."""
    if evidence is None or not rotation.is_open:
        return _ENDED[rotation.state.value]
    conflict = next(iter(evidence.conflicts), None)
    if conflict is not None:
        return f"Say whether {conflict}, seen from a new place, is yours or an intruder."
    if rotation.brownout is not None:
        return "Wait: the old key is suspended as a test, and works again if one of yours needs it."
    waiting = [one.runtime for one in evidence.blocked_by if one.runtime is not None]
    if waiting:
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        return f"Bring the new token to {waiting[0]}{more}; then the old key retires by itself."
    if evidence.blocked_by:
        return evidence.blocked_by[0].detail
    if not rotation.terms.auto_complete:
        return "Complete it: nothing is in the way."
    if not evidence.may_end_by_itself:
        return "Bring the new token to where the old one is used: nobody has used it yet."
    return "Wait a moment: nothing is in the way any more."


_ENDED = {
    "completed": "Nothing is left to do: the old key is revoked.",
    "rolled_back": "Take the new token away from wherever it was brought.",
    "cancelled": "See to the key that was compromised, and start another rotation.",
    "overlapping": "Read the evidence.",
    "brownout": "Read the evidence.",
}
