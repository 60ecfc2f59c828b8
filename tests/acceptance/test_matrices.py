"""Generated from /openapi.json: which permission opens what, and that tenants never meet."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.api import Api, Site, Workspace, code_of, expect, label

PERMISSIONS = [
    "admin",
    "keys:read",
    "keys:write",
    "rotations:write",
    "incidents:write",
    "requests:read",
    "activity:read",
    "verify",
]
PUBLIC = {("GET", "/"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/api-keys"): {"name": "made-prod"},
    ("PATCH", "/v1/api-keys/{id}"): {"name": "changed"},
    ("PUT", "/v1/slots/{slot}"): {"owner": "ops"},
    ("POST", "/v1/verify"): {"api_key": "nothing"},
    ("POST", "/v1/workspaces"): {"name": "tenant"},
    ("PATCH", "/v1/workspaces/{id}"): {"name": "renamed"},
}


def operations(site: Site) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and permission of each operation, the destroying one last."""
    found = [
        (method, path, operation.get("x-keyturn-permission"))
        for method, path, operation in site.operator.conformance.operations()
    ]
    yield from sorted(found, key=lambda one: (one[0] == "DELETE", one[1], one[0]))


def call(
    caller: Api, method: str, path: str, *, key: str, workspace: str, slot: str
) -> httpx2.Response:
    """An operation on the objects named; its body would be accepted from who has the right."""
    id_ = workspace if path.startswith("/v1/workspaces") else key
    target = path.replace("{id}", id_).replace("{slot}", slot)
    return caller.call(method, target, BODIES.get((method, path)))


def test_every_operation_declares_its_permission_or_is_public(site: Site) -> None:
    for method, path, permission in operations(site):
        if (method, path) in PUBLIC:
            assert permission is None
        else:
            assert permission in {*PERMISSIONS, "any", "operator"}, f"{method} {path}"


def test_every_operation_but_the_public_ones_needs_a_credential(
    site: Site, home: Workspace
) -> None:
    key = home.admin.create(name="a-prod")
    named = {"key": key.id, "workspace": home.id, "slot": "a-prod"}
    for method, path, permission in operations(site):
        missing = call(site.anyone, method, path, **named)
        bad = call(site.anyone.with_token("nonsense"), method, path, **named)
        if permission is None:
            assert missing.status_code == bad.status_code == 200, path
        else:
            expect(missing, 401, "credential.missing")
            expect(bad, 401, "credential.invalid")
    assert home.key(key)["version"] == 1


@pytest.mark.parametrize("held", PERMISSIONS)
def test_each_permission_opens_exactly_its_operations(
    site: Site, home: Workspace, held: str
) -> None:
    caller = home.holder(held).api
    subject = home.admin.create(name="a-prod")
    named = {"key": subject.id, "workspace": home.id, "slot": "a-prod"}
    opened = 0
    for method, path, permission in operations(site):
        response = call(caller, method, path, **named)
        place = f"{method} {path} with {held}"
        if permission in (None, "any", held) or (held == "admin" and permission != "operator"):
            assert response.status_code < 300, f"{place}: {code_of(response)}"
            opened += 1
        else:
            assert response.status_code == 403, place
            body = expect(response, 403, "permission.missing")
            assert permission in body["detail"], place
    assert opened > 4


def test_a_key_without_permissions_opens_nothing_but_itself(site: Site, home: Workspace) -> None:
    caller = home.holder().api
    subject = home.admin.create(name="a-prod")
    named = {"key": subject.id, "workspace": home.id, "slot": "a-prod"}
    for method, path, permission in operations(site):
        status = 200 if permission in (None, "any") else 403
        assert call(caller, method, path, **named).status_code == status, path


def answer_of(response: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    headers = {name: value for name, value in response.headers.items() if name != "date"}
    return response.status_code, response.content, headers


def snapshot(workspace: Workspace) -> Any:
    """All that there is in a workspace, but for what looking at it leaves."""
    return (
        workspace.records(),
        expect(workspace.admin.get("/v1/slots"), 200),
        workspace.activity(),
    )


@pytest.mark.parametrize("role", ["admin", "everything but admin"])
def test_another_tenants_objects_answer_as_those_that_do_not_exist(
    site: Site, home: Workspace, other: Workspace, role: str
) -> None:
    """Every operation by B with A's ids, and with ids of nothing: not a byte differs."""
    mine = home.admin.create(name="secret-prod", owner="ops", scopes=["read"])
    home.verify(mine.token)
    assert home.requests(key_id=mine.id)
    before = snapshot(home)
    caller = other.admin
    if role != "admin":
        caller = other.holder(*(one for one in PERMISSIONS if one != "admin")).api
    caller = caller.with_headers(X_Request_Id=label("same"))
    compared = 0
    for method, path, permission in operations(site):
        if "{id}" not in path:
            continue
        theirs = {"key": mine.id, "workspace": home.id, "slot": "secret-prod"}
        nothing = {"key": str(uuid4()), "workspace": str(uuid4()), "slot": "nothing-prod"}
        found, missing = (call(caller, method, path, **named) for named in (theirs, nothing))
        assert answer_of(found) == answer_of(missing), f"{method} {path}"
        assert found.status_code == (403 if permission == "operator" else 404)
        compared += 1
    assert compared >= 9
    assert snapshot(home) == before
    assert home.verify(mine.token)["valid"]


def test_another_tenants_ids_and_names_in_filters_find_nothing(
    home: Workspace, other: Workspace
) -> None:
    name = label()
    mine = home.admin.create(name="secret-prod", owner="ops")
    home.verify(mine.token, request_id=name, runtime="worker", ip="192.0.2.7", path="/a")
    home.requests(request_id=name)
    filters: list[tuple[str, dict[str, str]]] = [
        ("/v1/api-keys", {"service": "secret"}),
        ("/v1/api-keys", {"owner": "ops"}),
        ("/v1/api-keys", {"created_by": mine.body["created_by"], "status": "all"}),
        ("/v1/slots", {"service": "secret"}),
        ("/v1/slots", {"owner": "ops"}),
        ("/v1/requests", {"key_id": mine.id}),
        ("/v1/requests", {"request_id": name}),
        ("/v1/requests", {"runtime": "worker"}),
        ("/v1/requests", {"ip": "192.0.2.0/24"}),
        ("/v1/requests", {"path": "/a"}),
    ]
    for path, query in filters:
        assert len(expect(home.admin.get(path, **query), 200)) >= 1
        assert expect(other.admin.get(path, **query), 200) == []
    for query in ({"resource_id": mine.id}, {"actor": mine.body["created_by"]}):
        assert home.activity(**query)
        assert other.activity(**query) == []


def test_another_tenants_slot_is_one_that_does_not_exist(home: Workspace, other: Workspace) -> None:
    home.admin.create(name="secret-prod", owner="ops")
    before = snapshot(home)
    caller = other.admin.with_headers(X_Request_Id="same")
    found = caller.get("/v1/slots/secret-prod")
    missing = caller.get("/v1/slots/nothing-prod")
    assert answer_of(found) == answer_of(missing)
    made = expect(caller.put("/v1/slots/secret-prod", {}), 201)
    assert (made["workspace_id"], made["owner"]) == (other.id, None)
    assert snapshot(home) == before


def test_another_tenants_token_is_unknown_to_a_verifier(home: Workspace, other: Workspace) -> None:
    for workspace in (home, other):
        key = workspace.admin.create()
        stranger = other if workspace is home else home
        verdict = stranger.verify(key.token)
        assert (verdict["valid"], verdict["code"], verdict["key"]) == (False, "unknown", None)


def test_the_same_names_in_two_workspaces_never_meet(home: Workspace, other: Workspace) -> None:
    keys = []
    for workspace in (home, other):
        response = workspace.admin.post(
            "/v1/api-keys",
            {"name": "same-prod", "owner": f"of {workspace.id}"},
            Idempotency_Key="the-same",
            X_Request_Id="the-same",
        )
        keys.append(expect(response, 201))
    assert keys[0]["id"] != keys[1]["id"]
    assert [one["owner"] for one in keys] == [f"of {home.id}", f"of {other.id}"]
    for workspace, key in ((home, keys[0]), (other, keys[1])):
        slot = expect(workspace.admin.get("/v1/slots/same-prod"), 200)
        assert slot["owner"] == key["owner"]
        entries = workspace.activity(request_id="the-same", resource_type="api_key")
        assert [one["resource_id"] for one in entries] == [key["id"]]
        found = workspace.requests(request_id="the-same")
        assert len(found) == 1


def test_nothing_of_a_tenant_stands_in_anothers_lists(home: Workspace, other: Workspace) -> None:
    key = home.admin.create(name="secret-prod")
    home.verify(key.token)
    home.requests(key_id=key.id)
    for path in ("/v1/api-keys?status=all", "/v1/slots", "/v1/requests", "/v1/activity-logs"):
        text = json.dumps(expect(other.admin.get(path), 200))
        assert key.id not in text
        assert home.id not in text
        assert "secret" not in text
