"""`/v1/self`: what the token of this call is."""

from typing import Literal

from fastapi import APIRouter, Response

from keyturn.domain.activity import ActorType
from keyturn.http.answer import answer
from keyturn.http.call import Admitted
from keyturn.http.guard import ANY_TOKEN, GuardedRoute, guard
from keyturn.http.key_bodies import KeyBody
from keyturn.http.schema import Shown, ShownInstant
from keyturn.services.inspect import view_self

router = APIRouter(tags=["self"], route_class=GuardedRoute)


class SelfOperator(Shown):
    id: str
    name: str


class SelfBody(Shown):
    """A key's own view of itself; for an operator `key` and `slot` are null."""

    type: Literal["api_key", "operator", "gateway"]
    workspace_id: str | None
    key: KeyBody | None
    operator: SelfOperator | None
    slot: str | None
    scopes: list[str]
    permissions: list[str]
    expires_at: ShownInstant | None


@router.get(
    "/v1/self",
    summary="What this token is",
    response_model=SelfBody,
    **guard(ANY_TOKEN),
)
def get_self(call: Admitted) -> Response:
    caller = call.caller
    if caller.actor.type is ActorType.API_KEY:
        view = view_self(call.context, caller)
        key = view.key
        return answer(
            SelfBody(
                type="api_key",
                workspace_id=str(key.workspace_id),
                key=KeyBody.of(view, call.context.clock.now()),
                operator=None,
                slot=str(key.slot),
                scopes=list(key.scopes),
                permissions=list(key.permissions),
                expires_at=key.expires_at,
            )
        )
    return answer(
        SelfBody(
            type="operator" if caller.rights.is_admin else "gateway",
            workspace_id=None,
            key=None,
            operator=SelfOperator(id=str(caller.id), name=caller.actor.label),
            slot=None,
            scopes=[],
            permissions=list(caller.rights.permissions),
            expires_at=caller.rights.expires_at,
        )
    )
