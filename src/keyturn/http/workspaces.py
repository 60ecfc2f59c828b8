"""`/v1/workspaces`: tenants, for operators."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from keyturn.domain.error import RequestInvalid, WorkspaceUnknown
from keyturn.domain.identity import parse_id
from keyturn.domain.network import MOST_NETWORKS as MOST_CIDRS
from keyturn.domain.policy import read_policy
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.workspace import MOST_GRACE_SECONDS, Reveal, Workspace, WorkspaceStatus
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted
from keyturn.http.guard import OPERATOR, GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.policy_bodies import GivenRotationPolicy, ShownRotationPolicy
from keyturn.http.precondition import IfMatch, expected_versions
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.http.schema import Given, Paged, Shown, ShownInstant
from keyturn.http.spelling import Id, Name, NetworkBlock, RuntimeName
from keyturn.services.inspect import list_workspaces, view_workspace
from keyturn.services.provision import (
    MOST_NETWORKS,
    ProvisionedWorkspace,
    WorkspaceAmendment,
    WorkspaceDraft,
    amend_workspace,
    provision_workspace,
)
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["workspaces"], route_class=GuardedRoute)

ID = Path(description="The workspace's id.")


GivenReveal = Annotated[
    Reveal,
    Field(
        strict=False,
        description="Whether new tokens are answered to who asks for them; `never`: they go to "
        "destinations alone.",
    ),
]


GivenGrace = Annotated[
    int,
    Field(
        ge=0,
        le=MOST_GRACE_SECONDS,
        description="How long a node that has lost its sight of the database goes on answering "
        "for keys that it knows. What is revoked meanwhile it may let in for so much longer. 0, "
        "the default: not at all.",
    ),
]


class GivenNetwork(Given):
    name: RuntimeName
    cidrs: Annotated[
        list[NetworkBlock], Field(max_length=MOST_CIDRS, json_schema_extra={"minItems": 1})
    ]

    def network(self) -> NamedNetwork:
        return NamedNetwork(name=self.name, cidrs=tuple(self.cidrs))


class GivenWorkspace(Given):
    name: Name
    networks: Annotated[list[GivenNetwork], Field(max_length=MOST_NETWORKS)] | None = None
    rotation_policy: GivenRotationPolicy | None = None
    reveal: GivenReveal | None = None
    grace_seconds: GivenGrace | None = None


class GivenWorkspaceAmendment(Given):
    name: Name | None = None
    status: Literal["active", "suspended"] | None = None
    networks: Annotated[list[GivenNetwork], Field(max_length=MOST_NETWORKS)] | None = None
    rotation_policy: GivenRotationPolicy | None = None
    reveal: GivenReveal | None = None
    grace_seconds: GivenGrace | None = None


class ShownNetwork(Shown):
    name: str
    cidrs: list[str]


class WorkspaceBody(Shown):
    id: str
    name: str
    status: WorkspaceStatus
    networks: list[ShownNetwork]
    rotation_policy: ShownRotationPolicy | None
    reveal: Reveal
    grace_seconds: int
    created_at: ShownInstant
    updated_at: ShownInstant
    version: int

    @classmethod
    def of(cls, workspace: Workspace) -> "WorkspaceBody":
        return cls(**_members(workspace))


class ProvisionedWorkspaceBody(WorkspaceBody):
    """A new workspace along with the token of its first administrator key."""

    api_key: str | None


def _members(workspace: Workspace) -> dict[str, object]:
    return {
        "id": str(workspace.id),
        "name": workspace.name,
        "status": workspace.status,
        "networks": [
            ShownNetwork(name=one.name, cidrs=list(one.cidrs)) for one in workspace.networks
        ],
        "rotation_policy": ShownRotationPolicy.of(read_policy(workspace.policy)),
        "reveal": workspace.reveal,
        "grace_seconds": workspace.grace_seconds,
        "created_at": workspace.created_at,
        "updated_at": workspace.updated_at,
        "version": workspace.version,
    }


def _headers(workspace: Workspace) -> dict[str, str]:
    return {"ETag": etag(workspace.version), "Location": f"/v1/workspaces/{workspace.id}"}


@router.post(
    "/v1/workspaces",
    summary="Make a workspace",
    status_code=201,
    response_model=ProvisionedWorkspaceBody,
    **guard(OPERATOR, action="workspace.created"),
)
def create_workspace(
    call: Admitted, body: GivenWorkspace, idempotency_key: IdempotencyKey = None
) -> Response:
    draft = WorkspaceDraft(
        name=body.name,
        networks=tuple(one.network() for one in body.networks or ()),
        policy=None if body.rotation_policy is None else body.rotation_policy.policy(),
        reveal=body.reveal or Reveal.ALWAYS,
        grace_seconds=body.grace_seconds or 0,
    )
    with replaying(call, idempotency_key, "POST /v1/workspaces", None) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, made: ProvisionedWorkspace) -> None:
            replay.keep(
                transaction,
                status=201,
                headers=_headers(made.workspace),
                body=lambda: ProvisionedWorkspaceBody(**_members(made.workspace), api_key=None),
            )

        made = provision_workspace(call.context, call.act, draft, remember)
    return answer(
        ProvisionedWorkspaceBody(
            **_members(made.workspace), api_key=made.administrator.token.reveal()
        ),
        status=201,
        headers=_headers(made.workspace),
    )


@router.get(
    "/v1/workspaces",
    summary="List workspaces",
    response_model=list[WorkspaceBody],
    **guard(OPERATOR),
)
def get_workspaces(request: Request, call: Admitted, asked: Annotated[Paged, Query()]) -> Response:
    cursor_parts = decode_cursor(asked.cursor, str)
    before = None if cursor_parts is None else parse_id(str(cursor_parts[0]))
    if cursor_parts is not None and before is None:
        raise RequestInvalid.at("/cursor", "This is no cursor of this list; begin without one.")
    workspaces, total = list_workspaces(
        call.context,
        call.caller,
        limit=asked.limit + 1,
        before=before,
        count=asked.count,
    )
    page, last = split_page(workspaces, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.id))
    return answer_list(request, [WorkspaceBody.of(one) for one in page], cursor=cursor, total=total)


@router.get(
    "/v1/workspaces/{id}",
    summary="Read a workspace",
    response_model=WorkspaceBody,
    **guard(OPERATOR),
)
def get_workspace(call: Admitted, id: Annotated[Id, ID]) -> Response:  # noqa: A002
    workspace = view_workspace(call.context, call.caller, parse_id(id))
    return answer(WorkspaceBody.of(workspace), headers={"ETag": etag(workspace.version)})


@router.patch(
    "/v1/workspaces/{id}",
    summary="Change a workspace, suspend it, or let it work again",
    response_model=WorkspaceBody,
    **guard(OPERATOR, action="workspace.updated", takes_away=True),
)
def patch_workspace(
    call: Admitted,
    id: Annotated[Id, ID],  # noqa: A002
    body: GivenWorkspaceAmendment,
    if_match: IfMatch = None,
) -> Response:
    id_ = parse_id(id)
    if id_ is None:
        raise WorkspaceUnknown("There is no workspace with this id.")
    amendment = WorkspaceAmendment(
        name=body.name,
        status=None if body.status is None else WorkspaceStatus(body.status),
        networks=None if body.networks is None else tuple(one.network() for one in body.networks),
        policy=None if body.rotation_policy is None else body.rotation_policy.policy(),
        reveal=body.reveal,
        grace_seconds=body.grace_seconds,
    )
    expected = expected_versions(if_match)
    workspace = amend_workspace(call.context, call.act, id_, amendment, expected=expected)
    call.takes_effect(id_)
    return answer(WorkspaceBody.of(workspace), headers={"ETag": etag(workspace.version)})
