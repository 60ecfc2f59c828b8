"""Section 7: the activity log."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance import forgery
from tests.acceptance.api import Site, Workspace, expect, expect_invalid, label
from tests.acceptance.servers import on_one_engine

BODY = {"items", "next_cursor", "current_retention_days", "current_retention_label"}
ITEM = {
    "id", "actor_type", "actor_user_id", "actor_label", "action", "category", "resource_type",
    "resource_id", "status", "message", "metadata", "request_id", "retention_days", "expires_at",
    "created_at",
}  # fmt: skip


def test_the_log_has_exact_members(home: Workspace) -> None:
    home.admin.create()
    body = expect(home.admin.get("/v1/activity-logs"), 200)
    assert set(body) == BODY
    assert (body["current_retention_days"], body["current_retention_label"]) == (400, "400 days")
    assert body["next_cursor"] is None
    for item in body["items"]:
        assert set(item) == ITEM
        assert UUID(item["id"]).version == 7
        assert item["category"] in ("security", "configuration", "integration")
        assert item["status"] in ("success", "failed")
        lives = datetime.fromisoformat(item["expires_at"]) - datetime.fromisoformat(
            item["created_at"]
        )
        assert (item["retention_days"], lives) == (400, timedelta(days=400))
        assert item["message"].endswith(".")


def test_each_act_writes_its_own_entry(site: Site, home: Workspace) -> None:
    name = label()
    admin = home.admin.with_headers(X_Request_Id=name)
    key = admin.create(name="a-prod", owner="ops")
    expect(admin.patch(key.path, {"scopes": ["read"]}), 200)
    expect(admin.patch(key.path, {"owner": "dev"}), 200)
    expect(admin.post(key.path + "/suspend"), 200)
    expect(admin.post(key.path + "/resume"), 200)
    expect(admin.delete(f"{key.path}?reason=unused"), 204)
    expect(admin.put("/v1/slots/b-prod", {"owner": "x"}), 201)
    expect(admin.put("/v1/slots/b-prod", {}), 200)
    entries = home.activity(request_id=name)
    told = [(one["action"], one["resource_type"], one["resource_id"]) for one in entries]
    assert told == [
        ("slot.created", "slot", "a-prod"),
        ("api_key.created", "api_key", key.id),
        ("api_key.updated", "api_key", key.id),
        ("slot.updated", "slot", "a-prod"),
        ("api_key.updated", "api_key", key.id),
        ("api_key.suspended", "api_key", key.id),
        ("api_key.resumed", "api_key", key.id),
        ("api_key.revoked", "api_key", key.id),
        ("slot.created", "slot", "b-prod"),
        ("slot.updated", "slot", "b-prod"),
    ]
    me = expect(home.admin.get("/v1/self"), 200)["key"]
    for one in entries:
        assert (one["actor_type"], one["actor_user_id"]) == ("api_key", None)
        assert one["actor_label"] == me["name"]
        assert one["metadata"]["actor_key_id"] == me["id"]
        assert (one["request_id"], one["status"]) == (name, "success")
    assert {one["category"] for one in entries if one["resource_type"] == "api_key"} == {"security"}


def test_a_change_tells_what_it_was_and_is(home: Workspace) -> None:
    key = home.admin.create(scopes=["read"], name="a-prod")
    expect(home.admin.patch(key.path, {"scopes": ["write"], "metadata": {"a": 1}}), 200)
    (entry,) = home.activity(action="api_key.updated")
    changed = entry["metadata"]["changed"]
    assert changed["scopes"] == {"from": ["read"], "to": ["write"]}
    assert set(changed) == {"scopes", "metadata"}
    assert '"a"' not in str(changed["metadata"])


def test_an_operator_is_a_user_with_its_id(site: Site, home: Workspace) -> None:
    (entry,) = home.activity(resource_type="workspace")
    told = expect(site.operator.get("/v1/self"), 200)["operator"]
    assert (entry["actor_type"], entry["actor_user_id"]) == ("user", told["id"])
    assert (entry["action"], entry["resource_id"]) == ("workspace.created", home.id)
    assert entry["category"] == "configuration"
    assert entry["request_id"] is not None


def test_refused_changes_stand_in_the_log_as_failed(home: Workspace) -> None:
    reader = home.holder("keys:read", "activity:read")
    target = home.admin.create(name="target-prod")
    attempts = [
        ("POST", "/v1/api-keys", {"name": "a"}, "api_key.created", ""),
        ("PATCH", target.path, {"name": "a"}, "api_key.updated", target.id),
        ("DELETE", target.path, None, "api_key.revoked", target.id),
        ("POST", target.path + "/suspend", None, "api_key.suspended", target.id),
        ("POST", target.path + "/resume", None, "api_key.resumed", target.id),
        ("PUT", "/v1/slots/target-prod", {}, "slot.updated", "target-prod"),
        ("POST", "/v1/workspaces", {"name": "a"}, "workspace.created", ""),
    ]
    for method, path, body, action, resource_id in attempts:
        name = label()
        caller = reader.api.with_headers(X_Request_Id=name)
        expect(caller.call(method, path, body), 403, "permission.missing")
        (entry,) = home.activity(request_id=name)
        assert (entry["status"], entry["category"]) == ("failed", "security")
        assert (entry["action"], entry["resource_id"]) == (action, resource_id)
        assert entry["metadata"]["code"] == "permission.missing"
        assert entry["metadata"]["actor_key_id"] == reader.id
    assert len(home.activity(status="failed")) == len(attempts)
    assert home.key(target)["version"] == 1


def test_a_refused_change_names_its_object_as_bodies_spell_it(home: Workspace) -> None:
    reader, target = home.holder(), home.admin.create()
    spelled = target.body["hint"].rpartition("_")[2]
    expect(reader.api.delete(f"/v1/api-keys/{spelled}"), 403, "permission.missing")
    assert [one["resource_id"] for one in home.activity(status="failed")] == [target.id]


def test_calls_that_change_nothing_write_nothing(home: Workspace) -> None:
    key = home.admin.create()
    entries = len(home.acts())
    home.verify(key.token)
    for path in ("/v1/api-keys", "/v1/slots", key.path, key.path + "/usage", "/v1/requests"):
        expect(home.admin.get(path), 200)
    home.admin.post("/v1/api-keys", {"name": ""})
    home.admin.delete("/v1/api-keys/none")
    key.api.get("/v1/api-keys")
    assert len(home.acts()) == entries


def test_no_token_stands_in_the_log(home: Workspace) -> None:
    key = home.admin.create(metadata={"a": "b"})
    home.admin.patch(key.path, {"metadata": {"c": "d"}})
    home.holder().api.delete(f"/v1/api-keys/{key.id}", User_Agent=key.token)
    text = home.admin.get("/v1/activity-logs").text
    assert forgery.secret_of(key.token) not in text
    assert forgery.secret_of(home.admin.token or "") not in text


def test_activity_is_filtered(site: Site, home: Workspace) -> None:
    name = label()
    maker = home.holder("keys:write", name="maker-prod")
    made = expect(maker.api.post("/v1/api-keys", {"name": "made-prod"}, X_Request_Id=name), 201)
    expect(home.admin.delete(f"/v1/api-keys/{made['id']}"), 204)
    expect(maker.api.get("/v1/activity-logs"), 403, "permission.missing")
    expect(maker.api.post("/v1/api-keys", {"name": "x", "scopes": ["y"]}), 403, "grant.exceeded")

    def told(**query: Any) -> list[tuple[str, str]]:
        return [(one["action"], one["resource_id"]) for one in home.activity(**query)]

    spelled = made["hint"].rpartition("_")[2]
    created, revoked = ("api_key.created", made["id"]), ("api_key.revoked", made["id"])
    assert told(resource_id=made["id"]) == told(resource_id=spelled) == [created, revoked]
    assert told(action="api_key.revoked") == [revoked]
    assert told(request_id=name) == [("slot.created", "made-prod"), created]
    assert told(status="failed") == [("api_key.created", "")]
    by_maker = [("slot.created", "made-prod"), created, ("api_key.created", "")]
    assert told(actor=maker.id) == by_maker
    assert told(actor="maker-prod") == by_maker
    assert {one for one, _ in told(category="configuration")} == {
        "workspace.created",
        "slot.created",
    }
    assert told(resource_type="workspace") == [("workspace.created", home.id)]
    assert told(resource_type="slot", resource_id="made-prod") == [("slot.created", "made-prod")]
    assert told(since="2999-01-01T00:00:00Z") == told(until="2020-01-01T00:00:00Z") == []
    operator = expect(site.operator.get("/v1/self"), 200)["operator"]
    assert ("workspace.created", home.id) in told(actor=operator["id"])
    times = [one["created_at"] for one in home.activity()]
    assert times == sorted(times)
    assert len(home.activity(since=times[-1])) >= 1
    assert not home.activity(until=times[0])


@on_one_engine
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"category": "x"}, "/category"),
        ({"status": "x"}, "/status"),
        ({"since": "x"}, "/since"),
        ({"until": "x"}, "/until"),
        ({"count": "true"}, "/count"),
    ],
    ids=str,
)
def test_a_filter_of_activity_that_cannot_be_meant_is_422(
    common: Workspace, query: dict[str, str], pointer: str
) -> None:
    expect_invalid(common.admin.get("/v1/activity-logs", **query), pointer)


def test_an_unknown_word_in_a_filter_finds_nothing(home: Workspace) -> None:
    for query in ({"action": "x"}, {"resource_type": "x"}, {"actor": "x"}, {"request_id": "x"}):
        assert home.activity(**query) == []
