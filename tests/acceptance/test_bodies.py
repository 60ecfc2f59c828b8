"""Section 4: bodies and queries that cannot be accepted; nothing changes by any of them."""

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import pytest

from tests.acceptance import forgery
from tests.acceptance.api import Api, Site, Workspace, code_of, expect, expect_invalid
from tests.acceptance.raw import RawConnection
from tests.acceptance.servers import on_one_engine

MEBIBYTE = 1 << 20
PATIENCE_SECONDS = 60  # a connection that may idle is kept for longer
POSTS = ["/v1/api-keys", "/v1/verify"]


def send(
    caller: Api, path: str, content: bytes, content_type: str | None = "application/json"
) -> httpx2.Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return caller.call("POST", path, content=content, headers=headers)


@on_one_engine
@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"name": "a",}', id="trailing comma"),
        pytest.param(b"{'name': 'a'}", id="single quotes"),
        pytest.param(b'{"name": "a"} {}', id="two values"),
        pytest.param(b'{"name": "a"}x', id="something behind"),
        pytest.param(b'// a\n{"name": "a"}', id="comment"),
        pytest.param(b"name=a", id="form"),
        pytest.param(b'{"name": "\xff\xfe"}', id="bad UTF-8"),
        pytest.param(b'{"name": "\xc3"}', id="half a character"),
        pytest.param(b'{"name": "\xed\xa0\x80"}', id="surrogate in UTF-8"),
        pytest.param('{"name": "a"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'\xef\xbb\xbf{"name": "a"}', id="byte order mark"),
        pytest.param(b'{"name": "a\nb"}', id="raw control character"),
        pytest.param(b'{"name": "\\q"}', id="bad escape"),
        pytest.param(b'{"name": NaN}', id="NaN"),
        pytest.param(b'{"name": Infinity}', id="infinity"),
        pytest.param(b'{"name": -Infinity}', id="minus infinity"),
        pytest.param(b'{"name": 01}', id="leading zero"),
        pytest.param(b'{"name": "a", "name": "b"}', id="duplicate member"),
        pytest.param(b'{"name": "a", "na\\u006de": "b"}', id="duplicate member, escaped"),
        pytest.param(b"[" * 100_000, id="deep and cut off"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, id="deep objects"),
        pytest.param(b"", id="nothing"),
        pytest.param(b" ", id="white space"),
        pytest.param(b"\x00", id="NUL"),
    ],
)
def test_malformed_json_is_400(home: Workspace, path: str, content: bytes) -> None:
    before = home.records()
    if path == "/v1/verify":
        content = content.replace(b"name", b"api_key").replace(b"na\\u006de", b"api\\u005fkey")
    expect(send(home.admin, path, content), 400, "request.malformed")
    assert home.records() == before


@on_one_engine
def test_what_the_parser_says_is_not_told(home: Workspace) -> None:
    huge = b'{"name": ' + b"9" * 5_000 + b"}"
    body = expect(send(home.admin, "/v1/api-keys", huge), 400, "request.malformed")
    assert "sys." not in body["detail"]


@on_one_engine
@pytest.mark.parametrize("depth", [17, 60, 200, 500, 900, 940, 960, 970, 980, 990, 1_000, 2_000])
def test_nesting_of_any_depth_is_refused_and_harms_nobody(home: Workspace, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for path, body in (
        ("/v1/api-keys", b'{"name": "a", "metadata": {"a": %s}}' % nested),
        ("/v1/api-keys", b'{"name": %s}' % nested),
        ("/v1/api-keys", b'{"name": "a", "unknown": %s}' % nested),
        ("/v1/api-keys", nested),
    ):
        for headers in ({}, {"Idempotency-Key": f"depth-{depth}"}):
            response = home.admin.call(
                "POST", path, content=body, headers={"Content-Type": "application/json", **headers}
            )
            assert response.status_code in (400, 422), depth
    response = send(home.admin, "/v1/verify", b'{"api_key": "a", "more": %s}' % nested)
    assert response.status_code in (200, 400)
    assert len(home.all_keys()) == 1


@on_one_engine
@pytest.mark.parametrize("value", [[], "a", 5, None, True, [{"name": "a"}]], ids=json.dumps)
@pytest.mark.parametrize("path", POSTS)
def test_a_body_that_is_no_object_is_422(home: Workspace, path: str, value: object) -> None:
    response = send(home.admin, path, json.dumps(value).encode())
    expect(response, 422, "request.invalid")


@on_one_engine
@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00x", "a\\ud83d", "\\u0000", "a\\u0007b"])
@pytest.mark.parametrize("member", ["name", "owner", "purpose"])
def test_characters_that_cannot_be_kept_are_422(home: Workspace, member: str, escape: str) -> None:
    given = {"name": '"a-prod"', member: f'"x{escape}"'}
    text = ",".join(f'"{name}": {value}' for name, value in given.items())
    response = send(home.admin, "/v1/api-keys", f"{{{text}}}".encode())
    expect_invalid(response, f"/{member}")


@on_one_engine
@pytest.mark.parametrize("escape", ["\\ud800", "\\u0000"])
def test_metadata_cannot_hold_what_cannot_be_kept(home: Workspace, escape: str) -> None:
    for metadata in (f'{{"a": "{escape}"}}', f'{{"{escape}": 1}}', f'{{"a": [["{escape}"]]}}'):
        body = f'{{"name": "a", "metadata": {metadata}}}'.encode()
        response = send(home.admin, "/v1/api-keys", body)
        expect(response, 422, "request.invalid")
    assert len(home.all_keys()) == 1


@on_one_engine
def test_an_unknown_member_whose_name_cannot_be_kept_is_422(home: Workspace) -> None:
    for name in ("\\ud800", "\\u0000", "a/b~c", ""):
        response = send(home.admin, "/v1/api-keys", f'{{"name": "a", "{name}": 1}}'.encode())
        assert response.status_code in (400, 422)
    pointer = expect(
        home.admin.post("/v1/api-keys", {"name": "a", "a/b~c": 1}), 422, "request.invalid"
    )
    assert pointer["errors"][0]["pointer"] == "/a~1b~0c"


def test_unpaired_surrogates_in_a_verification_harm_nobody(home: Workspace) -> None:
    for member in ("api_key", "runtime", "user_agent", "path", "environment", "extra"):
        given = {"api_key": '"x"', member: '"\\ud800"'}
        text = ",".join(f'"{name}": {value}' for name, value in given.items())
        response = send(home.admin, "/v1/verify", f"{{{text}}}".encode())
        assert response.status_code in (200, 400, 422), member
    home.settled_requests()


@on_one_engine
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/xml",
        "text/json",
        "application/json-patch+json",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "*/*",
        "json",
        "",
    ],
)
@pytest.mark.parametrize("path", POSTS)
def test_another_media_type_is_415(home: Workspace, path: str, content_type: str) -> None:
    response = send(home.admin, path, b'{"name": "a", "api_key": "a"}', content_type)
    expect(response, 415, "request.media_type")
    assert len(home.all_keys()) == 1


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
def test_json_in_utf8_is_accepted_however_it_is_spelled(home: Workspace, content_type: str) -> None:
    expect(send(home.admin, "/v1/api-keys", b'{"name": "a"}', content_type), 201)
    expect(send(home.admin, "/v1/verify", b'{"api_key": "a"}', content_type), 200)


@on_one_engine
@pytest.mark.parametrize("path", POSTS)
def test_an_encoded_body_is_415(home: Workspace, path: str) -> None:
    body = b'{"name": "a"}'
    for encoding, content in (("gzip", gzip.compress(body)), ("br", body), ("gzip, gzip", body)):
        response = home.admin.call(
            "POST",
            path,
            content=content,
            headers={"Content-Type": "application/json", "Content-Encoding": encoding},
        )
        expect(response, 415, "request.media_type")


def test_identity_is_no_encoding(home: Workspace) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    response = home.admin.call("POST", "/v1/api-keys", content=b'{"name": "a"}', headers=headers)
    expect(response, 201)


# --- size and time -------------------------------------------------------------------------------


@on_one_engine
@pytest.mark.parametrize("size", [MEBIBYTE + 1, 10 * MEBIBYTE])
@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_a_mebibyte_is_413_and_its_sender_reads_that(
    home: Workspace, path: str, size: int
) -> None:
    content = b'{"name": "' + b"a" * (size - 12) + b'"}'
    assert len(content) == size
    expect(send(home.admin, path, content), 413, "request.too_large")
    assert len(home.all_keys()) == 1


@pytest.mark.parametrize("path", POSTS)
def test_a_body_of_a_mebibyte_is_read(home: Workspace, path: str) -> None:
    content = b'{"name": "a", "api_key": "a"' + b" " * (MEBIBYTE - 29) + b"}"
    assert len(content) == MEBIBYTE
    assert send(home.admin, path, content).status_code in (200, 422)


@on_one_engine
@pytest.mark.parametrize("path", POSTS)
def test_a_chunked_body_that_grows_too_large_is_413(site: Site, home: Workspace, path: str) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with RawConnection(site.server.port) as connection:
        connection.request(
            path,
            f"Authorization: Bearer {home.admin.token}",
            "Content-Type: application/json",
            "Transfer-Encoding: chunked",
            method="POST",
        )
        for _ in range(20):
            connection.send(chunk)
        connection.send(b"0\r\n\r\n")
        answer = connection.answer()
    assert (answer.status, answer.code) == (413, "request.too_large")


@on_one_engine
@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("encoding", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_half_sent_body_is_408(site: Site, home: Workspace, path: str, encoding: str) -> None:
    with (
        RawConnection(site.server.port, timeout_seconds=1) as silent,
        RawConnection(site.server.port) as connection,
    ):
        connection.request(
            path,
            f"Authorization: Bearer {home.admin.token}",
            "Content-Type: application/json",
            encoding,
            method="POST",
            body=b'{"name": "a' if "Length" in encoding else b'8\r\n{"name":\r\n',
        )
        answer = connection.answer()
        assert (answer.status, answer.code) == (408, "request.timeout")
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
        assert connection.is_closed()
        with pytest.raises(TimeoutError):  # which is waited for by another, longer measure
            silent.is_closed()
    assert len(home.all_keys()) == 1


@on_one_engine
@pytest.mark.parametrize("path", POSTS)
def test_a_body_in_drips_is_not_waited_for_longer(site: Site, home: Workspace, path: str) -> None:
    with RawConnection(site.server.port) as connection, ThreadPoolExecutor(1) as pool:
        connection.request(
            path,
            f"Authorization: Bearer {home.admin.token}",
            "Content-Type: application/json",
            f"Content-Length: {MEBIBYTE}",
            method="POST",
        )
        answer = pool.submit(connection.answer)
        with suppress(ConnectionError):  # closed, while its answer is still being read
            while not answer.done():  # or the socket has waited too long for it
                connection.send(b" ")
                time.sleep(0.2)
        assert (answer.result().status, answer.result().code) == (408, "request.timeout")
        assert connection.is_closed()


@on_one_engine
@pytest.mark.parametrize("path", POSTS)
def test_a_connection_closed_in_the_middle_changes_nothing(
    site: Site, home: Workspace, path: str
) -> None:
    with RawConnection(site.server.port) as connection:
        connection.request(
            path,
            f"Authorization: Bearer {home.admin.token}",
            "Content-Type: application/json",
            "Content-Length: 14",
            method="POST",
            body=b'{"name": "a"}',
        )
    expect(home.admin.get("/v1/self"), 200)
    assert len(home.all_keys()) == 1


@on_one_engine
def test_half_sent_headers_are_not_waited_for_for_ever(site: Site) -> None:
    with (
        RawConnection(site.server.port, PATIENCE_SECONDS) as silent,
        RawConnection(site.server.port, PATIENCE_SECONDS) as half,
    ):
        half.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert half.is_closed()
        assert silent.is_closed()


@on_one_engine
def test_endless_headers_are_cut_off(site: Site) -> None:
    with RawConnection(site.server.port) as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
        with pytest.raises(ConnectionError):
            connection.send((b"X-More: " + b"a" * 1_000 + b"\r\n") * 30_000)
    expect(site.anyone.get("/healthz"), 200)


# --- members and parameters ----------------------------------------------------------------------


def test_unknown_members_are_named(home: Workspace) -> None:
    key = home.admin.create()
    expect_invalid(home.admin.post("/v1/api-keys", {"name": "a", "x": 1, "y": 2}), "/x", "/y")
    expect_invalid(home.admin.patch(key.path, {"name": "a", "x": 1}), "/x")
    expect_invalid(home.admin.post(key.path + "/suspend", {"x": 1}), "/x")
    expect_invalid(home.admin.put("/v1/slots/a-prod", {"x": 1}), "/x")
    response = home.admin.post("/v1/api-keys", {"name": "a", "runtimes": [{"name": "a", "x": 1}]})
    expect_invalid(response, "/runtimes/0/x")
    assert home.key(key)["version"] == 1


def test_unknown_members_of_a_workspace_are_named(site: Site, home: Workspace) -> None:
    expect_invalid(site.operator.post("/v1/workspaces", {"name": "a", "x": 1}), "/x")
    path = f"/v1/workspaces/{home.id}"
    expect_invalid(site.operator.patch(path, {"name": "a", "x": 1}), "/x")


@on_one_engine
def test_members_of_another_type_are_refused_and_not_converted(home: Workspace) -> None:
    wrong: dict[str, list[object]] = {
        "name": [5, True, ["a"], {"a": 1}],
        "scopes": ["read", [5], [None], {"read": True}],
        "permissions": ["verify", [5]],
        "allowed_cidrs": ["10.0.0.0/8", [5]],
        "expires_at": [
            4_102_444_800,
            1.5,
            True,
            [],
            "tomorrow",
            "2999-01-01",
            "2999-01-01T00:00:00",
        ],
        "not_before": [0, "2999-13-01T00:00:00Z", "2999-01-01T24:00:00Z"],
        "metadata": ["a", [], 5],
        "rotation_period_days": ["30", 1.5, True, 0, -1, 10**30],
        "runtimes": ["worker", [5], [{}]],
    }
    for member, values in wrong.items():
        for value in values:
            response = home.admin.post("/v1/api-keys", {"name": "a", member: value})
            body = expect(response, 422, "request.invalid")
            pointers = [error["pointer"] for error in body["errors"]]
            assert all(pointer.startswith(f"/{member}") for pointer in pointers), (member, pointers)
    assert len(home.all_keys()) == 1


def test_an_optional_member_may_be_null(home: Workspace) -> None:
    rights = ["scopes", "permissions", "allowed_cidrs", "expires_at", "metadata"]
    notes = ["owner", "purpose", "runbook_url", "rotation_period_days", "runtimes"]
    nulls = [*rights, *notes, "service", "environment", "not_before"]
    body = home.admin.create(name="a-prod", **dict.fromkeys(nulls)).body
    plain = home.admin.create(name="a-prod").body
    unequal = {name for name in body if body[name] != plain[name]}
    assert unequal == {"id", "hint", "api_key", "created_at", "updated_at"}
    expect_invalid(
        home.admin.patch(f"/v1/api-keys/{body['id']}", dict.fromkeys(rights + notes)), ""
    )
    details = ["ip", "user_agent", "runtime", "environment", "method", "path", "headers"]
    asked = dict.fromkeys(["scopes", "request_id", *details])
    assert home.verify(plain["api_key"], **asked)["valid"]


def test_unknown_query_parameters_are_named(home: Workspace) -> None:
    key = home.admin.create()
    for method, path in (
        ("GET", "/v1/api-keys"),
        ("POST", "/v1/api-keys"),
        ("GET", key.path),
        ("PATCH", key.path),
        ("DELETE", key.path),
        ("POST", key.path + "/suspend"),
        ("POST", key.path + "/resume"),
        ("GET", key.path + "/usage"),
        ("GET", key.path + "/propagation"),
        ("GET", "/v1/slots"),
        ("GET", "/v1/slots/a-prod"),
        ("PUT", "/v1/slots/a-prod"),
        ("GET", "/v1/self"),
        ("GET", "/v1/requests"),
        ("GET", "/v1/activity-logs"),
    ):
        body = {"name": "a"} if method in ("POST", "PATCH") else None
        expect_invalid(home.admin.call(method, f"{path}?nope=1", body), "/nope")
        expect_invalid(home.admin.call(method, f"{path}?nope", body), "/nope")
    expect(home.admin.post("/v1/verify?nope=1", {"api_key": "a"}), 422, "request.invalid")
    assert home.key(key)["version"] == 1
    assert len(home.all_keys()) == 2


@on_one_engine
@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "status=active&status=all", "limit=1&limit=1", "%6cimit=1&limit=2"]
)
def test_a_query_parameter_given_twice_is_422(home: Workspace, query: str) -> None:
    response = home.admin.get(f"/v1/api-keys?{query}")
    expect(response, 422, "request.invalid")


def test_a_repeated_reason_revokes_nothing(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.delete(f"{key.path}?reason=unused&reason=other")
    expect_invalid(response, "/reason")
    assert home.key(key)["status"] == "active"


# --- tokens where they would be kept -------------------------------------------------------------


def test_a_token_is_refused_in_every_free_text_of_a_key(home: Workspace) -> None:
    token = home.admin.create().token
    before = home.records()
    places: dict[str, object] = {
        "/name": {"name": f"key {token}"},
        "/owner": {"name": "a", "owner": token},
        "/purpose": {"name": "a", "purpose": f"for {token}."},
        "/runbook_url": {"name": "a", "runbook_url": f"https://wiki.example/{token}"},
        "/metadata": {"name": "a", "metadata": {"note": [{"x": token}]}},
        "/runtimes/0/name": {"name": "a", "runtimes": [{"name": token}]},
        "/scopes/0": {"name": "a", "scopes": [token]},
    }
    for pointer, body in places.items():
        expect_invalid(home.admin.post("/v1/api-keys", body), pointer)
    expect_invalid(
        home.admin.post("/v1/api-keys", {"name": "a", "metadata": {token: 1}}), "/metadata"
    )
    key = home.admin.create(name="b")
    for pointer, member in (("/name", "name"), ("/owner", "owner"), ("/purpose", "purpose")):
        expect_invalid(home.admin.patch(key.path, {member: token}), pointer)
        if member != "name":
            expect_invalid(home.admin.put("/v1/slots/x-prod", {member: token}), pointer)
    assert [one for one in home.records() if one["id"] != key.id] == before


def test_a_token_is_refused_in_a_workspace(site: Site, home: Workspace) -> None:
    token = home.admin.create().token
    expect_invalid(site.operator.post("/v1/workspaces", {"name": token}), "/name")
    path = f"/v1/workspaces/{home.id}"
    expect_invalid(site.operator.patch(path, {"name": token}), "/name")
    networks = [{"name": token, "cidrs": ["10.0.0.0/8"]}]
    expect_invalid(site.operator.patch(path, {"networks": networks}), "/networks/0/name")


def test_a_token_is_refused_as_a_runtime(home: Workspace) -> None:
    token = home.admin.create().token
    response = home.admin.post("/v1/verify", {"api_key": token, "runtime": token})
    expect_invalid(response, "/runtime")
    response = home.admin.call("GET", "/v1/self", headers={"Keyturn-Runtime": token})
    assert code_of(response) == "request.invalid"


def test_a_token_is_refused_as_an_idempotency_key(home: Workspace) -> None:
    token = home.admin.create().token
    response = home.admin.post("/v1/api-keys", {"name": "a"}, Idempotency_Key=token)
    expect(response, 422, "request.invalid")


def test_a_text_that_is_only_of_a_tokens_shape_is_innocent(home: Workspace) -> None:
    token = forgery.with_a_wrong_checksum(forgery.random_token())
    home.admin.create(name="a", purpose=f"not {token}")


def test_a_token_in_what_is_recorded_loses_its_secret(home: Workspace) -> None:
    key = home.admin.create()
    home.verify(
        key.token,
        user_agent=f"curl {key.token}",
        path=f"/a/{key.token}/b",
        method="GET",
        environment=key.token,
    )
    (found,) = home.requests(key_id=key.id)
    assert forgery.secret_of(key.token) not in json.dumps(found)
    assert "[redacted]" in found["path"]
