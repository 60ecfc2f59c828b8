"""Where a change is effective: `Keyturn-Propagation`, and `/v1/api-keys/{id}/propagation`.

One process serves one database, and every verification asks it: a change is effective everywhere
once it is committed.
"""

from typing import Literal

from fastapi import APIRouter, Response

from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted, Call, KeyId
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.schema import Shown, ShownInstant
from keyturn.services.inspect import trace_propagation

router = APIRouter(tags=["keys"], route_class=GuardedRoute)


def propagation(call: Call, started: float) -> dict[str, str]:
    """The header of a change that began at `started` (of the clock's `elapsed`)."""
    took_ms = round((call.context.clock.elapsed() - started) * 1_000)
    return {"Keyturn-Propagation": f"complete; nodes=1; ms={took_ms}"}


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


@router.get(
    "/v1/api-keys/{id}/propagation",
    summary="Where a key's last change has arrived",
    response_model=PropagationBody,
    **guard(Permission.KEYS_READ),
)
def get_propagation(call: Admitted, id: KeyId) -> Response:  # noqa: A002
    home, id_ = call.named_key(id)
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
