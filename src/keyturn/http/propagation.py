"""`/v1/api-keys/{id}/propagation`: on which nodes a key's last change is effective."""

from typing import Literal

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted, Call, KeyId
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.schema import Shown, ShownInstant
from keyturn.services.inspect import Propagation, grace_of, trace_propagation

router = APIRouter(tags=["keys"], route_class=GuardedRoute)


class NodeBody(Shown):
    """A node that verifies. `waiting`: it may go by what was before. `expired`: it was not heard
    of for so long that it accepts nothing any more, until it has caught up."""

    id: str
    name: str
    state: Literal["confirmed", "waiting", "expired"]
    position: int


class PropagationBody(Shown):
    key_id: str
    position: int
    changed_at: ShownInstant
    state: Literal["complete", "pending"]
    nodes: list[NodeBody]


@router.get(
    "/v1/api-keys/{id}/propagation",
    summary="Where a key's last change has arrived",
    response_model=PropagationBody,
    **guard(Permission.KEYS_READ),
)
async def get_propagation(call: Admitted, id: KeyId) -> Response:  # noqa: A002
    traced, grace_seconds = await run_in_threadpool(_traced, call, id)
    nodes = await call.desk.sight.nodes(traced.position, grace_seconds)
    return answer(
        PropagationBody(
            key_id=str(traced.key_id),
            position=traced.position,
            changed_at=traced.changed_at,
            state="pending" if any(one.state == "waiting" for one in nodes) else "complete",
            nodes=[
                NodeBody(id=one.id, name=one.name, state=one.state, position=one.position)
                for one in nodes
            ],
        )
    )


def _traced(call: Call, id_text: str) -> tuple[Propagation, int]:
    home, id_ = call.named_key(id_text)
    traced = trace_propagation(call.context, call.caller, home, id_)
    return traced, grace_of(call.context, home)
