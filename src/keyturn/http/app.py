"""The control API as one application: its resources, and our errors in place of the framework's."""

from collections.abc import Sequence
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from keyturn.domain.error import (
    Fault,
    KeyturnError,
    MethodNotAllowed,
    RequestInvalid,
    RequestMalformed,
    RouteUnknown,
)
from keyturn.domain.redaction import redact
from keyturn.http import (
    activity,
    channels,
    deliveries,
    destinations,
    findings,
    health,
    impact,
    incident_reports,
    incidents,
    keys,
    messages,
    posture,
    propagation,
    requests,
    rotations,
    self,
    slots,
    staff_changes,
    usage,
    workspaces,
)
from keyturn.http.desk import Desk
from keyturn.http.openapi import openapi_document
from keyturn.http.problem import MEDIA_TYPE, MOST_FAULTS, headers_of, log_cause, problem, status_of

RESOURCES = (
    workspaces,
    slots,
    keys,
    rotations,
    incidents,
    incident_reports,
    destinations,
    deliveries,
    impact,
    propagation,
    self,
    requests,
    usage,
    findings,
    posture,
    staff_changes,
    channels,
    messages,
    activity,
    health,
)


def build_app(desk: Desk) -> FastAPI:
    """Everything but `/v1/verify`, which stands in front of this."""
    app = FastAPI(
        title="Keyturn",
        version=desk.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # A body without a media type is taken for JSON; what is not says so at the door.
        strict_content_type=False,
    )
    app.state.desk = desk
    for resource in RESOURCES:
        app.include_router(resource.router)

    @app.get("/openapi.json", include_in_schema=False)
    def get_openapi(request: Request) -> Response:
        if request.url.query:
            raise RequestInvalid.at("", "This call takes no query parameters.")
        return Response(openapi_document(app), media_type="application/json")

    app.add_exception_handler(KeyturnError, _answer_error)
    app.add_exception_handler(Exception, _answer_unforeseen)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_framework)
    return app


def _respond(request: Request, error: KeyturnError) -> Response:
    return Response(
        problem(error, request.scope["keyturn.request_id"]),
        status_code=status_of(error),
        media_type=MEDIA_TYPE,
        headers=headers_of(error),
    )


def _answer_error(request: Request, error: Exception) -> Response:
    refusal = cast(KeyturnError, error)
    log_cause(refusal, request.scope["keyturn.request_id"])
    return _respond(request, refusal)


def _answer_unforeseen(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _respond(request, KeyturnError("This failed inside Keyturn; its log has the cause."))


def _answer_validation(request: Request, error: Exception) -> Response:
    faults = tuple(
        _fault(one) for one in cast(RequestValidationError, error).errors()[:MOST_FAULTS]
    )
    detail = faults[0].detail if faults else "The request has invalid values."
    where = faults[0].pointer.lstrip("/") if faults else ""
    return _respond(request, RequestInvalid(f"{where}: {detail}" if where else detail, faults))


_PLAIN = {
    "extra_forbidden": "There is no such member.",
    "missing": "This is needed.",
    "model_attributes_type": "This must be a JSON object.",
    "model_type": "This must be a JSON object.",
    "dict_type": "This must be a JSON object.",
}


def _fault(error: dict[str, Any]) -> Fault:
    """A fault in our words. It never repeats a value, and a name only without its secrets."""
    place: Sequence[object] = error["loc"][1:]
    pointer = "".join("/" + _escaped(part) for part in place)
    detail = _PLAIN.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    return Fault(pointer=pointer, detail=detail if detail.endswith(".") else f"{detail}.")


def _escaped(part: object) -> str:
    text = redact(str(part))[:200]
    return text.replace("~", "~0").replace("/", "~1")


def _answer_framework(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    match refusal.status_code:
        case 404:
            return _respond(request, RouteUnknown("There is nothing at this path."))
        case 405:
            # The framework names the methods of the first route alone that has this path.
            allow = _methods_at(request.scope["path"]) or (refusal.headers or {}).get("Allow", "")
            return _respond(request, MethodNotAllowed("This path has no such method.", allow=allow))
        case _:
            return _respond(request, RequestMalformed("The request cannot be read."))


def _methods_at(path: str) -> str:
    """What a path takes, as `Allow` spells it (RFC 9110, 10.2.1)."""
    methods: set[str] = set()
    for resource in RESOURCES:
        for route in resource.router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(path):
                methods |= route.methods or set()
    return ", ".join(sorted(methods))
