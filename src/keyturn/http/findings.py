"""`/v1/findings`: what a person should know about a key or a slot."""

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from keyturn.domain.finding import Finding, FindingKind, FindingState, Severity, SubjectType
from keyturn.domain.identity import parse_id
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, FindingId
from keyturn.http.given import given_id, given_slot
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.schema import Given, Paged, Shown, ShownInstant
from keyturn.http.spelling import SlotSpelling, Sought, Text
from keyturn.services.find import acknowledge_finding
from keyturn.services.survey import list_findings, view_finding
from keyturn.storage.findings import FindingFilter

router = APIRouter(tags=["findings"], route_class=GuardedRoute)


class ShownSubject(Shown):
    type: SubjectType
    id: str
    slot: str


class FindingBody(Shown):
    id: str
    workspace_id: str
    kind: FindingKind
    severity: Severity
    state: FindingState
    subject: ShownSubject
    since: ShownInstant
    evidence: dict[str, object]
    acknowledged_at: ShownInstant | None
    acknowledged_by: str | None
    reason: str | None
    resolved_at: ShownInstant | None
    version: int

    @classmethod
    def of(cls, finding: Finding) -> "FindingBody":
        return cls(
            id=str(finding.id),
            workspace_id=str(finding.workspace_id),
            kind=finding.kind,
            severity=finding.severity,
            state=finding.state,
            subject=ShownSubject(
                type=finding.subject_type, id=finding.subject_id, slot=str(finding.slot)
            ),
            since=finding.since,
            evidence=json.loads(finding.evidence),
            acknowledged_at=finding.acknowledged_at,
            acknowledged_by=finding.acknowledged_by,
            reason=finding.acknowledge_reason,
            resolved_at=finding.resolved_at,
            version=finding.version,
        )


class GivenAcknowledgement(Given):
    reason: Text | None = None


class FindingsAsked(Paged):
    state: Literal["open", "acknowledged", "resolved", "all"] = "open"
    kind: FindingKind | None = None
    severity: Severity | None = None
    slot: SlotSpelling | None = None
    subject_id: Sought | None = Field(
        default=None, description="The id of a key or a rotation, or the name of a slot."
    )


@router.get(
    "/v1/findings",
    summary="List findings",
    response_model=list[FindingBody],
    **guard(Permission.KEYS_READ),
)
def get_findings(
    request: Request, call: Admitted, asked: Annotated[FindingsAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    wanted = FindingFilter(
        states=None if asked.state == "all" else (FindingState(asked.state),),
        kinds=None if asked.kind is None else (asked.kind,),
        severity=asked.severity,
        slot=given_slot(asked.slot),
        subject_id=_subject(asked.subject_id),
    )
    found, total = list_findings(
        call.context,
        call.caller,
        call.home(),
        wanted,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.id))
    return answer_list(request, [FindingBody.of(one) for one in page], cursor=cursor, total=total)


def _subject(text: str | None) -> str | None:
    """An id in its one spelling; the name of a slot as it is."""
    id_ = None if text is None else parse_id(text)
    return text if id_ is None else str(id_)


@router.get(
    "/v1/findings/{id}",
    summary="Read a finding",
    response_model=FindingBody,
    **guard(Permission.KEYS_READ),
)
def get_finding(call: Admitted, id: FindingId) -> Response:  # noqa: A002
    home, id_ = call.named_finding(id)
    finding = view_finding(call.context, call.caller, home, id_)
    return answer(FindingBody.of(finding), headers={"ETag": etag(finding.version)})


@router.post(
    "/v1/findings/{id}/acknowledge",
    summary="Say that somebody knows of a finding",
    response_model=FindingBody,
    **guard(Permission.KEYS_WRITE, action="finding.acknowledged"),
)
def post_acknowledge(
    call: Admitted,
    id: FindingId,  # noqa: A002
    body: GivenAcknowledgement | None = None,
) -> Response:
    home, id_ = call.named_finding(id)
    reason = None if body is None else body.reason
    finding = acknowledge_finding(call.context, call.act, home, id_, reason)
    return answer(FindingBody.of(finding), headers={"ETag": etag(finding.version)})
