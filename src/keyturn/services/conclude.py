"""What a rotation's steps do to its keys, in the transaction that they are told in.

Every way that a rotation takes a step goes through here: a call, the clock, the revocation of one
of its keys. Each step writes one entry for the rotation, and one for each key that it changes.
"""

import hashlib
from contextlib import suppress

from keyturn.domain.activity import Category
from keyturn.domain.continuity import broken_by_step
from keyturn.domain.error import IntegrityFailed, InvariantBroken
from keyturn.domain.evidence import Evidence
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.rotation import Brownout, Ending, Rotation, RotationAct
from keyturn.services.context import Context
from keyturn.services.dispatch import settle_deliveries
from keyturn.services.find import note_finding
from keyturn.services.issue import key_subject
from keyturn.services.journal import Author, Subject, note
from keyturn.services.weigh import Weighed, spell_evidence
from keyturn.storage.log import Change
from keyturn.storage.transaction import Writing


def complete_rotation(
    context: Context,
    transaction: Writing,
    author: Author,
    weighed: Weighed,
    now: int,
    *,
    reason: str,
    is_forced: bool,
) -> Rotation:
    """Retires the old key. Who calls has judged that it may be."""
    _revoke(context, transaction, author, weighed.old, RevocationReason.SUPERSEDED, now)
    return end_rotation(
        context,
        transaction,
        author,
        weighed.rotation,
        RotationAct.COMPLETE,
        now,
        reason=reason,
        is_forced=is_forced,
        evidence=weighed.evidence,
    )


def roll_back_rotation(
    context: Context,
    transaction: Writing,
    author: Author,
    weighed: Weighed,
    now: int,
    *,
    reason: str,
    is_forced: bool,
    keeps_both: bool,
) -> Rotation:
    """The old key stays, and works again if a brown-out had suspended it. The new one is revoked
    unless both are kept."""
    if not keeps_both:
        _revoke(context, transaction, author, weighed.new, RevocationReason.UNUSED, now)
    free_old_key(context, transaction, author, weighed.rotation, weighed.old, now)
    return end_rotation(
        context,
        transaction,
        author,
        weighed.rotation,
        RotationAct.ROLL_BACK,
        now,
        reason=reason,
        is_forced=is_forced,
        evidence=weighed.evidence,
    )


def end_rotation(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    act: RotationAct,
    now: int,
    *,
    reason: str,
    is_forced: bool,
    evidence: Evidence | None,
) -> Rotation:
    """Writes the end of a rotation, with what was known at that moment, and resolves what was found
    on it. The keys are the caller's to see to."""
    spelled = None if evidence is None else spell_evidence(evidence)
    ending = Ending(
        at=now,
        by=author.actor.label,
        reason=reason,
        is_forced=is_forced,
        evidence=spelled,
        evidence_until=None if evidence is None else evidence.until,
    )
    ended = rotation.ended(act, ending)
    told: dict[str, object] = {"reason": reason, "forced": is_forced}
    if evidence is not None and spelled is not None:
        told["evidence_sha256"] = hashlib.sha256(spelled.encode()).hexdigest()
        told["blocked_by"] = [one.code for one in evidence.blocked_by]
    keep_rotation(context, transaction, author, ended, rotation.version, str(ended.state), told)
    settle_deliveries(context, transaction, author, ended, now)
    for finding in transaction.findings.unresolved_of(ended.workspace_id, None, [str(ended.id)]):
        resolved = finding.resolved(now)
        transaction.findings.replace(resolved, finding.version)
        note_finding(context, transaction, author, resolved, now)
    return ended


def brown_out(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    old: Key,
    now: int,
    *,
    began_at: int,
    seconds: int,
    is_trial: bool,
) -> Rotation:
    """Suspends the old key as a test, for so many seconds from `began_at`, by steady time, on."""
    is_ours = old.state is KeyState.ACTIVE
    brownout = Brownout(began_at=began_at, seconds=seconds, is_trial=is_trial, is_ours=is_ours)
    browned = rotation.browned_out(brownout, now)
    if is_ours:
        keep_key(context, transaction, author, old, old.suspended(now), "suspended", now)
    told: dict[str, object] = {"seconds": seconds, "trial": is_trial}
    keep_rotation(context, transaction, author, browned, rotation.version, "browned_out", told)
    return browned


def lift(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    old: Key,
    met: tuple[str, ...],
    now: int,
) -> Rotation:
    """Lets the old key work again. `met` are the runtimes that the brown-out has hit."""
    free_old_key(context, transaction, author, rotation, old, now)
    lifted = rotation.lifted(met, now)
    told = {"met": list(met), "lifts": lifted.lifts}
    keep_rotation(context, transaction, author, lifted, rotation.version, "lifted", told)
    return lifted


def lift_blindly(
    context: Context, transaction: Writing, author: Author, rotation: Rotation, now: int
) -> Rotation:
    """Ends a brown-out that nothing can be said of, since a record was changed from outside. The
    old key works again, unless it is its record."""
    with suppress(IntegrityFailed):
        old = transaction.keys.find(rotation.workspace_id, rotation.old_key_id)
        if old is not None:
            free_old_key(context, transaction, author, rotation, old, now)
    vetoed = rotation.vetoed(now)
    told: dict[str, object] = {"damaged": True}
    keep_rotation(context, transaction, author, vetoed, rotation.version, "vetoed", told)
    return vetoed


def free_old_key(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    old: Key,
    now: int,
) -> None:
    """Resumes the old key if it is this rotation's brown-out that suspends it."""
    brownout = rotation.brownout
    if brownout is None or not brownout.is_ours or old.is_expired(now):
        return
    if old.state is KeyState.SUSPENDED:
        keep_key(context, transaction, author, old, old.resumed(now), "resumed", now)


def _revoke(
    context: Context,
    transaction: Writing,
    author: Author,
    key: Key,
    reason: RevocationReason,
    now: int,
) -> None:
    keep_key(context, transaction, author, key, key.revoked(reason, now), "revoked", now)


def keep_key(
    context: Context,
    transaction: Writing,
    author: Author,
    key: Key,
    following: Key,
    verb: str,
    now: int,
) -> None:
    """Writes a key that a rotation has moved, and its entry. One that stays writes nothing."""
    if following is key:
        return
    transaction.keys.replace(following, key.version)
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"api_key.{verb}",
        category=Category.SECURITY,
        subject=key_subject(following),
        message=f"Key {key.name} was {verb} by the rotation of slot {key.slot}.",
        metadata={"slot": str(key.slot)},
        now=now,
    )


def keep_rotation(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    expected: int | None,
    verb: str,
    told: dict[str, object],
) -> None:
    """Writes a rotation over version `expected`, or as a new one, and its entry. Its keys have been
    written before. Raises `InvariantBroken`."""
    _require_unbroken(transaction, rotation, rotation.updated_at)
    if expected is None:
        transaction.rotations.add(rotation)
    else:
        transaction.rotations.replace(rotation, expected)
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"rotation.{verb}",
        category=Category.SECURITY,
        subject=rotation_subject(rotation),
        message=f"The rotation of slot {rotation.slot} was {verb.replace('_', ' ')}.",
        metadata={
            "slot": str(rotation.slot),
            "old_key_id": str(rotation.old_key_id),
            "new_key_id": str(rotation.new_key_id),
            **told,
        },
        now=rotation.updated_at,
    )


def _require_unbroken(transaction: Writing, rotation: Rotation, now: int) -> None:
    """Undoes a step that nobody forced if it breaks an invariant. Where a record was changed from
    outside, nothing can be said."""
    if rotation.ending is not None and rotation.ending.is_forced:
        return
    place = rotation.workspace_id
    try:
        before = transaction.rotations.find(place, rotation.id)
        old = transaction.keys.find(place, rotation.old_key_id)
        new = transaction.keys.find(place, rotation.new_key_id)
    except IntegrityFailed:
        return
    if old is not None and new is not None:
        broken = broken_by_step(before, rotation, old, new, now)
        if broken:
            raise InvariantBroken(" ".join(broken))


def rotation_subject(rotation: Rotation) -> Subject:
    """How the log names a rotation and the step that it has just taken."""
    return Subject(
        workspace_id=rotation.workspace_id,
        type="rotation",
        id=str(rotation.id),
        change=Change(kind="rotation", ref=str(rotation.id), version=rotation.version),
    )
