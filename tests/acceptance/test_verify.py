"""Section 6: verifying."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance import forgery
from tests.acceptance.api import Issued, Site, Workspace, expect, expect_invalid, label
from tests.acceptance.servers import on_one_engine, until

MEMBERS = {"valid", "code", "request_id", "key", "as_of", "deprecation", "grace"}
KEY_MEMBERS = {
    "id", "name", "service", "environment", "workspace_id", "owner", "scopes", "metadata",
}  # fmt: skip

BRIEF_SECONDS = 1.5  # long enough for a call on a busy machine


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_an_allowed_token_is_answered_with_exact_members(home: Workspace) -> None:
    key = home.admin.create(name="a-prod", owner="ops", scopes=["read"], metadata={"x": [1]})
    name = label()
    response = home.admin.post(
        "/v1/verify", {"api_key": key.token, "scopes": ["read"], "request_id": name}
    )
    body = expect(response, 200)
    assert set(body) == MEMBERS
    assert set(body["key"]) == KEY_MEMBERS
    assert body["key"] == {name: key.body[name] for name in KEY_MEMBERS}
    assert (body["valid"], body["code"], body["deprecation"]) == (True, "valid", None)
    assert body["request_id"] == name
    assert type(body["as_of"]) is int
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"


def test_only_the_token_is_required(home: Workspace) -> None:
    assert home.verify(home.admin.create().token)["valid"]
    expect_invalid(home.admin.post("/v1/verify", {"scopes": ["read"]}), "")


def test_a_key_may_verify_itself_and_others_with_one_permission(home: Workspace) -> None:
    verifier, key = home.holder("verify"), home.admin.create()
    assert verifier.api.verify(key.token)["valid"]
    assert verifier.api.verify(verifier.token)["valid"]
    response = key.api.post("/v1/verify", {"api_key": key.token})
    assert "verify" in expect(response, 403, "permission.missing")["detail"]


# --- codes and their order -----------------------------------------------------------------------


def spoil_by_revoking(home: Workspace, key: Issued) -> None:
    expect(home.admin.delete(key.path), 204)


def spoil_by_suspending(home: Workspace, key: Issued) -> None:
    expect(home.admin.post(key.path + "/suspend"), 200)


ORDER: list[tuple[str, dict[str, Any], Callable[[Workspace, Issued], None] | None]] = [
    ("revoked", {"not_before": "2999-01-01T00:00:00Z"}, spoil_by_revoking),
    ("suspended", {"not_before": "2999-01-01T00:00:00Z"}, spoil_by_suspending),
    ("not_yet_valid", {"not_before": "2999-01-01T00:00:00Z"}, None),
    ("network_denied", {}, None),
]


@pytest.mark.parametrize(("code", "draft", "spoil"), ORDER, ids=[code for code, *_ in ORDER])
def test_the_first_reason_that_applies_is_the_answer(
    home: Workspace,
    code: str,
    draft: dict[str, Any],
    spoil: Callable[[Workspace, Issued], None] | None,
) -> None:
    """Each key has every later reason too: a foreign network, and a scope that it lacks."""
    key = home.admin.create(allowed_cidrs=["10.0.0.0/8"], scopes=["read"], **draft)
    if spoil is not None:
        spoil(home, key)
    verdict = home.verify(key.token, scopes=["write"], ip="192.0.2.1")
    assert (verdict["valid"], verdict["code"]) == (False, code)
    assert verdict["key"]["id"] == key.id
    assert set(verdict["key"]) == KEY_MEMBERS


def test_expiry_comes_before_networks_and_scopes_and_after_suspension(home: Workspace) -> None:
    key = home.admin.create(allowed_cidrs=["10.0.0.0/8"], expires_at=soon(BRIEF_SECONDS))
    frozen = home.admin.create(expires_at=soon(BRIEF_SECONDS))
    spoil_by_suspending(home, frozen)
    assert until(lambda: home.verify(key.token, scopes=["x"])["code"] == "expired")
    assert home.verify(key.token)["key"]["id"] == key.id
    assert home.verify(frozen.token)["code"] == "suspended"
    spoil_by_revoking(home, key)
    assert home.verify(key.token)["code"] == "revoked"


def test_a_suspended_workspace_suspends_and_a_revoked_key_stays_revoked(
    site: Site, home: Workspace
) -> None:
    live, dead = home.admin.create(not_before="2999-01-01T00:00:00Z"), home.admin.create()
    spoil_by_revoking(home, dead)
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"status": "suspended"}), 200)
    operator = site.operator_in(home)
    assert operator.verify(live.token)["code"] == "suspended"
    assert operator.verify(dead.token)["code"] == "revoked"


def test_networks_come_before_scopes(home: Workspace) -> None:
    key = home.admin.create(allowed_cidrs=["10.0.0.0/8"], scopes=["read"])
    assert home.verify(key.token, ip="10.1.1.1", scopes=["write"])["code"] == "scope_denied"
    assert home.verify(key.token, ip="11.1.1.1", scopes=["write"])["code"] == "network_denied"


def test_what_is_no_token_is_malformed(home: Workspace) -> None:
    for text in ["", *forgery.malformed_tokens(home.admin.create().token)]:
        verdict = home.verify(text)
        assert (verdict["valid"], verdict["code"], verdict["key"]) == (False, "malformed", None)


def test_who_has_not_the_secret_learns_nothing_about_a_key(
    site: Site, home: Workspace, other: Workspace
) -> None:
    keys = [home.admin.create(scopes=["read"]) for _ in range(3)]
    spoil_by_revoking(home, keys[0])
    spoil_by_suspending(home, keys[1])
    forged = [forgery.with_another_secret(key.token) for key in keys]
    forged += [forgery.with_another_environment(keys[2].token, "staging")]
    forged += [forgery.with_another_id(keys[2].token), forgery.random_token()]
    forged += [other.admin.create().token, site.operator.token or ""]
    answers = set()
    for token in forged:
        response = home.admin.post(
            "/v1/verify", {"api_key": token, "scopes": ["x"]}, X_Request_Id="same"
        )
        body = expect(response, 200)
        assert (body["valid"], body["code"], body["key"]) == (False, "unknown", None)
        answers.add(response.content)
    # Only the position of the log may tell two answers apart, and nothing has changed meanwhile
    # but what other tests did.
    assert len({answer.partition(b'"as_of"')[0] for answer in answers}) == 1


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cidrs", "ip", "allowed"),
    [
        ([], None, True),
        ([], "192.0.2.1", True),
        (["10.0.0.0/8"], None, False),
        (["10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8"], "11.0.0.0", False),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["10.0.0.0/8"], "::ffff:11.0.0.1", False),
        (["10.0.0.0/8"], "::10.0.0.1", False),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        (["2001:db8::/32"], "2001:DB8:0:0::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["2001:db8::/32"], "10.0.0.1", False),
        (["::/0"], "10.0.0.1", False),
        (["0.0.0.0/0"], "::1", False),
        (["0.0.0.0/0"], None, False),
        (["::ffff:10.0.0.0/104"], "10.0.0.1", True),
        (["192.0.2.0/24", "10.0.0.0/8"], "10.0.0.1", True),
    ],
    ids=str,
)
def test_networks_are_judged_by_the_address_given(
    common: Workspace, cidrs: list[str], ip: str | None, allowed: bool
) -> None:
    key = common.admin.create(allowed_cidrs=cidrs)
    code = common.verify(key.token, ip=ip)["code"]
    assert code == ("valid" if allowed else "network_denied")


@on_one_engine
@pytest.mark.parametrize(
    "ip",
    ["", "10.0.0.256", "10.0.0.1:80", "[::1]", "10.1", "010.0.0.1", "fe80::1%eth0", "a.b", "1"],
)
def test_what_is_no_address_is_422(common: Workspace, ip: str) -> None:
    response = common.admin.post("/v1/verify", {"api_key": common.admin.token, "ip": ip})
    expect_invalid(response, "/ip")


def test_the_address_of_the_verifier_itself_is_not_judged(home: Workspace) -> None:
    key = home.admin.create(allowed_cidrs=["127.0.0.0/8"])
    assert home.verify(key.token)["code"] == "network_denied"
    response = home.admin.post(
        "/v1/verify", {"api_key": key.token}, X_Forwarded_For="127.0.0.1", X_Real_IP="127.0.0.1"
    )
    assert expect(response, 200)["code"] == "network_denied"


# --- scopes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "asked", "allowed"),
    [
        (["read"], [], True),
        (["read"], None, True),
        ([], [], True),
        ([], ["read"], False),
        (["read"], ["read"], True),
        (["read"], ["READ"], False),
        (["read"], ["read", "write"], False),
        (["read", "write"], ["write", "read", "read"], True),
        (["read"], ["rea"], False),
        (["pins:*"], ["pins:publish"], True),
        (["pins:*"], ["pins:a:b"], True),
        (["pins:*"], ["pins"], False),
        (["pins:*"], ["pinsx"], False),
        (["pins:*"], ["pins:*"], True),
        (["pins:a:*"], ["pins:a"], False),
        (["pins:a:*"], ["pins:a:b"], True),
        (["pins:a:*"], ["pins:ab:c"], False),
        (["*"], ["anything:at:all"], True),
        (["pins:publish"], ["pins:*"], False),
        (["pins:publish"], ["*"], False),
    ],
    ids=str,
)
def test_every_asked_scope_must_be_held(
    common: Workspace, held: list[str], asked: list[str] | None, allowed: bool
) -> None:
    key = common.admin.create(scopes=held)
    verdict = common.verify(key.token, scopes=asked)
    assert verdict["code"] == ("valid" if allowed else "scope_denied")
    assert verdict["key"]["scopes"] == sorted(held)


def test_what_is_no_scope_is_422(home: Workspace) -> None:
    for scopes, pointer in (
        (["a b"], "/scopes/0"),
        (["a", ""], "/scopes/1"),
        (["a*"], "/scopes/0"),
    ):
        response = home.admin.post("/v1/verify", {"api_key": "x", "scopes": scopes})
        expect_invalid(response, pointer)


# --- bodies --------------------------------------------------------------------------------------


def test_unknown_members_are_ignored(home: Workspace) -> None:
    key = home.admin.create()
    for extra in (
        {"nonsense": {"deep": [1, {"api_key": "other"}]}},
        {"workspace_id": "x", "valid": False, "now": 0},
        {"headers": {"X": "y"}},
        {"headers": [["X", "y"]]},
    ):
        assert home.verify(key.token, **extra)["valid"]


@on_one_engine
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("api_key", None),
        ("api_key", 5),
        ("api_key", ["x"]),
        ("scopes", "read"),
        ("scopes", [5]),
        ("scopes", {"read": True}),
        ("ip", 5),
        ("user_agent", ["x"]),
        ("runtime", 5),
        ("runtime", ""),
        ("runtime", "has space"),
        ("runtime", "x" * 129),
        ("runtime", "ä"),
        ("method", 5),
        ("path", {}),
        ("environment", 5),
        ("request_id", 5),
    ],
    ids=str,
)
def test_a_member_of_another_kind_is_422_at_its_place(
    common: Workspace, member: str, value: object
) -> None:
    body = {"api_key": "x", member: value}
    errors = expect(common.admin.post("/v1/verify", body), 422, "request.invalid")["errors"]
    assert [one["pointer"].split("/")[1] for one in errors] == [member]


def test_the_request_id_of_the_body_goes_before_the_header(home: Workspace) -> None:
    key, outer, inner = home.admin.create(), label("outer"), label("inner")
    response = home.admin.post(
        "/v1/verify", {"api_key": key.token, "request_id": inner}, X_Request_Id=outer
    )
    assert expect(response, 200)["request_id"] == inner
    assert response.headers["x-request-id"] == outer
    assert [one["key_id"] for one in home.requests(request_id=inner)] == [key.id]
    response = home.admin.post("/v1/verify", {"api_key": key.token}, X_Request_Id=outer)
    assert expect(response, 200)["request_id"] == outer


def test_a_request_id_that_is_none_does_not_cost_a_verdict(home: Workspace) -> None:
    key = home.admin.create()
    for text in ("", "has space", "x" * 129, "ä", key.token):
        verdict = home.verify(key.token, request_id=text)
        assert verdict["valid"]
        assert verdict["request_id"] not in ("", text)


# --- as_of ---------------------------------------------------------------------------------------


def test_as_of_never_falls_and_rises_with_each_change(home: Workspace) -> None:
    key = home.admin.create()
    last = home.verify(key.token)["as_of"]
    changes: list[Callable[[], object]] = [
        home.admin.create,
        lambda: home.admin.patch(key.path, {"scopes": ["x"]}),
        lambda: home.admin.post(key.path + "/suspend"),
        lambda: home.admin.post(key.path + "/resume"),
        lambda: home.admin.delete(key.path),
    ]
    for change in changes:
        change()
        told = home.verify(key.token)["as_of"]
        assert told > last
        last = told
    for _ in range(10):
        told = home.verify(key.token)["as_of"]
        assert told >= last
        last = told


def test_a_change_is_in_force_in_the_next_verification(home: Workspace) -> None:
    key = home.admin.create(scopes=["read"])
    for _ in range(10):
        expect(home.admin.patch(key.path, {"scopes": []}), 200)
        assert home.verify(key.token, scopes=["read"])["code"] == "scope_denied"
        expect(home.admin.patch(key.path, {"scopes": ["read"]}), 200)
        assert home.verify(key.token, scopes=["read"])["valid"]


def test_many_wrong_secrets_never_lock_the_owner_out(site: Site, home: Workspace) -> None:
    key = home.admin.create()
    started = time.monotonic()
    for _ in range(300):
        home.verify(forgery.with_another_secret(key.token), ip="192.0.2.1")
        assert time.monotonic() - started < 60
    assert home.verify(key.token, ip="192.0.2.1")["valid"]
    caller = site.operator.with_token(forgery.with_another_secret(home.admin.token or ""))
    for _ in range(50):
        expect(caller.get("/v1/self"), 401, "credential.invalid")
    expect(home.admin.get("/v1/self"), 200)


# --- how new it is -------------------------------------------------------------------------------


def test_an_answer_is_at_least_as_new_as_its_caller_knows(home: Workspace) -> None:
    key = home.admin.create(scopes=["read"])
    expect(home.admin.patch(key.path, {"scopes": []}), 200)
    position = expect(home.admin.get(key.path + "/propagation"), 200)["position"]
    body = {"api_key": key.token, "scopes": ["read"]}
    response = home.admin.post("/v1/verify", body, Keyturn_Min_Position=str(position))
    told = expect(response, 200)
    assert (told["code"], told["grace"]) == ("scope_denied", None)
    assert told["as_of"] >= position
    assert "keyturn-grace" not in response.headers


def test_a_position_that_nobody_has_come_to_is_no_answer(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.post(
        "/v1/verify", {"api_key": key.token}, Keyturn_Min_Position="999999999999999999"
    )
    expect(response, 503, "freshness_lost")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "1" * 19, "\u0661", "1,1"])
def test_a_position_is_one_number(home: Workspace, text: str) -> None:
    key = home.admin.create()
    response = home.admin.call(
        "POST",
        "/v1/verify",
        {"api_key": key.token},
        headers={"Keyturn-Min-Position": text.encode()},  # type: ignore[dict-item]
    )
    expect_invalid(response, "/Keyturn-Min-Position")


def test_a_position_is_judged_after_the_caller(site: Site, home: Workspace) -> None:
    key = home.admin.create()
    headers = {"Keyturn_Min_Position": "x"}
    expect(site.anyone.post("/v1/verify", {}, **headers), 401, "credential.missing")
    expect(key.api.post("/v1/verify", {}, **headers), 403, "permission.missing")
