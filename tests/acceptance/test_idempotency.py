"""Section 4: `Idempotency-Key`."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance import forgery
from tests.acceptance.api import Site, Workspace, code_of, expect, label, open_site
from tests.acceptance.servers import Installation, serving


def test_the_same_call_again_replays_its_answer_with_the_token_taken_out(home: Workspace) -> None:
    name = label()
    draft = {"name": "a-prod", "scopes": ["read"], "owner": "ops"}
    first = home.admin.post("/v1/api-keys", draft, Idempotency_Key=name)
    made = expect(first, 201)
    for _ in range(3):
        again = home.admin.post("/v1/api-keys", draft, Idempotency_Key=name)
        assert expect(again, 201) == {**made, "api_key": None}
        for header in ("location", "etag", "cache-control"):
            assert again.headers[header] == first.headers[header]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert [one["id"] for one in home.all_keys()].count(made["id"]) == 1
    assert len(home.all_keys()) == 2
    assert len(home.activity(action="api_key.created", resource_id=made["id"])) == 1


def test_the_same_body_spelled_otherwise_is_the_same_body(home: Workspace) -> None:
    name = label()
    headers = {"Idempotency-Key": name, "Content-Type": "application/json"}
    texts = (b'{"name":"a","scopes":["x"]}', b' { "scopes" : ["x"],\n "na\\u006de" : "a" } ')
    bodies = [
        expect(home.admin.call("POST", "/v1/api-keys", content=text, headers=headers), 201)
        for text in texts
    ]
    assert bodies[0]["id"] == bodies[1]["id"]


def test_another_body_under_the_same_key_is_422_and_makes_nothing(home: Workspace) -> None:
    name = label()
    expect(home.admin.post("/v1/api-keys", {"name": "a"}, Idempotency_Key=name), 201)
    for body in ({"name": "b"}, {"name": "a", "scopes": ["x"]}, {"name": "A"}):
        response = home.admin.post("/v1/api-keys", body, Idempotency_Key=name)
        problem = expect(response, 422, "idempotency.mismatch")
        assert all(set(error) == {"pointer", "detail"} for error in problem["errors"])
    assert len(home.all_keys()) == 2


def test_a_refused_call_keeps_nothing_under_its_key(home: Workspace) -> None:
    name = label()
    bad = {"name": "a", "scopes": ["x y"]}
    expect(home.admin.post("/v1/api-keys", bad, Idempotency_Key=name), 422, "request.invalid")
    expect(home.admin.post("/v1/api-keys", {"name": "a"}, Idempotency_Key=name), 201)


def test_many_sends_at_once_make_one_key(home: Workspace) -> None:
    name = label()

    def send(_: int) -> Any:
        return home.admin.post("/v1/api-keys", {"name": "a-prod"}, Idempotency_Key=name)

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(send, range(32)))
    assert len(home.all_keys()) == 2
    made = [one.json() for one in responses if one.status_code == 201]
    assert len({body["id"] for body in made}) == 1
    assert [body["api_key"] for body in made].count(None) == len(made) - 1
    for response in responses:
        if response.status_code != 201:
            expect(response, 409, "idempotency.running")
    assert expect(send(0), 201)["api_key"] is None


def test_a_key_means_one_thing_per_caller(home: Workspace) -> None:
    name = label()
    second = home.holder("admin").api
    ids = [
        expect(caller.post("/v1/api-keys", {"name": "a"}, Idempotency_Key=name), 201)["id"]
        for caller in (home.admin, second)
    ]
    assert len(set(ids)) == 2


def test_a_key_means_one_thing_per_workspace(site: Site, home: Workspace, other: Workspace) -> None:
    name = label()
    made = [
        expect(
            site.operator_in(workspace).post("/v1/api-keys", {"name": "a"}, Idempotency_Key=name),
            201,
        )
        for workspace in (home, other)
    ]
    assert [one["workspace_id"] for one in made] == [home.id, other.id]
    assert all(one["api_key"] for one in made)


def test_a_key_means_one_thing_per_route(home: Workspace) -> None:
    name = label()
    first, second = home.admin.create(), home.admin.create()
    for path in (first.path, second.path):
        body = expect(home.admin.post(path + "/suspend", Idempotency_Key=name), 200)
        assert body["status"] == "suspended"
        body = expect(home.admin.post(path + "/resume", Idempotency_Key=name), 200)
        assert body["status"] == "active"


def test_a_replayed_suspension_does_not_suspend_again(home: Workspace) -> None:
    key, name = home.admin.create(), label()
    suspended = expect(home.admin.post(key.path + "/suspend", Idempotency_Key=name), 200)
    expect(home.admin.post(key.path + "/resume"), 200)
    again = expect(home.admin.post(key.path + "/suspend", Idempotency_Key=name), 200)
    assert again == suspended
    assert home.verify(key.token)["valid"]


def test_a_replay_is_refused_to_who_may_no_longer_ask(home: Workspace) -> None:
    name = label()
    maker = home.holder("keys:write")
    expect(maker.api.post("/v1/api-keys", {"name": "a"}, Idempotency_Key=name), 201)
    expect(home.admin.patch(maker.path, {"permissions": ["keys:read"]}), 200)
    response = maker.api.post("/v1/api-keys", {"name": "a"}, Idempotency_Key=name)
    expect(response, 403, "permission.missing")


def test_workspaces_are_made_once_too(site: Site) -> None:
    name, draft = label(), {"name": label("tenant")}
    first = expect(site.operator.post("/v1/workspaces", draft, Idempotency_Key=name), 201)
    again = expect(site.operator.post("/v1/workspaces", draft, Idempotency_Key=name), 201)
    assert again == {**first, "api_key": None}
    expect(site.operator.with_token(first["api_key"]).get("/v1/self"), 200)


@pytest.mark.parametrize("name", ["", "x" * 256, "a b", "ä", "a\tb"])
def test_another_idempotency_key_is_422(home: Workspace, name: str) -> None:
    headers = {
        b"Authorization": f"Bearer {home.admin.token}".encode(),
        b"Idempotency-Key": name.encode("latin-1"),
    }
    response = home.admin.client.request(
        "POST", "/v1/api-keys", json={"name": "a"}, headers=headers
    )
    assert (response.status_code, code_of(response)) == (422, "request.invalid")
    assert len(home.all_keys()) == 1


def test_the_longest_idempotency_key_is_taken(home: Workspace) -> None:
    response = home.admin.post("/v1/api-keys", {"name": "a"}, Idempotency_Key="x" * 255)
    expect(response, 201)


def test_verifications_are_never_replayed(home: Workspace) -> None:
    key, name = home.admin.create(), label()
    for token in (key.token, forgery.with_another_secret(key.token)):
        response = home.admin.post("/v1/verify", {"api_key": token}, Idempotency_Key=name)
        assert expect(response, 200)["valid"] is (token == key.token)


def test_an_answer_is_replayed_after_a_restart_and_no_token_was_kept(
    installation: Installation,
) -> None:
    answers = []
    for _ in range(2):
        with serving(installation) as server:
            site = open_site(server)
            response = site.operator.post("/v1/api-keys", {"name": "a"}, Idempotency_Key="once")
            answers.append(expect(response, 201))
            site.operator.client.close()
    assert answers[1] == {**answers[0], "api_key": None}
