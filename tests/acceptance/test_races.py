"""The issue: sixty-four parallel conflicting changes of one key are one history."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from tests.acceptance.api import Api, Issued, Json, Workspace, code_of, expect, label

Call = Callable[[], httpx2.Response]

THREADS = 16
CALLS = 64


def at_once(calls: list[Call]) -> list[httpx2.Response]:
    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def change(caller: Api, key: Issued, body: Json, **headers: str) -> Call:
    return lambda: caller.patch(key.path, body, **headers)


def act(caller: Api, key: Issued, verb: str) -> Call:
    return lambda: caller.post(f"{key.path}/{verb}")


def history(home: Workspace, key_id: str) -> list[Any]:
    return home.activity(resource_type="api_key", resource_id=key_id, status="success")


def test_of_writers_with_one_etag_one_wins(home: Workspace) -> None:
    key = home.admin.create(name="race-prod")
    version = 1
    for _ in range(4):
        etag, names = f'"{version}"', [label("name") for _ in range(THREADS)]
        responses = at_once(
            [change(home.admin, key, {"name": name}, If_Match=etag) for name in names]
        )
        told = Counter((one.status_code, code_of(one)) for one in responses)
        assert told == {(200, None): 1, (412, "version.moved"): THREADS - 1}
        (winner,) = [one.json() for one in responses if one.status_code == 200]
        version += 1
        assert winner["version"] == version
        assert home.key(key)["name"] == winner["name"]
    assert len(history(home, key.id)) == version


def test_parallel_changes_without_conditions_are_one_history(home: Workspace) -> None:
    key = home.admin.create(name="race-prod", scopes=["s0"])
    name = label()
    calls: list[Call] = []
    for number in range(CALLS):
        caller = home.admin.with_headers(X_Request_Id=f"{name}-{number}")
        match number % 4:
            case 0:
                calls.append(change(caller, key, {"scopes": [f"s{number + 1}"]}))
            case 1:
                calls.append(act(caller, key, "suspend"))
            case 2:
                calls.append(act(caller, key, "resume"))
            case _:
                calls.append(change(caller, key, {"name": f"n{number}"}))
    responses = at_once(calls)
    assert {one.status_code for one in responses} == {200}
    entries = history(home, key.id)
    # Each change of the history was answered with its own version, and none is missing.
    by_request = {one.headers["x-request-id"]: one.json() for one in responses}
    versions = [by_request[one["request_id"]]["version"] for one in entries[1:]]
    assert versions == list(range(2, len(entries) + 1))
    # Replayed one after the other, the entries lead to what every answer told, and to the end.
    state: dict[str, Any] = {"name": "race-prod", "scopes": ["s0"], "status": "active"}
    for entry in entries[1:]:
        match entry["action"]:
            case "api_key.suspended":
                assert state["status"] == "active"
                state["status"] = "suspended"
            case "api_key.resumed":
                assert state["status"] == "suspended"
                state["status"] = "active"
            case _:
                for member, moved in entry["metadata"]["changed"].items():
                    assert moved["from"] == state[member]
                    state[member] = moved["to"]
        answered = by_request[entry["request_id"]]
        assert {member: answered[member] for member in state} == state
    final = home.key(key)
    assert {member: final[member] for member in state} == state
    assert final["version"] == len(entries)


def test_nothing_comes_after_a_revocation(home: Workspace) -> None:
    key = home.admin.create(name="race-prod")
    calls: list[Call] = []
    for number in range(CALLS):
        match number % 4:
            case 0:
                calls.append(change(home.admin, key, {"name": f"n{number}"}))
            case 1:
                calls.append(act(home.admin, key, "suspend"))
            case 2:
                calls.append(act(home.admin, key, "resume"))
            case _:
                calls.append(lambda: home.admin.delete(key.path + "?reason=compromised"))
    responses = at_once(calls)
    for response in responses:
        if response.status_code not in (200, 204):
            expect(response, 409, "key.terminal")
    assert sum(one.status_code == 204 for one in responses) == CALLS // 4
    entries = history(home, key.id)
    assert [one["action"] for one in entries].count("api_key.revoked") == 1
    assert entries[-1]["action"] == "api_key.revoked"
    assert home.key(key)["version"] == len(entries)
    assert home.verify(key.token)["code"] == "revoked"


def test_a_verification_that_begins_after_a_revocation_was_answered_is_denied(
    home: Workspace,
) -> None:
    keys = [home.admin.create() for _ in range(CALLS // 4)]

    def revoke_and_ask(number: int) -> str:
        expect(home.admin.delete(keys[number].path), 204)
        return str(home.verify(keys[number].token)["code"])

    with ThreadPoolExecutor(THREADS) as pool:
        codes = set(pool.map(revoke_and_ask, range(len(keys))))
    assert codes == {"revoked"}


def test_a_maker_who_is_revoked_meanwhile_leaves_no_later_key(home: Workspace) -> None:
    maker = home.holder("keys:write")
    calls: list[Call] = [
        lambda: maker.api.post("/v1/api-keys", {"name": "made-prod"}) for _ in range(24)
    ]
    calls.insert(8, lambda: home.admin.delete(maker.path))
    responses = at_once(calls)
    assert {one.status_code for one in responses} <= {201, 204, 401}
    entries = home.activity(resource_type="api_key", status="success")
    ids = [one["resource_id"] for one in entries if one["action"] == "api_key.revoked"]
    assert ids == [maker.id]
    order = [one["action"] for one in entries]
    assert "api_key.created" not in order[order.index("api_key.revoked") :]


def test_keys_that_are_made_at_once_are_all_there(home: Workspace) -> None:
    responses = at_once(
        [lambda: home.admin.post("/v1/api-keys", {"name": "same-prod"}) for _ in range(CALLS)]
    )
    assert {one.status_code for one in responses} == {201}
    made = [one.json()["id"] for one in responses]
    listed = [one["id"] for one in home.all_keys()]
    assert len(set(made)) == CALLS
    assert set(made) <= set(listed)
    assert listed == sorted(listed, reverse=True)
    assert len(home.activity(action="slot.created", resource_id="same-prod")) == 1
