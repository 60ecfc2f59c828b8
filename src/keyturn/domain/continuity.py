"""Continuity: what holds of a rotation and its two keys after every step, as predicates.

`broken_by_step` is asked where a step is written, before it commits, so that a fault of ours undoes
the step and never an invariant. A step that a person forces is not asked: what contains a key is
never in anybody's way. `docs/explanation/rotation-invariants.md` has all invariants by number.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from keyturn.domain.error import RotationWider
from keyturn.domain.key import Key, KeyState, KeyStatus
from keyturn.domain.rotation import (
    OPEN_STATES,
    TRANSITIONS,
    Rotation,
    RotationState,
    require_no_wider,
)

_STEPS = frozenset((before, after) for (before, _), after in TRANSITIONS.items())


def broken_by_step(
    before: Rotation | None, after: Rotation, old: Key, new: Key, now: int
) -> list[str]:
    """The invariants that a step breaks which nobody forced: `before` is None where it began."""
    broken = broken_pair(after, old, new) + broken_state(after, old, new)
    if before is not None:
        broken += broken_move(before, after)
    elif is_wider(new, old):
        broken.append("S8: the new key may do more than the old one.")
    if leaves_nothing(after, old, new, now):
        broken.append("S2: no key of the rotation would work any more.")
    ending = after.ending
    if after.state is RotationState.COMPLETED and ending is not None and ending.evidence is None:
        broken.append("S5: it completes on no evidence.")
    return broken


def broken_pair(rotation: Rotation, old: Key, new: Key) -> list[str]:
    """S15: a rotation is of two keys of its own slot and workspace, and of no others."""
    own = (rotation.workspace_id, rotation.slot)
    places = {(one.workspace_id, one.slot) for one in (old, new)}
    is_own = (old.id, new.id) == (rotation.old_key_id, rotation.new_key_id)
    if is_own and old.id != new.id and places == {own}:
        return []
    return ["S15: its keys are not two of its own slot."]


def broken_state(rotation: Rotation, old: Key, new: Key) -> list[str]:
    """What the state of a rotation says of its keys (S2, S6, S10) and of its own record."""
    broken = []
    if rotation.is_open is not (rotation.ending is None):
        broken.append("S7: it is open and ended, or neither.")
    if (rotation.state is RotationState.BROWNOUT) is not (rotation.brownout is not None):
        broken.append("S7: it is browned out without a brown-out, or the other way round.")
    if not _suits(rotation, old, new):
        broken.append(f"S2: its keys are {old.state} and {new.state} while it is {rotation.state}.")
    return broken


def _suits(rotation: Rotation, old: Key, new: Key) -> bool:
    """Whether its keys are as its state says."""
    revoked = {one.id for one in (old, new) if one.state is KeyState.REVOKED}
    match rotation.state:
        case RotationState.OVERLAPPING:
            return not revoked
        case RotationState.BROWNOUT:
            return not revoked and old.state is KeyState.SUSPENDED
        case RotationState.COMPLETED:
            return old.id in revoked
        case RotationState.ROLLED_BACK:  # both may live on, and each may be revoked later
            return True
        case RotationState.CANCELLED:
            return old.compromised or new.compromised


def broken_move(before: Rotation, after: Rotation) -> list[str]:
    """S7: what has ended stays as it is, and what it is about never changes."""
    broken = []
    if before.state not in OPEN_STATES and after != before:
        broken.append("S7: it had ended.")
    if (before.state, after.state) not in _STEPS:
        broken.append(f"S7: no step leads from {before.state} to {after.state}.")
    if _core(before) != _core(after) or after.lifts < before.lifts:
        broken.append("S7: what it is about has changed.")
    if after.version != before.version + 1:
        broken.append("S7: its versions do not follow each other.")
    return broken


def broken_key_move(before: Key, after: Key) -> list[str]:
    """S7: a revoked key stays revoked, a compromised one compromised, and each the same key."""
    broken = []
    if before.state is KeyState.REVOKED and after.state is not KeyState.REVOKED:
        broken.append("S7: a revoked key works again.")
    if before.compromised and not after.compromised:
        broken.append("S7: a compromised key is none any more.")
    if before.revoked_at is not None and after.revoked_at != before.revoked_at:
        broken.append("S7: when a key was revoked has changed.")
    if (before.id, before.workspace_id, before.slot) != (after.id, after.workspace_id, after.slot):
        broken.append("S15: a key has moved to another slot.")
    if after.version < before.version:
        broken.append("S7: an earlier version of a key has returned.")
    return broken


def broken_slots(rotations: Iterable[Rotation]) -> list[str]:
    """S4: a slot has at most one open rotation."""
    counts = Counter((one.workspace_id, one.slot) for one in rotations if one.is_open)
    return [f"S4: slot {slot} has {n} open rotations." for (_, slot), n in counts.items() if n > 1]


def is_wider(new: Key, old: Key) -> bool:
    """S8: whether the new key may do anything that the old one may not."""
    try:
        require_no_wider(new, old)
    except RotationWider:
        return True
    return False


def leaves_nothing(rotation: Rotation, old: Key, new: Key, now: int) -> bool:
    """S2: whether the old key was retired and the new one does not work. One that has expired had
    retired by itself."""
    if rotation.state is not RotationState.COMPLETED or old.is_expired(now):
        return False
    is_early = new.not_before is not None and new.not_before > now
    return is_early or new.status(now) is not KeyStatus.ACTIVE


def _core(rotation: Rotation) -> Rotation:
    """What no step changes."""
    return replace(
        rotation,
        state=RotationState.OVERLAPPING,
        deadline=0,
        brownout=None,
        lifts=0,
        lifted_at=None,
        met=(),
        decisions=(),
        ending=None,
        updated_at=0,
        version=0,
    )
