"""`/v1/slots`: services in environments, and what people say of them."""

from typing import Annotated, cast

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from keyturn.domain.error import RequestInvalid
from keyturn.domain.permission import Permission
from keyturn.domain.slot import (
    LONGEST_CALL_INTERVAL_SECONDS,
    MOST_RUNTIMES,
    ExpectedRuntime,
    Slot,
    SlotName,
    SlotNotes,
    check_expected,
)
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.precondition import (
    IfMatch,
    IfNoneMatch,
    expected_versions,
    may_change,
)
from keyturn.http.schema import Given, Paged, Shown, ShownInstant
from keyturn.http.spelling import (
    DestinationNames,
    Name,
    PeriodDays,
    RuntimeName,
    SlotSpelling,
    Sought,
    Text,
    Url,
)
from keyturn.services.define import define_slot
from keyturn.services.inspect import list_slots, view_slot

router = APIRouter(tags=["slots"], route_class=GuardedRoute)

SlotPath = Annotated[
    SlotSpelling, Path(description="A service and an environment, like `scheduler-prod`.")
]
Positive = Annotated[int, Field(ge=1, le=LONGEST_CALL_INTERVAL_SECONDS)]


class GivenRuntime(Given):
    name: RuntimeName
    max_call_interval_seconds: Positive | None = None


class GivenNotes(Given):
    """What may be said of a slot, here and along with a key."""

    owner: Name | None = Field(default=None, examples=["payments@example.com"])
    purpose: Text | None = None
    runbook_url: Url | None = None
    rotation_period_days: PeriodDays | None = None
    runtimes: list[GivenRuntime] | None = Field(default=None, max_length=MOST_RUNTIMES)
    destinations: DestinationNames | None = Field(
        default=None,
        description="Names of destinations that new tokens of the slot are delivered to.",
    )

    def notes(self) -> SlotNotes:
        return SlotNotes(
            owner=self.owner,
            purpose=self.purpose,
            runbook_url=self.runbook_url,
            rotation_period_days=self.rotation_period_days,
            runtimes=None if self.runtimes is None else _expected(self.runtimes),
            destinations=None if self.destinations is None else tuple(self.destinations),
        )


def _expected(runtimes: list[GivenRuntime]) -> tuple[ExpectedRuntime, ...]:
    return check_expected(
        tuple(
            ExpectedRuntime(name=one.name, max_call_interval_seconds=one.max_call_interval_seconds)
            for one in runtimes
        )
    )


class ShownRuntime(Shown):
    name: str
    max_call_interval_seconds: int | None


class SlotBody(Shown):
    name: str
    workspace_id: str
    service: str
    environment: str
    owner: str | None
    purpose: str | None
    runbook_url: str | None
    rotation_period_days: int | None
    runtimes: list[ShownRuntime]
    destinations: list[str]
    created_at: ShownInstant
    updated_at: ShownInstant
    version: int

    @classmethod
    def of(cls, slot: Slot) -> "SlotBody":
        notes = slot.notes
        return cls(
            name=str(slot.name),
            workspace_id=str(slot.workspace_id),
            service=slot.name.service,
            environment=slot.name.environment,
            owner=notes.owner,
            purpose=notes.purpose,
            runbook_url=notes.runbook_url,
            rotation_period_days=notes.rotation_period_days,
            runtimes=[
                ShownRuntime(name=one.name, max_call_interval_seconds=one.max_call_interval_seconds)
                for one in notes.runtimes or ()
            ],
            destinations=list(notes.destinations or ()),
            created_at=slot.created_at,
            updated_at=slot.updated_at,
            version=slot.version,
        )


class SlotsAsked(Paged):
    service: Sought | None = None
    environment: Sought | None = None
    owner: Sought | None = None


@router.get(
    "/v1/slots",
    summary="List slots",
    response_model=list[SlotBody],
    **guard(Permission.KEYS_READ),
)
def get_slots(request: Request, call: Admitted, asked: Annotated[SlotsAsked, Query()]) -> Response:
    before = decode_cursor(asked.cursor, int, str, str)
    slots, total = list_slots(
        call.context,
        call.caller,
        call.home(),
        service=asked.service,
        environment=asked.environment,
        owner=asked.owner,
        limit=asked.limit + 1,
        before=cast("tuple[int, str, str] | None", before),
        count=asked.count,
    )
    page, last = split_page(slots, asked.limit)
    cursor = None
    if last is not None:
        cursor = encode_cursor(last.created_at, last.name.service, last.name.environment)
    return answer_list(request, [SlotBody.of(one) for one in page], cursor=cursor, total=total)


@router.get(
    "/v1/slots/{slot}",
    summary="Read a slot",
    response_model=SlotBody,
    **guard(Permission.KEYS_READ),
)
def get_slot(call: Admitted, slot: SlotPath) -> Response:
    found = view_slot(call.context, call.caller, call.home(), SlotName.parse(slot))
    return answer(SlotBody.of(found), headers={"ETag": etag(found.version)})


@router.put(
    "/v1/slots/{slot}",
    summary="Make a slot, or change it",
    description="The slot has exactly what the body says; what it leaves out is taken away. Only "
    "an administrator changes its `destinations`: who is none repeats them as they are.",
    response_model=SlotBody,
    responses={201: {"model": SlotBody, "description": "The slot was made"}},
    **guard(Permission.KEYS_WRITE, action="slot.updated"),
)
def put_slot(
    call: Admitted,
    slot: SlotPath,
    body: GivenNotes,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    name = SlotName.parse(slot)
    if name is None:
        raise RequestInvalid.at(
            "/slot", "A slot is a service and an environment, like `scheduler-prod`."
        )
    defined = define_slot(
        call.context,
        call.act,
        call.home(),
        name,
        body.notes(),
        expected=expected_versions(if_match),
        may_make=if_match is None,  # RFC 9110, 13.1.1: `*` too is for what is there
        may_change=may_change(if_none_match),
    )
    return answer(
        SlotBody.of(defined.slot),
        status=201 if defined.is_new else 200,
        headers={"ETag": etag(defined.slot.version), "Location": f"/v1/slots/{name}"},
    )
