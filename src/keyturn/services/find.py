"""Finding: what a person should know is opened once, and resolved when its cause is gone.

Who knows a cause says so again and again; `reconcile` compares what is said with what is open, and
writes the difference alone, each with its entry in the log.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.error import FindingUnknown
from keyturn.domain.finding import (
    Cause,
    Finding,
    FindingKind,
    FindingState,
    Severity,
    SubjectType,
)
from keyturn.domain.instant import format_instant
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import MOST_LIFTS
from keyturn.domain.text import check_text
from keyturn.services.context import Context
from keyturn.services.identify import reaffirm
from keyturn.services.journal import WORKER, Act, Author, Subject, note
from keyturn.services.weigh import Weighed
from keyturn.storage.log import Change
from keyturn.storage.transaction import Reading, Writing

ROTATION_KINDS = (
    FindingKind.STRANGER_ON_OLD_KEY,
    FindingKind.IDENTITY_CONFLICT,
    FindingKind.ROTATION_OVERDUE,
    FindingKind.BROWNOUT_LIFTED,
)
_MOST_NAMED = 20


def reconcile(
    context: Context,
    workspace_id: UUID,
    causes: Sequence[Cause],
    kinds: Iterable[FindingKind],
    subject_ids: Collection[str] | None = None,
) -> int:
    """Makes the unresolved findings of these kinds in a workspace, on these subjects where any are
    named, those of the causes. Says how many were written."""
    kinds = tuple(kinds)
    with context.store.read() as reading:
        present = reading.findings.unresolved_of(workspace_id, kinds, subject_ids)
        if not _differs(reading, workspace_id, causes, present):
            return 0
    with context.store.change() as transaction:
        present = transaction.findings.unresolved_of(workspace_id, kinds, subject_ids)
        return _settle(context, transaction, workspace_id, causes, present, context.clock.now())


def reconcile_subject(
    context: Context,
    transaction: Writing,
    workspace_id: UUID,
    subject_id: str,
    causes: Sequence[Cause],
    now: int,
) -> int:
    """As `reconcile`, for all findings on one subject, in a transaction that has begun."""
    present = transaction.findings.unresolved_of(workspace_id, None, [subject_id])
    return _settle(context, transaction, workspace_id, causes, present, now)


def _differs(
    reading: Reading, workspace_id: UUID, causes: Sequence[Cause], present: Sequence[Finding]
) -> bool:
    known = {one.identity for one in present}
    wanted = {cause.identity for cause in causes}
    if known - wanted:
        return True
    new = [cause for cause in causes if cause.identity not in known]
    return any(_is_due(reading, workspace_id, cause) for cause in new)


def _is_due(reading: Reading, workspace_id: UUID, cause: Cause) -> bool:
    if not cause.happens_once:
        return True
    kind, subject_id, mark = cause.identity
    return not reading.findings.has_ever(workspace_id, FindingKind(kind), subject_id, mark)


def _settle(
    context: Context,
    transaction: Writing,
    workspace_id: UUID,
    causes: Sequence[Cause],
    present: Sequence[Finding],
    now: int,
) -> int:
    known = {one.identity for one in present}
    wanted = {cause.identity: cause for cause in causes}
    written = 0
    for identity, cause in wanted.items():
        if identity not in known and _is_due(transaction, workspace_id, cause):
            finding = _make(context, workspace_id, cause, now)
            for id_, version in transaction.findings.bury(finding):
                buried = replace(finding.resolved(now), id=id_, version=version)
                note_finding(context, transaction, WORKER, buried, now)
            transaction.findings.add(finding)
            note_finding(context, transaction, WORKER, finding, now)
            written += 1
    for finding in present:
        if finding.identity not in wanted:
            resolved = finding.resolved(now)
            transaction.findings.replace(resolved, finding.version)
            note_finding(context, transaction, WORKER, resolved, now)
            written += 1
    return written


def _make(context: Context, workspace_id: UUID, cause: Cause, now: int) -> Finding:
    return Finding(
        id=context.new_id(now),
        workspace_id=workspace_id,
        kind=cause.kind,
        subject_type=cause.subject_type,
        subject_id=cause.subject_id,
        slot=cause.slot,
        mark=cause.mark,
        severity=cause.severity,
        state=FindingState.OPEN,
        since=now,
        evidence=json.dumps(cause.evidence, sort_keys=True, separators=(",", ":")),
        acknowledged_at=None,
        acknowledged_by=None,
        acknowledge_reason=None,
        resolved_at=None,
        updated_at=now,
        version=1,
    )


def acknowledge_finding(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    reason: str | None,
) -> Finding:
    """Says that somebody knows. Once more, it stays as it is. Raises `FindingUnknown`."""
    reason = None if reason is None else check_text(reason, "/reason")
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        finding = transaction.findings.find(workspace_id, id)
        if finding is None:
            raise FindingUnknown("There is no finding with this id.")
        rights.require(Permission.KEYS_WRITE, finding.slot)
        following = finding.acknowledged(act.caller.actor.label, reason, now)
        if following is not finding:
            transaction.findings.replace(following, finding.version)
            note_finding(context, transaction, Author.of(act), following, now)
        return following


def note_finding(
    context: Context, transaction: Writing, author: Author, finding: Finding, now: int
) -> None:
    """Writes the entry of what has become of a finding."""
    verb = "opened" if finding.state is FindingState.OPEN else finding.state.value
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"finding.{verb}",
        category=Category.SECURITY,
        subject=Subject(
            workspace_id=finding.workspace_id,
            type="finding",
            id=str(finding.id),
            change=Change(kind="finding", ref=str(finding.id), version=finding.version),
        ),
        message=f"The finding {finding.kind} on slot {finding.slot} was {verb}.",
        metadata={
            "kind": finding.kind,
            "severity": finding.severity,
            "slot": str(finding.slot),
            "subject_type": finding.subject_type,
            "subject_id": finding.subject_id,
        },
        now=now,
    )


def rotation_causes(weighed: Weighed, now: int) -> list[Cause]:
    """What a person should know of an open rotation; `now` is steady."""
    rotation, evidence = weighed.rotation, weighed.evidence
    common: dict[str, object] = {
        "rotation_id": str(rotation.id),
        "old_key_id": str(rotation.old_key_id),
        "new_key_id": str(rotation.new_key_id),
    }

    def cause(kind: FindingKind, severity: Severity, mark: str = "", **evidence: object) -> Cause:
        return Cause(
            kind=kind,
            subject_type=SubjectType.ROTATION,
            subject_id=str(rotation.id),
            slot=rotation.slot,
            mark=mark,
            severity=severity,
            evidence={**common, **evidence},
        )

    causes = []
    networks = {one.runtime: list(one.networks) for one in evidence.runtimes}
    for kind, severity, names in (
        (FindingKind.STRANGER_ON_OLD_KEY, Severity.WARNING, evidence.strangers),
        (FindingKind.IDENTITY_CONFLICT, Severity.CRITICAL, evidence.conflicts),
    ):
        causes += [
            cause(kind, severity, name, runtime=name, networks=networks[name])
            for name in names[:_MOST_NAMED]
        ]
    if rotation.is_overdue(now):
        deadline = format_instant(rotation.deadline)
        causes.append(
            cause(
                FindingKind.ROTATION_OVERDUE,
                Severity.WARNING,
                deadline,
                deadline=deadline,
                blocked_by=[
                    {"code": one.code, "runtime": one.runtime, "detail": one.detail}
                    for one in evidence.blocked_by[:_MOST_NAMED]
                ],
            )
        )
    if rotation.lifts >= MOST_LIFTS:
        causes.append(
            cause(
                FindingKind.BROWNOUT_LIFTED,
                Severity.WARNING,
                runtimes=list(rotation.met[:_MOST_NAMED]),
                lifts=rotation.lifts,
            )
        )
    return causes
