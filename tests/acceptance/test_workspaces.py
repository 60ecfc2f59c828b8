"""Section 5: workspaces, their operators, and gateway credentials."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance import forgery
from tests.acceptance.api import (
    Api,
    Site,
    Workspace,
    code_of,
    expect,
    expect_invalid,
    label,
    open_site,
)
from tests.acceptance.servers import Installation, on_one_engine, serving, until

MEMBERS = {
    "id", "name", "status", "networks", "rotation_policy", "reveal", "grace_seconds", "created_at",
    "updated_at", "version",
}  # fmt: skip


def test_a_workspace_comes_with_its_first_administrator(site: Site) -> None:
    name = label("acme")
    response = site.operator.post("/v1/workspaces", {"name": name})
    body = expect(response, 201)
    assert set(body) == MEMBERS | {"api_key"}
    assert (body["name"], body["status"], body["networks"]) == (name, "active", [])
    assert (body["reveal"], body["grace_seconds"]) == ("always", 0)
    assert response.headers["location"] == f"/v1/workspaces/{body['id']}"
    assert response.headers["etag"] == '"1"'
    told = expect(site.operator.with_token(body["api_key"]).get("/v1/self"), 200)
    assert (told["workspace_id"], told["permissions"]) == (body["id"], ["admin"])


def test_operators_read_and_change_workspaces(site: Site, home: Workspace) -> None:
    path = f"/v1/workspaces/{home.id}"
    body = expect(site.operator.get(path), 200)
    assert set(body) == MEMBERS
    listed = expect(site.operator.get("/v1/workspaces", limit=1_000), 200)
    assert body in listed
    networks = [{"name": "office", "cidrs": ["192.0.2.0/24"]}]
    response = site.operator.patch(path, {"name": "renamed", "networks": networks})
    changed = expect(response, 200)
    assert (changed["name"], changed["networks"], changed["version"]) == ("renamed", networks, 2)
    assert response.headers["etag"] == '"2"'
    assert "keyturn-propagation" in response.headers
    expect(site.operator.patch(path, {"name": "b"}, If_Match='"1"'), 412, "version.moved")
    expect(site.operator.patch(path, {"name": "b"}, If_Match='"2"'), 200)


@on_one_engine
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({}, ""),
        ({"name": ""}, "/name"),
        ({"name": "a" * 256}, "/name"),
        ({"status": "closed"}, "/status"),
        ({"networks": [{"name": "a", "cidrs": []}]}, "/networks/0/cidrs"),
        ({"networks": [{"name": "a b", "cidrs": ["10.0.0.0/8"]}]}, "/networks/0/name"),
        ({"networks": [{"name": "a", "cidrs": ["x"]}]}, "/networks/0/cidrs/0"),
        ({"networks": [{"name": "a", "cidrs": ["10.0.0.0/8"]}] * 2}, "/networks"),
        ({"id": "x"}, "/id"),
    ],
)
def test_a_wrong_change_of_a_workspace_is_422(
    site: Site, common: Workspace, change: dict[str, Any], pointer: str
) -> None:
    before = expect(site.operator.get(f"/v1/workspaces/{common.id}"), 200)
    expect_invalid(site.operator.patch(f"/v1/workspaces/{common.id}", change), pointer)
    assert expect(site.operator.get(f"/v1/workspaces/{common.id}"), 200) == before


def test_a_wrong_workspace_is_not_made(site: Site) -> None:
    for draft, pointer in (({}, "/name"), ({"name": ""}, "/name"), ({"name": 5}, "/name")):
        expect_invalid(site.operator.post("/v1/workspaces", draft), pointer)


def test_an_unknown_workspace_is_404(site: Site) -> None:
    for id_ in (str(uuid4()), "x", "0" * 22):
        expect(site.operator.get(f"/v1/workspaces/{id_}"), 404, "workspace.unknown")
        response = site.operator.patch(f"/v1/workspaces/{id_}", {"name": "a"})
        expect(response, 404, "workspace.unknown")


def test_workspaces_are_for_operators_alone(home: Workspace, other: Workspace) -> None:
    for id_ in (home.id, other.id, str(uuid4())):
        expect(home.admin.get(f"/v1/workspaces/{id_}"), 403, "permission.missing")
        response = home.admin.patch(f"/v1/workspaces/{id_}", {"status": "suspended"})
        expect(response, 403, "permission.missing")
    expect(home.admin.get("/v1/workspaces"), 403, "permission.missing")
    expect(home.admin.post("/v1/workspaces", {"name": "a"}), 403, "permission.missing")


def test_suspending_a_workspace_suspends_all_its_keys_at_once(
    site: Site, home: Workspace, other: Workspace
) -> None:
    key, stranger = home.admin.create(), other.admin.create()
    path = f"/v1/workspaces/{home.id}"
    assert site.operator.verify(key.token)["valid"]
    assert expect(site.operator.patch(path, {"status": "suspended"}), 200)["status"] == "suspended"
    assert site.operator_in(home).verify(key.token)["code"] == "suspended"
    expect(home.admin.get("/v1/self"), 401, "credential.invalid")
    assert site.operator_in(other).verify(stranger.token)["valid"]
    expect(site.operator.patch(path, {"status": "active"}), 200)
    assert home.verify(key.token)["valid"]
    actions = [one["action"] for one in home.activity(resource_type="workspace")]
    assert actions == ["workspace.created", "workspace.suspended", "workspace.resumed"]


# --- operators -----------------------------------------------------------------------------------

CREATE_AND_LIST = [
    ("POST", "/v1/api-keys", {"name": "a"}),
    ("GET", "/v1/api-keys", None),
    ("GET", "/v1/slots", None),
    ("GET", "/v1/slots/a-prod", None),
    ("PUT", "/v1/slots/a-prod", {}),
    ("GET", "/v1/requests", None),
    ("GET", "/v1/activity-logs", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CREATE_AND_LIST)
def test_an_operator_must_name_one_of_several_workspaces(
    site: Site, home: Workspace, method: str, path: str, body: object
) -> None:
    expect(site.operator.call(method, path, body), 400, "workspace.required")
    assert len(home.all_keys()) == 1


def test_an_operator_acts_in_the_workspace_that_it_names(
    site: Site, home: Workspace, other: Workspace
) -> None:
    operator = site.operator_in(home)
    key = operator.create(name="a-prod")
    assert key.body["workspace_id"] == home.id
    assert {one["workspace_id"] for one in expect(operator.get("/v1/api-keys"), 200)} == {home.id}
    assert len(other.all_keys()) == 1
    (entry,) = home.activity(action="api_key.created", resource_id=key.id)
    told = expect(site.operator.get("/v1/self"), 200)["operator"]
    assert (entry["actor_type"], entry["actor_user_id"]) == ("user", told["id"])
    assert entry["actor_label"] == told["name"]


def test_an_operators_call_that_names_a_key_takes_the_workspace_from_it(
    site: Site, home: Workspace
) -> None:
    key = home.admin.create()
    assert expect(site.operator.get(key.path), 200)["id"] == key.id
    expect(site.operator.patch(key.path, {"name": "b"}), 200)
    expect(site.operator.post(key.path + "/suspend"), 200)
    expect(site.operator.post(key.path + "/resume"), 200)
    expect(site.operator.get(key.path + "/usage"), 200)
    expect(site.operator.get(key.path + "/propagation"), 200)
    assert site.operator.verify(key.token)["valid"]
    expect(site.operator.delete(key.path), 204)
    actors = {one["actor_type"] for one in home.activity(resource_id=key.id)}
    assert actors == {"user", "api_key"}


def test_an_operator_who_names_another_workspace_finds_no_key(
    site: Site, home: Workspace, other: Workspace
) -> None:
    key = home.admin.create()
    wrong = site.operator_in(other)
    expect(wrong.get(key.path), 404, "key.unknown")
    expect(wrong.delete(key.path), 404, "key.unknown")
    assert wrong.verify(key.token)["code"] == "unknown"
    assert home.verify(key.token)["valid"]


def test_a_workspace_that_is_not_there_cannot_be_named(site: Site) -> None:
    for method, path, body in CREATE_AND_LIST:
        caller = site.operator.with_headers(Keyturn_Workspace=str(uuid4()))
        expect(caller.call(method, path, body), 404, "workspace.unknown")
        caller = site.operator.with_headers(Keyturn_Workspace="nonsense")
        expect(caller.call(method, path, body), 422, "request.invalid")


def test_anyone_else_may_name_its_own_workspace_alone(
    site: Site, home: Workspace, other: Workspace
) -> None:
    key = home.admin.create()
    for path in ("/v1/api-keys", "/v1/self", key.path):
        expect(home.admin.with_headers(Keyturn_Workspace=home.id).get(path), 200)
        for foreign in (other.id, str(uuid4()), "nonsense", ""):
            response = home.admin.with_headers(Keyturn_Workspace=foreign).get(path)
            expect(response, 403, "workspace.denied")
    for foreign in (other.id, str(uuid4()), "nonsense"):
        caller = home.admin.with_headers(Keyturn_Workspace=foreign)
        response = caller.post("/v1/verify", {"api_key": key.token})
        expect(response, 403, "workspace.denied")


def test_a_foreign_workspace_is_refused_alike_whether_it_exists_or_not(
    home: Workspace, other: Workspace
) -> None:
    answers = {
        home.admin.with_headers(Keyturn_Workspace=foreign, X_Request_Id="same")
        .get("/v1/api-keys")
        .content
        for foreign in (other.id, str(uuid4()))
    }
    assert len(answers) == 1


def test_one_workspace_need_not_be_named(installation: Installation) -> None:
    with serving(installation) as server:
        site = open_site(server)
        (only,) = expect(site.operator.get("/v1/workspaces"), 200)
        assert only["name"] == "default"
        key = site.operator.create()
        assert key.body["workspace_id"] == only["id"]
        assert len(expect(site.operator.get("/v1/api-keys"), 200)) == 1
        assert site.operator.verify(forgery.random_token())["code"] == "unknown"
        site.workspace()
        expect(site.operator.get("/v1/api-keys"), 400, "workspace.required")
        site.operator.client.close()


def test_a_dismissed_or_expired_operator_is_refused_at_once(
    installation: Installation,
) -> None:
    with serving(installation) as server:
        site = open_site(server)
        second = site.operator.with_token(installation.operator_token_of("second"))
        id_ = expect(second.get("/v1/self"), 200)["operator"]["id"]
        assert installation.command("operators", "revoke", id_).returncode == 0
        expect(second.get("/v1/self"), 401, "credential.invalid")
        expect(second.post("/v1/workspaces", {"name": "a"}), 401, "credential.invalid")
        expect(site.operator.get("/v1/self"), 200)
        site.operator.client.close()


# --- gateway credentials -------------------------------------------------------------------------


def test_a_gateway_verifies_for_every_workspace(
    site: Site, home: Workspace, other: Workspace
) -> None:
    gateway = site.gateway()
    for workspace in (home, other):
        verdict = gateway.verify(workspace.admin.create().token)
        assert verdict["valid"]
        assert verdict["key"]["workspace_id"] == workspace.id
    key = home.admin.create()
    named = gateway.with_headers(Keyturn_Workspace=other.id)
    assert named.verify(key.token)["code"] == "unknown"
    assert expect(gateway.get("/v1/self"), 200)["type"] == "gateway"


def test_a_gateway_may_do_nothing_but_verify(site: Site, home: Workspace) -> None:
    key = home.admin.create(name="a-prod")
    named = {"id": key.id, "slot": "a-prod", "name": "a"}
    gateway = site.gateway().with_headers(Keyturn_Workspace=home.id)
    checked = 0
    for method, path, operation in site.operator.conformance.operations():
        permission = operation.get("x-keyturn-permission")
        if permission in (None, "any", "verify"):
            continue
        target = path.format_map({**named, **({"id": home.id} if "workspaces" in path else {})})
        response = gateway.call(method, target, {} if method != "GET" else None)
        expect(response, 403, "permission.missing")
        checked += 1
    assert checked >= 15
    assert home.key(key)["version"] == 1


def test_operators_tokens_are_no_subject_of_a_verification(site: Site) -> None:
    for token in (site.operator.token, site.gateway().token):
        verdict = site.operator.verify(token or "")
        assert (verdict["code"], verdict["key"]) == ("unknown", None)


def test_requests_of_operators_stand_in_no_workspace(site: Site, home: Workspace) -> None:
    name = label()
    caller: Api = site.operator_in(home).with_headers(X_Request_Id=name)
    response: httpx2.Response = caller.get("/v1/api-keys")
    assert code_of(response) is None
    assert not home.settled_requests(request_id=name)


def test_an_operators_expiry_is_kept(installation: Installation) -> None:
    with serving(installation) as server:
        site = open_site(server)
        token = installation.operator_token_of("brief", "--expires", "1m")
        brief = site.operator.with_token(token)
        assert expect(brief.get("/v1/self"), 200)["expires_at"] is not None
        assert until(lambda: brief.get("/v1/self").status_code == 200)
        site.operator.client.close()


# --- grace ---------------------------------------------------------------------------------------


def test_the_grace_of_a_workspace_is_kept_and_logged(site: Site) -> None:
    home = site.workspace(grace_seconds=30)
    assert home.body["grace_seconds"] == 30
    path = f"/v1/workspaces/{home.id}"
    response = site.operator.patch(path, {"grace_seconds": 0})
    assert expect(response, 200)["grace_seconds"] == 0
    assert response.headers["keyturn-propagation"].startswith("complete; ")
    assert expect(site.operator.get(path), 200)["grace_seconds"] == 0
    assert expect(site.operator.patch(path, {"grace_seconds": 300}), 200)["version"] == 3
    assert [one["action"] for one in home.acts()].count("workspace.updated") == 2


@pytest.mark.parametrize("seconds", [-1, 301, 1.5, "5", True])
def test_a_grace_is_from_0_to_300_seconds(site: Site, home: Workspace, seconds: object) -> None:
    members = {"grace_seconds": seconds}
    expect_invalid(site.operator.patch(f"/v1/workspaces/{home.id}", members), "/grace_seconds")
    response = site.operator.post("/v1/workspaces", {"name": label(), **members})
    expect_invalid(response, "/grace_seconds")
