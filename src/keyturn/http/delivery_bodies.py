"""The bodies of deliveries: how a new token is on its way. The token itself is in none of them."""

from typing import Literal

from keyturn.domain.delivery import Delivery, DeliveryState
from keyturn.http.schema import Given, Paged, Shown, ShownInstant
from keyturn.http.spelling import DestinationName, Id, SlotSpelling, Text


class ShownFault(Shown):
    kind: str | None
    detail: str


class DeliveryBody(Shown):
    id: str
    workspace_id: str
    slot: str
    key_id: str
    rotation_id: str | None
    destination: str
    destination_id: str
    state: DeliveryState
    location: str | None
    receipt: str | None
    attempts: int
    failures: int
    fault: ShownFault | None
    next_attempt_at: ShownInstant | None
    delivered_at: ShownInstant | None
    checked_at: ShownInstant | None
    ended_at: ShownInstant | None
    created_at: ShownInstant
    created_by: str

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryBody":
        rotation_id, fault = delivery.rotation_id, delivery.fault
        return cls(
            id=str(delivery.id),
            workspace_id=str(delivery.workspace_id),
            slot=str(delivery.slot),
            key_id=str(delivery.key_id),
            rotation_id=None if rotation_id is None else str(rotation_id),
            destination=delivery.destination,
            destination_id=str(delivery.destination_id),
            state=delivery.state,
            location=delivery.location,
            receipt=delivery.receipt,
            attempts=delivery.attempts,
            failures=delivery.failures,
            fault=None if fault is None else ShownFault(kind=delivery.fault_kind, detail=fault),
            next_attempt_at=delivery.next_at if delivery.is_open else None,
            delivered_at=delivery.delivered_at,
            checked_at=delivery.checked_at,
            ended_at=delivery.ended_at,
            created_at=delivery.created_at,
            created_by=delivery.created_by,
        )


class GivenCancellation(Given):
    reason: Text


class DeliveriesAsked(Paged):
    state: Literal[
        "open",
        "waiting",
        "delivered",
        "restoring",
        "restored",
        "superseded",
        "cancelled",
        "all",
    ] = "all"
    slot: SlotSpelling | None = None
    key_id: Id | None = None
    rotation_id: Id | None = None
    destination: DestinationName | None = None
