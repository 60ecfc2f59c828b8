"""`/v1/rotations`: one key replaced by another, watched, and with a way back."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from keyturn.domain.permission import Permission
from keyturn.domain.rotation import OPEN_STATES, Rotation, RotationState
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, Call, KeyId, RotationId
from keyturn.http.given import given_id, given_slot
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.key_bodies import KeyBody
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.http.rotation_bodies import (
    GivenBrownout,
    GivenCompletion,
    GivenExtension,
    GivenRollback,
    GivenRotation,
    GivenStanding,
    RotationBody,
    RotationsAsked,
    StartedRotationBody,
    rotation_members,
)
from keyturn.services.rotate import StartedRotation, start_rotation
from keyturn.services.steer import (
    Helm,
    SteeredRotation,
    Waiver,
    complete,
    decide,
    extend,
    roll_back,
    try_brownout,
)
from keyturn.services.survey import list_rotations, view_rotation
from keyturn.services.weigh import weigh
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.transaction import Reading, Writing

router = APIRouter(tags=["rotations"], route_class=GuardedRoute)


@router.post(
    "/v1/api-keys/{id}/rotations",
    summary="Rotate a key, or join the rotation of its slot",
    status_code=201,
    response_model=StartedRotationBody,
    responses={200: {"model": StartedRotationBody, "description": "It was open already"}},
    **guard(Permission.ROTATIONS_WRITE, action="rotation.started"),
)
def start(
    call: Admitted,
    id: KeyId,  # noqa: A002
    body: GivenRotation | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_key(id)
    asked = GivenRotation() if body is None else body
    route = f"POST /v1/api-keys/{id_}/rotations"
    answered: list[StartedRotationBody] = []
    with replaying(call, idempotency_key, route, home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, started: StartedRotation) -> None:
            answered.append(_started(call, transaction, started))
            replay.keep(
                transaction,
                status=_status(started),
                headers=_headers(started.rotation),
                body=lambda: answered[0],
            )

        started = start_rotation(call.context, call.act, home, id_, asked.draft(), remember)
    issued = started.issued
    token = None if issued is None else issued.reveal()
    return answer(
        answered[0].model_copy(update={"api_key": token}),
        status=_status(started),
        headers={**_headers(started.rotation), "Cache-Control": "no-store"},
    )


def _status(started: StartedRotation) -> int:
    return 200 if started.issued is None else 201


def _headers(rotation: Rotation) -> dict[str, str]:
    return {"ETag": etag(rotation.version), "Location": f"/v1/rotations/{rotation.id}"}


def _started(call: Call, transaction: Reading, started: StartedRotation) -> StartedRotationBody:
    """The answer to a start, without its token."""
    rotation, now = started.rotation, call.context.clock.now()
    weighed = weigh(transaction, rotation, call.desk.witness.observed())
    view = transaction.keys.view(rotation.workspace_id, rotation.new_key_id)
    if view is None:
        raise LookupError("a rotation has a new key")
    return StartedRotationBody(
        **rotation_members(rotation, weighed, now, weighed.deliveries),
        new_key=KeyBody.of(view, now),
        api_key=None,
    )


@router.get(
    "/v1/rotations",
    summary="List rotations",
    response_model=list[RotationBody],
    **guard(Permission.KEYS_READ),
)
def get_rotations(
    request: Request, call: Admitted, asked: Annotated[RotationsAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    wanted = RotationFilter(
        states=_states(asked.state),
        slot=given_slot(asked.slot),
        key_id=given_id(asked.key_id, "/key_id"),
    )
    found, total = list_rotations(
        call.context,
        call.desk.witness,
        call.caller,
        call.home(),
        wanted,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    now = call.context.clock.now()
    bodies = [RotationBody.of(one.rotation, one.weighed, now, one.deliveries) for one in page]
    cursor = None if last is None else encode_cursor(str(last.rotation.id))
    return answer_list(request, bodies, cursor=cursor, total=total)


def _states(word: str) -> tuple[RotationState, ...] | None:
    if word == "all":
        return None
    return tuple(sorted(OPEN_STATES)) if word == "open" else (RotationState(word),)


@router.get(
    "/v1/rotations/{id}",
    summary="Read a rotation, with its evidence",
    response_model=RotationBody,
    **guard(Permission.KEYS_READ),
)
def get_rotation(call: Admitted, id: RotationId) -> Response:  # noqa: A002
    home, id_ = call.named_rotation(id)
    found = view_rotation(call.context, call.desk.witness, call.caller, home, id_)
    now = call.context.clock.now()
    body = RotationBody.of(found.rotation, found.weighed, now, found.deliveries)
    return answer(body, headers={"ETag": etag(found.rotation.version)})


@router.post(
    "/v1/rotations/{id}/complete",
    summary="Retire the old key, if the evidence allows it",
    response_model=RotationBody,
    responses={202: {"model": RotationBody, "description": "The brown-out runs"}},
    **guard(Permission.ROTATIONS_WRITE, action="rotation.completed", takes_away=True),
)
def post_complete(
    call: Admitted,
    id: RotationId,  # noqa: A002
    body: GivenCompletion | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    asked = GivenCompletion() if body is None else body
    waive = tuple(Waiver(runtime=one.runtime, reason=one.reason) for one in asked.waive or ())
    return _steered(
        call,
        id,
        "complete",
        idempotency_key,
        lambda helm: complete(helm, force=asked.force is True, reason=asked.reason, waive=waive),
    )


@router.post(
    "/v1/rotations/{id}/rollback",
    summary="Go back to the old key",
    response_model=RotationBody,
    **guard(Permission.ROTATIONS_WRITE, action="rotation.rolled_back", takes_away=True),
)
def post_rollback(
    call: Admitted,
    id: RotationId,  # noqa: A002
    body: GivenRollback | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    asked = GivenRollback() if body is None else body
    return _steered(
        call,
        id,
        "rollback",
        idempotency_key,
        lambda helm: roll_back(
            helm,
            force=asked.force is True,
            reason=asked.reason,
            keep_both=asked.keep_both is True,
        ),
    )


@router.post(
    "/v1/rotations/{id}/extend",
    summary="Give it a later deadline",
    response_model=RotationBody,
    **guard(Permission.ROTATIONS_WRITE, action="rotation.extended", takes_away=True),
)
def post_extend(
    call: Admitted,
    id: RotationId,  # noqa: A002
    body: GivenExtension,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    return _steered(
        call,
        id,
        "extend",
        idempotency_key,
        lambda helm: extend(helm, deadline=body.deadline, overlap_seconds=body.overlap_seconds),
    )


@router.post(
    "/v1/rotations/{id}/brownout",
    summary="Suspend the old key for a stated time, as a test",
    response_model=RotationBody,
    **guard(Permission.ROTATIONS_WRITE, action="rotation.browned_out", takes_away=True),
)
def post_brownout(
    call: Admitted,
    id: RotationId,  # noqa: A002
    body: GivenBrownout | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    seconds = None if body is None else body.brownout_seconds
    return _steered(
        call, id, "brownout", idempotency_key, lambda helm: try_brownout(helm, seconds=seconds)
    )


@router.post(
    "/v1/rotations/{id}/runtimes",
    summary="Say what is to be held of a runtime",
    response_model=RotationBody,
    **guard(Permission.ROTATIONS_WRITE, action="rotation.decided", takes_away=True),
)
def post_runtimes(
    call: Admitted,
    id: RotationId,  # noqa: A002
    body: GivenStanding,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    return _steered(
        call,
        id,
        "runtimes",
        idempotency_key,
        lambda helm: decide(
            helm,
            runtime=body.runtime,
            standing=body.standing,
            place=body.network,
            reason=body.reason,
        ),
    )


def _steered(
    call: Call,
    id_text: str,
    verb: str,
    idempotency_key: str | None,
    move: Callable[[Helm], SteeredRotation],
) -> Response:
    home, id_ = call.named_rotation(id_text)
    with replaying(call, idempotency_key, f"POST /v1/rotations/{id_}/{verb}", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, steered: SteeredRotation) -> None:
            replay.keep(
                transaction,
                status=_steered_status(verb, steered.rotation),
                headers={"ETag": etag(steered.rotation.version)},
                body=lambda: _body(call, steered),
            )

        helm = Helm(
            context=call.context,
            witness=call.desk.witness,
            act=call.act,
            workspace_id=home,
            id=id_,
            remember=remember,
        )
        steered = move(helm)
    call.takes_effect(home)
    return answer(
        _body(call, steered),
        status=_steered_status(verb, steered.rotation),
        headers={"ETag": etag(steered.rotation.version)},
    )


def _steered_status(verb: str, rotation: Rotation) -> int:
    return 202 if verb == "complete" and rotation.is_open else 200


def _body(call: Call, steered: SteeredRotation) -> RotationBody:
    now = call.context.clock.now()
    return RotationBody.of(steered.rotation, steered.weighed, now, steered.deliveries)
