"""`/v1/posture`: the guide's checklist on the workspace's own data, what is waived of it, and the
evidence for an auditor."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from keyturn.domain.permission import Permission
from keyturn.domain.posture.check import CheckId, Result
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, PostureWaiverId
from keyturn.http.given import given_id, given_slot
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.posture_bodies import (
    EvidenceBody,
    GivenPostureWaiver,
    PostureBody,
    PostureWaiverBody,
)
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.http.schema import Asked, GivenInstant, Paged
from keyturn.http.spelling import Cursor
from keyturn.services.judge_posture import read_posture
from keyturn.services.testify import USUAL_DAYS, read_evidence
from keyturn.services.waive import WaiverDraft, end_waiver, list_waivers, waive_check
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["posture"], route_class=GuardedRoute)


class PostureAsked(Asked):
    check: CheckId | None = Field(default=None, description="That check alone.")
    result: Result | None = Field(default=None, description="Those that came to this.")


class EvidenceAsked(Asked):
    from_: GivenInstant | None = Field(
        default=None,
        alias="from",
        description=f"Where the period begins; {USUAL_DAYS} days before its end, if nothing is "
        "said.",
    )
    to: GivenInstant | None = Field(
        default=None,
        description="Where it ends, that moment not included; now, if nothing is said.",
    )
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    cursor: Cursor | None = None


@router.get(
    "/v1/posture",
    summary="Whether the workspace keeps to the guide",
    description="Each check is measured from what happened, declared by people, or unknown; what "
    "is unknown never passes. Who may read some slots alone is told of those.",
    response_model=PostureBody,
    **guard(Permission.KEYS_READ),
)
def get_posture(call: Admitted, asked: Annotated[PostureAsked, Query()]) -> Response:
    time = call.desk.witness.time
    found = read_posture(call.context, time, call.caller, call.home(), asked.check)
    return answer(PostureBody.of(found, asked.result))


@router.get(
    "/v1/posture/evidence",
    summary="Every key that lived in a period, and what was done with it",
    response_model=list[EvidenceBody],
    **guard(Permission.KEYS_READ),
)
def get_evidence(
    request: Request, call: Admitted, asked: Annotated[EvidenceAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    found = read_evidence(
        call.context,
        call.caller,
        call.home(),
        asked.from_,
        asked.to,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.key.id))
    now = call.context.clock.now()
    return answer_list(
        request, [EvidenceBody.of(one, now) for one in page], cursor=cursor, total=None
    )


@router.post(
    "/v1/posture/waivers",
    summary="Say that a check may fail, until a stated time",
    description="It takes the place of what was waived of the same before.",
    status_code=201,
    response_model=PostureWaiverBody,
    **guard(Permission.KEYS_WRITE, action="posture.waived"),
)
def post_waiver(
    call: Admitted, body: GivenPostureWaiver, idempotency_key: IdempotencyKey = None
) -> Response:
    home = call.home()
    draft = WaiverDraft(
        check=body.check,
        key_id=given_id(body.key_id, "/key_id"),
        slot=given_slot(body.slot),
        reason=body.reason,
        until=body.until,
    )
    with replaying(call, idempotency_key, "POST /v1/posture/waivers", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, waiver: PostureWaiver) -> None:
            replay.keep(
                transaction,
                status=201,
                headers=_headers(waiver),
                body=lambda: PostureWaiverBody.of(waiver, waiver.created_at),
            )

        waiver = waive_check(call.context, call.act, home, draft, remember)
    return answer(
        PostureWaiverBody.of(waiver, waiver.created_at), status=201, headers=_headers(waiver)
    )


@router.get(
    "/v1/posture/waivers",
    summary="List what is and was waived",
    response_model=list[PostureWaiverBody],
    **guard(Permission.KEYS_READ),
)
def get_waivers(request: Request, call: Admitted, asked: Annotated[Paged, Query()]) -> Response:
    before = decode_cursor(asked.cursor, str)
    found, total = list_waivers(
        call.context,
        call.caller,
        call.home(),
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.id))
    now = call.context.clock.now()
    bodies = [PostureWaiverBody.of(one, now) for one in page]
    return answer_list(request, bodies, cursor=cursor, total=total)


@router.delete(
    "/v1/posture/waivers/{id}",
    summary="End a waiver before its time",
    status_code=204,
    response_class=Response,
    **guard(Permission.KEYS_WRITE, action="posture.unwaived"),
)
def remove_waiver(call: Admitted, id: PostureWaiverId) -> Response:  # noqa: A002
    home, id_ = call.named_posture_waiver(id)
    end_waiver(call.context, call.act, home, id_)
    return Response(status_code=204)


def _headers(waiver: PostureWaiver) -> dict[str, str]:
    return {"ETag": etag(waiver.version)}
