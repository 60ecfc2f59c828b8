"""`/v1/api-keys/{id}/usage`: how a key was used, in totals, over time, and by whom."""

from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Response

from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted, KeyId
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.schema import Asked, GivenInstant, Shown, ShownInstant
from keyturn.services.inspect import KeyUsage, measure_usage

router = APIRouter(tags=["requests"], route_class=GuardedRoute)


class UsageTotals(Shown):
    allowed: int
    denied: int


class UsageBucket(UsageTotals):
    at: ShownInstant


class UsageRuntime(UsageTotals):
    runtime: str
    declared: bool
    first_seen_at: ShownInstant | None
    last_seen_at: ShownInstant | None


class UsageBody(Shown):
    """Buckets without a request are left out of the series."""

    key_id: str
    since: ShownInstant
    until: ShownInstant
    bucket: Literal["minute", "hour", "day"]
    last_used_at: ShownInstant | None
    totals: UsageTotals
    series: list[UsageBucket]
    runtimes: list[UsageRuntime]

    @classmethod
    def of(cls, usage: KeyUsage) -> "UsageBody":
        return cls(
            key_id=str(usage.key_id),
            since=usage.since,
            until=usage.until,
            bucket=cast("Literal['minute', 'hour', 'day']", usage.bucket),
            last_used_at=usage.last_used_at,
            totals=UsageTotals(allowed=usage.allowed, denied=usage.denied),
            series=[
                UsageBucket(at=one.at, allowed=one.allowed, denied=one.denied)
                for one in usage.series
            ],
            runtimes=[
                UsageRuntime(
                    runtime=one.runtime,
                    declared=one.declared,
                    first_seen_at=one.first_seen_at,
                    last_seen_at=one.last_seen_at,
                    allowed=one.allowed,
                    denied=one.denied,
                )
                for one in usage.runtimes
            ],
        )


class UsageAsked(Asked):
    since: GivenInstant | None = None
    until: GivenInstant | None = None
    bucket: Literal["minute", "hour", "day"] = "day"


@router.get(
    "/v1/api-keys/{id}/usage",
    summary="How a key was used",
    description="Without bounds, the last 30 days.",
    response_model=UsageBody,
    **guard(Permission.REQUESTS_READ),
)
def get_usage(
    call: Admitted,
    id: KeyId,  # noqa: A002
    asked: Annotated[UsageAsked, Query()],
) -> Response:
    home, id_ = call.named_key(id)
    usage = measure_usage(
        call.context,
        call.caller,
        home,
        id_,
        since=asked.since,
        until=asked.until,
        bucket=asked.bucket,
    )
    return answer(UsageBody.of(usage))
