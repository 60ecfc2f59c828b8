"""Section 3: carrying a token."""

import json
from urllib.parse import quote

import httpx2
import pytest

from tests.acceptance import forgery
from tests.acceptance.api import Api, Issued, Site, Workspace, expect, label
from tests.acceptance.raw import RawConnection

CHALLENGE = 'Bearer realm="keyturn"'


def raw_get(site: Site, *headers: tuple[str, str], path: str = "/v1/self") -> httpx2.Response:
    """A call with exactly these credentials."""
    return site.anyone.client.request("GET", path, headers=list(headers))


def twice(token: str) -> str:
    return quote("".join(f"%{ord(letter):02X}" for letter in token), safe="")


@pytest.fixture
def key(home: Workspace) -> Issued:
    return home.admin.create()


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", "Bearer {}"),
        ("authorization", "bearer {}"),
        ("Authorization", "BEARER   {}"),
        ("X-API-Key", "{}"),
        ("x-api-key", "{}"),
    ],
)
def test_either_header_carries_a_token(site: Site, key: Issued, header: tuple[str, str]) -> None:
    name, form = header
    assert expect(raw_get(site, (name, form.format(key.token))), 200)["key"]["id"] == key.id


def test_both_headers_with_the_same_token_are_fine(site: Site, key: Issued) -> None:
    both = (("Authorization", f"Bearer {key.token}"), ("X-API-Key", key.token))
    assert expect(raw_get(site, *both), 200)["key"]["id"] == key.id


def test_one_header_given_twice_with_the_same_token_is_fine(site: Site, key: Issued) -> None:
    same = (("X-API-Key", key.token), ("X-API-Key", key.token))
    assert expect(raw_get(site, *same), 200)["key"]["id"] == key.id


@pytest.mark.parametrize(
    "names",
    [
        ("Authorization", "X-API-Key"),
        ("X-API-Key", "Authorization"),
        ("Authorization", "Authorization"),
        ("X-API-Key", "X-API-Key"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/self", "/v1/api-keys"])
def test_two_different_tokens_are_refused_wherever_they_stand(
    site: Site, home: Workspace, key: Issued, names: tuple[str, str], path: str
) -> None:
    tokens = (key.token, home.admin.token or "")
    headers = [
        (name, f"Bearer {token}" if name == "Authorization" else token)
        for name, token in zip(names, tokens, strict=True)
    ]
    expect(raw_get(site, *headers, path=path), 400, "credential.ambiguous")


def test_a_good_token_beside_a_bad_one_is_ambiguous_on_verify_too(site: Site, key: Issued) -> None:
    headers = {"Authorization": f"Bearer {key.token}", "X-API-Key": "nonsense"}
    response = site.anyone.call("POST", "/v1/verify", {"api_key": "x"}, headers=headers)
    expect(response, 400, "credential.ambiguous")


def test_another_scheme_is_no_token(site: Site, key: Issued) -> None:
    for value in (f"Basic {key.token}", f"Token {key.token}", key.token, "Bearer"):
        response = raw_get(site, ("Authorization", value))
        expect(response, 401, "credential.missing")
        assert response.headers["www-authenticate"] == CHALLENGE


def test_another_scheme_beside_our_header_does_not_matter(site: Site, key: Issued) -> None:
    both = (("Authorization", "Basic dXNlcjpwYXNz"), ("X-API-Key", key.token))
    assert expect(raw_get(site, *both), 200)["key"]["id"] == key.id


def test_a_token_in_a_cookie_is_no_credential(site: Site, key: Issued) -> None:
    expect(raw_get(site, ("Cookie", f"api_key={key.token}")), 401, "credential.missing")


def test_a_token_in_a_body_is_no_credential(site: Site, key: Issued) -> None:
    body = {"name": "x", "api_key": key.token}
    expect(site.anyone.post("/v1/api-keys", body), 401, "credential.missing")


def test_a_missing_token_is_401_with_the_plain_challenge(site: Site) -> None:
    for path in ("/v1/self", "/v1/api-keys", "/v1/workspaces", "/v1/activity-logs"):
        response = site.anyone.get(path)
        expect(response, 401, "credential.missing")
        assert response.headers["www-authenticate"] == CHALLENGE
    response = site.anyone.post("/v1/verify", {"api_key": "x"})
    expect(response, 401, "credential.missing")
    assert response.headers["www-authenticate"] == CHALLENGE


def bad_tokens(site: Site, home: Workspace) -> dict[str, str]:
    """A token of each kind that is not valid."""
    good = home.admin.create()
    revoked, suspended = home.admin.create(), home.admin.create()
    expect(home.admin.delete(revoked.path), 204)
    expect(home.admin.post(suspended.path + "/suspend"), 200)
    not_yet = home.admin.create(not_before="2999-01-01T00:00:00Z")
    frozen = site.workspace()
    expect(site.operator.patch(f"/v1/workspaces/{frozen.id}", {"status": "suspended"}), 200)
    return {
        **{f"malformed {n}": one for n, one in enumerate(forgery.malformed_tokens(good.token))},
        "unknown": forgery.random_token(),
        "unknown operator": forgery.random_token("operator"),
        "wrong secret": forgery.with_another_secret(good.token),
        "wrong id": forgery.with_another_id(good.token),
        "another environment": forgery.with_another_environment(good.token, "staging"),
        "as an operator": forgery.with_another_environment(good.token, "operator"),
        "operator with a wrong secret": forgery.with_another_secret(site.operator.token or ""),
        "operator as a key": forgery.with_another_environment(site.operator.token or "", "prod"),
        "revoked": revoked.token,
        "revoked, wrong secret": forgery.with_another_secret(revoked.token),
        "suspended": suspended.token,
        "not yet valid": not_yet.token,
        "suspended workspace": frozen.admin.token or "",
    }


def test_all_bad_tokens_are_answered_with_the_same_bytes(site: Site, home: Workspace) -> None:
    calls = [
        ("GET", "/v1/self", None),
        ("GET", "/v1/api-keys", None),
        ("POST", "/v1/api-keys", {"name": ""}),
        ("GET", f"/v1/api-keys/{home.admin.create().id}", None),
        ("POST", "/v1/verify", {"nonsense": 1}),
    ]
    tokens = bad_tokens(site, home)
    request_id = label()
    for method, path, body in calls:
        answers = {}
        for kind, token in tokens.items():
            caller = site.operator.with_token(token).with_headers(X_Request_Id=request_id)
            response = caller.call(method, path, body)
            headers = {n: v for n, v in response.headers.items() if n != "date"}
            answers[kind] = (response.status_code, response.content, tuple(headers.items()))
        assert len(set(answers.values())) == 1
        status, content, _ = answers["revoked"]
        assert status == 401
        assert json.loads(content)["code"] == "credential.invalid"
        challenge = dict(answers["revoked"][2])["www-authenticate"]
        assert challenge == f'{CHALLENGE}, error="invalid_token"'


def test_the_same_refusal_whichever_header_carries_the_bad_token(
    site: Site, home: Workspace
) -> None:
    for token in bad_tokens(site, home).values():
        bearer = raw_get(site, ("Authorization", f"Bearer {token}"), ("X-Request-Id", "same"))
        key = raw_get(site, ("X-API-Key", token), ("X-Request-Id", "same"))
        assert bearer.status_code == key.status_code == 401
        assert bearer.content == key.content


def test_a_missing_permission_is_named(home: Workspace) -> None:
    body = expect(home.holder().api.get("/v1/api-keys"), 403, "permission.missing")
    assert "keys:read" in body["detail"]


def test_a_token_outside_its_networks_is_403(home: Workspace) -> None:
    away = home.holder("keys:read", allowed_cidrs=["10.0.0.0/8", "2001:db8::/32"])
    expect(away.api.get("/v1/api-keys"), 403, "network.denied")
    expect(away.api.get("/v1/self"), 403, "network.denied")
    expect(away.api.post("/v1/verify", {"api_key": "x"}), 403, "network.denied")
    here = home.holder("keys:read", allowed_cidrs=["127.0.0.0/8"])
    expect(here.api.get("/v1/api-keys"), 200)


def test_networks_are_not_told_to_who_has_not_the_secret(site: Site, home: Workspace) -> None:
    away = home.holder("keys:read", allowed_cidrs=["10.0.0.0/8"])
    caller = site.operator.with_token(forgery.with_another_secret(away.token))
    expect(caller.get("/v1/api-keys"), 401, "credential.invalid")


# --- tokens in URLs ------------------------------------------------------------------------------


def spelled_urls(token: str) -> dict[str, str]:
    encoded = "".join(f"%{ord(letter):02x}" for letter in token)
    return {
        "query": f"/v1/self?token={token}",
        "query under a telling name": "/v1/self?api_key=anything",
        "query, name in capitals": "/v1/self?Access_Token=anything",
        "query, name encoded": "/v1/self?api%5Fkey=anything",
        "query, second member": f"/v1/api-keys?limit=3&x={token}",
        "query, as a name": f"/v1/api-keys?{token}",
        "query, encoded": f"/v1/self?x={encoded}",
        "query, double encoded": f"/v1/self?x={twice(token)}",
        "path": f"/v1/api-keys/{token}",
        "path below": f"/v1/api-keys/{token}/usage",
        "path, encoded": f"/v1/api-keys/{encoded}",
        "path, double encoded": f"/v1/api-keys/{twice(token)}",
        "path, partly encoded": f"/v1/api-keys/{token.replace('_', '%5F')}",
        "path, partly double encoded": f"/v1/api-keys/{token.replace('_', '%255F')}",
        "path, partly triple encoded": f"/v1/api-keys/{token.replace('_', '%25255f')}",
        "path, among other text": f"/v1/api-keys/see{token}.html",
        "public": f"/healthz?x={token}",
        "root": f"/?{token}",
        "metrics": f"/metrics?key={token}",
        "document": f"/openapi.json?key={token}",
        "unknown route": f"/nothing/here/{token}",
        "verify": f"/v1/verify?api_key={token}",
    }


def test_a_token_in_a_url_is_refused_everywhere_and_first(site: Site, key: Issued) -> None:
    callers = [
        site.anyone,
        site.operator,
        site.operator.with_token("nonsense"),
        site.anyone.with_headers(Authorization="Bearer a", X_API_Key="b"),
    ]
    for place, url in spelled_urls(key.token).items():
        for caller in callers:
            for method in ("GET", "POST", "DELETE"):
                response = caller.call(method, url)
                assert response.status_code == 400, place
                expect(response, 400, "credential.in_url")
                assert forgery.secret_of(key.token) not in response.text, place
                assert forgery.secret_of(key.token) not in str(response.headers), place


def test_a_token_of_anyone_is_refused_in_a_url(site: Site) -> None:
    for token in (forgery.random_token(), forgery.random_token(brand="acme")):
        expect(site.operator.get(f"/v1/api-keys/{token}"), 400, "credential.in_url")
        wrong = forgery.with_a_wrong_checksum(token)
        expect(site.operator.get(f"/v1/api-keys/{wrong}"), 400, "credential.in_url")


def test_a_key_id_in_a_url_is_no_token(home: Workspace, key: Issued) -> None:
    expect(home.admin.get(key.path), 200)
    spelled = key.body["hint"].rpartition("_")[2]
    assert expect(home.admin.get(f"/v1/api-keys/{spelled}"), 200)["id"] == key.id


def test_a_token_in_a_url_is_recorded_under_its_key_without_its_secret(
    home: Workspace, key: Issued, site: Site
) -> None:
    urls = {n: u for n, u in spelled_urls(key.token).items() if "anything" not in u}
    for name, url in urls.items():
        site.anyone.with_headers(X_Request_Id=name.replace(" ", "-").replace(",", "")).call(
            "GET", url
        )
    found = home.requests(len(urls), key_id=key.id)
    assert len(found) == len(urls)
    for one in found:
        assert not one["valid"]
        assert one["code"] == "credential_in_url"
        assert one["method"] == "GET"
        assert one["ip"] == "127.0.0.1"
        assert forgery.secret_of(key.token) not in json.dumps(one)
    by_id = {one["request_id"]: one["path"] for one in found}
    hint = key.body["hint"]
    assert by_id["path"] == by_id["path-encoded"] == by_id["path-double-encoded"]
    assert by_id["path"] == f"/v1/api-keys/{hint}[redacted]"
    assert by_id["query"] == "/v1/self"
    assert expect(home.admin.get(key.path), 200)["last_used_at"] is None


def test_a_token_in_a_url_stands_in_no_log_however_it_was_spelled(site: Site, key: Issued) -> None:
    for url in spelled_urls(key.token).values():
        site.anyone.call("GET", url)
    site.operator.call("GET", "/v1/self", headers={"User-Agent": key.token})
    assert forgery.secret_of(key.token) not in site.logged()


def test_a_forged_token_in_a_url_poisons_no_key(home: Workspace, key: Issued, site: Site) -> None:
    site.anyone.get(f"/v1/api-keys/{forgery.with_another_secret(key.token)}")
    assert home.settled_requests(key_id=key.id) == []


def test_a_path_in_absolute_form_is_judged_alike(site: Site, key: Issued) -> None:
    with RawConnection(site.server.port) as connection:
        connection.request(f"http://localhost/v1/api-keys/{key.token}")
        answer = connection.answer()
    assert (answer.status, answer.code) == (400, "credential.in_url")


def test_who_calls_is_never_taken_from_the_body(home: Workspace, other: Workspace) -> None:
    for member in ("workspace_id", "created_by", "user_id", "actor", "id", "status", "version"):
        body = {"name": "x", member: other.id}
        response = home.admin.post("/v1/api-keys", body)
        expect(response, 422, "request.invalid")


def test_headers_of_other_systems_change_nothing(home: Workspace, other: Workspace) -> None:
    claimed: dict[str, str] = {
        "X-Workspace": other.id,
        "X-Verified-Key": other.id,
        "Keyturn-Key-Id": other.id,
        "Keyturn-Workspace-Id": other.id,
        "Keyturn-Scopes": "*",
        "X-Forwarded-User": "admin",
        "X-HTTP-Method-Override": "DELETE",
    }
    limited: Api = home.holder().api
    response = limited.call("GET", "/v1/self", headers=claimed)
    assert expect(response, 200)["workspace_id"] == home.id
    expect(limited.call("GET", "/v1/api-keys", headers=claimed), 403, "permission.missing")
