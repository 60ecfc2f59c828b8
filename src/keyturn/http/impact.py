"""`/v1/api-keys/{id}/impact`: what would break if a key were revoked now."""

from fastapi import APIRouter, Response

from keyturn.domain.impact import ImpactWord
from keyturn.domain.instant import SECOND
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted, KeyId
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.schema import Shown, ShownInstant
from keyturn.services.survey import SurveyedImpact, survey_impact

router = APIRouter(tags=["keys"], route_class=GuardedRoute)


class ImpactRuntime(Shown):
    runtime: str
    declared: bool
    registered: bool
    last_seen_at: ShownInstant | None
    allowed: int
    calls_per_hour: float | None
    longest_gap_seconds: int | None
    next_expected_at: ShownInstant | None
    breaks: bool


class ImpactBody(Shown):
    key_id: str
    impact: ImpactWord
    reason: str
    is_only_live_key: bool
    as_of: ShownInstant
    rotation_id: str | None
    runtimes: list[ImpactRuntime]

    @classmethod
    def of(cls, found: SurveyedImpact) -> "ImpactBody":
        return cls(
            key_id=str(found.key_id),
            impact=found.impact.word,
            reason=found.impact.reason,
            is_only_live_key=found.is_only_live_key,
            as_of=found.as_of,
            rotation_id=None if found.rotation_id is None else str(found.rotation_id),
            runtimes=[
                ImpactRuntime(
                    runtime=one.runtime,
                    declared=one.declared,
                    registered=one.registered,
                    last_seen_at=one.last_seen_at,
                    allowed=one.allowed,
                    calls_per_hour=one.calls_per_hour,
                    longest_gap_seconds=None
                    if one.longest_gap is None
                    else one.longest_gap // SECOND,
                    next_expected_at=one.next_expected_at,
                    breaks=one.breaks,
                )
                for one in found.impact.runtimes
            ],
        )


@router.get(
    "/v1/api-keys/{id}/impact",
    summary="What would break if this key were revoked now",
    response_model=ImpactBody,
    **guard(Permission.REQUESTS_READ),
)
def get_impact(call: Admitted, id: KeyId) -> Response:  # noqa: A002
    home, id_ = call.named_key(id)
    return answer(
        ImpactBody.of(survey_impact(call.context, call.desk.witness, call.caller, home, id_))
    )
