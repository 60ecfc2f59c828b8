"""`/v1/requests`: what was done with keys, as Keyturn saw it."""

from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from keyturn.domain.error import RequestInvalid
from keyturn.domain.identity import parse_id
from keyturn.domain.network import parse_address, parse_network
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer_list
from keyturn.http.call import Admitted
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.schema import GivenInstant, Paged, Shown, ShownInstant
from keyturn.http.spelling import AddressOrBlock, Id, Sought
from keyturn.services.inspect import list_requests
from keyturn.storage.requests import RecordedRequest, RequestFilter

BrowserSign = Literal["sec-fetch", "origin", "user-agent"]

router = APIRouter(tags=["requests"], route_class=GuardedRoute)


class RequestBody(Shown):
    id: str
    request_id: str
    at: ShownInstant
    key_id: str | None
    valid: bool
    code: str
    runtime: str
    declared: bool
    ip: str | None
    user_agent: str | None
    method: str | None
    path: str | None
    scopes: list[str]
    environment: str | None
    country: str | None
    browser: str | None

    @classmethod
    def of(cls, request: RecordedRequest) -> "RequestBody":
        return cls(
            id=request.id,
            request_id=request.request_id,
            at=request.at,
            key_id=request.key_id,
            valid=request.valid,
            code=request.code,
            runtime=request.runtime,
            declared=request.declared,
            ip=request.ip,
            user_agent=request.user_agent,
            method=request.method,
            path=request.path,
            scopes=list(request.scopes),
            environment=request.environment,
            country=request.country,
            browser=request.browser,
        )


class RequestsAsked(Paged):
    key_id: Id | None = None
    request_id: Sought | None = None
    runtime: Sought | None = None
    ip: AddressOrBlock | None = Field(
        default=None, description="An address or a block of addresses."
    )
    path: Sought | None = Field(default=None, description="The beginning of a path.")
    valid: bool | None = None
    code: Sought | None = None
    country: Sought | None = Field(default=None, description="A country's code, like `DE`.")
    browser: BrowserSign | None = Field(
        default=None, description="By which sign it came from a browser."
    )
    since: GivenInstant | None = None
    until: GivenInstant | None = None

    def wanted(self) -> RequestFilter:
        key_id = None if self.key_id is None else parse_id(self.key_id)
        if self.key_id is not None and key_id is None:
            raise RequestInvalid.at("/key_id", "This is an id, as a UUID or in 22 characters.")
        network = None
        if self.ip is not None:
            address = parse_address(self.ip)
            network = parse_network(self.ip if address is None else str(address))
            if network is None:
                raise RequestInvalid.at("/ip", "This is an address, or a block like 10.0.0.0/8.")
        return RequestFilter(
            key_id=key_id,
            request_id=self.request_id,
            runtime=self.runtime,
            network=network,
            path=self.path,
            valid=self.valid,
            code=self.code,
            country=self.country,
            browser=self.browser,
            since=self.since,
            until=self.until,
        )


@router.get(
    "/v1/requests",
    summary="List requests",
    response_model=list[RequestBody],
    **guard(Permission.REQUESTS_READ),
)
def get_requests(
    request: Request, call: Admitted, asked: Annotated[RequestsAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, int, str)
    found, total = list_requests(
        call.context,
        call.caller,
        call.home(),
        asked.wanted(),
        limit=asked.limit + 1,
        before=cast("tuple[int, str] | None", before),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(last.at, last.id)
    return answer_list(request, [RequestBody.of(one) for one in page], cursor=cursor, total=total)
