"""`/v1/api-keys`: keys are made, read, changed, revoked, suspended and resumed."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from keyturn.domain.error import KeyUnknown, RequestInvalid
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import DAY
from keyturn.domain.key import KeyStatus, RevocationReason
from keyturn.domain.metadata import Json, encode_metadata
from keyturn.domain.permission import Permission
from keyturn.domain.slot import SlotName, make_slot_name
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, Call
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.precondition import IfMatch, expected_versions
from keyturn.http.propagation import propagation
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.http.schema import Asked, Given, GivenInstant, Paged, Shown, ShownInstant
from keyturn.http.slots import GivenNotes
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.context import Context
from keyturn.services.inspect import list_keys, trace_propagation, view_key
from keyturn.services.issue import IssuedKey, KeyDraft, issue_key
from keyturn.services.journal import Act
from keyturn.services.revoke import Remember, resume_key, revoke_key, suspend_key
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["keys"], route_class=GuardedRoute)

ID = Path(description="The key's id, as a UUID or in its 22 characters.")
Metadata = dict[str, object]


class GivenRights(GivenNotes):
    """What create and PATCH have in common."""

    name: str | None = Field(default=None, examples=["scheduler-prod"])
    scopes: list[str] | None = Field(default=None, examples=[["read", "pins:publish"]])
    permissions: list[str] | None = Field(default=None, examples=[["keys:read"]])
    allowed_cidrs: list[str] | None = Field(default=None, examples=[["10.0.0.0/8"]])
    expires_at: GivenInstant | None = None
    metadata: Metadata | None = None

    def encoded_metadata(self) -> str | None:
        if self.metadata is None:
            return None
        return encode_metadata(cast("dict[str, Json]", self.metadata))


class GivenKey(GivenRights):
    """A key to be made: a name, or a service and an environment, is enough."""

    service: str | None = None
    environment: str | None = None
    not_before: GivenInstant | None = None

    def draft(self) -> KeyDraft:
        return KeyDraft(
            name=self.name,
            slot=self._slot(),
            scopes=tuple(self.scopes or ()),
            permissions=tuple(self.permissions or ()),
            allowed_cidrs=tuple(self.allowed_cidrs or ()),
            metadata=self.encoded_metadata() or "{}",
            not_before=self.not_before,
            expires_at=self.expires_at,
            notes=self.notes(),
        )

    def _slot(self) -> SlotName | None:
        if self.service is None and self.environment is None:
            return None
        if self.service is None:
            raise RequestInvalid.at("/service", "Give this along with `environment`.")
        if self.environment is None:
            raise RequestInvalid.at("/environment", "Give this along with `service`.")
        return make_slot_name(self.service, self.environment)


class GivenAmendment(GivenRights):
    """What is to change; what is left out stays."""

    def amendment(self) -> KeyAmendment:
        return KeyAmendment(
            name=self.name,
            scopes=None if self.scopes is None else tuple(self.scopes),
            permissions=None if self.permissions is None else tuple(self.permissions),
            allowed_cidrs=None if self.allowed_cidrs is None else tuple(self.allowed_cidrs),
            metadata=self.encoded_metadata(),
            expires_at=self.expires_at,
            notes=self.notes(),
        )


class KeyBody(Shown):
    id: str
    workspace_id: str
    name: str
    service: str
    environment: str
    owner: str | None
    purpose: str | None
    runbook_url: str | None
    rotation_period_days: int | None
    scopes: list[str]
    permissions: list[str]
    allowed_cidrs: list[str]
    metadata: Metadata
    status: KeyStatus
    hint: str
    created_at: ShownInstant
    created_by: str | None
    not_before: ShownInstant | None
    expires_at: ShownInstant | None
    rotate_by: ShownInstant | None
    last_rotated_at: ShownInstant | None
    last_used_at: ShownInstant | None
    updated_at: ShownInstant
    revoked_at: ShownInstant | None
    revocation_reason: RevocationReason | None
    version: int

    @classmethod
    def of(cls, view: KeyView, now: int) -> "KeyBody":
        return cls(**_members(view, now))


class IssuedKeyBody(KeyBody):
    """A key along with its token: the answer to its creation, and to nothing else."""

    api_key: str | None


def _members(view: KeyView, now: int) -> dict[str, object]:
    key, notes = view.key, None if view.slot is None else view.slot.notes
    period = None if notes is None else notes.rotation_period_days
    rotated_at = key.created_at if key.last_rotated_at is None else key.last_rotated_at
    return {
        "id": str(key.id),
        "workspace_id": str(key.workspace_id),
        "name": key.name,
        "service": key.slot.service,
        "environment": key.slot.environment,
        "owner": None if notes is None else notes.owner,
        "purpose": None if notes is None else notes.purpose,
        "runbook_url": None if notes is None else notes.runbook_url,
        "rotation_period_days": period,
        "scopes": list(key.scopes),
        "permissions": list(key.permissions),
        "allowed_cidrs": list(key.allowed_cidrs),
        "metadata": json.loads(key.metadata),
        "status": key.status(now),
        "hint": key.hint,
        "created_at": key.created_at,
        "created_by": None if key.created_by is None else str(key.created_by),
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "rotate_by": None if period is None else rotated_at + period * DAY,
        "last_rotated_at": key.last_rotated_at,
        "last_used_at": view.last_used_at,
        "updated_at": key.updated_at,
        "revoked_at": key.revoked_at,
        "revocation_reason": key.revocation_reason,
        "version": key.version,
    }


def issued_body(issued: IssuedKey, *, token: str | None) -> IssuedKeyBody:
    """The answer to a creation. `token` is None where it was answered before."""
    members = _members(issued.view, issued.view.key.created_at)
    return IssuedKeyBody(**members, api_key=token)


class NothingGiven(Given):
    """A body with nothing in it, for calls that need none."""


class NodeBody(Shown):
    id: str
    state: Literal["confirmed"]
    position: int


class PropagationBody(Shown):
    key_id: str
    position: int
    changed_at: ShownInstant
    state: Literal["complete"]
    nodes: list[NodeBody]


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


class KeysAsked(Paged):
    status: Literal["active", "suspended", "revoked", "expired", "all"] = "active"
    service: str | None = None
    environment: str | None = None
    owner: str | None = None
    created_by: str | None = Field(default=None, description="The id of a key or an operator.")


class RevokeAsked(Asked):
    reason: RevocationReason = RevocationReason.OTHER


@router.post(
    "/v1/api-keys",
    summary="Make a key",
    status_code=201,
    response_model=IssuedKeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.created"),
)
def create_key(call: Admitted, body: GivenKey, idempotency_key: IdempotencyKey = None) -> Response:
    home = call.home()
    with replaying(call, idempotency_key, "POST /v1/api-keys", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, issued: IssuedKey) -> None:
            replay.keep(
                transaction,
                status=201,
                headers=_headers(issued.view),
                body=issued_body(issued, token=None).model_dump_json(),
            )

        issued = issue_key(call.context, call.act, home, body.draft(), remember)
    return answer(
        issued_body(issued, token=issued.token.reveal()),
        status=201,
        headers=_headers(issued.view),
    )


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
        created_by=_given_id(asked.created_by, "/created_by"),
    )
    views, total = list_keys(
        call.context,
        call.caller,
        call.home(),
        wanted,
        limit=asked.limit + 1,
        before=None if before is None else _given_id(str(before[0]), "/cursor"),
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
def get_key(call: Admitted, id: Annotated[str, ID]) -> Response:  # noqa: A002
    home, id_ = _named(call, id)
    return _shown(call, view_key(call.context, call.caller, home, id_))


@router.patch(
    "/v1/api-keys/{id}",
    summary="Change a key",
    response_model=KeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.updated"),
)
def patch_key(
    call: Admitted,
    id: Annotated[str, ID],  # noqa: A002
    body: GivenAmendment,
    if_match: IfMatch = None,
) -> Response:
    home, id_ = _named(call, id)
    expected = expected_versions(if_match)
    started = call.context.clock.elapsed()
    view = amend_key(call.context, call.act, home, id_, body.amendment(), expected=expected)
    return _shown(call, view, propagation(call, started))


@router.delete(
    "/v1/api-keys/{id}",
    summary="Revoke a key",
    description="Answers once the key is revoked on every verifier. Once more, it answers alike.",
    status_code=204,
    response_class=Response,
    **guard(Permission.KEYS_WRITE, action="api_key.revoked"),
)
def delete_key(
    call: Admitted,
    id: Annotated[str, ID],  # noqa: A002
    asked: Annotated[RevokeAsked, Query()],
    if_match: IfMatch = None,
) -> Response:
    home, id_ = _named(call, id)
    expected = expected_versions(if_match)
    started = call.context.clock.elapsed()
    revoke_key(call.context, call.act, home, id_, asked.reason, expected=expected)
    return Response(status_code=204, headers=propagation(call, started))


@router.post(
    "/v1/api-keys/{id}/suspend",
    summary="Suspend a key until it is resumed",
    response_model=KeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.suspended"),
)
def suspend(
    call: Admitted,
    id: Annotated[str, ID],  # noqa: A002
    body: NothingGiven | None = None,  # noqa: ARG001  (refuses members)
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    return _move(call, id, "suspend", suspend_key, if_match, idempotency_key)


@router.post(
    "/v1/api-keys/{id}/resume",
    summary="Let a suspended key work again",
    response_model=KeyBody,
    **guard(Permission.KEYS_WRITE, action="api_key.resumed"),
)
def resume(
    call: Admitted,
    id: Annotated[str, ID],  # noqa: A002
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
    home, id_ = _named(call, id_text)
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
                body=KeyBody.of(view, call.context.clock.now()).model_dump_json(),
            )

        started = call.context.clock.elapsed()
        view = move(call.context, call.act, home, id_, expected=expected, remember=remember)
    return _shown(call, view, propagation(call, started))


@router.get(
    "/v1/api-keys/{id}/propagation",
    summary="Where a key's last change has arrived",
    response_model=PropagationBody,
    **guard(Permission.KEYS_READ),
)
def get_propagation(call: Admitted, id: Annotated[str, ID]) -> Response:  # noqa: A002
    home, id_ = _named(call, id)
    traced = trace_propagation(call.context, call.caller, home, id_)
    node = NodeBody(id=str(call.desk.node_id), state="confirmed", position=traced.position)
    return answer(
        PropagationBody(
            key_id=str(id_),
            position=traced.position,
            changed_at=traced.changed_at,
            state="complete",
            nodes=[node],
        )
    )


def _named(call: Call, text: str) -> tuple[UUID, UUID]:
    id_ = parse_id(text)
    home = call.home_of_key(id_)
    if id_ is None:
        raise KeyUnknown("There is no key with this id.")
    return home, id_


def _given_id(text: str | None, pointer: str) -> UUID | None:
    if text is None:
        return None
    id_ = parse_id(text)
    if id_ is None:
        raise RequestInvalid.at(pointer, "This is an id, as a UUID or in its 22 characters.")
    return id_


def _headers(view: KeyView) -> dict[str, str]:
    return {"ETag": etag(view.key.version), "Location": f"/v1/api-keys/{view.key.id}"}


def _shown(call: Call, view: KeyView, headers: Mapping[str, str] | None = None) -> Response:
    body = KeyBody.of(view, call.context.clock.now())
    return answer(body, headers={"ETag": etag(view.key.version), **(headers or {})})
