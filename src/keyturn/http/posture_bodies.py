"""What `/v1/posture` takes and answers."""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.domain.incident import Incident, IncidentReason, IncidentState, Outcome
from keyturn.domain.instant import SECOND
from keyturn.domain.posture.check import CheckId, Known, Result, SubjectKind
from keyturn.domain.posture.evidence import KeyLife
from keyturn.domain.posture.judge import Concerned, JudgedCheck
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.rotation import Rotation, RotationState
from keyturn.http.schema import Given, GivenInstant, Shown, ShownInstant
from keyturn.http.spelling import Id, SlotSpelling, Text
from keyturn.services.judge_posture import Posture


class GivenPostureWaiver(Given):
    """Of one key, of one slot, or with neither of the whole check."""

    check: Annotated[CheckId, Field(strict=False)]
    key_id: Id | None = None
    slot: SlotSpelling | None = None
    reason: Text
    until: GivenInstant


class PostureWaiverBody(Shown):
    id: str
    workspace_id: str
    check: CheckId
    key_id: str | None
    slot: str | None
    reason: str
    until: ShownInstant
    active: bool
    created_at: ShownInstant
    created_by: str
    ended_at: ShownInstant | None
    ended_by: str | None
    version: int

    @classmethod
    def of(cls, waiver: PostureWaiver, now: int) -> "PostureWaiverBody":
        return cls(
            id=str(waiver.id),
            workspace_id=str(waiver.workspace_id),
            check=waiver.check,
            key_id=None if waiver.key_id is None else str(waiver.key_id),
            slot=None if waiver.slot is None else str(waiver.slot),
            reason=waiver.reason,
            until=waiver.until,
            active=waiver.holds(now),
            created_at=waiver.created_at,
            created_by=waiver.created_by,
            ended_at=waiver.ended_at,
            ended_by=waiver.ended_by,
            version=waiver.version,
        )


class ShownPostureWaiver(Shown):
    """By whom something is waived, why, and until when."""

    id: str
    by: str
    reason: str
    until: ShownInstant

    @classmethod
    def of(cls, waiver: PostureWaiver) -> "ShownPostureWaiver":
        return cls(
            id=str(waiver.id), by=waiver.created_by, reason=waiver.reason, until=waiver.until
        )


class ConcernedBody(Shown):
    """What did not pass: a key, a slot, a rotation, an incident, or the workspace."""

    type: SubjectKind
    id: str
    name: str
    slot: str | None
    result: Literal["fail", "unknown", "waived"]
    why: str
    since: ShownInstant | None
    remedy: str | None
    waived: ShownPostureWaiver | None

    @classmethod
    def of(cls, one: Concerned) -> "ConcernedBody":
        said, subject = one.said, one.said.subject
        result = Result.WAIVED if one.waiver is not None else said.result
        return cls.model_validate(
            {
                "type": subject.kind,
                "id": subject.id,
                "name": subject.name,
                "slot": None if subject.slot is None else str(subject.slot),
                "result": result.value,
                "why": said.why,
                "since": said.since,
                "remedy": said.remedy or None,
                "waived": None if one.waiver is None else ShownPostureWaiver.of(one.waiver),
            }
        )


class CheckEvidence(Shown):
    """How many were judged, and what came of them; `terms` are the numbers they were judged by."""

    checked: int
    passed: int
    failed: int
    unknown: int
    waived: int
    terms: dict[str, int]


class CheckBody(Shown):
    id: CheckId
    line: str
    result: Result
    known: Known
    since: ShownInstant | None
    evidence: CheckEvidence
    concerned: list[ConcernedBody]
    total: int
    remedy: str | None

    @classmethod
    def of(cls, judged: JudgedCheck) -> "CheckBody":
        counts = judged.counts
        return cls(
            id=judged.check.id,
            line=judged.check.line,
            result=judged.result,
            known=judged.known,
            since=judged.since,
            evidence=CheckEvidence(
                checked=judged.checked,
                passed=counts[Result.PASS],
                failed=counts[Result.FAIL],
                unknown=counts[Result.UNKNOWN],
                waived=counts[Result.WAIVED],
                terms=dict(judged.check.terms),
            ),
            concerned=[ConcernedBody.of(one) for one in judged.concerned],
            total=judged.total,
            remedy=judged.remedy or None,
        )


class PostureTotals(Shown):
    """How many checks came to what."""

    passed: int
    failed: int
    unknown: int
    waived: int


class PostureBody(Shown):
    workspace_id: str
    as_of: ShownInstant
    whole_workspace: bool
    totals: PostureTotals
    checks: list[CheckBody]

    @classmethod
    def of(cls, posture: Posture, result: Result | None) -> "PostureBody":
        results = [one.result for one in posture.checks]
        return cls(
            workspace_id=str(posture.workspace_id),
            as_of=posture.as_of,
            whole_workspace=posture.is_whole,
            totals=PostureTotals(
                passed=results.count(Result.PASS),
                failed=results.count(Result.FAIL),
                unknown=results.count(Result.UNKNOWN),
                waived=results.count(Result.WAIVED),
            ),
            checks=[CheckBody.of(one) for one in posture.checks if result in (None, one.result)],
        )


class EvidenceRotation(Shown):
    id: str
    role: Literal["old", "new"]
    state: RotationState
    started_at: ShownInstant
    started_by: str
    ended_at: ShownInstant | None
    ended_by: str | None
    forced: bool
    reason: str | None

    @classmethod
    def of(cls, rotation: Rotation, life: KeyLife) -> "EvidenceRotation":
        ending = rotation.ending
        return cls.model_validate(
            {
                "id": str(rotation.id),
                "role": "old" if rotation.old_key_id == life.key.id else "new",
                "state": rotation.state,
                "started_at": rotation.started_at,
                "started_by": rotation.started_by,
                "ended_at": None if ending is None else ending.at,
                "ended_by": None if ending is None else ending.by,
                "forced": ending is not None and ending.is_forced,
                "reason": None if ending is None else ending.reason,
            }
        )


class EvidenceIncident(Shown):
    id: str
    state: IncidentState
    reason: IncidentReason
    opened_at: ShownInstant
    closed_at: ShownInstant | None
    outcome: Outcome | None

    @classmethod
    def of(cls, incident: Incident) -> "EvidenceIncident":
        return cls(
            id=str(incident.id),
            state=incident.state,
            reason=incident.reason,
            opened_at=incident.opened_at,
            closed_at=incident.closed_at,
            outcome=incident.outcome,
        )


class EvidenceBody(Shown):
    """A key that lived in the period. Owner, runbook and period are as they stand now. `incidents`
    is null for who may not read requests."""

    key_id: str
    name: str
    slot: str
    owner: str | None
    runbook_url: str | None
    scopes: list[str]
    permissions: list[str]
    created_at: ShownInstant
    created_by: str | None
    last_used_at: ShownInstant | None
    ended_at: ShownInstant | None
    ended_by: str | None
    greatest_age_seconds: int
    rotation_period_days: int | None
    was_overdue: bool | None
    rotations: list[EvidenceRotation]
    incidents: list[EvidenceIncident] | None
    waivers: list[PostureWaiverBody]

    @classmethod
    def of(cls, life: KeyLife, now: int) -> "EvidenceBody":
        key, notes = life.key, life.notes
        return cls(
            key_id=str(key.id),
            name=key.name,
            slot=str(key.slot),
            owner=None if notes is None else notes.owner,
            runbook_url=None if notes is None else notes.runbook_url,
            scopes=list(key.scopes),
            permissions=list(key.permissions),
            created_at=key.created_at,
            created_by=None if key.created_by is None else str(key.created_by),
            last_used_at=life.last_used_at,
            ended_at=life.ended_at,
            ended_by=life.ended_by,
            greatest_age_seconds=life.greatest_age // SECOND,
            rotation_period_days=life.period_days,
            was_overdue=life.was_overdue,
            rotations=[EvidenceRotation.of(one, life) for one in life.rotations],
            incidents=None
            if life.incidents is None
            else [EvidenceIncident.of(one) for one in life.incidents],
            waivers=[PostureWaiverBody.of(one, now) for one in life.waivers],
        )
