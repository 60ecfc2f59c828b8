"""Section 5: who may grant what."""

from typing import Any

import pytest

from tests.acceptance.api import Issued, Workspace, expect, label

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


def test_an_admin_grants_every_scope_and_permission(home: Workspace) -> None:
    deputy = home.holder("admin")
    for permission in PERMISSIONS:
        key = deputy.api.create(permissions=[permission], scopes=["anything", "a:*", "*"])
        assert key.body["permissions"] == [permission]


@pytest.mark.parametrize("held", [p for p in PERMISSIONS if p != "admin"])
def test_another_key_grants_only_the_permissions_that_it_holds(home: Workspace, held: str) -> None:
    maker = home.holder("keys:write", held)
    entries = len(home.activity(status="failed"))
    refused = 0
    for asked in PERMISSIONS:
        response = maker.api.post("/v1/api-keys", {"name": "a", "permissions": [asked]})
        if asked in (held, "keys:write"):
            expect(response, 201)
        else:
            body = expect(response, 403, "grant.exceeded")
            assert asked in body["detail"]
            refused += 1
    assert len(home.activity(status="failed")) == entries + refused


@pytest.mark.parametrize(
    ("held", "asked", "may"),
    [
        (["read"], ["read"], True),
        (["read"], ["write"], False),
        (["read"], ["read", "write"], False),
        ([], ["read"], False),
        (["pins:*"], ["pins:publish"], True),
        (["pins:*"], ["pins:*"], True),
        (["pins:*"], ["pins:a:*"], True),
        (["pins:*"], ["pins"], False),
        (["pins:*"], ["pinsx:publish"], False),
        (["pins:publish"], ["pins:*"], False),
        (["pins:*"], ["*"], False),
        (["*"], ["anything", "a:*", "*"], True),
    ],
    ids=str,
)
def test_another_key_grants_only_the_scopes_that_it_holds(
    common: Workspace, held: list[str], asked: list[str], may: bool
) -> None:
    maker = common.holder("keys:write", scopes=held)
    response = maker.api.post("/v1/api-keys", {"name": "a", "scopes": asked})
    expect(response, 201 if may else 403, None if may else "grant.exceeded")


@pytest.mark.parametrize(
    ("held", "asked", "may"),
    [
        ("keys:read", "keys:read@a-prod", True),
        ("keys:read@a-*", "keys:read@a-prod", True),
        ("keys:read@a-*", "keys:read@a-*", True),
        ("keys:read@a-*", "keys:read@ab-*", False),
        ("keys:read@a-*", "keys:read@*", False),
        ("keys:read@a-*", "keys:read", False),
        ("keys:read@a-prod", "keys:read@a-*", False),
        ("keys:read@a-prod", "keys:read@a-prod", True),
        ("keys:read@a-prod", "verify@a-prod", False),
    ],
    ids=str,
)
def test_narrowed_permissions_are_granted_within_their_bounds(
    common: Workspace, held: str, asked: str, may: bool
) -> None:
    maker = common.holder("keys:write", held)
    response = maker.api.post("/v1/api-keys", {"name": "a", "permissions": [asked]})
    expect(response, 201 if may else 403, None if may else "grant.exceeded")


def test_a_narrowed_writer_makes_keys_in_its_slots_alone(home: Workspace) -> None:
    maker = home.holder("keys:write@scheduler-*")
    made = maker.api.create(name="scheduler-prod")
    maker.api.create(service="scheduler-eu", environment="dev")
    for draft in ({"name": "worker-prod"}, {"service": "schedule", "environment": "prod"}):
        expect(maker.api.post("/v1/api-keys", draft), 403, "permission.missing")
    stranger = home.admin.create(name="worker-prod")
    for method, suffix, body in (
        ("PATCH", "", {"name": "x"}),
        ("POST", "/suspend", None),
        ("POST", "/resume", None),
        ("DELETE", "", None),
    ):
        response = maker.api.call(method, stranger.path + suffix, body)
        expect(response, 403, "permission.missing")
        response = maker.api.call(method, made.path + suffix, body)
        assert response.status_code in (200, 204)
    expect(maker.api.put("/v1/slots/scheduler-x", {}), 201)
    expect(maker.api.put("/v1/slots/worker-prod", {}), 403, "permission.missing")
    assert home.key(stranger)["version"] == 1


def test_a_narrowed_reader_sees_its_slots_alone(home: Workspace) -> None:
    reader = home.holder("keys:read@a-*", "requests:read@a-prod", name="reader-dev")
    mine = home.admin.create(name="a-prod")
    theirs = home.admin.create(name="b-prod")
    home.verify(mine.token)
    home.verify(theirs.token)
    home.requests(key_id=theirs.id)
    response = reader.api.get("/v1/api-keys", count="true")
    assert [one["id"] for one in expect(response, 200)] == [mine.id]
    assert response.headers["x-total-count"] == "1"
    response = reader.api.get("/v1/slots", count="true")
    assert [one["name"] for one in expect(response, 200)] == ["a-prod"]
    assert response.headers["x-total-count"] == "1"
    expect(reader.api.get(mine.path), 200)
    expect(reader.api.get(mine.path + "/usage"), 200)
    for path in (theirs.path, theirs.path + "/usage", theirs.path + "/propagation"):
        expect(reader.api.get(path), 403, "permission.missing")
    expect(reader.api.get("/v1/slots/b-prod"), 403, "permission.missing")
    found = expect(reader.api.get("/v1/requests", count="true"), 200)
    assert {one["key_id"] for one in found} == {mine.id}
    assert expect(reader.api.get("/v1/requests", key_id=theirs.id), 200) == []


def test_a_narrowed_verifier_judges_its_slots_alone(home: Workspace) -> None:
    verifier = home.holder("verify@a-*")
    mine, theirs = home.admin.create(name="a-prod"), home.admin.create(name="b-prod")
    assert verifier.api.verify(mine.token)["valid"]
    verdict = verifier.api.verify(theirs.token)
    assert (verdict["code"], verdict["key"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        (["127.0.0.0/16"], True),
        (["127.0.0.1"], True),
        (["127.0.0.0/8"], True),
        (["127.0.0.1", "10.1.0.0/16"], True),
        (["10.0.0.0/7"], False),
        (["192.0.2.0/24"], False),
        (["127.0.0.1", "192.0.2.0/24"], False),
        (["::/0"], False),
        ([], False),
        (None, False),
    ],
    ids=str,
)
def test_a_key_may_not_exceed_its_makers_networks(
    common: Workspace, asked: list[str] | None, may: bool
) -> None:
    maker = common.holder("keys:write", allowed_cidrs=["127.0.0.0/8", "10.0.0.0/8"])
    response = maker.api.post("/v1/api-keys", {"name": "a", "allowed_cidrs": asked})
    expect(response, 201 if may else 403, None if may else "grant.exceeded")


def test_a_key_may_not_outlive_its_maker(home: Workspace) -> None:
    maker = home.holder("keys:write", expires_at="2990-01-01T00:00:00Z")
    for asked, may in (
        ("2989-01-01T00:00:00Z", True),
        ("2990-01-01T00:00:00Z", True),
        ("2990-01-01T00:00:00.000001Z", False),
        (None, False),
    ):
        response = maker.api.post("/v1/api-keys", {"name": "a", "expires_at": asked})
        expect(response, 201 if may else 403, None if may else "grant.exceeded")


WIDER: list[dict[str, Any]] = [
    {"permissions": ["admin"]},
    {"permissions": ["verify"]},
    {"scopes": ["write"]},
    {"scopes": ["*"]},
]


@pytest.mark.parametrize("rights", WIDER, ids=str)
def test_a_wider_key_may_be_contained_but_not_changed(
    home: Workspace, rights: dict[str, Any]
) -> None:
    maker = home.holder("keys:write", scopes=["read"])
    wider = home.admin.create(**rights)
    changes: list[dict[str, Any]] = [
        {"name": "x"},
        {"scopes": []},
        {"permissions": []},
        {"owner": "me"},
    ]
    for change in changes:
        expect(maker.api.patch(wider.path, change), 403, "grant.exceeded")
    assert home.key(wider)["version"] == 1
    expect(maker.api.post(wider.path + "/suspend"), 200)
    assert home.verify(wider.token)["code"] == "suspended"
    expect(maker.api.post(wider.path + "/resume"), 403, "grant.exceeded")
    assert home.verify(wider.token)["code"] == "suspended"
    expect(maker.api.delete(wider.path), 204)
    assert home.key(wider)["status"] == "revoked"


def test_a_change_may_not_grant_more_than_the_changer_holds(home: Workspace) -> None:
    maker = home.holder("keys:write", scopes=["read"], expires_at="2990-01-01T00:00:00Z")
    key = maker.api.create(expires_at="2980-01-01T00:00:00Z", scopes=["read"])
    changes: list[dict[str, Any]] = [
        {"scopes": ["read", "write"]},
        {"permissions": ["verify"]},
        {"permissions": ["keys:read"]},
        {"expires_at": "2991-01-01T00:00:00Z"},
    ]
    for change in changes:
        expect(maker.api.patch(key.path, change), 403, "grant.exceeded")
    assert home.key(key)["version"] == 1
    expect(maker.api.patch(key.path, {"permissions": ["keys:write"]}), 200)


def test_nobody_widens_itself(home: Workspace) -> None:
    maker = home.holder("keys:write", scopes=["read"], allowed_cidrs=["127.0.0.0/8"])
    changes: list[dict[str, Any]] = [
        {"permissions": ["admin"]},
        {"scopes": ["*"]},
        {"allowed_cidrs": []},
        {"allowed_cidrs": ["0.0.0.0/0"]},
    ]
    for change in changes:
        expect(maker.api.patch(maker.path, change), 403, "grant.exceeded")
    assert home.key(maker)["version"] == 1


def test_rights_that_were_taken_away_can_no_longer_be_granted(home: Workspace) -> None:
    maker = home.holder("keys:write", "verify")
    maker.api.create(permissions=["verify"])
    expect(home.admin.patch(maker.path, {"permissions": ["keys:write"]}), 200)
    response = maker.api.post("/v1/api-keys", {"name": "a", "permissions": ["verify"]})
    expect(response, 403, "grant.exceeded")


def test_a_refused_grant_stands_in_the_log_as_failed(home: Workspace) -> None:
    maker, name = home.holder("keys:write"), label()
    caller = maker.api.with_headers(X_Request_Id=name)
    expect(caller.post("/v1/api-keys", {"name": "a", "scopes": ["x"]}), 403, "grant.exceeded")
    (entry,) = home.activity(request_id=name)
    assert (entry["action"], entry["status"]) == ("api_key.created", "failed")
    assert entry["actor_type"] == "api_key"
    assert entry["metadata"]["actor_key_id"] == maker.id
    assert entry["metadata"]["code"] == "grant.exceeded"


def test_a_maker_is_named_as_creator(home: Workspace) -> None:
    maker: Issued = home.holder("keys:write")
    assert maker.api.create().body["created_by"] == maker.id
