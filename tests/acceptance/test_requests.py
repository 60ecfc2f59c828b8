"""Section 7: requests, usage and runtimes."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance import forgery
from tests.acceptance.api import (
    REQUESTS_SECONDS,
    Site,
    Workspace,
    expect,
    expect_invalid,
    label,
)
from tests.acceptance.servers import on_one_engine, until

MEMBERS = {
    "id", "request_id", "at", "key_id", "valid", "code", "runtime", "declared", "ip", "user_agent",
    "method", "path", "scopes", "environment", "country", "browser",
}  # fmt: skip
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def test_a_verification_is_recorded_as_it_was_asked(home: Workspace) -> None:
    key, name = home.admin.create(scopes=["read", "write"]), label()
    home.verify(
        key.token,
        scopes=["write", "read"],
        request_id=name,
        ip="2001:DB8::1",
        user_agent="pins/1.2 (linux)",
        runtime="batch:nightly@eu-1",
        environment="prod",
        method="POST",
        path="/pins/7?secret=1#x",
        headers={
            "Cookie": "secret",
            "Origin": "https://pins.example",
            "sec-fetch-site": "cross-site",
        },
    )
    (found,) = home.requests(request_id=name)
    assert set(found) == MEMBERS
    assert datetime.now(UTC) - datetime.fromisoformat(found["at"]) < timedelta(seconds=60)
    assert {member: found[member] for member in MEMBERS - {"id", "at"}} == {
        "request_id": name,
        "key_id": key.id,
        "valid": True,
        "code": "valid",
        "runtime": "batch:nightly@eu-1",
        "declared": True,
        "ip": "2001:db8::1",
        "user_agent": "pins/1.2 (linux)",
        "method": "POST",
        "path": "/pins/7",
        "scopes": ["read", "write"],
        "environment": "prod",
        "country": None,
        "browser": "sec-fetch",
    }


# What is asked, and the sign in it.
SIGNS: list[tuple[dict[str, Any], str | None]] = [
    ({"headers": {"Sec-Fetch-Dest": "empty", "Origin": "null"}}, "sec-fetch"),
    ({"headers": {"ORIGIN": "https://pins.example"}}, "origin"),
    ({"user_agent": FIREFOX}, "user-agent"),
    ({"headers": {"User-Agent": FIREFOX}}, "user-agent"),
    # Node's own `fetch` sends this one; crawlers say that they are like a browser.
    ({"headers": {"sec-fetch-mode": "cors"}}, None),
    ({"user_agent": "Mozilla/5.0 (compatible; Bot/1.0) AppleWebKit/537"}, None),
    ({"user_agent": "python-httpx/0.28", "headers": {"User-Agent": FIREFOX}}, None),
    # Told in another way than is meant: no reason to refuse the key.
    ({"headers": [["X", "y"], ["Origin", "https://pins.example"]]}, "origin"),
    ({"headers": {"origin": ["https://pins.example"], "x": 1}}, "origin"),
    ({"headers": {"origin": 1, "sec-fetch-site": None}}, None),
    ({"headers": [1, [], ["origin"]]}, None),
    ({"headers": "Origin: https://pins.example"}, None),
    ({"headers": {}}, None),
    ({"headers": None}, None),
]


@pytest.fixture(scope="module")
def signed(site: Site) -> Workspace:
    """A workspace with a request for each of `SIGNS`; its place is the request id."""
    home = site.workspace()
    key = home.admin.create()
    for number, (asked, _) in enumerate(SIGNS):
        home.verify(key.token, request_id=str(number), **asked)
    home.requests(len(SIGNS), key_id=key.id)
    return home


@pytest.mark.parametrize("number", range(len(SIGNS)), ids=lambda number: str(SIGNS[number]))
def test_a_request_out_of_a_browser_is_told_by_its_sign(signed: Workspace, number: int) -> None:
    _, sign = SIGNS[number]
    [found] = signed.requests(request_id=str(number))
    assert found["browser"] == sign
    for one in ("sec-fetch", "origin", "user-agent"):
        assert len(signed.requests(count=0, request_id=str(number), browser=one)) == (one == sign)


def test_a_request_is_found_by_the_country_of_its_address(home: Workspace) -> None:
    """By the registries' assignments, where the extra `geo` is installed, as it is here."""
    key = home.admin.create()
    names = {ip: label() for ip in ("8.8.8.8", "193.0.6.139", "10.0.0.1")}
    for ip, name in names.items():
        home.verify(key.token, ip=ip, request_id=name)
    found = {
        one["ip"]: one["country"]
        for name in names.values()
        for one in home.requests(request_id=name)
    }
    assert found == {"8.8.8.8": "US", "193.0.6.139": "NL", "10.0.0.1": None}
    [dutch] = home.requests(key_id=key.id, country="NL")
    assert dutch["ip"] == "193.0.6.139"


def test_a_request_is_visible_within_a_second(home: Workspace) -> None:
    key = home.admin.create()
    took = []
    for _ in range(5):
        name = label()
        home.verify(key.token, request_id=name)
        started = time.monotonic()
        home.requests(request_id=name)
        took.append(time.monotonic() - started)
    # On a machine busy with other tests one may be late, the median may not.
    assert sorted(took)[2] < REQUESTS_SECONDS


def test_a_denial_with_the_right_secret_stands_under_its_key(home: Workspace) -> None:
    key = home.admin.create(scopes=["read"], allowed_cidrs=["10.0.0.0/8"])
    home.verify(key.token, scopes=["write"], ip="10.0.0.1")
    home.verify(key.token, ip="192.0.2.1")
    expect(home.admin.post(key.path + "/suspend"), 200)
    home.verify(key.token)
    expect(home.admin.delete(key.path), 204)
    home.verify(key.token)
    codes = [one["code"] for one in home.requests(4, key_id=key.id)]
    assert codes == ["revoked", "suspended", "network_denied", "scope_denied"]
    assert home.key(key)["last_used_at"] is None


def test_who_knows_only_an_id_can_poison_nothing(home: Workspace) -> None:
    key, name = home.admin.create(), label()
    home.verify(forgery.with_another_secret(key.token), request_id=name, runtime="evil")
    home.verify("malformed", request_id=name)
    found = home.requests(2, request_id=name)
    assert [(one["key_id"], one["code"]) for one in found] == [
        (None, "malformed"),
        (None, "unknown"),
    ]
    assert home.settled_requests(key_id=key.id) == []
    usage = expect(home.admin.get(key.path + "/usage"), 200)
    assert (usage["totals"], usage["runtimes"]) == ({"allowed": 0, "denied": 0}, [])


def test_a_verification_is_a_request_of_its_subject_and_a_use_of_both(home: Workspace) -> None:
    verifier, key = home.holder("verify"), home.admin.create()
    for _ in range(3):
        verifier.api.verify(key.token)
    assert len(home.requests(3, key_id=key.id)) == 3
    assert home.settled_requests(key_id=verifier.id) == []
    assert until(lambda: home.key(verifier)["last_used_at"] is not None)


def test_management_calls_by_a_key_are_requests(home: Workspace) -> None:
    reader, name = home.holder("keys:read"), label()
    caller = reader.api.with_headers(
        X_Request_Id=name, User_Agent="tool/3.1", Keyturn_Runtime="console"
    )
    expect(caller.get("/v1/api-keys", limit=1), 200)
    expect(caller.post("/v1/api-keys", {"name": "a"}), 403, "permission.missing")
    expect(caller.get("/v1/api-keys/none"), 404, "key.unknown")
    found = home.requests(3, request_id=name)[::-1]
    assert [(one["method"], one["path"]) for one in found] == [
        ("GET", "/v1/api-keys"),
        ("POST", "/v1/api-keys"),
        ("GET", "/v1/api-keys/none"),
    ]
    assert [one["code"] for one in found] == ["valid", "permission_missing", "valid"]
    for one in found:
        assert set(one) == MEMBERS
        assert (one["key_id"], one["runtime"], one["declared"]) == (reader.id, "console", True)
        assert (one["ip"], one["user_agent"]) == ("127.0.0.1", "tool/3.1")
    assert home.key(reader)["last_used_at"] is not None


def test_a_management_call_by_a_dead_key_is_recorded_as_denied(home: Workspace) -> None:
    key = home.holder("keys:read")
    expect(home.admin.delete(key.path), 204)
    expect(key.api.get("/v1/api-keys"), 401, "credential.invalid")
    (found,) = home.requests(key_id=key.id)
    assert (found["valid"], found["code"]) == (False, "revoked")


def test_the_last_use_is_moved_by_allowed_calls_alone(home: Workspace) -> None:
    key = home.admin.create(scopes=["read"])
    home.verify(key.token, scopes=["none"])
    home.requests(key_id=key.id)
    assert home.key(key)["last_used_at"] is None
    home.verify(key.token)
    (allowed,) = home.requests(key_id=key.id, valid="true")
    assert until(lambda: home.key(key)["last_used_at"] == allowed["at"])
    home.verify(key.token, scopes=["none"])
    home.requests(2, key_id=key.id, valid="false")
    body = home.key(key)
    assert body["last_used_at"] == allowed["at"]
    assert (body["version"], body["updated_at"]) == (1, key.body["updated_at"])


# --- filters -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(site: Site) -> Callable[..., set[str]]:
    """Nine requests, most of two keys; gives the request ids that a filter lets through."""
    home = site.workspace()
    first, second = home.admin.create(name="a-prod", scopes=["x"]), home.admin.create(name="b-dev")
    asked: list[tuple[str, dict[str, Any]]] = [
        (first.token, {"runtime": "worker", "ip": "10.0.0.1", "path": "/pins/1"}),
        (first.token, {"runtime": "worker", "ip": "10.1.0.1", "path": "/pins/2"}),
        (first.token, {"runtime": "cron", "ip": "10.1.2.3", "path": "/boards"}),
        (first.token, {"scopes": ["y"], "ip": "2001:db8::1", "path": "/pins"}),
        (second.token, {"runtime": "worker", "ip": "11.0.0.1", "path": "/Pins/1"}),
        (second.token, {"ip": "2001:db8:1::1"}),
        (second.token, {"path": "/p_ns/%", "user_agent": "curl/8.1"}),
        (forgery.random_token(), {"ip": "10.0.0.9"}),
        ("malformed", {}),
    ]
    for number, (token, members) in enumerate(asked):
        home.verify(token, request_id=f"r{number}", **members)
    home.settled_requests()

    def found(**query: str) -> set[str]:
        query = {n: {"FIRST": first.id, "SECOND": second.id}.get(v, v) for n, v in query.items()}
        listed = expect(home.admin.get("/v1/requests", **query), 200)
        return {one["request_id"] for one in listed if one["request_id"].startswith("r")}

    return found


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"key_id": "FIRST"}, "0123"),
        ({"key_id": "SECOND"}, "456"),
        ({"request_id": "r3"}, "3"),
        ({"runtime": "worker"}, "014"),
        ({"runtime": "ua:curl"}, "6"),
        ({"ip": "10.0.0.1"}, "0"),
        ({"ip": "10.0.0.0/8"}, "0127"),
        ({"ip": "10.1.0.0/16"}, "12"),
        ({"ip": "::ffff:10.0.0.1"}, "0"),
        ({"ip": "2001:db8::/48"}, "3"),
        ({"ip": "2001:db8::/32"}, "35"),
        ({"ip": "0.0.0.0/0"}, "01247"),
        ({"path": "/pins"}, "013"),
        ({"path": "/pins/"}, "01"),
        ({"path": "/p_ns"}, "6"),
        ({"path": "%"}, ""),
        ({"valid": "true"}, "012456"),
        ({"valid": "false"}, "378"),
        ({"code": "scope_denied"}, "3"),
        ({"code": "unknown"}, "7"),
        ({"code": "malformed"}, "8"),
        ({"code": "nonsense"}, ""),
        ({"since": "2999-01-01T00:00:00Z"}, ""),
        ({"until": "2020-01-01T00:00:00Z"}, ""),
        ({"since": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}, "012345678"),
        ({"key_id": "FIRST", "valid": "true", "ip": "10.1.0.0/16", "path": "/b"}, "2"),
    ],
    ids=str,
)
def test_requests_are_filtered(
    recorded: Callable[..., set[str]], query: dict[str, str], numbers: str
) -> None:
    assert recorded(**query) == {f"r{number}" for number in numbers}


def test_since_is_inclusive_and_until_is_not(home: Workspace) -> None:
    key = home.admin.create()
    for _ in range(3):
        home.verify(key.token)
    times = [one["at"] for one in home.requests(3, key_id=key.id)][::-1]
    assert len(set(times)) == 3

    def between(**query: str) -> list[str]:
        found = expect(home.admin.get("/v1/requests", key_id=key.id, **query), 200)
        return [one["at"] for one in found][::-1]

    assert between(since=times[1]) == times[1:]
    assert between(until=times[1]) == times[:1]
    assert between(since=times[0], until=times[2]) == times[:2]
    offset = quote(times[1].replace("Z", "+00:00"))
    assert len(expect(home.admin.get(f"/v1/requests?key_id={key.id}&since={offset}"), 200)) == 2


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"key_id": "x"}, "/key_id"),
        ({"ip": "x"}, "/ip"),
        ({"ip": "10.0.0.1/8"}, "/ip"),
        ({"valid": "perhaps"}, "/valid"),
        ({"since": "yesterday"}, "/since"),
        ({"until": "2020-01-01"}, "/until"),
        ({"since": "0"}, "/since"),
    ],
    ids=str,
)
@on_one_engine
def test_a_filter_that_cannot_be_meant_is_422(
    common: Workspace, query: dict[str, str], pointer: str
) -> None:
    expect_invalid(common.admin.get("/v1/requests", **query), pointer)


# --- runtimes ------------------------------------------------------------------------------------


def test_a_runtime_is_inferred_from_the_product_without_its_version(home: Workspace) -> None:
    key, wanted = home.admin.create(), {}
    for user_agent, runtime in (
        ("python-requests/2.31.0", "ua:python-requests"),
        ("Go-http-client/1.1", "ua:Go-http-client"),
        ("curl/8.4.0", "ua:curl"),
        ("Mozilla/5.0 (X11; Linux) Firefox/120", "ua:Mozilla"),
        ("pins-worker", "ua:pins-worker"),
        (None, "ua:unknown"),
        ("", "ua:unknown"),
        ("(weird)", "ua:unknown"),
    ):
        wanted[name := label()] = (runtime, False)
        home.verify(key.token, request_id=name, user_agent=user_agent)
    found = {
        one["request_id"]: (one["runtime"], one["declared"])
        for one in home.requests(len(wanted), key_id=key.id)
    }
    assert found == wanted


def test_an_inferred_runtime_has_the_name_of_its_network(site: Site, home: Workspace) -> None:
    networks = [
        {"name": "office", "cidrs": ["192.0.2.0/24", "2001:db8::/32"]},
        {"name": "cluster", "cidrs": ["10.0.0.0/8"]},
    ]
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"networks": networks}), 200)
    key = home.admin.create()
    seen = {}
    for ip in ("192.0.2.9", "2001:db8::9", "10.9.9.9", "198.51.100.1"):
        name = label()
        home.verify(key.token, request_id=name, user_agent="curl/8", ip=ip)
        seen[ip] = home.requests(request_id=name)[0]["runtime"]
    assert list(seen.values()) == ["ua:curl@office", "ua:curl@office", "ua:curl@cluster", "ua:curl"]
    name = label()
    home.verify(key.token, request_id=name, runtime="mine", ip="10.9.9.9")
    assert home.requests(request_id=name)[0]["runtime"] == "mine"


def test_a_release_of_the_caller_is_no_other_runtime(home: Workspace) -> None:
    key = home.admin.create()
    for version in ("1.0", "1.1", "2.0.0-rc1"):
        home.verify(key.token, user_agent=f"pins-worker/{version}")
    home.requests(3, key_id=key.id)
    usage = expect(home.admin.get(key.path + "/usage"), 200)
    assert [one["runtime"] for one in usage["runtimes"]] == ["ua:pins-worker"]


@on_one_engine
@pytest.mark.parametrize("runtime", ["has space", "", "x" * 129, "a,b", "ä"])
def test_what_is_no_runtime_in_the_header_is_422(common: Workspace, runtime: str) -> None:
    headers = [
        (b"Keyturn-Runtime", runtime.encode("latin-1")),
        (b"Authorization", f"Bearer {common.admin.token}".encode()),
    ]
    response = common.admin.client.request("GET", "/v1/self", headers=headers)
    expect(response, 422, "request.invalid")


def test_past_256_runtimes_the_rest_is_other(home: Workspace) -> None:
    key = home.admin.create()
    for number in range(260):
        home.verify(key.token, runtime=f"pod-{number:03}")
    home.requests(260, key_id=key.id)
    usage = expect(home.admin.get(key.path + "/usage"), 200)
    names = [one["runtime"] for one in usage["runtimes"]]
    assert len(names) == 257
    other = next(one for one in usage["runtimes"] if one["runtime"] == "other")
    assert (other["allowed"], other["declared"]) == (4, False)
    assert sum(one["allowed"] for one in usage["runtimes"]) == usage["totals"]["allowed"] == 260


# --- usage ---------------------------------------------------------------------------------------


def test_usage_adds_up(home: Workspace) -> None:
    key = home.admin.create(scopes=["read"])
    for _ in range(4):
        home.verify(key.token, runtime="worker")
    for _ in range(2):
        home.verify(key.token, runtime="worker", scopes=["none"])
    home.verify(key.token, user_agent="worker")
    home.verify(key.token, runtime="cron", scopes=["none"])
    found = home.requests(8, key_id=key.id)
    body = expect(home.admin.get(key.path + "/usage"), 200)
    assert set(body) == {
        "key_id", "since", "until", "bucket", "last_used_at", "totals", "series", "runtimes",
    }  # fmt: skip
    assert body["key_id"] == key.id
    assert body["totals"] == {"allowed": 5, "denied": 3}
    assert sum(one["allowed"] for one in body["series"]) == 5
    assert sum(one["denied"] for one in body["series"]) == 3
    assert all(set(one) == {"at", "allowed", "denied"} for one in body["series"])
    runtimes = {one.pop("runtime"): one for one in body["runtimes"]}
    assert set(runtimes) == {"worker", "ua:worker", "cron"}
    worker = [one["at"] for one in found if one["runtime"] == "worker" and one["valid"]]
    assert runtimes["worker"] == {
        "declared": True,
        "allowed": 4,
        "denied": 2,
        "first_seen_at": worker[-1],
        "last_seen_at": worker[0],
    }
    assert runtimes["cron"] == {
        "declared": True,
        "allowed": 0,
        "denied": 1,
        "first_seen_at": None,
        "last_seen_at": None,
    }
    assert body["last_used_at"] == max(one["at"] for one in found if one["valid"])


@pytest.mark.parametrize("bucket", ["minute", "hour", "day"])
def test_usage_is_told_in_buckets(home: Workspace, bucket: str) -> None:
    key = home.admin.create()
    home.verify(key.token)
    (found,) = home.requests(key_id=key.id)
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    query = {"bucket": bucket, "since": since}
    body = expect(home.admin.get(key.path + "/usage", **query), 200)
    (one,) = body["series"]
    assert (body["bucket"], one["allowed"]) == (bucket, 1)
    start, at = datetime.fromisoformat(one["at"]), datetime.fromisoformat(found["at"])
    width = {"minute": 60, "hour": 3_600, "day": 86_400}[bucket]
    assert start.timestamp() % width == 0
    assert timedelta(0) <= at - start < timedelta(seconds=width)


def test_usage_outside_its_window_is_not_counted(home: Workspace) -> None:
    key = home.admin.create()
    home.verify(key.token)
    home.requests(key_id=key.id)
    query = {"since": "2020-01-01T00:00:00Z", "until": "2020-02-01T00:00:00Z"}
    body = expect(home.admin.get(key.path + "/usage", **query), 200)
    assert (body["totals"], body["series"]) == ({"allowed": 0, "denied": 0}, [])
    assert body["since"] == "2020-01-01T00:00:00.000000Z"
    assert body["until"] == "2020-02-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"bucket": "week"}, "/bucket"),
        ({"since": "x"}, "/since"),
        ({"until": "x"}, "/until"),
        ({"since": "2999-01-01T00:00:00Z"}, "/since"),
        ({"since": "2020-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"}, "/since"),
        ({"since": "1970-01-01T00:00:00Z", "bucket": "minute"}, "/bucket"),
    ],
    ids=str,
)
def test_a_window_that_cannot_be_meant_is_422(
    common: Workspace, query: dict[str, str], pointer: str
) -> None:
    key = common.admin.create()
    expect_invalid(common.admin.get(key.path + "/usage", **query), pointer)
