"""The OpenAPI 3.1 document: made from the code, `/v1/verify` included."""

import json
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from keyturn.http.effect import EFFECT, declare
from keyturn.http.guard import PERMISSION
from keyturn.http.schema import Problem
from keyturn.http.spelling import ID, POSITION, RUNTIME
from keyturn.http.verify import PATH, VerdictBody, VerifyBody

_PROBLEM = {
    "description": "A refusal, as `code` and `detail` tell",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_DESCRIPTION = """Keyturn keeps API keys safe through their whole life.

Every answer carries `X-Request-Id`. Errors are `application/problem+json` (RFC 9457) with a stable
`code`. A token goes into `Authorization: Bearer` or `X-API-Key`, never into the URL."""


def openapi_document(app: FastAPI) -> str:
    """The document as JSON text, made once."""
    made: str | None = getattr(app.state, "openapi_text", None)
    if made is None:
        made = app.state.openapi_text = json.dumps(_document(app))
    return made


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs", {})
    _, verify_schemas = msgspec.json.schema_components(
        [VerifyBody, VerdictBody], ref_template="#/components/schemas/{name}"
    )
    schemas |= verify_schemas
    schemas["VerifiedKey"]["properties"]["metadata"] = {"type": "object"}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["paths"][PATH] = {"post": _verify_operation()}
    for operations in document["paths"].values():
        for operation in operations.values():
            _finish(operation)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _verify_operation() -> dict[str, Any]:
    return {
        "tags": ["verify"],
        "summary": "Whether a token may do something now",
        "operationId": "verify",
        "description": "200 for every well-formed call of an authorised caller: `valid` tells. "
        "Members that this version does not know are ignored.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/VerifyBody"}}
            },
        },
        "responses": {
            "200": {
                "description": "The verdict",
                "headers": {
                    "Keyturn-Grace": {
                        "description": "Where `grace` is told: its `late_seconds`.",
                        "schema": {"type": "integer", "minimum": 0},
                    }
                },
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/VerdictBody"}}
                },
            }
        },
        "parameters": [
            {
                "name": "Keyturn-Min-Position",
                "in": "header",
                "required": False,
                "description": "The answer is at least as new as this position of the log, an "
                "`as_of` that the caller knows; a node that has not come so far answers 503.",
                "schema": {"type": "string", **POSITION},
            }
        ],
        PERMISSION: "verify",
        "security": [{"bearer": []}, {"key": []}],
    }


def _finish(operation: dict[str, Any]) -> None:
    """Names what every guarded call may answer besides its success."""
    responses = operation["responses"]
    responses.pop("422", None)
    if operation.pop(EFFECT, False):
        declare(operation)
    operation["responses"] = {**responses, "4XX": _PROBLEM, "5XX": _PROBLEM}
    operation.pop("x-keyturn-action", None)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    if PERMISSION in operation:
        permission = operation[PERMISSION]
        # A verification is recorded under what it asks about, not under who asks.
        headers = _HEADERS[:-1] if operation["operationId"] == "verify" else _HEADERS
        operation["parameters"] = [*operation.get("parameters", []), *headers]
        text = operation.get("description", "")
        operation["description"] = f"{text}\n\nPermission: `{permission}`.".strip()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A header or a query member may be left out, but never be null: it would be that word."""
    meant: list[dict[str, Any]] = [
        one for one in schema.get("anyOf", ()) if one != {"type": "null"}
    ]
    if len(meant) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "anyOf"} | meant[0]


_HEADERS = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string", **keywords},
    }
    for name, text, keywords in (
        ("X-Request-Id", "Joins this call with what is recorded of it.", {}),
        (
            "Keyturn-Workspace",
            "The workspace's id; operators need it where there are several.",
            ID,
        ),
        ("Keyturn-Runtime", "The workload that calls.", RUNTIME),
    )
]
