"""`/v1/staff-changes`: somebody has left."""

from fastapi import APIRouter, Response

from keyturn.domain.key import KeyStatus
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted
from keyturn.http.delivery_bodies import DeliveryBody
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.schema import Given, Shown
from keyturn.http.spelling import Name
from keyturn.services.depart import Because, StaffChange, TouchedKey, change_staff

router = APIRouter(tags=["rotations"], route_class=GuardedRoute)


class GivenStaffChange(Given):
    """Who has left: an owner of slots, an operator, or the name of a key that made others."""

    person: Name
    rotate: bool | None = None


class TouchedKeyBody(Shown):
    key_id: str
    name: str
    slot: str
    status: KeyStatus
    because: list[Because]
    rotation_id: str | None
    new_key_id: str | None
    api_key: str | None
    deliveries: list[DeliveryBody]
    refused: str | None


class StaffChangeBody(Shown):
    person: str
    keys: list[TouchedKeyBody]

    @classmethod
    def of(cls, change: StaffChange, now: int) -> "StaffChangeBody":
        return cls(person=change.person, keys=[_touched(one, now) for one in change.keys])


def _touched(one: TouchedKey, now: int) -> TouchedKeyBody:
    key, started = one.view.key, one.started
    issued = None if started is None else started.issued
    return TouchedKeyBody(
        key_id=str(key.id),
        name=key.name,
        slot=str(key.slot),
        status=key.status(now),
        because=list(one.because),
        rotation_id=None if one.rotation_id is None else str(one.rotation_id),
        new_key_id=None if started is None else str(started.rotation.new_key_id),
        api_key=None if issued is None else issued.reveal(),
        deliveries=[
            DeliveryBody.of(sent) for sent in (() if issued is None else issued.deliveries)
        ],
        refused=one.refused,
    )


@router.post(
    "/v1/staff-changes",
    summary="What somebody who left owned, made or was shown",
    description="With `rotate` each active key of these is rotated, and its new token answered, "
    "or delivered where the slot has destinations.",
    response_model=StaffChangeBody,
    **guard(Permission.ROTATIONS_WRITE, action="rotation.started"),
)
def post_staff_change(call: Admitted, body: GivenStaffChange) -> Response:
    change = change_staff(
        call.context, call.act, call.home(), body.person, rotate=body.rotate is True
    )
    return answer(
        StaffChangeBody.of(change, call.context.clock.now()),
        headers={"Cache-Control": "no-store"},
    )
