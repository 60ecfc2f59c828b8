"""Section 4: what every answer has. And the public routes of section 7."""

import re
from datetime import datetime
from uuid import UUID

import pytest

from tests.acceptance import forgery
from tests.acceptance.api import Api, Site, Workspace, expect, label
from tests.acceptance.raw import RawConnection

PROBLEM = {"type", "title", "status", "detail", "code", "request_id"}
SENTENCE = re.compile(r"[^\n]+\.")


def refusals(site: Site, home: Workspace) -> list[tuple[Api, str, str, object, int]]:
    admin = home.admin
    return [
        (site.anyone, "GET", "/v1/self", None, 401),
        (site.operator.with_token("x"), "GET", "/v1/self", None, 401),
        (home.holder().api, "GET", "/v1/api-keys", None, 403),
        (admin, "GET", "/nothing", None, 404),
        (admin, "GET", "/v1/api-keys/nothing", None, 404),
        (admin, "PUT", "/v1/api-keys", {}, 405),
        (admin, "POST", "/v1/api-keys", {"name": ""}, 422),
        (admin, "POST", "/v1/api-keys", {"name": "a", "nope": 1}, 422),
        (admin, "POST", "/v1/verify", {}, 422),
        (admin, "GET", "/v1/verify", None, 405),
        (admin, "GET", "/healthz?x=1", None, 422),
    ]


def test_every_error_is_a_problem_with_exact_members(site: Site, home: Workspace) -> None:
    for caller, method, path, json, status in refusals(site, home):
        response = caller.call(method, path, json)
        assert response.status_code == status, path
        assert response.headers["content-type"] == "application/problem+json"
        body = response.json()
        assert set(body) == (PROBLEM | {"errors"} if status == 422 else PROBLEM), path
        assert body["status"] == status
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", body["code"])
        assert SENTENCE.fullmatch(body["detail"]), path
        assert body["request_id"] == response.headers["x-request-id"]
        assert response.headers["cache-control"] == "no-store"


def test_every_answer_has_a_request_id_of_its_own(site: Site, home: Workspace) -> None:
    seen = set()
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing", "/v1/self"):
        for _ in range(2):
            seen.add(home.admin.get(path).headers["x-request-id"])
    assert len(seen) == 14
    for one in seen:
        assert UUID(one).version == 7


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 128, "0190", "..", "-"])
def test_a_callers_own_request_id_is_kept(site: Site, home: Workspace, given: str) -> None:
    for path in ("/healthz", "/v1/self", "/nothing"):
        response = home.admin.call("GET", path, headers={"X-Request-Id": given})
        assert response.headers["x-request-id"] == given
    response = home.admin.post("/v1/verify", {"api_key": "x"}, X_Request_Id=given)
    assert response.headers["x-request-id"] == given
    assert expect(response, 200)["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", "ä", "a,b", "a\tb", "{}", "a:b"])
def test_another_text_is_replaced_by_a_new_request_id(home: Workspace, given: str) -> None:
    headers = [(b"X-Request-Id", given.encode("latin-1"))]
    response = home.admin.client.request("GET", "/healthz", headers=headers)
    assert UUID(response.headers["x-request-id"]).version == 7


def test_a_request_id_of_a_tokens_shape_is_replaced(home: Workspace) -> None:
    key = home.admin.create()
    for text in (key.token, forgery.with_a_wrong_checksum(key.token), f"see-{key.token}"):
        response = home.admin.call("GET", "/v1/self", headers={"X-Request-Id": text})
        assert UUID(response.headers["x-request-id"]).version == 7
        body = {"api_key": key.token, "request_id": text}
        response = home.admin.post("/v1/verify", body)
        assert UUID(expect(response, 200)["request_id"]).version == 7


def test_one_request_id_joins_answer_request_and_activity(home: Workspace) -> None:
    name = label("join")
    response = home.admin.post("/v1/api-keys", {"name": "a-prod"}, X_Request_Id=name)
    key = expect(response, 201)
    assert [one["resource_id"] for one in home.activity(request_id=name, action="api_key.created")]
    assert home.activity(request_id=name)[-1]["resource_id"] == key["id"]
    found = home.requests(request_id=name)
    assert [(one["method"], one["path"]) for one in found] == [("POST", "/v1/api-keys")]


def test_a_request_id_is_a_label_and_never_drops_a_duplicate(home: Workspace) -> None:
    key, name = home.admin.create(), label("twice")
    for _ in range(3):
        home.verify(key.token, request_id=name)
    assert len(home.requests(3, request_id=name)) == 3


def test_what_carries_a_token_is_never_stored_by_caches(site: Site) -> None:
    made = site.operator.post("/v1/workspaces", {"name": label()})
    admin = site.operator.with_token(expect(made, 201)["api_key"])
    assert made.headers["cache-control"] == "no-store"
    assert admin.post("/v1/api-keys", {"name": "a"}).headers["cache-control"] == "no-store"
    assert admin.post("/v1/verify", {"api_key": "a"}).headers["cache-control"] == "no-store"


def test_no_answer_tells_what_runs_here(site: Site) -> None:
    response = site.anyone.get("/healthz")
    assert "server" not in response.headers
    assert "x-powered-by" not in response.headers
    assert response.headers["x-content-type-options"] == "nosniff"


def test_errors_never_echo_what_was_sent(home: Workspace) -> None:
    canary = "cAnArY" * 3
    spoiled: list[tuple[str, str, object]] = [
        ("POST", "/v1/api-keys", {"name": 5, "scopes": [f"{canary} x"]}),
        ("POST", "/v1/api-keys", {"name": "a", "allowed_cidrs": [canary]}),
        ("POST", "/v1/api-keys", {"name": "a", "permissions": [canary]}),
        ("POST", "/v1/api-keys", {"name": "a", "expires_at": canary}),
        ("POST", "/v1/api-keys", {"name": "a", "metadata": canary}),
        ("POST", "/v1/api-keys", {"name": "a", "owner": canary * 20}),
        ("POST", "/v1/api-keys", {"service": canary, "environment": "prod"}),
        ("POST", "/v1/verify", {"api_key": "x", "ip": canary}),
        ("POST", "/v1/verify", {"api_key": "x", "runtime": f"{canary} "}),
        ("POST", "/v1/verify", {"api_key": "x", "scopes": [f"{canary} "]}),
        ("POST", "/v1/verify", {"api_key": "x", "scopes": canary}),
        ("GET", f"/v1/api-keys?limit={canary}", None),
        ("GET", f"/v1/api-keys?cursor={canary}", None),
        ("GET", f"/v1/api-keys?status={canary}", None),
        ("GET", f"/v1/requests?since={canary}", None),
        ("GET", f"/v1/requests?ip={canary}", None),
        ("GET", f"/v1/api-keys/{canary}", None),
        ("GET", f"/v1/slots/{canary}", None),
        ("GET", f"/{canary}", None),
    ]
    for method, path, body in spoiled:
        response = home.admin.call(method, path, body)
        assert response.status_code in (404, 422), path
        assert canary not in response.text, path


def test_errors_never_echo_a_secret(home: Workspace) -> None:
    token = home.admin.create().token
    spoiled = [
        {"name": token},
        {token: 1, "name": "a"},
        {"name": "a", "metadata": {token: {"deep": token}}},
        {"name": "a", "scopes": [token]},
        {"name": "a", "permissions": [token]},
        {"name": "a", "allowed_cidrs": [token]},
        {"name": "a", "expires_at": token},
        {"name": "a", "runtimes": [{token: token}]},
    ]
    for body in spoiled:
        response = home.admin.post("/v1/api-keys", body)
        assert response.status_code == 422
        assert forgery.secret_of(token) not in response.text


def test_an_unknown_path_is_404_and_a_known_one_names_its_methods(home: Workspace) -> None:
    expect(home.admin.get("/v1/nothing"), 404, "route.unknown")
    expect(home.admin.get("/v1/api-keys/"), 404, "route.unknown")
    methods = {
        "/v1/api-keys": {"GET", "POST"},
        f"/v1/api-keys/{home.id}": {"GET", "PATCH", "DELETE"},
        "/v1/slots/a-prod": {"GET", "PUT"},
        "/v1/workspaces": {"GET", "POST"},
        f"/v1/workspaces/{home.id}": {"GET", "PATCH"},
        "/v1/self": {"GET"},
        "/v1/verify": {"POST"},
        "/healthz": {"GET"},
        f"/v1/api-keys/{home.id}/suspend": {"POST"},
    }
    for path, allowed in methods.items():
        response = home.admin.call("OPTIONS", path)
        expect(response, 405, "route.method")
        assert set(re.split(r",\s*", response.headers["allow"])) == allowed, path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/leaks/revoke",
        "/v1/forward-auth",
        "/v1/forward-auth/nginx",
        "/v1/revoke_tokens",
    ],
)
def test_what_is_not_built_yet_does_not_exist(home: Workspace, path: str) -> None:
    expect(home.admin.get(path), 404, "route.unknown")
    expect(home.admin.post(path, {}), 404, "route.unknown")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/api-keys/../workspaces",
        "/v1/./api-keys",
        "//v1/api-keys",
        "/v1//api-keys",
        "/v1/api-keys/..%2fworkspaces",
        "/v1/api-keys/%2e%2e/self",
        "/V1/API-KEYS",
        "/v1/api-keys;x=1",
        "/v1/api-keys%00",
    ],
)
def test_another_spelling_of_a_path_is_another_path(
    site: Site, home: Workspace, target: str
) -> None:
    with RawConnection(site.server.port) as connection:
        connection.request(target, f"Authorization: Bearer {home.admin.token}")
        answer = connection.answer()
    assert (answer.status, answer.code) in ((404, "route.unknown"), (404, "key.unknown"))


def test_the_host_header_leads_nowhere(site: Site, home: Workspace) -> None:
    home.admin.create()
    with RawConnection(site.server.port) as connection:
        lines = (
            f"GET /v1/api-keys?limit=1 HTTP/1.1\r\nHost: evil.example\r\n"
            f"X-Forwarded-Host: evil.example\r\nAuthorization: Bearer {home.admin.token}\r\n\r\n"
        )
        connection.send(lines.encode())
        answer = connection.answer()
    assert answer.status == 200
    assert "link" in answer.headers
    assert "evil.example" not in str(answer.headers)


# --- public routes -------------------------------------------------------------------------------


def test_the_public_routes_answer_with_exact_members(site: Site) -> None:
    root = expect(site.anyone.get("/"), 200)
    assert set(root) == {"service", "version", "docs"}
    assert root["service"] == "keyturn"
    health = expect(site.anyone.get("/healthz"), 200)
    assert set(health) == {"status", "version", "environment", "checks"}
    assert health["status"] == "ok"
    assert all(isinstance(word, str) for word in health["checks"].values())
    assert all(isinstance(health[name], str) for name in ("version", "environment"))
    ready = expect(site.anyone.get("/readyz"), 200)
    assert set(ready) == {"status", "version", "environment", "checks", "database"}
    assert ready["status"] == "ok"
    assert isinstance(ready["database"], str)


def test_public_routes_need_no_credential_and_mind_none(site: Site) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json"):
        for caller in (site.anyone, site.operator, site.operator.with_token("nonsense")):
            assert caller.get(path).status_code == 200


def test_public_routes_know_no_query_parameters(site: Site) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json"):
        expect(site.anyone.get(path, verbose="1"), 422, "request.invalid")


def test_metrics_are_prometheus_text_without_tenants(site: Site, home: Workspace) -> None:
    key = home.admin.create(name="canary-prod")
    home.verify(key.token, ip="10.1.2.3", runtime="canary-worker")
    response = site.anyone.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "# TYPE keyturn_verifications_total counter" in response.text
    for private in (home.id, key.id, "canary", "10.1.2.3"):
        assert private not in response.text


def test_times_are_in_utc_with_six_digits(home: Workspace) -> None:
    body = home.admin.create(expires_at="2999-12-31T23:59:59.5+02:00").body
    assert body["expires_at"] == "2999-12-31T21:59:59.500000Z"
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", body[name])
        datetime.fromisoformat(body[name])


def test_garbage_on_the_connection_is_answered_as_an_error_too(site: Site) -> None:
    garbage = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"POST /v1/verify HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/verify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ]
    for data in garbage:
        with RawConnection(site.server.port) as connection:
            connection.send(data)
            answer = connection.answer()
            assert (answer.status, answer.code) == (400, "request.malformed")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-request-id"] == answer.json()["request_id"]
            assert connection.is_closed()
    expect(site.anyone.get("/healthz"), 200)
