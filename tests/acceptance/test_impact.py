"""Section 7: what would break if a key were revoked now."""

from typing import Any

from tests.acceptance.api import PATIENCE_SECONDS, Issued, Workspace, expect
from tests.acceptance.rotating import rotate, seconds_between, used_key
from tests.acceptance.servers import until

MEMBERS = {
    "key_id", "impact", "reason", "is_only_live_key", "as_of", "rotation_id", "runtimes",
}  # fmt: skip
RUNTIME_MEMBERS = {
    "runtime", "declared", "registered", "last_seen_at", "allowed", "calls_per_hour",
    "longest_gap_seconds", "next_expected_at", "breaks",
}  # fmt: skip


def impact(home: Workspace, key: Issued) -> Any:
    return expect(home.admin.get(f"{key.path}/impact"), 200)


def test_of_a_key_that_nobody_has_used_yet_nothing_is_known(home: Workspace) -> None:
    key = home.admin.create(name="scheduler-prod")
    body = impact(home, key)
    assert set(body) == MEMBERS
    assert (body["key_id"], body["impact"]) == (key.id, "unknown")
    assert (body["runtimes"], body["is_only_live_key"], body["rotation_id"]) == ([], True, None)
    assert body["reason"].endswith(".")


def test_who_uses_a_key_would_break(home: Workspace) -> None:
    key = used_key(home, "worker", "nightly")
    assert not until(lambda: False, 1.2)
    assert home.verify(key.token, runtime="worker")["valid"]
    assert home.verify(key.token, runtime="denied", scopes=["none"])["code"] == "scope_denied"
    body = impact(home, key)
    assert body["impact"] == "breaks"
    assert "worker" in body["reason"]
    found = {one["runtime"]: one for one in body["runtimes"]}
    assert set(found) == {"worker", "nightly"}
    worker, nightly = found["worker"], found["nightly"]
    assert set(worker) == RUNTIME_MEMBERS
    assert (worker["allowed"], worker["declared"], worker["registered"]) == (2, True, False)
    assert worker["longest_gap_seconds"] >= 1
    assert 0 < worker["calls_per_hour"] <= 3_600
    assert seconds_between(worker["last_seen_at"], worker["next_expected_at"]) >= 1
    assert worker["breaks"]
    assert (nightly["allowed"], nightly["longest_gap_seconds"]) == (1, None)
    assert (nightly["calls_per_hour"], nightly["next_expected_at"]) == (None, None)
    assert body["as_of"] >= worker["last_seen_at"]


def test_a_declared_interval_tells_the_next_call_and_ends_the_waiting(home: Workspace) -> None:
    runtimes = [{"name": "worker", "max_call_interval_seconds": 2}]
    key = used_key(home, runtimes=runtimes)
    (worker,) = impact(home, key)["runtimes"]
    assert worker["registered"]
    assert seconds_between(worker["last_seen_at"], worker["next_expected_at"]) == 2
    assert until(lambda: impact(home, key)["impact"] == "safe", PATIENCE_SECONDS)
    assert [one["breaks"] for one in impact(home, key)["runtimes"]] == [False]


def test_who_has_moved_to_the_new_key_does_not_break(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "nightly"))
    before = impact(home, rotation.old)
    assert (before["impact"], before["rotation_id"]) == ("breaks", rotation.id)
    assert before["is_only_live_key"] is False
    rotation.move("worker")
    middle = impact(home, rotation.old)
    assert [one["runtime"] for one in middle["runtimes"] if one["breaks"]] == ["nightly"]
    rotation.move("nightly")
    assert impact(home, rotation.old)["impact"] == "safe"
    new = impact(home, rotation.new)
    assert (new["impact"], new["rotation_id"]) == ("breaks", rotation.id)


def test_strangers_and_the_waived_do_not_break(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    rotation.use(rotation.old, "stranger")
    rotation.move()
    assert impact(home, rotation.old)["impact"] == "safe"
    rotation.use(rotation.old)
    waived = {"runtime": "worker", "standing": "waived", "reason": "switched off"}
    expect(rotation.steer("runtimes", waived), 200)
    assert impact(home, rotation.old)["impact"] == "safe"


def test_a_key_that_is_dead_breaks_nobody(home: Workspace) -> None:
    key = used_key(home)
    expect(home.admin.delete(key.path), 204)
    body = impact(home, key)
    assert (body["impact"], body["is_only_live_key"]) == ("safe", False)
    assert [one["breaks"] for one in body["runtimes"]] == [False]


def test_a_second_live_key_in_the_slot_is_told(home: Workspace) -> None:
    first = home.admin.create(name="scheduler-prod")
    second = home.admin.create(name="scheduler-prod")
    assert impact(home, first)["is_only_live_key"] is False
    expect(home.admin.delete(second.path), 204)
    assert impact(home, first)["is_only_live_key"] is True


def test_who_calls_keyturn_itself_with_a_key_would_break(home: Workspace) -> None:
    key = home.holder("keys:read")
    expect(key.api.with_headers(Keyturn_Runtime="console").get("/v1/slots"), 200)
    body = impact(home, key)
    assert [(one["runtime"], one["breaks"]) for one in body["runtimes"]] == [("console", True)]


def test_impact_is_of_keys_that_one_may_see(home: Workspace, other: Workspace) -> None:
    mine, theirs = home.admin.create(name="a-prod"), home.admin.create(name="b-prod")
    caller = home.holder("requests:read@a-*").api
    expect(caller.get(f"{mine.path}/impact"), 200)
    expect(caller.get(f"{theirs.path}/impact"), 403, "permission.missing")
    expect(other.admin.get(f"{mine.path}/impact"), 404, "key.unknown")
    expect(home.admin.get("/v1/api-keys/nothing/impact"), 404, "key.unknown")
    expect(home.holder("keys:read").api.get(f"{mine.path}/impact"), 403, "permission.missing")
