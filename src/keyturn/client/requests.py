"""`/v1/requests` and `/v1/api-keys/{id}/usage`: what was done with keys, as Keyturn saw it."""

from datetime import datetime
from typing import Literal

from keyturn.client.call import Call, Listing, query, reading, segment
from keyturn.client.paging import listing
from keyturn.client.resources import RecordedRequest, Usage

_usage = reading(Usage)

Bucket = Literal["minute", "hour", "day"]
BrowserSign = Literal["sec-fetch", "origin", "user-agent"]


def list_requests(
    *,
    key_id: str | None = None,
    request_id: str | None = None,
    runtime: str | None = None,
    ip: str | None = None,
    path: str | None = None,
    valid: bool | None = None,
    code: str | None = None,
    country: str | None = None,
    browser: BrowserSign | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[RecordedRequest]:
    """The requests of the workspace, newest first. `ip` is an address or a block of them, `path`
    the beginning of one."""
    return listing(
        RecordedRequest,
        "/v1/requests",
        query(
            key_id=key_id,
            request_id=request_id,
            runtime=runtime,
            ip=ip,
            path=path,
            valid=valid,
            code=code,
            country=country,
            browser=browser,
            since=since,
            until=until,
            limit=limit,
            count=count or None,
        ),
    )


def measure_usage(
    key_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    bucket: Bucket | None = None,
) -> Call[Usage]:
    """How a key was used, in totals, over time, and by whom; of the last 30 days, if no bounds are
    given."""
    return Call(
        method="GET",
        path=f"/v1/api-keys/{segment(key_id)}/usage",
        query=query(since=since, until=until, bucket=bucket),
        read=_usage,
    )
