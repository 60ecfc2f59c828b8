"""The public routes: what this is, whether it lives, whether it is ready, and its metrics."""

from fastapi import APIRouter, Request, Response

from keyturn.domain.error import RequestInvalid
from keyturn.http.answer import answer
from keyturn.http.desk import Desk
from keyturn.http.metrics import MEDIA_TYPE
from keyturn.http.schema import Shown


class RootBody(Shown):
    service: str
    version: str
    docs: str


class HealthBody(Shown):
    status: str
    version: str
    environment: str
    checks: dict[str, str]


class ReadyBody(HealthBody):
    database: str


router = APIRouter(tags=["health"])


def _desk(request: Request) -> Desk:
    if request.url.query:
        raise RequestInvalid.at("", "This call takes no query parameters.")
    desk: Desk = request.app.state.desk
    return desk


@router.get("/", summary="What this is", response_model=RootBody)
def get_root(request: Request) -> Response:
    desk = _desk(request)
    return answer(RootBody(service="keyturn", version=desk.version, docs="/openapi.json"))


@router.get("/healthz", summary="Whether the process lives", response_model=HealthBody)
async def get_health(request: Request) -> Response:
    desk = _desk(request)
    return answer(
        HealthBody(
            status="ok",
            version=desk.version,
            environment=desk.environment,
            checks={"process": "ok"},
        )
    )


@router.get(
    "/readyz",
    summary="Whether this node can serve",
    response_model=ReadyBody,
    responses={503: {"model": ReadyBody, "description": "This node cannot serve now"}},
)
def get_readiness(request: Request) -> Response:
    desk = _desk(request)
    readiness = desk.check()
    return answer(
        ReadyBody(
            status="ok" if readiness.is_ready else "unavailable",
            version=desk.version,
            environment=desk.environment,
            checks=readiness.checks,
            database=readiness.checks.get("database", "unknown"),
        ),
        status=200 if readiness.is_ready else 503,
    )


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def get_metrics(request: Request) -> Response:
    desk = _desk(request)
    desk.metrics.waiting_requests.set(desk.meter.waiting)
    return Response(desk.metrics.exposition(), media_type=MEDIA_TYPE)
