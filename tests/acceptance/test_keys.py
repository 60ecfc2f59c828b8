"""Section 5: keys are made, read, changed, revoked, suspended and resumed."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance import forgery
from tests.acceptance.api import (
    Issued,
    Site,
    Workspace,
    expect,
    expect_invalid,
    label,
)
from tests.acceptance.servers import on_one_engine, until

MEMBERS = {
    "id", "workspace_id", "name", "service", "environment", "owner", "purpose", "runbook_url",
    "rotation_period_days", "scopes", "permissions", "allowed_cidrs", "metadata", "status", "hint",
    "created_at", "created_by", "not_before", "expires_at", "rotate_by", "last_rotated_at",
    "last_used_at", "updated_at", "revoked_at", "revocation_reason", "version",
}  # fmt: skip
PROPAGATION = re.compile(r"complete; nodes=1; ms=\d+")
FULL: dict[str, Any] = {
    "name": "Scheduler, Prod",
    "service": "scheduler",
    "environment": "prod",
    "scopes": ["read", "pins:*"],
    "permissions": ["keys:read", "verify@scheduler-*"],
    "allowed_cidrs": ["127.0.0.0/8", "2001:db8::/32"],
    "expires_at": "2999-01-01T00:00:00Z",
    "not_before": "2020-01-01T00:00:00Z",
    "metadata": {"team": {"name": "ops", "ids": [1, 2.5, None, True, "ä"]}},
    "owner": "ops@example.com",
    "purpose": "Publishes at night",
    "runbook_url": "https://wiki.example.com/scheduler?x=1#top",
    "rotation_period_days": 90,
    "runtimes": [{"name": "worker", "max_call_interval_seconds": 3600}, {"name": "cron"}],
}

BRIEF_SECONDS = 1.5  # long enough for a call on a busy machine


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


# --- create --------------------------------------------------------------------------------------


def test_a_name_is_enough(home: Workspace) -> None:
    response = home.admin.post("/v1/api-keys", {"name": "scheduler-prod", "scopes": ["read"]})
    body = expect(response, 201)
    assert set(body) == MEMBERS | {"api_key", "deliveries"}
    assert body["deliveries"] == []
    assert response.headers["location"] == f"/v1/api-keys/{body['id']}"
    assert response.headers["etag"] == '"1"'
    assert re.fullmatch(r"kt_prod_[0-9A-Za-z]{71}", body["api_key"])
    assert body["hint"] == body["api_key"][: len("kt_prod_") + 22]
    assert UUID(body["id"]).version == 7
    assert forgery.base62(UUID(body["id"]).int, 22) == forgery.parts(body["api_key"])[1]
    administrator = expect(home.admin.get("/v1/self"), 200)["key"]["id"]
    assert {name: body[name] for name in MEMBERS - {"id", "hint", "created_at", "updated_at"}} == {
        "workspace_id": home.id,
        "name": "scheduler-prod",
        "service": "scheduler",
        "environment": "prod",
        "owner": None,
        "purpose": None,
        "runbook_url": None,
        "rotation_period_days": None,
        "scopes": ["read"],
        "permissions": [],
        "allowed_cidrs": [],
        "metadata": {},
        "status": "active",
        "created_by": administrator,
        "not_before": None,
        "expires_at": None,
        "rotate_by": None,
        "last_rotated_at": None,
        "last_used_at": None,
        "revoked_at": None,
        "revocation_reason": None,
        "version": 1,
    }


def test_every_member_of_a_draft_comes_back(home: Workspace) -> None:
    body = home.admin.create(**FULL).body
    for member in set(FULL) - {"runtimes", "scopes", "permissions", "expires_at", "not_before"}:
        assert body[member] == FULL[member], member
    assert sorted(body["scopes"]) == sorted(FULL["scopes"])
    assert sorted(body["permissions"]) == sorted(FULL["permissions"])
    assert body["expires_at"] == "2999-01-01T00:00:00.000000Z"
    made = datetime.fromisoformat(body["created_at"])
    assert datetime.fromisoformat(body["rotate_by"]) == made + timedelta(days=90)
    slot = expect(home.admin.get("/v1/slots/scheduler-prod"), 200)
    assert slot["runtimes"] == [
        {"name": "worker", "max_call_interval_seconds": 3600},
        {"name": "cron", "max_call_interval_seconds": None},
    ]


def test_the_token_is_answered_once_and_never_again(home: Workspace, site: Site) -> None:
    key = home.admin.create()
    secret = forgery.secret_of(key.token)
    for path in (
        key.path,
        "/v1/api-keys?status=all",
        "/v1/activity-logs",
        "/v1/requests",
        key.path + "/usage",
        key.path + "/propagation",
        "/v1/slots",
    ):
        response = home.admin.get(path)
        assert response.status_code == 200
        assert secret not in response.text
        assert 'api_key":' not in response.text
    assert secret not in key.api.get("/v1/self").text
    assert set(expect(home.admin.get(key.path), 200)) == MEMBERS


def test_no_two_keys_share_a_name_of_any_part(home: Workspace) -> None:
    keys = [home.admin.create(name="same-prod") for _ in range(20)]
    assert len({key.id for key in keys}) == 20
    assert len({forgery.secret_of(key.token) for key in keys}) == 20


@pytest.mark.parametrize(
    ("name", "service", "environment"),
    [
        ("scheduler-prod", "scheduler", "prod"),
        ("scheduler-production", "scheduler", "production"),
        ("a-staging", "a", "staging"),
        ("a-stage", "a", "stage"),
        ("a-dev", "a", "dev"),
        ("a-development", "a", "development"),
        ("a-test", "a", "test"),
        ("a-qa", "a", "qa"),
        ("a-ci", "a", "ci"),
        ("a-preview", "a", "preview"),
        ("a-sandbox", "a", "sandbox"),
        ("a-local", "a", "local"),
        ("scheduler", "scheduler", "default"),
        ("scheduler-blue", "scheduler-blue", "default"),
        ("my-scheduler-prod", "my-scheduler", "prod"),
        ("Scheduler-PROD", "scheduler", "prod"),
        ("My Scheduler!-prod", "my-scheduler", "prod"),
        ("pay.ments/api-prod", "pay-ments-api", "prod"),
        ("prod", "prod", "default"),
        ("a" * 255, "a" * 63, "default"),
        ("x" * 80 + "-prod", "x" * 63, "prod"),
        ("scheduler-prod-eu", "scheduler-prod-eu", "default"),
        ("  scheduler-prod  ", "scheduler", "prod"),
        ("Ärger-prod", "rger", "prod"),
    ],
)
def test_service_and_environment_are_read_from_a_name(
    home: Workspace, name: str, service: str, environment: str
) -> None:
    body = home.admin.create(name=name).body
    assert (body["service"], body["environment"]) == (service, environment)
    assert body["name"] == name.strip()
    assert body["api_key"].startswith(f"kt_{environment}_")


def test_the_name_is_made_of_service_and_environment(home: Workspace) -> None:
    body = home.admin.create(service="scheduler", environment="blue").body
    assert body["name"] == "scheduler-blue"
    assert (body["service"], body["environment"]) == ("scheduler", "blue")
    named = home.admin.create(name="The nightly one", service="scheduler", environment="blue").body
    assert named["name"] == "The nightly one"
    assert (named["service"], named["environment"]) == ("scheduler", "blue")


@on_one_engine
@pytest.mark.parametrize(
    ("draft", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "   "}, "/name"),
        ({"name": "a" * 256}, "/name"),
        ({"name": "-"}, "/name"),
        ({"name": "!!!-prod"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"service": "a"}, "/environment"),
        ({"environment": "prod"}, "/service"),
        ({"service": "A", "environment": "prod"}, "/service"),
        ({"service": "-a", "environment": "prod"}, "/service"),
        ({"service": "a" * 64, "environment": "prod"}, "/service"),
        ({"service": "", "environment": "prod"}, "/service"),
        ({"service": "a", "environment": "Prod"}, "/environment"),
        ({"service": "a", "environment": "pro-d"}, "/environment"),
        ({"service": "a", "environment": "p" * 17}, "/environment"),
        ({"service": "a", "environment": "operator"}, "/environment"),
        ({"name": "a", "scopes": ["has space"]}, "/scopes/0"),
        ({"name": "a", "scopes": ["fine", ""]}, "/scopes/1"),
        ({"name": "a", "scopes": ["a*"]}, "/scopes/0"),
        ({"name": "a", "scopes": ["a:*:b"]}, "/scopes/0"),
        ({"name": "a", "scopes": ["x" * 129]}, "/scopes/0"),
        ({"name": "a", "scopes": ["read\n"]}, "/scopes/0"),
        ({"name": "a", "scopes": [f"s{n}" for n in range(101)]}, "/scopes"),
        ({"name": "a", "permissions": ["root"]}, "/permissions/0"),
        ({"name": "a", "permissions": ["keys:*"]}, "/permissions/0"),
        ({"name": "a", "permissions": ["admin@a-prod"]}, "/permissions/0"),
        ({"name": "a", "permissions": ["activity:read@a-*"]}, "/permissions/0"),
        ({"name": "a", "permissions": ["keys:write@"]}, "/permissions/0"),
        ({"name": "a", "permissions": ["keys:write@A*b"]}, "/permissions/0"),
        ({"name": "a", "allowed_cidrs": ["10.0.0.1/8"]}, "/allowed_cidrs/0"),
        ({"name": "a", "allowed_cidrs": ["10.0.0.0/33"]}, "/allowed_cidrs/0"),
        ({"name": "a", "allowed_cidrs": ["10.0.0.0/8", "nowhere"]}, "/allowed_cidrs/1"),
        ({"name": "a", "allowed_cidrs": ["fe80::1%eth0/64"]}, "/allowed_cidrs/0"),
        ({"name": "a", "allowed_cidrs": [""]}, "/allowed_cidrs/0"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "a", "expires_at": "2999-02-30T00:00:00Z"}, "/expires_at"),
        ({"name": "a", "expires_at": "0000-00-00T00:00:00Z"}, "/expires_at"),
        (
            {
                "name": "a",
                "not_before": "2999-01-02T00:00:00Z",
                "expires_at": "2999-01-01T00:00:00Z",
            },
            "/expires_at",
        ),
        ({"name": "a", "metadata": {"a": "x" * 5_120}}, "/metadata"),
        ({"name": "a", "metadata": {"ä": "ä" * 2_100}}, "/metadata"),
        ({"name": "a", "owner": ""}, "/owner"),
        ({"name": "a", "owner": "x" * 256}, "/owner"),
        ({"name": "a", "purpose": "x" * 1_001}, "/purpose"),
        ({"name": "a", "runbook_url": "javascript:alert(1)"}, "/runbook_url"),
        ({"name": "a", "runbook_url": "ftp://example.com"}, "/runbook_url"),
        ({"name": "a", "runbook_url": "https://user:pw@example.com"}, "/runbook_url"),
        ({"name": "a", "rotation_period_days": 0}, "/rotation_period_days"),
        ({"name": "a", "rotation_period_days": 10**9}, "/rotation_period_days"),
        ({"name": "a", "runtimes": [{"name": "has space"}]}, "/runtimes/0/name"),
        ({"name": "a", "runtimes": [{"name": "a"}, {"name": "a"}]}, "/runtimes"),
        ({"name": "a", "runtimes": [{"name": f"r{n}"} for n in range(257)]}, "/runtimes"),
        (
            {"name": "a", "runtimes": [{"name": "a", "max_call_interval_seconds": 0}]},
            "/runtimes/0/max_call_interval_seconds",
        ),
    ],
)
def test_a_wrong_draft_is_422_names_its_place_and_makes_nothing(
    home: Workspace, draft: dict[str, Any], pointer: str
) -> None:
    before = len(home.acts())
    expect_invalid(home.admin.post("/v1/api-keys", draft), pointer)
    assert len(home.all_keys()) == 1
    assert len(home.acts()) == before
    assert len(expect(home.admin.get("/v1/slots"), 200)) == 1


def test_several_faults_are_told_together(home: Workspace) -> None:
    draft = {"name": "a", "scopes": ["a b", "c", "d e"]}
    expect_invalid(home.admin.post("/v1/api-keys", draft), "/scopes/0", "/scopes/2")


def test_the_longest_of_everything_is_kept(home: Workspace) -> None:
    body = home.admin.create(
        name="n" * 255,
        scopes=[f"s{n}" for n in range(99)] + ["x" * 128],
        metadata={"a": "x" * (4_096 - len('{"a":""}'))},
        owner="o" * 255,
        purpose="p" * 1_000,
    ).body
    assert len(body["scopes"]) == 100
    assert len(body["name"]) == 255


def test_metadata_is_kept_as_it_came(home: Workspace) -> None:
    metadata = {"a": 1, "b": 1.5, "c": [None, True, {"d": "😀"}], "": "", "z": 10**20, "e": 1e300}
    key = home.admin.create(metadata=metadata)
    assert home.key(key)["metadata"] == metadata
    assert home.verify(key.token)["key"]["metadata"] == metadata


def test_networks_are_kept_in_one_spelling(home: Workspace) -> None:
    body = home.admin.create(allowed_cidrs=["10.0.0.1", "2001:DB8:0::/32", "10.0.0.1/32"]).body
    assert body["allowed_cidrs"] == ["10.0.0.1/32", "2001:db8::/32"]


def test_many_keys_may_live_in_one_slot(home: Workspace) -> None:
    keys = [home.admin.create(name="same-prod") for _ in range(4)]
    assert all(home.verify(key.token)["valid"] for key in keys)


# --- read and list -------------------------------------------------------------------------------


def test_a_key_is_read_by_either_spelling_of_its_id(home: Workspace) -> None:
    key = home.admin.create()
    spelled = key.body["hint"].rpartition("_")[2]
    for text in (key.id, key.id.upper(), spelled):
        response = home.admin.get(f"/v1/api-keys/{text}")
        assert expect(response, 200) == {n: key.body[n] for n in MEMBERS}
        assert response.headers["etag"] == '"1"'
    found = expect(home.admin.get("/v1/api-keys", created_by=spelled), 200)
    assert found == []


@pytest.mark.parametrize(
    "id_",
    [
        "00000000-0000-0000-0000-000000000000",
        "0" * 22,
        "z" * 22,
        "x",
        "0" * 23,
        "null",
        "1",
        "{}",
        "0190f5fe7c007a00897a0b0c0d0e0f10",
        "ä",
        "'--",
    ],
)
def test_an_unknown_id_is_404_whatever_is_asked_of_it(home: Workspace, id_: str) -> None:
    path = f"/v1/api-keys/{id_}"
    for method, suffix, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "a"}),
        ("DELETE", "", None),
        ("POST", "/suspend", None),
        ("POST", "/resume", None),
        ("GET", "/usage", None),
        ("GET", "/propagation", None),
    ):
        expect(home.admin.call(method, path + suffix, body), 404, "key.unknown")


def test_lists_hold_active_keys_unless_asked_otherwise(home: Workspace) -> None:
    keys = {name: home.admin.create(name=f"{name}-prod") for name in ("active", "suspended")}
    keys["revoked"] = home.admin.create(name="revoked-prod")
    keys["expired"] = home.admin.create(name="expired-prod", expires_at=soon(BRIEF_SECONDS))
    expect(home.admin.post(keys["suspended"].path + "/suspend"), 200)
    expect(home.admin.delete(keys["revoked"].path), 204)
    assert until(lambda: home.key(keys["expired"])["status"] == "expired")

    def named(**query: str) -> set[str]:
        found = expect(home.admin.get("/v1/api-keys", environment="prod", **query), 200)
        return {one["service"] for one in found}

    assert named() == {"active"}
    for status in ("active", "suspended", "revoked", "expired"):
        assert named(status=status) == {status}
        assert home.key(keys[status])["status"] == status
    assert named(status="all") == set(keys)
    expect_invalid(home.admin.get("/v1/api-keys", status="dead"), "/status")


def test_lists_are_filtered_by_what_is_asked(home: Workspace) -> None:
    maker = home.holder("keys:write", name="maker-dev")
    maker.api.create(name="mine-prod", owner="me")
    home.admin.create(name="theirs-staging", owner="them")

    def named(**query: str) -> set[str]:
        found = expect(home.admin.get("/v1/api-keys", **query), 200)
        return {one["service"] for one in found} - {"administrator"}

    assert named() == {"maker", "mine", "theirs"}
    assert named(service="mine") == {"mine"}
    assert named(environment="staging") == {"theirs"}
    assert named(owner="me") == {"mine"}
    assert named(created_by=maker.id) == {"mine"}
    assert named(service="mine", environment="staging") == set()
    assert named(owner="me' OR '1'='1") == set()
    assert named(owner="%") == set()
    expect_invalid(home.admin.get("/v1/api-keys", created_by="nobody"), "/created_by")


# --- change --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", "another name"),
        ("scopes", ["write"]),
        ("scopes", []),
        ("permissions", ["verify"]),
        ("allowed_cidrs", ["10.0.0.0/8"]),
        ("expires_at", "2998-01-01T00:00:00.000000Z"),
        ("metadata", {"a": 1}),
        ("metadata", {}),
        ("owner", "them"),
        ("purpose", "else"),
        ("runbook_url", "http://example.com"),
        ("rotation_period_days", 7),
    ],
)
def test_one_member_is_changed_and_no_other(home: Workspace, member: str, value: object) -> None:
    key = home.admin.create(**FULL)
    before = home.key(key)
    response = home.admin.patch(key.path, {member: value})
    after = expect(response, 200)
    assert set(after) == MEMBERS
    assert after[member] == value
    assert PROPAGATION.fullmatch(response.headers["keyturn-propagation"])
    assert response.headers["etag"] == f'"{after["version"]}"'
    assert home.key(key) == after
    moved = {name for name in after if after[name] != before[name]}
    follows = {"rotate_by"} if member == "rotation_period_days" else set()
    assert moved == {member, "version", "updated_at"} | follows
    assert after["version"] == before["version"] + 1


def test_a_change_to_the_same_is_no_change(home: Workspace) -> None:
    key = home.admin.create(name="a-prod", scopes=["b", "a"])
    entries = len(home.acts())
    after = expect(home.admin.patch(key.path, {"name": "a-prod", "scopes": ["a", "b", "a"]}), 200)
    assert after["version"] == 1
    assert len(home.acts()) == entries


def test_service_and_environment_are_fixed(home: Workspace) -> None:
    key = home.admin.create(name="a-prod")
    for member in ("service", "environment", "not_before", "status", "created_by", "workspace_id"):
        expect_invalid(home.admin.patch(key.path, {member: "b"}), f"/{member}")
    after = expect(home.admin.patch(key.path, {"name": "b-staging"}), 200)
    assert (after["service"], after["environment"]) == ("a", "prod")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({}, ""),
        ({"name": None}, ""),
        ({"name": ""}, "/name"),
        ({"name": "a" * 256}, "/name"),
        ({"scopes": ["a b"]}, "/scopes/0"),
        ({"allowed_cidrs": ["10.0.0.1/8"]}, "/allowed_cidrs/0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"metadata": {"a": "x" * 5_120}}, "/metadata"),
        ({"permissions": ["root"]}, "/permissions/0"),
        ({"owner": "\u0007x"}, "/owner"),
    ],
)
def test_a_wrong_change_is_422_and_changes_nothing(
    home: Workspace, change: dict[str, Any], pointer: str
) -> None:
    key = home.admin.create(name="a-prod", owner="ops")
    entries = len(home.acts())
    expect_invalid(home.admin.patch(key.path, change), pointer)
    assert home.key(key) == {name: key.body[name] for name in MEMBERS}
    assert len(home.acts()) == entries


def test_a_change_without_a_body_is_refused(home: Workspace) -> None:
    key = home.admin.create()
    assert home.admin.patch(key.path).status_code in (400, 422)
    assert home.key(key)["version"] == 1


def test_what_a_change_takes_away_is_gone_at_once(home: Workspace) -> None:
    key = home.admin.create(scopes=["read", "write"], permissions=["keys:read"])
    assert home.verify(key.token, scopes=["write"])["valid"]
    expect(home.admin.patch(key.path, {"scopes": ["read"], "permissions": []}), 200)
    assert home.verify(key.token, scopes=["write"])["code"] == "scope_denied"
    expect(key.api.get("/v1/api-keys"), 403, "permission.missing")
    expect(home.admin.patch(key.path, {"allowed_cidrs": ["10.0.0.0/8"]}), 200)
    assert home.verify(key.token, ip="192.0.2.1")["code"] == "network_denied"
    expect(key.api.get("/v1/self"), 403, "network.denied")


def test_an_ended_key_cannot_be_changed(home: Workspace) -> None:
    revoked, expired = home.admin.create(), home.admin.create(expires_at=soon(BRIEF_SECONDS))
    expect(home.admin.delete(revoked.path), 204)
    assert until(lambda: home.key(expired)["status"] == "expired")
    for key in (revoked, expired):
        before = home.key(key)
        expect(home.admin.patch(key.path, {"name": "b"}), 409, "key.terminal")
        expect(home.admin.patch(key.path, {"expires_at": soon(99)}), 409, "key.terminal")
        expect(home.admin.post(key.path + "/suspend"), 409, "key.terminal")
        expect(home.admin.post(key.path + "/resume"), 409, "key.terminal")
        assert home.key(key) == before


# --- revoke --------------------------------------------------------------------------------------


def test_a_revoked_key_is_dead_when_the_answer_is_there(home: Workspace) -> None:
    key = home.admin.create()
    assert home.verify(key.token)["valid"]
    response = home.admin.delete(key.path)
    assert response.status_code == 204
    assert response.content == b""
    assert PROPAGATION.fullmatch(response.headers["keyturn-propagation"])
    assert home.verify(key.token)["code"] == "revoked"
    expect(key.api.get("/v1/self"), 401, "credential.invalid")
    body = home.key(key)
    assert (body["status"], body["revocation_reason"]) == ("revoked", "other")
    assert body["revoked_at"] == body["updated_at"]
    assert body["version"] == 2


@pytest.mark.parametrize("reason", ["superseded", "unused", "staff_change", "compromised", "other"])
def test_each_reason_is_kept(home: Workspace, reason: str) -> None:
    key = home.admin.create()
    expect(home.admin.delete(f"{key.path}?reason={reason}"), 204)
    assert home.key(key)["revocation_reason"] == reason


@pytest.mark.parametrize("reason", ["", "bored", "OTHER", "other "])
def test_another_reason_is_422_and_revokes_nothing(home: Workspace, reason: str) -> None:
    key = home.admin.create()
    expect_invalid(home.admin.call("DELETE", key.path, params={"reason": reason}), "/reason")
    assert home.verify(key.token)["valid"]


def test_a_second_revocation_answers_204_and_changes_nothing(home: Workspace) -> None:
    key = home.admin.create()
    expect(home.admin.delete(f"{key.path}?reason=unused"), 204)
    before, entries = home.key(key), len(home.acts())
    for query in ("", "?reason=other", "?reason=unused"):
        response = home.admin.delete(key.path + query)
        expect(response, 204)
        assert PROPAGATION.fullmatch(response.headers["keyturn-propagation"])
    assert home.key(key) == before
    assert len(home.acts()) == entries


def test_an_expired_key_may_still_be_revoked(home: Workspace) -> None:
    key = home.admin.create(expires_at=soon(BRIEF_SECONDS))
    assert until(lambda: home.key(key)["status"] == "expired")
    expect(home.admin.delete(key.path), 204)
    assert home.key(key)["status"] == "revoked"


def test_a_key_may_revoke_itself(home: Workspace) -> None:
    key = home.holder("keys:write")
    expect(key.api.delete(key.path), 204)
    expect(key.api.get("/v1/self"), 401, "credential.invalid")


# --- suspend and resume --------------------------------------------------------------------------


def test_suspension_and_its_end_take_effect_at_once(home: Workspace) -> None:
    key = home.admin.create()
    for _ in range(3):
        response = home.admin.post(key.path + "/suspend")
        assert expect(response, 200)["status"] == "suspended"
        assert PROPAGATION.fullmatch(response.headers["keyturn-propagation"])
        assert home.verify(key.token)["code"] == "suspended"
        expect(key.api.get("/v1/self"), 401, "credential.invalid")
        response = home.admin.post(key.path + "/resume")
        assert expect(response, 200)["status"] == "active"
        assert PROPAGATION.fullmatch(response.headers["keyturn-propagation"])
        assert home.verify(key.token)["code"] == "valid"
        expect(key.api.get("/v1/self"), 200)


def test_suspending_twice_is_suspending_once(home: Workspace) -> None:
    key = home.admin.create()
    first = expect(home.admin.post(key.path + "/suspend"), 200)
    assert expect(home.admin.post(key.path + "/suspend"), 200) == first
    assert set(first) == MEMBERS
    assert home.verify(key.token)["code"] == "suspended"
    expect(home.admin.delete(key.path), 204)
    assert home.verify(key.token)["code"] == "revoked"


def test_a_suspended_key_may_be_changed_and_stays_suspended(home: Workspace) -> None:
    key = home.admin.create()
    expect(home.admin.post(key.path + "/suspend"), 200)
    assert expect(home.admin.patch(key.path, {"name": "b"}), 200)["status"] == "suspended"


# --- time ----------------------------------------------------------------------------------------


def test_expiry_follows_from_the_clock_alone(home: Workspace) -> None:
    key = home.admin.create(expires_at=soon(BRIEF_SECONDS))
    assert home.verify(key.token)["valid"]
    assert until(lambda: home.verify(key.token)["code"] == "expired")
    body = home.key(key)
    assert (body["status"], body["version"], body["revoked_at"]) == ("expired", 1, None)
    expect(key.api.get("/v1/self"), 401, "credential.invalid")


def test_a_key_is_not_valid_before_its_time(home: Workspace) -> None:
    key = home.admin.create(not_before=soon(BRIEF_SECONDS))
    assert home.key(key)["status"] == "active"
    assert home.verify(key.token)["code"] == "not_yet_valid"
    expect(key.api.get("/v1/self"), 401, "credential.invalid")
    time.sleep(BRIEF_SECONDS)
    assert until(lambda: home.verify(key.token)["valid"])


# --- preconditions -------------------------------------------------------------------------------

ACTS = [
    ("PATCH", "", {"name": "changed"}),
    ("DELETE", "", None),
    ("POST", "/suspend", None),
    ("POST", "/resume", None),
]


@pytest.mark.parametrize(("method", "suffix", "body"), ACTS)
def test_a_stale_etag_is_412_and_changes_nothing(
    home: Workspace, method: str, suffix: str, body: object
) -> None:
    key = home.admin.create()
    stale = key.etag
    expect(home.admin.patch(key.path, {"name": "b"}), 200)
    before = home.key(key)
    for header in (stale, '"0"', '"99"', '"x"', '""', 'W/"2"', f'{stale}, "99"', "W/" + stale):
        response = home.admin.call(method, key.path + suffix, body, headers={"If-Match": header})
        expect(response, 412, "version.moved")
    assert home.key(key) == before


@pytest.mark.parametrize(("method", "suffix", "body"), ACTS)
@pytest.mark.parametrize("header", ['"2"', "*", '"1", "2"', '"x",W/"2" , "2"', " * "])
def test_a_fitting_etag_lets_a_change_pass(
    home: Workspace, method: str, suffix: str, body: object, header: str
) -> None:
    key = home.admin.create()
    expect(home.admin.patch(key.path, {"name": "b"}), 200)
    headers = {"If-Match": header.strip()}
    response = home.admin.call(method, key.path + suffix, body, headers=headers)
    assert response.status_code in (200, 204)


@pytest.mark.parametrize("header", ["1", '"1', "1, 2", '"1" "2"', "w/x", '"a", *', ","])
def test_what_is_no_etag_is_400_and_changes_nothing(home: Workspace, header: str) -> None:
    key = home.admin.create()
    for method, suffix, body in ACTS:
        response = home.admin.call(method, key.path + suffix, body, headers={"If-Match": header})
        expect(response, 400, "request.malformed")
    assert home.key(key)["version"] == 1


def test_a_stale_etag_of_an_unknown_key_is_404(home: Workspace) -> None:
    path = "/v1/api-keys/00000000-0000-0000-0000-000000000000"
    expect(home.admin.delete(path, If_Match='"7"'), 404, "key.unknown")


# --- propagation ---------------------------------------------------------------------------------


def test_propagation_tells_of_the_last_change(home: Workspace) -> None:
    key = home.admin.create()
    expect(home.admin.patch(key.path, {"name": "b"}), 200)
    body = expect(home.admin.get(key.path + "/propagation"), 200)
    assert body["key_id"] == key.id
    assert body["changed_at"] == home.key(key)["updated_at"]
    assert len(body["nodes"]) == 1
    assert body["position"] <= home.verify(key.token)["as_of"]
    expect(home.admin.delete(key.path), 204)
    assert expect(home.admin.get(key.path + "/propagation"), 200)["position"] > body["position"]


# --- self ----------------------------------------------------------------------------------------


def test_self_tells_a_key_what_it_is(home: Workspace) -> None:
    key: Issued = home.admin.create(**FULL)
    body = expect(key.api.get("/v1/self"), 200)
    assert body["key"] | {"last_used_at": None} == {name: key.body[name] for name in MEMBERS}
    assert body["slot"] == "scheduler-prod"
    assert body["workspace_id"] == home.id
    for member in ("scopes", "permissions", "expires_at"):
        assert body[member] == key.body[member]


def test_self_needs_no_permission_and_tells_operators_too(site: Site, home: Workspace) -> None:
    expect(home.holder().api.get("/v1/self"), 200)
    operator = expect(site.operator.get("/v1/self"), 200)
    assert (operator["type"], operator["key"], operator["workspace_id"]) == ("operator", None, None)


def test_names_are_compared_and_kept_letter_by_letter(home: Workspace) -> None:
    for name in (
        "Zoë-prod",
        "名前",
        "a" + label(),
        "😀 key",
        "O'Brien; DROP TABLE keys;--",
        "<b>x</b>",
    ):
        draft = {"name": name, "service": "a", "environment": "b"}
        assert home.key(home.admin.create(**draft))["name"] == name


def test_a_revocation_sent_again_with_its_first_etag_is_answered_alike(home: Workspace) -> None:
    key = home.admin.create()
    for _ in range(2):
        expect(home.admin.delete(key.path, If_Match=key.etag), 204)


def test_a_reason_in_the_body_of_a_revocation_is_not_overlooked(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.call("DELETE", key.path, {"reason": "compromised"})
    expect_invalid(response, "")
    assert home.key(key)["status"] == "active"


EFFECTIVE_BY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_who_would_not_wait_for_a_revocation_is_told_when_it_is_effective(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.delete(key.path, Prefer="wait=5, respond-async")
    assert expect(response, 202) is None
    assert response.headers["preference-applied"] == "respond-async"
    assert EFFECTIVE_BY.fullmatch(response.headers["keyturn-effective-by"])
    assert home.key(key)["status"] == "revoked"
    again = home.admin.delete(key.path)
    expect(again, 204)
    assert PROPAGATION.fullmatch(again.headers["keyturn-propagation"])
    assert home.verify(key.token)["code"] == "revoked"


def test_who_would_not_wait_is_answered_the_same_body(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.post(key.path + "/suspend", Prefer="respond-async")
    assert expect(response, 202)["status"] == "suspended"
    assert response.headers["etag"] == '"2"'
    changed = home.admin.patch(key.path, {"name": "b"}, Prefer="respond-async")
    assert expect(changed, 202)["name"] == "b"
    resumed = home.admin.post(key.path + "/resume", Prefer="handling=lenient")
    expect(resumed, 200)
    assert PROPAGATION.fullmatch(resumed.headers["keyturn-propagation"])


def test_a_suspension_that_is_replayed_is_effective_too(home: Workspace) -> None:
    key = home.admin.create()
    first = home.admin.post(key.path + "/suspend", Idempotency_Key="a", Prefer="respond-async")
    second = home.admin.post(key.path + "/suspend", Idempotency_Key="a")
    assert expect(first, 202) == expect(second, 200)
    assert second.headers["idempotency-replayed"] == "true"
    assert PROPAGATION.fullmatch(second.headers["keyturn-propagation"])


def test_reading_waits_for_nothing(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.call("GET", key.path, headers={"Prefer": "respond-async"})
    expect(response, 200)
    assert "keyturn-propagation" not in response.headers
    assert "preference-applied" not in response.headers
