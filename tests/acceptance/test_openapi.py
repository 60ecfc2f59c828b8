"""The document: OpenAPI 3.1, and true. (Each answer of the other tests is held against it.)"""

import re
from typing import Any

from fastapi.routing import APIRoute

from keyturn.http.app import RESOURCES
from tests.acceptance.api import Site, Workspace, code_of

OPERATIONS = {
    "GET /", "GET /healthz", "GET /readyz", "GET /metrics",
    "POST /v1/api-keys", "GET /v1/api-keys",
    "GET /v1/api-keys/{id}", "PATCH /v1/api-keys/{id}", "DELETE /v1/api-keys/{id}",
    "POST /v1/api-keys/{id}/suspend", "POST /v1/api-keys/{id}/resume",
    "GET /v1/api-keys/{id}/usage", "GET /v1/api-keys/{id}/propagation",
    "GET /v1/slots", "GET /v1/slots/{slot}", "PUT /v1/slots/{slot}",
    "GET /v1/self",
    "POST /v1/workspaces", "GET /v1/workspaces",
    "GET /v1/workspaces/{id}", "PATCH /v1/workspaces/{id}",
    "POST /v1/verify",
    "GET /v1/requests", "GET /v1/activity-logs",
    "GET /v1/api-keys/{id}/impact", "POST /v1/api-keys/{id}/rotations",
    "GET /v1/rotations", "GET /v1/rotations/{id}",
    "POST /v1/rotations/{id}/complete", "POST /v1/rotations/{id}/rollback",
    "POST /v1/rotations/{id}/extend", "POST /v1/rotations/{id}/brownout",
    "POST /v1/rotations/{id}/runtimes",
    "POST /v1/incidents", "GET /v1/incidents", "GET /v1/incidents/{id}",
    "POST /v1/incidents/{id}/runtimes", "POST /v1/incidents/{id}/replacements",
    "POST /v1/incidents/{id}/close", "GET /v1/incidents/{id}/report",
    "POST /v1/destinations", "GET /v1/destinations",
    "GET /v1/destinations/{name}", "PATCH /v1/destinations/{name}",
    "DELETE /v1/destinations/{name}", "POST /v1/destinations/{name}/prove",
    "GET /v1/deliveries", "GET /v1/deliveries/{id}",
    "POST /v1/deliveries/{id}/retry", "POST /v1/deliveries/{id}/cancel",
    "GET /v1/findings", "GET /v1/findings/{id}", "POST /v1/findings/{id}/acknowledge",
    "POST /v1/staff-changes",
    "POST /v1/channels", "GET /v1/channels",
    "GET /v1/channels/{id}", "PATCH /v1/channels/{id}", "DELETE /v1/channels/{id}",
    "POST /v1/channels/{id}/secrets", "POST /v1/channels/{id}/test",
    "POST /v1/channels/{id}/replay",
    "GET /v1/posture", "GET /v1/posture/evidence",
    "POST /v1/posture/waivers", "GET /v1/posture/waivers", "DELETE /v1/posture/waivers/{id}",
    "GET /v1/messages", "GET /v1/messages/{id}", "POST /v1/messages/{id}/replay",
}  # fmt: skip


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(references(one) for one in value))
    return set()


def test_the_document_has_every_operation_of_the_contract_and_no_other(site: Site) -> None:
    told = {f"{method} {path}" for method, path, _ in site.operator.conformance.operations()}
    assert told == OPERATIONS


def test_every_route_of_the_application_is_in_the_document(site: Site) -> None:
    routed = {
        f"{method} {route.path}"
        for resource in RESOURCES
        for route in resource.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert routed | {"POST /v1/verify"} == OPERATIONS


def test_every_operation_of_the_document_is_routed(site: Site, home: Workspace) -> None:
    for method, path, _ in site.operator.conformance.operations():
        response = home.admin.call(method, path.replace("{id}", home.id), {})
        assert code_of(response) not in ("route.unknown", "route.method"), path


def test_no_path_takes_a_method_that_the_document_does_not_name(
    site: Site, home: Workspace
) -> None:
    for path, operations in site.document["paths"].items():
        target = re.sub(r"\{\w+\}", "x", path)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            if method.lower() not in operations:
                assert home.admin.call(method, target).status_code == 405, f"{method} {path}"


def test_the_document_is_openapi_3_1_and_whole(site: Site) -> None:
    document = site.document
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] == "Keyturn"
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]
    ids = [operation["operationId"] for _, _, operation in site.operator.conformance.operations()]
    assert len(ids) == len(set(ids))
    schemes = document["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"http", "apiKey"}


def test_every_operation_tells_its_summary_its_errors_and_its_security(site: Site) -> None:
    for method, path, operation in site.operator.conformance.operations():
        place = f"{method} {path}"
        assert operation["summary"], place
        problem = operation["responses"]["4XX"]["content"]
        assert list(problem) == ["application/problem+json"], place
        public = "x-keyturn-permission" not in operation
        assert public is not bool(operation.get("security")), place
        if "{" in path:
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path)), place


def test_no_parameter_may_be_null(site: Site) -> None:
    for method, path, operation in site.operator.conformance.operations():
        for parameter in operation.get("parameters", ()):
            place = f"{method} {path} {parameter['name']}"
            assert "null" not in str(parameter["schema"]), place


def test_the_document_tells_how_texts_are_spelled(site: Site) -> None:
    members = site.document["components"]["schemas"]["GivenKey"]["properties"]
    told = {name: one["anyOf"][0] for name, one in members.items()}
    for name in ("name", "service", "environment", "owner", "purpose", "runbook_url"):
        assert "pattern" in told[name], name
    for name in ("scopes", "permissions"):
        assert "pattern" in told[name]["items"], name


def test_every_body_is_a_closed_set_but_a_verification(site: Site) -> None:
    for name, schema in site.document["components"]["schemas"].items():
        if schema.get("type") == "object" and name not in (
            "VerifyBody",
            "VerdictBody",
            "VerifiedKey",
            "ShownDeprecation",
            "ShownGrace",
        ):
            assert schema.get("additionalProperties") is False, name


def test_what_waits_for_later_is_not_in_the_document(site: Site, home: Workspace) -> None:
    text = site.anyone.get("/openapi.json").text
    for word in ("forward-auth", "browser_denied", "freshness_lost"):
        assert word not in text
    assert home.verify(home.admin.create().token)["deprecation"] is None
