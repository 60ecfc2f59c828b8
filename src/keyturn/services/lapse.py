"""Lapsing: waivers of the checklist that ran out are found, so that nobody has to remember them.

A waiver of a whole check is of no slot, and a finding is: that it ran out, the check alone tells.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.instant import DAY, format_instant
from keyturn.domain.key import Key, KeyState
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.storage.transaction import Reading

LAPSE_KINDS = (FindingKind.POSTURE_WAIVER_EXPIRED,)
# After that a check that fails is nobody's surprise.
TOLD_DAYS = 30


def lapse_causes(transaction: Reading, workspace_id: UUID, now: int) -> list[Cause]:
    """What was waived of a key that lives, or of a slot, until a time that is past, and is not
    waived anew. `now` is steady."""
    held = transaction.posture_waivers.held(workspace_id, now - TOLD_DAYS * DAY, now)
    holding = transaction.posture_waivers.holding(workspace_id, now)
    ids = {one.key_id for one in held if one.key_id is not None}
    keys, _ = transaction.keys.among(workspace_id, ids)
    newest: dict[tuple[str, str, str], Cause] = {}
    for waiver in held:
        is_over = waiver.ended_at is None and not waiver.holds(now)
        if is_over and _is_open(waiver, keys, holding, now):
            cause = _cause(waiver, keys)
            if cause is not None:
                newest.setdefault(cause.identity, cause)
    return [*newest.values()]


def _is_open(
    waiver: PostureWaiver,
    keys: Mapping[UUID, Key],
    holding: Collection[PostureWaiver],
    now: int,
) -> bool:
    """Whether it spoke of something that there is, and nothing else waives."""
    if waiver.key_id is not None:
        key = keys.get(waiver.key_id)
        if key is None or key.state is KeyState.REVOKED or key.is_expired(now):
            return False
    return not any(
        one.check is waiver.check
        and (one.key_id is None or one.key_id == waiver.key_id)
        and one.slot in (None, waiver.slot)
        for one in holding
    )


def _cause(waiver: PostureWaiver, keys: Mapping[UUID, Key]) -> Cause | None:
    if waiver.slot is None:
        return None
    of_key = waiver.key_id is not None
    until = format_instant(waiver.until)
    evidence: dict[str, object] = {
        "waiver_id": str(waiver.id),
        "check": waiver.check.value,
        "until": until,
        "reason": waiver.reason,
        "by": waiver.created_by,
        "next_step": f"`keyturn posture --check {waiver.check}` says whether it fails, and what "
        "helps; or waive it anew.",
    }
    if waiver.key_id is not None:
        evidence |= {"key_id": str(waiver.key_id), "name": keys[waiver.key_id].name}
    return Cause(
        kind=FindingKind.POSTURE_WAIVER_EXPIRED,
        subject_type=SubjectType.KEY if of_key else SubjectType.SLOT,
        subject_id=str(waiver.key_id) if of_key else str(waiver.slot),
        slot=waiver.slot,
        mark=waiver.check.value,
        severity=Severity.INFO,
        evidence=evidence,
    )
