"""`/v1/api-keys`: keys are made, read, changed, revoked, suspended and resumed."""

from typing import Annotated, Protocol
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from keyturn.domain.key import KeyStatus, RevocationReason
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import Rotation
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, Call, KeyId
from keyturn.http.given import given_id
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.key_bodies import (
    GivenAmendment,
    GivenKey,
    IssuedKeyBody,
    KeyBody,
    KeysAsked,
    NothingGiven,
    RevokeAsked,
    issued_body,
)
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.precondition import IfMatch, expected_versions
from keyturn.http.replay import INCIDENT, ROTATION, IdempotencyKey, replaying
from keyturn.services.amend import amend_key
from keyturn.services.context import Context
from keyturn.services.inspect import list_keys, view_key
from keyturn.services.issue import IssuedKey, issue_key
from keyturn.services.journal import Act
from keyturn.services.respond import revoke_compromised
from keyturn.services.revoke import Remember, resume_key, revoke_key, suspend_key
from keyturn.services.rotate import replace_key
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["keys"], route_class=GuardedRoute)


class MoveKey(Protocol):
    """A verb that moves a key from one state to another."""

    def __call__(
        self,
        context: Context,
        act: Act,
        workspace_id: UUID,
        id: UUID,  # noqa: A002
        *,
        expected: frozenset[int] | None,
        remember: Remember | None,
    ) -> KeyView: ...


@router.post(
    "/v1/api-keys",
    summary="Make a key",
    status_code=201,
    response_model=IssuedKeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.created"),
)
def create_key(call: Admitted, body: GivenKey, idempotency_key: IdempotencyKey = None) -> Response:
    replaced = given_id(body.replaces, "/replaces")
    home = call.home() if replaced is None else call.named_key(str(replaced))[0]
    with replaying(call, idempotency_key, "POST /v1/api-keys", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(
            transaction: Writing, issued: IssuedKey, rotation: Rotation | None = None
        ) -> None:
            replay.keep(
                transaction,
                status=201,
                headers=_made_headers(issued, rotation),
                body=lambda: issued_body(issued, token=None),
            )

        if replaced is None:
            issued = issue_key(call.context, call.act, home, body.draft(), remember)
            return _made(issued, None)
        made = replace_key(
            call.context,
            call.act,
            home,
            replaced,
            body.draft(),
            body.given(),
            lambda transaction, one: remember(transaction, one.issued, one.rotation),
        )
    return _made(made.issued, made.rotation)


def _made(issued: IssuedKey, rotation: Rotation | None) -> Response:
    return answer(
        issued_body(issued, token=issued.reveal()),
        status=201,
        headers=_made_headers(issued, rotation),
    )


def _made_headers(issued: IssuedKey, rotation: Rotation | None) -> dict[str, str]:
    began = {} if rotation is None else {ROTATION: str(rotation.id)}
    return {**_headers(issued.view), **began}


@router.get(
    "/v1/api-keys",
    summary="List keys",
    response_model=list[KeyBody],
    **guard(Permission.KEYS_READ),
)
def get_keys(request: Request, call: Admitted, asked: Annotated[KeysAsked, Query()]) -> Response:
    now = call.context.clock.now()
    before = decode_cursor(asked.cursor, str)
    wanted = KeyFilter(
        status=None if asked.status == "all" else KeyStatus(asked.status),
        now=now,
        service=asked.service,
        environment=asked.environment,
        owner=asked.owner,
        created_by=given_id(asked.created_by, "/created_by"),
    )
    views, total = list_keys(
        call.context,
        call.caller,
        call.home(),
        wanted,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(views, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.key.id))
    return answer_list(request, [KeyBody.of(one, now) for one in page], cursor=cursor, total=total)


@router.get(
    "/v1/api-keys/{id}",
    summary="Read a key",
    response_model=KeyBody,
    **guard(Permission.KEYS_READ),
)
def get_key(call: Admitted, id: KeyId) -> Response:  # noqa: A002
    home, id_ = call.named_key(id)
    return _shown(call, view_key(call.context, call.caller, home, id_))


@router.patch(
    "/v1/api-keys/{id}",
    summary="Change a key",
    response_model=KeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.updated", takes_away=True),
)
def patch_key(
    call: Admitted,
    id: KeyId,  # noqa: A002
    body: GivenAmendment,
    if_match: IfMatch = None,
) -> Response:
    home, id_ = call.named_key(id)
    expected = expected_versions(if_match)
    view = amend_key(call.context, call.act, home, id_, body.amendment(), expected=expected)
    call.takes_effect(home)
    return _shown(call, view)


@router.delete(
    "/v1/api-keys/{id}",
    summary="Revoke a key",
    description="Answers once the key is revoked on every verifier. Once more, it answers alike. "
    "With the reason `compromised` an incident is opened over it, or joined, which the header "
    f"`{INCIDENT}` names.",
    status_code=204,
    response_class=Response,
    **guard(Permission.KEYS_WRITE, action="api_key.revoked", takes_away=True),
)
def delete_key(
    call: Admitted,
    id: KeyId,  # noqa: A002
    asked: Annotated[RevokeAsked, Query()],
    if_match: IfMatch = None,
) -> Response:
    home, id_ = call.named_key(id)
    expected = expected_versions(if_match)
    if asked.reason is RevocationReason.COMPROMISED:
        incident_id = revoke_compromised(
            call.context, call.act, home, id_, call.arrived, expected=expected
        )
        headers = {INCIDENT: str(incident_id)}
    else:
        revoke_key(call.context, call.act, home, id_, asked.reason, expected=expected)
        headers = {}
    call.takes_effect(home)
    return Response(status_code=204, headers=headers)


@router.post(
    "/v1/api-keys/{id}/suspend",
    summary="Suspend a key until it is resumed",
    response_model=KeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.suspended", takes_away=True),
)
def suspend(
    call: Admitted,
    id: KeyId,  # noqa: A002
    body: NothingGiven | None = None,  # noqa: ARG001  (refuses members)
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    return _move(call, id, "suspend", suspend_key, if_match, idempotency_key)


@router.post(
    "/v1/api-keys/{id}/resume",
    summary="Let a suspended key work again",
    response_model=KeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.resumed", takes_away=True),
)
def resume(
    call: Admitted,
    id: KeyId,  # noqa: A002
    body: NothingGiven | None = None,  # noqa: ARG001  (refuses members)
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    return _move(call, id, "resume", resume_key, if_match, idempotency_key)


def _move(
    call: Call,
    id_text: str,
    verb: str,
    move: MoveKey,
    if_match: str | None,
    idempotency_key: str | None,
) -> Response:
    home, id_ = call.named_key(id_text)
    expected = expected_versions(if_match)
    route = f"POST /v1/api-keys/{id_}/{verb}"
    with replaying(call, idempotency_key, route, home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, view: KeyView) -> None:
            replay.keep(
                transaction,
                status=200,
                headers={"ETag": etag(view.key.version)},
                body=lambda: KeyBody.of(view, call.context.clock.now()),
            )

        view = move(call.context, call.act, home, id_, expected=expected, remember=remember)
    call.takes_effect(home)
    return _shown(call, view)


def _headers(view: KeyView) -> dict[str, str]:
    return {"ETag": etag(view.key.version), "Location": f"/v1/api-keys/{view.key.id}"}


def _shown(call: Call, view: KeyView) -> Response:
    body = KeyBody.of(view, call.context.clock.now())
    return answer(body, headers={"ETag": etag(view.key.version)})
