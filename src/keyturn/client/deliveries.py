"""`/v1/deliveries`: new tokens on their way to destinations."""

from typing import Literal

from keyturn.client.call import Call, Listing, body, once, query, reading, segment
from keyturn.client.delivery_records import Delivery
from keyturn.client.paging import listing

_PATH = "/v1/deliveries"
_delivery = reading(Delivery)

DeliveryState = Literal[
    "open", "waiting", "delivered", "restoring", "restored", "superseded", "cancelled", "all"
]


def list_deliveries(
    *,
    state: DeliveryState | None = None,
    slot: str | None = None,
    key_id: str | None = None,
    rotation_id: str | None = None,
    destination: str | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[Delivery]:
    """The deliveries of the workspace, newest first; `open` are those with something left to do."""
    return listing(
        Delivery,
        _PATH,
        query(
            state=state,
            slot=slot,
            key_id=key_id,
            rotation_id=rotation_id,
            destination=destination,
            limit=limit,
            count=count or None,
        ),
    )


def read_delivery(id: str) -> Call[Delivery]:  # noqa: A002
    """A delivery by its id: where it stands, and what held it up last."""
    return Call(method="GET", path=f"{_PATH}/{segment(id)}", read=_delivery)


def retry_delivery(id: str, *, idempotency_key: str | None = None) -> Call[Delivery]:  # noqa: A002
    """Has it tried at once, instead of at its `next_attempt_at`."""
    return _move(id, "retry", None, idempotency_key)


def cancel_delivery(
    id: str,  # noqa: A002
    reason: str,
    *,
    idempotency_key: str | None = None,
) -> Call[Delivery]:
    """Gives it up, where a person sees to that place. Refused (`delivery.last`) where nobody else
    has the token of a key that works."""
    return _move(id, "cancel", body(reason=reason), idempotency_key)


def _move(
    id_: str, verb: str, content: bytes | None, idempotency_key: str | None
) -> Call[Delivery]:
    return Call(
        method="POST",
        path=f"{_PATH}/{segment(id_)}/{verb}",
        content=content,
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_delivery,
    )
