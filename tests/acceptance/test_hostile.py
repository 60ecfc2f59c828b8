"""What a hostile caller would try: each was once possible, or is next to something that was."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.api import Site, Workspace, code_of, expect, label
from tests.acceptance.forgery import secret_of, with_another_secret
from tests.acceptance.raw import RawConnection
from tests.acceptance.servers import on_one_engine

BURST, TRICKLE_PER_SECOND = 100, 10  # of calls with a wrong secret that are recorded


def chunked(body: bytes, *trailers: str) -> bytes:
    """The body in one chunk, and what stands behind it."""
    lines = "".join(f"{line}\r\n" for line in trailers).encode("latin-1")
    return f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n" + lines + b"\r\n"


def verify_with_trailers(site: Site, token: str, *trailers: str) -> tuple[int, object]:
    with RawConnection(site.server.port) as connection:
        connection.request(
            "/v1/verify",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            "X-Forwarded-For: 203.0.113.9",
            "Transfer-Encoding: chunked",
            method="POST",
            body=chunked(b'{"api_key": "nothing"}', *trailers),
        )
        answer = connection.answer()
        return answer.status, answer.json().get("code")


def test_a_trailer_names_no_address(engine: str, open_shared_site: Callable[..., Site]) -> None:
    site = open_shared_site(engine, trusted_proxies="1")
    caller = site.workspace().holder("verify", allowed_cidrs=["10.0.0.0/8"])
    denied = (403, "network.denied")
    assert verify_with_trailers(site, caller.token) == denied
    assert verify_with_trailers(site, caller.token, "X-Forwarded-For: 10.9.9.9") == denied


def test_a_trailer_names_no_workspace(site: Site, home: Workspace, other: Workspace) -> None:
    caller = home.holder("verify")
    trailer = f"Keyturn-Workspace: {other.id}"
    assert verify_with_trailers(site, caller.token, trailer) == (200, "malformed")


@on_one_engine
def test_endless_trailers_are_not_kept(site: Site, home: Workspace) -> None:
    caller = home.holder("verify")
    trailers = [f"X-Filler-{number}: {'x' * 1000}" for number in range(20)]
    status, _ = verify_with_trailers(site, caller.token, *trailers)
    assert status == 400


def test_expiry_is_judged_when_the_body_has_arrived(site: Site, home: Workspace) -> None:
    caller = home.holder("verify")
    ends = time.time() + 0.9
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ends)) + f"{ends % 1:.3f}"[1:] + "Z"
    key = home.admin.create(expires_at=stamp)
    body = json.dumps({"api_key": key.token}).encode()
    with RawConnection(site.server.port) as connection:
        connection.request(
            "/v1/verify",
            f"Authorization: Bearer {caller.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            method="POST",
            body=body[:5],
        )
        time.sleep(max(0.0, ends - time.time()) + 0.05)
        connection.send(body[5:])
        answer = connection.answer()
    # Where the machine was too slow, the body came too late altogether.
    assert answer.status == 408 or answer.json()["code"] == "expired"


def test_a_use_that_is_refused_for_its_values_is_recorded(home: Workspace) -> None:
    key = home.holder("keys:read", "keys:write")
    for method, path, body in (
        ("GET", "/v1/api-keys?bogus=1", None),
        ("POST", "/v1/api-keys", {"x": 1}),
        ("POST", "/v1/api-keys", {"name": 5}),
    ):
        name = label()
        response = key.api.call(method, path, body, headers={"X-Request-Id": name})
        assert response.status_code == 422
        (recorded,) = home.requests(request_id=name)
        assert (recorded["key_id"], recorded["valid"]) == (key.id, True)


def test_a_token_as_a_user_agent_leaves_nothing_of_its_secret(home: Workspace) -> None:
    key = home.admin.create()
    home.verify(key.token, user_agent=key.token)
    home.verify(key.token, user_agent="x" * 490 + key.token)
    home.verify(key.token, path="/" + "p" * 1_990 + key.token, method=key.token)
    kept = json.dumps(home.requests(3, key_id=key.id))
    usage = home.admin.get(f"{key.path}/usage").text
    secret = key.token[-49:-6]
    pieces = [secret[start : start + 12] for start in range(len(secret) - 11)]
    assert not any(piece in kept or piece in usage for piece in pieces)


@on_one_engine
def test_a_token_is_found_in_a_url_however_often_it_is_encoded(site: Site, home: Workspace) -> None:
    token = home.admin.create().token
    text = token.replace("_", "%5F")
    for _ in range(12):
        with RawConnection(site.server.port) as connection:
            connection.request(f"/v1/{text}")
            answer = connection.answer()
        assert (answer.status, answer.code) == (400, "credential.in_url")
        text = text.replace("%", "%25")
    assert secret_of(token) not in site.logged()


@on_one_engine
@pytest.mark.parametrize("target", ["http://{}@localhost/healthz", "/healthz#{}"])
def test_a_target_has_no_place_for_a_token_beside_its_path(
    site: Site, home: Workspace, target: str
) -> None:
    with RawConnection(site.server.port) as connection:
        connection.request(target.format(home.admin.create().token))
        assert connection.answer().status == 400


LARGE: dict[str, object] = {
    "scopes": {"name": "x", "scopes": list(range(100_000))},
    "bad scopes": {"name": "x", "scopes": [" "] * 100_000},
    "members": {f"member{number}": 1 for number in range(50_000)},
    "networks": {"name": "x", "allowed_cidrs": ["x"] * 100_000},
    "runtimes": {"name": "x", "runtimes": [1] * 100_000},
}


@on_one_engine
@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE.keys())
def test_a_refusal_is_no_larger_than_a_person_can_read(home: Workspace, body: object) -> None:
    response = home.admin.post("/v1/api-keys", body)
    assert code_of(response) in ("request.invalid", "request.malformed")
    assert len(response.content) < 8_192


@on_one_engine
def test_many_asked_scopes_and_query_parameters_are_refused_at_once(home: Workspace) -> None:
    response = home.admin.post("/v1/verify", {"api_key": "x", "scopes": [" "] * 100_000})
    expect(response, 422, "request.invalid")
    assert len(response.content) < 8_192
    query = "&".join(f"q{number}=1" for number in range(5_000))
    response = home.admin.get(f"/v1/api-keys?{query}")
    expect(response, 422, "request.invalid")
    assert len(response.content) < 8_192


@on_one_engine
def test_a_connection_whose_body_never_ends_is_closed_after_its_answer(site: Site) -> None:
    patience_seconds = 60  # a connection that may idle is kept for longer
    with RawConnection(site.server.port, patience_seconds) as connection:
        connection.request("/v1/self", "Content-Length: 100000", method="POST", body=b"{")
        assert connection.answer().status in (401, 405)
        connection.send(b"x")
        with pytest.raises((EOFError, ConnectionError)):
            connection.answer()


def test_head_is_get_without_a_body(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.call("HEAD", key.path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["etag"] == key.etag


def test_who_knows_only_an_id_cannot_fill_the_log(site: Site, home: Workspace) -> None:
    """A wrong secret is recorded, but beyond a trickle such calls are only counted."""
    forged = with_another_secret(home.admin.create().token)
    anyone = site.anyone.with_token(forged)
    calls, began = 0, time.monotonic()

    def trickled() -> float:
        return BURST + TRICKLE_PER_SECOND * (time.monotonic() - began)

    with ThreadPoolExecutor(4) as pool:
        while calls < 1.2 * trickled() + 50:  # as many as tell, however slow the machine is
            for answer in pool.map(lambda _: anyone.get("/v1/self"), range(40)):
                expect(answer, 401, "credential.invalid")
                calls += 1
    most = trickled() + 1
    found = home.settled_requests(code="unknown")
    assert 50 <= len(found) <= most < calls
    assert {one["key_id"] for one in found} == {None}


def test_a_caller_without_rights_cannot_fill_the_activity_log(home: Workspace) -> None:
    key = home.holder()
    for _ in range(100):
        expect(key.api.post("/v1/api-keys", {"name": "x"}), 403, "permission.missing")
    assert 10 <= len(home.activity(status="failed")) < 90
    assert len(home.requests(100, key_id=key.id, code="permission_missing")) == 100


def test_two_different_idempotency_keys_are_refused(site: Site, home: Workspace) -> None:
    body = b'{"name": "twice"}'
    with RawConnection(site.server.port) as connection:
        connection.request(
            "/v1/api-keys",
            f"Authorization: Bearer {home.admin.token}",
            "Content-Type: application/json",
            "Idempotency-Key: one",
            "Idempotency-Key: two",
            f"Content-Length: {len(body)}",
            method="POST",
            body=body,
        )
        assert (connection.answer().status, home.records()[0]["name"] == "twice") == (422, False)


def test_a_body_without_a_media_type_is_taken_for_json(site: Site, home: Workspace) -> None:
    body = b'{"name": "plain"}'
    with RawConnection(site.server.port) as connection:
        connection.request(
            "/v1/api-keys",
            f"Authorization: Bearer {home.admin.token}",
            f"Content-Length: {len(body)}",
            method="POST",
            body=body,
        )
        assert connection.answer().status == 201
