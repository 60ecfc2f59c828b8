"""`/v1/self`: what the token of this call is."""

from email.utils import formatdate
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Response

from keyturn.domain.activity import ActorType
from keyturn.domain.instant import SECOND
from keyturn.domain.rotation import Rotation
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


class SelfRotation(Shown):
    """That this key is being replaced, or takes another's place."""

    rotation_id: str
    role: Literal["old", "new"]
    since: ShownInstant
    sunset: ShownInstant


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
    rotation: SelfRotation | None = None


@router.get(
    "/v1/self",
    summary="What this token is",
    response_model=SelfBody,
    **guard(ANY_TOKEN),
)
def get_self(call: Admitted) -> Response:
    caller = call.caller
    if caller.actor.type is ActorType.API_KEY:
        view, rotation = view_self(call.context, caller)
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
                rotation=None if rotation is None else _told(rotation, caller.id),
            ),
            headers=_headers(rotation) if _is_old(rotation, caller.id) else None,
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


def _is_old(rotation: Rotation | None, key_id: UUID) -> bool:
    return rotation is not None and rotation.old_key_id == key_id


def _told(rotation: Rotation, key_id: UUID) -> SelfRotation:
    return SelfRotation(
        rotation_id=str(rotation.id),
        role="old" if _is_old(rotation, key_id) else "new",
        since=rotation.started_at,
        sunset=rotation.deadline,
    )


def _headers(rotation: Rotation | None) -> dict[str, str] | None:
    """What a client that knows nothing of us understands: RFC 9745 and RFC 8594."""
    if rotation is None:
        return None
    sunset = rotation.deadline / SECOND
    return {
        "Deprecation": f"@{rotation.started_at // SECOND}",
        "Sunset": formatdate(sunset, usegmt=True),
        "Link": f'</v1/rotations/{rotation.id}>; rel="deprecation"',
    }
