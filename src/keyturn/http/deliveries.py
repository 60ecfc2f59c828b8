"""`/v1/deliveries`: new tokens on their way to destinations."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from keyturn.domain.delivery import OPEN_STATES, Delivery, DeliveryState
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer, answer_list
from keyturn.http.call import Admitted, Call, DeliveryId
from keyturn.http.delivery_bodies import DeliveriesAsked, DeliveryBody, GivenCancellation
from keyturn.http.given import given_destination, given_id, given_slot
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.key_bodies import NothingGiven
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.services.dispatch import Remember, cancel_delivery, hurry_delivery
from keyturn.services.survey import list_deliveries, view_delivery
from keyturn.storage.deliveries import DeliveryFilter
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["deliveries"], route_class=GuardedRoute)


@router.get(
    "/v1/deliveries",
    summary="List deliveries",
    response_model=list[DeliveryBody],
    **guard(Permission.KEYS_READ),
)
def get_deliveries(
    request: Request, call: Admitted, asked: Annotated[DeliveriesAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    wanted = DeliveryFilter(
        states=_states(asked.state),
        slot=given_slot(asked.slot),
        key_id=given_id(asked.key_id, "/key_id"),
        rotation_id=given_id(asked.rotation_id, "/rotation_id"),
        destination=given_destination(asked.destination),
    )
    found, total = list_deliveries(
        call.context,
        call.caller,
        call.home(),
        wanted,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.id))
    return answer_list(request, [DeliveryBody.of(one) for one in page], cursor=cursor, total=total)


def _states(word: str) -> tuple[DeliveryState, ...] | None:
    if word == "all":
        return None
    return tuple(sorted(OPEN_STATES)) if word == "open" else (DeliveryState(word),)


@router.get(
    "/v1/deliveries/{id}",
    summary="Read a delivery",
    response_model=DeliveryBody,
    **guard(Permission.KEYS_READ),
)
def get_delivery(call: Admitted, id: DeliveryId) -> Response:  # noqa: A002
    home, id_ = call.named_delivery(id)
    return answer(DeliveryBody.of(view_delivery(call.context, call.caller, home, id_)))


@router.post(
    "/v1/deliveries/{id}/retry",
    summary="Try a delivery at once",
    response_model=DeliveryBody,
    **guard(Permission.KEYS_WRITE, action="delivery.hurried"),
)
def post_retry(
    call: Admitted,
    id: DeliveryId,  # noqa: A002
    body: NothingGiven | None = None,  # noqa: ARG001
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_delivery(id)
    return _moved(
        call,
        home,
        f"POST /v1/deliveries/{id_}/retry",
        idempotency_key,
        lambda remember: hurry_delivery(call.context, call.act, home, id_, remember),
    )


@router.post(
    "/v1/deliveries/{id}/cancel",
    summary="Give a delivery up",
    response_model=DeliveryBody,
    **guard(Permission.KEYS_WRITE, action="delivery.cancelled"),
)
def post_cancel(
    call: Admitted,
    id: DeliveryId,  # noqa: A002
    body: GivenCancellation,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_delivery(id)
    return _moved(
        call,
        home,
        f"POST /v1/deliveries/{id_}/cancel",
        idempotency_key,
        lambda remember: cancel_delivery(call.context, call.act, home, id_, body.reason, remember),
    )


def _moved(
    call: Call,
    home: UUID,
    route: str,
    idempotency_key: str | None,
    move: Callable[[Remember], Delivery],
) -> Response:
    with replaying(call, idempotency_key, route, home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, moved: Delivery) -> None:
            replay.keep(transaction, status=200, headers={}, body=lambda: DeliveryBody.of(moved))

        return answer(DeliveryBody.of(move(remember)))
