"""Section 8: what happens to keys and callers while a rotation is open, and the small print."""

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.acceptance.api import Issued, Site, Workspace, expect, label
from tests.acceptance.rotating import (
    DAY,
    HOUR,
    PATIENCE_SECONDS,
    blockers,
    in_future,
    rotate,
    used_key,
)
from tests.acceptance.servers import until

# --- changes in the middle ------------------------------------------------------------------------


def test_neither_key_is_changed_so_that_the_new_one_may_do_more(home: Workspace) -> None:
    old = home.admin.create(scopes=["read", "write"], allowed_cidrs=["10.0.0.0/8"])
    rotation = rotate(home, old, scopes=["read"], allowed_cidrs=["10.1.0.0/16"])
    change: Any
    for key, change in (
        (rotation.new, {"scopes": ["read", "other"]}),
        (rotation.new, {"permissions": ["keys:read"]}),
        (rotation.new, {"allowed_cidrs": ["0.0.0.0/0"]}),
        (rotation.new, {"allowed_cidrs": []}),
        (rotation.old, {"scopes": ["write"]}),
        (rotation.old, {"allowed_cidrs": ["10.2.0.0/16"]}),
    ):
        before = home.key(key)["version"]
        expect(home.admin.patch(key.path, change), 422, "rotation.wider")
        assert home.key(key)["version"] == before
    for key, change in (
        (rotation.new, {"scopes": ["read", "write"]}),
        (rotation.old, {"scopes": ["read", "write", "more"]}),
        (rotation.new, {"scopes": []}),
        (rotation.old, {"scopes": []}),
        (rotation.new, {"name": "another label"}),
    ):
        expect(home.admin.patch(key.path, change), 200)
    expect(rotation.steer("complete"), 200)
    expect(home.admin.patch(rotation.new.path, {"scopes": ["anything"]}), 200)


def test_a_suspended_workspace_lets_its_rotations_rest(site: Site, home: Workspace) -> None:
    rotation = rotate(home, used_key(home), auto_complete=True, quiet_seconds=1)
    rotation.move()
    path = f"/v1/workspaces/{home.id}"
    expect(site.operator.patch(path, {"status": "suspended"}), 200)
    mine = site.operator_in(home)

    def state() -> str:
        return str(expect(mine.get(rotation.path), 200)["state"])

    assert not until(lambda: state() != "overlapping", 4)
    expect(site.operator.patch(path, {"status": "active"}), 200)
    assert until(lambda: state() == "completed", PATIENCE_SECONDS)


def test_an_unusable_new_key_blocks_until_it_works_again(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    expect(home.admin.post(f"{rotation.new.path}/suspend"), 200)
    problem = expect(rotation.steer("complete"), 409, "rotation.evidence_missing")
    assert blockers(problem) == [("new_key.unusable", None)]
    expect(home.admin.post(f"{rotation.new.path}/resume"), 200)
    expect(rotation.steer("complete"), 200)


def test_a_new_key_that_expires_in_the_middle_blocks(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    expect(home.admin.patch(rotation.new.path, {"expires_at": in_future(1)}), 200)
    assert until(lambda: home.key(rotation.new)["status"] == "expired")
    assert blockers(rotation.now()) == [("new_key.unusable", None)]
    expect(rotation.steer("complete"), 409, "rotation.evidence_missing")
    assert home.verify(rotation.old.token)["valid"]


def test_an_old_key_that_expires_in_the_middle_is_not_made_to_live_longer(home: Workspace) -> None:
    old = used_key(home, expires_at=in_future(4))
    rotation = rotate(home, old, auto_complete=True)
    expect(home.admin.patch(rotation.new.path, {"expires_at": in_future(HOUR)}), 200)
    assert until(lambda: home.key(old)["status"] == "expired", PATIENCE_SECONDS)
    assert home.verify(old.token)["code"] == "expired"
    assert rotation.now()["state"] == "overlapping"
    rotation.move()
    assert rotation.is_in("completed")
    assert home.key(old)["expires_at"] == old.body["expires_at"]
    assert rotation.use(rotation.new)["valid"]


# --- what the callers are told --------------------------------------------------------------------


def test_a_verdict_on_the_old_key_tells_of_its_end(home: Workspace) -> None:
    old = used_key(home)
    assert home.verify(old.token)["deprecation"] is None
    rotation = rotate(home, old)
    told = {
        "since": rotation.body["started_at"],
        "sunset": rotation.body["deadline"],
        "rotation_id": rotation.id,
    }
    assert rotation.use(old)["deprecation"] == told
    assert rotation.use(rotation.new)["deprecation"] is None
    later = expect(rotation.steer("extend", {"overlap_seconds": DAY}), 200)["deadline"]
    assert rotation.use(old)["deprecation"] == {**told, "sunset": later}
    expect(rotation.steer("rollback"), 200)
    assert rotation.use(old)["deprecation"] is None


def test_self_tells_each_key_of_its_rotation(home: Workspace) -> None:
    old = home.admin.create()
    before = old.api.get("/v1/self")
    assert expect(before, 200)["rotation"] is None
    rotation = rotate(home, old)
    told = {
        "rotation_id": rotation.id,
        "since": rotation.body["started_at"],
        "sunset": rotation.body["deadline"],
    }
    response = old.api.get("/v1/self")
    assert expect(response, 200)["rotation"] == {**told, "role": "old"}
    started = datetime.fromisoformat(rotation.body["started_at"])
    deadline = datetime.fromisoformat(rotation.body["deadline"])
    assert response.headers["deprecation"] == f"@{int(started.timestamp())}"
    sunset = parsedate_to_datetime(response.headers["sunset"])
    assert abs((sunset - deadline).total_seconds()) <= 1
    assert response.headers["link"] == f'<{rotation.path}>; rel="deprecation"'
    fresh = rotation.new.api.get("/v1/self")
    assert expect(fresh, 200)["rotation"] == {**told, "role": "new"}
    for answer in (before, fresh):
        assert not {"deprecation", "sunset", "link"} & set(answer.headers)


# --- the small print ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "body", "pointer"),
    [
        ("complete", {"force": "yes"}, "/force"),
        ("complete", {"force": True, "reason": ""}, "/reason"),
        ("complete", {"force": True, "reason": "x" * 2_000}, "/reason"),
        ("complete", {"force": True, "reason": 5}, "/reason"),
        ("complete", {"force": True, "reason": "a\u0000b"}, "/reason"),
        ("complete", {"waive": {}}, "/waive"),
        ("complete", {"waive": [{"runtime": "worker"}]}, "/waive/0/reason"),
        ("complete", {"waive": [{"reason": "x"}]}, "/waive/0/runtime"),
        ("complete", {"now": True}, "/now"),
        ("rollback", {"force": 1}, "/force"),
        ("rollback", {"keep_both": "no"}, "/keep_both"),
        ("rollback", {"both": True}, "/both"),
        ("runtimes", {}, "/runtime"),
        ("runtimes", {"runtime": "worker", "standing": "friend"}, "/standing"),
        ("runtimes", {"runtime": "a b", "standing": "ours"}, "/runtime"),
        ("runtimes", {"runtime": "worker", "standing": "waived"}, "/reason"),
        ("runtimes", {"runtime": "worker", "standing": "checked_in"}, "/reason"),
        ("runtimes", {"runtime": "unheard", "standing": "ours"}, "/runtime"),
        ("runtimes", {"runtime": "worker", "standing": "ours", "network": 5}, "/network"),
        ("runtimes", {"runtime": "worker", "standing": "ours", "by": "me"}, "/by"),
    ],
    ids=str,
)
def test_a_wrong_body_is_422_and_changes_nothing(
    home: Workspace, verb: str, body: object, pointer: str
) -> None:
    rotation = rotate(home, used_key(home))
    problem = expect(rotation.steer(verb, body), 422, "request.invalid")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert rotation.now()["version"] == rotation.body["version"]


def test_an_unheard_runtime_is_not_waived(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    for waive in ([{"runtime": "unheard", "reason": "x"}], [{"runtime": "a b", "reason": "x"}]):
        problem = expect(rotation.steer("complete", {"waive": waive}), 422, "request.invalid")
        assert all(one["pointer"].startswith("/waive") for one in problem["errors"])
    assert rotation.now()["state"] == "overlapping"


def test_a_token_is_refused_wherever_a_text_is_asked_for(home: Workspace) -> None:
    old = used_key(home)
    rotation = rotate(home, old)
    for token in (old.token, rotation.new.token):
        for verb, body, pointer in (
            ("complete", {"force": True, "reason": f"see {token}"}, "/reason"),
            ("complete", {"waive": [{"runtime": "worker", "reason": token}]}, "/waive"),
            ("complete", {"waive": [{"runtime": token, "reason": "x"}]}, "/waive"),
            ("rollback", {"force": True, "reason": token}, "/reason"),
            ("runtimes", {"runtime": token, "standing": "ours"}, "/runtime"),
            ("runtimes", {"runtime": "worker", "standing": "ours", "reason": token}, "/reason"),
            ("runtimes", {"runtime": "worker", "standing": "ours", "network": token}, "/network"),
        ):
            response = rotation.steer(verb, body)
            problem = expect(response, 422, "request.invalid")
            assert problem["errors"][0]["pointer"].startswith(pointer)
            assert token not in response.text
    assert rotation.now()["version"] == rotation.body["version"]


def test_the_new_token_is_answered_once_and_stands_nowhere_else(
    site: Site, home: Workspace
) -> None:
    rotation = rotate(home, used_key(home))
    rotation.move()
    answers = [
        home.admin.get(rotation.path),
        home.admin.get("/v1/rotations"),
        home.admin.get(rotation.new.path),
        home.admin.get(f"{rotation.new.path}/impact"),
        home.admin.post(f"{rotation.old.path}/rotations"),
        home.admin.get("/v1/activity-logs"),
        home.admin.get("/v1/findings", state="all"),
        rotation.steer("complete"),
        rotation.steer("complete"),
    ]
    for response in answers:
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        has_token = rotation.new.token in response.text or rotation.old.token in response.text
        assert not has_token
    assert not any(token in site.logged() for token in (rotation.old.token, rotation.new.token))


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("complete", {"force": True, "reason": "now"}),
        ("rollback", {"reason": "back"}),
        ("extend", {"overlap_seconds": DAY}),
        ("brownout", {"brownout_seconds": HOUR}),
        ("runtimes", {"runtime": "worker", "standing": "ours"}),
    ],
)
def test_a_repeated_step_replays_its_answer_and_happens_once(
    home: Workspace, verb: str, body: Any
) -> None:
    name, rotation = label(), rotate(home, used_key(home))
    first = rotation.steer(verb, body, Idempotency_Key=name)
    made = expect(first, 200)
    steps, version = rotation.steps(), rotation.now()["version"]
    again = rotation.steer(verb, body, Idempotency_Key=name)
    assert expect(again, 200) == made
    assert again.headers["etag"] == first.headers["etag"]
    assert (rotation.steps(), rotation.now()["version"]) == (steps, version)
    other = {**body, "reason": "another"} if verb not in ("extend", "brownout") else None
    mismatch = rotation.steer(verb, other or {next(iter(body)): 77}, Idempotency_Key=name)
    expect(mismatch, 422, "idempotency.mismatch")


def test_a_refused_step_keeps_nothing_under_its_key(home: Workspace) -> None:
    name, rotation = label(), rotate(home, used_key(home))
    refused = rotation.steer("complete", Idempotency_Key=name)
    expect(refused, 409, "rotation.evidence_missing")
    rotation.move()
    expect(rotation.steer("complete", Idempotency_Key=name), 200)


def test_each_step_is_one_entry_under_the_request_that_took_it(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    steps: tuple[tuple[str, Any, str], ...] = (
        ("extend", {"overlap_seconds": DAY}, "rotation.extended"),
        ("runtimes", {"runtime": "worker", "standing": "ours"}, "rotation.decided"),
        ("brownout", {"brownout_seconds": HOUR}, "rotation.browned_out"),
        ("complete", {"force": True, "reason": "done"}, "rotation.completed"),
    )
    for verb, body, action in steps:
        name = label("step")
        expect(rotation.steer(verb, body, X_Request_Id=name), 200)
        entries = home.activity(request_id=name)
        mine = [one for one in entries if one["resource_type"] == "rotation"]
        assert [one["action"] for one in mine] == [action]
        assert (mine[0]["resource_id"], mine[0]["status"]) == (rotation.id, "success")
        assert mine[0]["category"] == "security"
        others = sorted(one["action"] for one in entries if one not in mine)
        moved = {"brownout": ["api_key.suspended"], "complete": ["api_key.revoked"]}
        assert others == moved.get(verb, [])
    assert rotation.steps() == ["rotation.started", *(action for _, _, action in steps)]


def test_a_forbidden_step_is_an_entry_that_failed(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    reader = home.holder("keys:read").api.with_headers(X_Request_Id="refused")
    expect(reader.post(f"{rotation.path}/complete"), 403, "permission.missing")
    (entry,) = home.activity(request_id="refused")
    assert (entry["action"], entry["status"]) == ("rotation.completed", "failed")
    assert (entry["resource_type"], entry["resource_id"]) == ("rotation", rotation.id)


def test_another_tenants_rotation_is_none(home: Workspace, other: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    for response in (
        other.admin.get(rotation.path),
        other.admin.post(f"{rotation.path}/complete"),
        other.admin.post(f"{rotation.path}/rollback"),
        other.admin.post(f"{rotation.path}/extend", {"overlap_seconds": DAY}),
        other.admin.post(f"{rotation.path}/brownout"),
        other.admin.post(f"{rotation.path}/runtimes", {"runtime": "worker", "standing": "ours"}),
    ):
        expect(response, 404, "rotation.unknown")
    expect(other.admin.post(f"{rotation.old.path}/rotations"), 404, "key.unknown")
    expect(other.admin.get(f"{rotation.old.path}/impact"), 404, "key.unknown")
    for query in ({"slot": rotation.body["slot"]}, {"key_id": rotation.old.id}, {}):
        assert expect(other.admin.get("/v1/rotations", **query), 200) == []
    assert rotation.now()["version"] == rotation.body["version"]


def test_a_rotation_survives_the_loss_of_its_starters_key(home: Workspace) -> None:
    starter: Issued = home.holder("rotations:write")
    rotation = rotate(home, home.admin.create(), by=starter.api)
    expect(home.admin.delete(starter.path), 204)
    expect(starter.api.post(f"{rotation.path}/rollback"), 401, "credential.invalid")
    expect(rotation.steer("complete"), 200)
