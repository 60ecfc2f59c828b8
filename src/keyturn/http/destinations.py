"""`/v1/destinations`: where a workspace's new tokens are delivered. Credentials are never shown."""

import json
from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from keyturn.domain.destination import Destination, DestinationState
from keyturn.domain.error import DestinationUnknown
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, Call
from keyturn.http.given import given_id
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.key_bodies import NothingGiven
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.precondition import IfMatch, expected_versions
from keyturn.http.replay import REPLAYED, IdempotencyKey, replaying
from keyturn.http.schema import Given, Paged, Shown, ShownInstant
from keyturn.http.spelling import DestinationKindName, DestinationName, Sought
from keyturn.services.connect import (
    DestinationAmendment,
    DestinationDraft,
    change_destination,
    connect_destination,
    prove_destination,
    remove_destination,
)
from keyturn.services.inspect import list_destinations, view_destination
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["destinations"], route_class=GuardedRoute)

NamePath = Annotated[DestinationName, Path(description="The destination's name.")]

_CONFIG = "What the kind needs to know, as its guide says. No secret."
_CREDENTIAL = "What it acts with there. Kept sealed and never shown again."


class GivenDestination(Given):
    name: DestinationName
    kind: DestinationKindName
    config: dict[str, object] = Field(default_factory=dict, description=_CONFIG)
    credential: dict[str, str] = Field(default_factory=dict, description=_CREDENTIAL)

    def draft(self) -> DestinationDraft:
        return DestinationDraft(
            name=self.name, kind=self.kind, config=self.config, credential=self.credential
        )


class GivenDestinationAmendment(Given):
    """What is to change; it is proven anew after that. Another configuration needs the credential
    too: it is not sent to another place than the one it was given for."""

    config: dict[str, object] | None = Field(default=None, description=_CONFIG)
    credential: dict[str, str] | None = Field(default=None, description=_CREDENTIAL)


class DestinationBody(Shown):
    id: str
    workspace_id: str
    name: str
    kind: str
    config: dict[str, object]
    state: DestinationState
    proven_at: ShownInstant | None
    fault: str | None = Field(description="Why the last attempt to prove it failed.")
    created_at: ShownInstant
    created_by: str
    updated_at: ShownInstant
    version: int

    @classmethod
    def of(cls, destination: Destination) -> "DestinationBody":
        return cls(
            id=str(destination.id),
            workspace_id=str(destination.workspace_id),
            name=destination.name,
            kind=destination.kind,
            config=cast("dict[str, object]", json.loads(destination.config)),
            state=destination.state,
            proven_at=destination.proven_at,
            fault=destination.fault,
            created_at=destination.created_at,
            created_by=destination.created_by,
            updated_at=destination.updated_at,
            version=destination.version,
        )


class DestinationsAsked(Paged):
    kind: Sought | None = None


def _headers(destination: Destination) -> dict[str, str]:
    return {
        "ETag": etag(destination.version),
        "Location": f"/v1/destinations/{destination.name}",
    }


@router.post(
    "/v1/destinations",
    summary="Make a destination, and prove it",
    description="Its mark is written there and read back before this answers; `state` says whether "
    "that went well, and `fault` what did not.",
    status_code=201,
    response_model=DestinationBody,
    **guard(Permission.ADMIN, action="destination.created"),
)
def create_destination(
    call: Admitted, body: GivenDestination, idempotency_key: IdempotencyKey = None
) -> Response:
    home = call.home()
    with call.desk.proofs.taken(home):
        with replaying(call, idempotency_key, "POST /v1/destinations", home) as replay:
            if replay.answer is not None:
                return _as_it_is_now(call, home, body.name, replay.answer)

            def remember(transaction: Writing, made: Destination) -> None:
                replay.keep(
                    transaction,
                    status=201,
                    headers=_headers(made),
                    body=lambda: DestinationBody.of(made),
                )

            connect_destination(call.context, call.act, home, body.draft(), remember)
        proven = _prove(call, home, body.name)
    return answer(DestinationBody.of(proven), status=201, headers=_headers(proven))


def _prove(call: Call, home: UUID, name: str) -> Destination:
    with call.away():
        return prove_destination(call.context, call.act, home, name)


def _as_it_is_now(call: Call, home: UUID, name: str, first: Response) -> Response:
    """The answer to a repeated call: the first one was kept before the proof, which takes a while
    and may have been what the caller did not wait for."""
    try:
        present = view_destination(call.context, call.caller, home, name)
    except DestinationUnknown:
        return first
    headers = {**_headers(present), REPLAYED: "true"}
    return answer(DestinationBody.of(present), status=201, headers=headers)


@router.get(
    "/v1/destinations",
    summary="List destinations",
    response_model=list[DestinationBody],
    **guard(Permission.KEYS_READ),
)
def get_destinations(
    request: Request, call: Admitted, asked: Annotated[DestinationsAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    found, total = list_destinations(
        call.context,
        call.caller,
        call.home(),
        asked.kind,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.id))
    bodies = [DestinationBody.of(one) for one in page]
    return answer_list(request, bodies, cursor=cursor, total=total)


@router.get(
    "/v1/destinations/{name}",
    summary="Read a destination",
    response_model=DestinationBody,
    **guard(Permission.KEYS_READ),
)
def get_destination(call: Admitted, name: NamePath) -> Response:
    found = view_destination(call.context, call.caller, call.home(), name)
    return answer(DestinationBody.of(found), headers={"ETag": etag(found.version)})


@router.patch(
    "/v1/destinations/{name}",
    summary="Change a destination, and prove it anew",
    response_model=DestinationBody,
    **guard(Permission.ADMIN, action="destination.updated"),
)
def patch_destination(
    call: Admitted, name: NamePath, body: GivenDestinationAmendment, if_match: IfMatch = None
) -> Response:
    home = call.home()
    amendment = DestinationAmendment(config=body.config, credential=body.credential)
    expected = expected_versions(if_match)
    with call.desk.proofs.taken(home):
        change_destination(call.context, call.act, home, name, amendment, expected=expected)
        proven = _prove(call, home, name)
    return answer(DestinationBody.of(proven), headers={"ETag": etag(proven.version)})


@router.post(
    "/v1/destinations/{name}/prove",
    summary="Prove a destination",
    response_model=DestinationBody,
    **guard(Permission.ADMIN, action="destination.proven"),
)
def post_prove(
    call: Admitted,
    name: NamePath,
    body: NothingGiven | None = None,  # noqa: ARG001
) -> Response:
    home = call.home()
    with call.desk.proofs.taken(home):
        proven = _prove(call, home, name)
    return answer(DestinationBody.of(proven), headers={"ETag": etag(proven.version)})


@router.delete(
    "/v1/destinations/{name}",
    summary="Take a destination away",
    status_code=204,
    **guard(Permission.ADMIN, action="destination.removed"),
)
def delete_destination(call: Admitted, name: NamePath, if_match: IfMatch = None) -> Response:
    expected = expected_versions(if_match)
    remove_destination(call.context, call.act, call.home(), name, expected=expected)
    return Response(status_code=204)
