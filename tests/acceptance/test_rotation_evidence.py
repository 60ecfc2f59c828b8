"""Section 8, rules 1 to 5: who keeps the old key alive, and what ends a rotation by itself."""

import shutil
from functools import partial
from typing import Any

import pytest

from tests.acceptance.api import Issued, Site, Workspace, expect, open_site
from tests.acceptance.rotating import (
    BY_ITSELF,
    DAY,
    HOUR,
    PATIENCE_SECONDS,
    Rotating,
    blockers,
    evidence_of,
    rotate,
    seconds_between,
    used_key,
)
from tests.acceptance.servers import Installation, serving, until

MEMBERS = {
    "runtime", "declared", "registered", "standing", "old_last_seen_at", "old_allowed",
    "new_last_seen_at", "new_allowed", "new_denied", "checked_in_at", "moved", "networks",
}  # fmt: skip
HERE, THERE = "10.0.0.1", "192.0.2.7"
THERE_BLOCK = "192.0.0.0/16"
A_WHILE_SECONDS = 3.0  # in which everything that is due has happened


def is_left_alone(rotation: Rotating, state: str = "overlapping") -> bool:
    """Whether nothing happens by itself for a while."""
    return not until(lambda: rotation.now()["state"] != state, A_WHILE_SECONDS)


def blocked(rotation: Rotating) -> list[tuple[str, str | None]]:
    return blockers(rotation.now())


# --- rule 1: who blocks, and until when -----------------------------------------------------------


def test_who_used_the_old_key_blocks_until_it_is_allowed_on_the_new_one(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "nightly"))
    both = [("runtime.not_moved", "nightly"), ("runtime.not_moved", "worker")]
    assert blocked(rotation) == both
    rotation.move("worker")
    assert blocked(rotation) == both[:1]
    rotation.move("nightly")
    assert blocked(rotation) == []
    expect(rotation.steer("complete"), 200)


def test_the_evidence_tells_of_each_runtime_on_both_keys(home: Workspace) -> None:
    old = used_key(home, "worker", "worker", scopes=["read"])
    rotation = rotate(home, old)
    before = rotation.evidence()
    assert set(before) == MEMBERS
    assert before == {
        "runtime": "worker",
        "declared": True,
        "registered": False,
        "standing": "ours",
        "old_last_seen_at": before["old_last_seen_at"],
        "old_allowed": 2,
        "new_last_seen_at": None,
        "new_allowed": 0,
        "new_denied": 0,
        "checked_in_at": None,
        "moved": False,
        "networks": [],
    }
    rotation.use(rotation.new, scopes=["write"])
    rotation.move()
    after = rotation.evidence()
    told = {name: after[name] for name in ("old_allowed", "new_allowed", "new_denied", "moved")}
    assert told == {"old_allowed": 2, "new_allowed": 1, "new_denied": 1, "moved": True}
    assert after["old_last_seen_at"] == before["old_last_seen_at"]
    assert after["new_last_seen_at"] > after["old_last_seen_at"]
    ended = expect(rotation.steer("complete"), 200)
    assert evidence_of(ended, "worker") == after
    assert rotation.evidence() == after


def test_a_denial_on_the_new_key_is_no_move(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, scopes=["read"]))
    assert rotation.use(rotation.new, scopes=["write"])["code"] == "scope_denied"
    assert blocked(rotation) == [("runtime.not_moved", "worker")]
    assert rotation.evidence()["new_last_seen_at"] is None


def test_a_denial_on_the_old_key_is_no_use(home: Workspace) -> None:
    old = home.admin.create(name="scheduler-prod", scopes=["read"])
    home.verify(old.token, runtime="worker", scopes=["write"])
    home.verify(f"{old.token[:-6]}AAAAAA", runtime="thief")
    assert blocked(rotate(home, old)) == []


def test_the_old_key_must_rest_for_the_quiet_asked_for(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), quiet_seconds=2)
    rotation.move()
    assert rotation.use(rotation.old)["valid"]
    assert blocked(rotation) == [("runtime.still_on_old", "worker")]
    assert rotation.evidence()["moved"] is False
    expect(rotation.steer("complete"), 409, "rotation.evidence_missing")
    assert until(lambda: blocked(rotation) == [], PATIENCE_SECONDS)
    body = rotation.now()
    assert seconds_between(evidence_of(body, "worker")["old_last_seen_at"], body["evidence_until"])
    assert evidence_of(body, "worker")["moved"] is True
    assert rotation.use(rotation.old)["valid"]
    assert blocked(rotation) == [("runtime.still_on_old", "worker")]


def test_strangers_do_not_disturb_the_quiet(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), quiet_seconds=1)
    rotation.move()

    def is_free() -> bool:
        rotation.use(rotation.old, "stranger")
        return blocked(rotation) == []

    assert until(is_free, PATIENCE_SECONDS)


def test_the_new_key_must_be_used_from_each_environment_of_the_old_one(home: Workspace) -> None:
    old = home.admin.create(name="scheduler-prod")
    for environment in ("blue", "green"):
        assert home.verify(old.token, runtime="worker", environment=environment)["valid"]
    rotation = rotate(home, old)
    for environment, is_free in (("red", False), ("blue", False), ("green", True)):
        rotation.move(environment=environment)
        assert blocked(rotation) == ([] if is_free else [("runtime.not_moved", "worker")])


def test_one_name_declared_and_inferred_is_two_runtimes(home: Workspace) -> None:
    old = home.admin.create(name="scheduler-prod")
    home.verify(old.token, user_agent="curl/8.5.0")
    rotation = rotate(home, old)
    rotation.move("ua:curl")
    assert blocked(rotation) == [("runtime.not_moved", "ua:curl")]
    found = {one["declared"]: one["moved"] for one in rotation.now()["evidence"]}
    assert found == {False: False, True: True}
    rotation.use(rotation.new, None, user_agent="curl/9.0.0")
    assert blocked(rotation) == []


def test_silence_longer_than_the_declared_interval_frees_a_runtime(home: Workspace) -> None:
    runtimes = [
        {"name": "worker", "max_call_interval_seconds": 2},
        {"name": "nightly", "max_call_interval_seconds": DAY},
    ]
    rotation = rotate(home, used_key(home, "worker", "nightly", runtimes=runtimes))
    assert ("runtime.not_moved", "worker") in blocked(rotation)
    nightly = [("runtime.not_moved", "nightly")]
    assert until(lambda: blocked(rotation) == nightly, PATIENCE_SECONDS)
    assert rotation.evidence()["registered"] is True
    rotation.use(rotation.old, "worker")
    assert blocked(rotation) == [*nightly, ("runtime.not_moved", "worker")]


def test_with_no_interval_declared_the_look_back_is_the_interval(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), lookback_seconds=2)
    assert blocked(rotation) == [("runtime.not_moved", "worker")]
    assert until(lambda: blocked(rotation) == [], PATIENCE_SECONDS)
    patient = rotate(home, used_key(home, name="other-prod"))
    assert is_left_alone(patient)
    assert blocked(patient) == [("runtime.not_moved", "worker")]


def test_who_used_it_before_the_look_back_does_not_block(home: Workspace) -> None:
    old = used_key(home)
    assert not until(lambda: False, 2.0)
    rotation = rotate(home, old, lookback_seconds=1)
    assert blocked(rotation) == []
    expect(rotation.steer("complete"), 200)


def test_a_registered_runtime_that_never_called_is_waited_for_by_its_interval(
    home: Workspace,
) -> None:
    runtimes = [
        {"name": "nightly", "max_call_interval_seconds": DAY},
        {"name": "idle"},
    ]
    rotation = rotate(home, home.admin.create(name="scheduler-prod", runtimes=runtimes))
    assert blocked(rotation) == [("runtime.not_moved", "nightly")]
    assert rotation.evidence("nightly")["old_last_seen_at"] is None


def restored(installation: Installation) -> Installation:
    """A copy of an installation, from its backup."""
    folder = installation.home.parent
    assert installation.command("backup", str(folder / "kept")).returncode == 0
    home = folder / "again" / "home"
    home.mkdir(parents=True, mode=0o700)
    for name in ("root.secret", "operator.token", "activity.heads"):
        shutil.copy2(installation.home / name, home / name)
    copy = Installation(engine="sqlite", home=home, database_url=f"sqlite:///{home / 'keyturn.db'}")
    done = copy.command("restore", str(folder / "kept"))
    assert done.returncode == 0, done.stderr
    return copy


def test_records_that_do_not_reach_back_block(installation: Installation) -> None:
    with serving(installation) as server:
        site = open_site(server)
        before = site.workspace()
        old = before.admin.create(name="scheduler-prod")
        site.operator.client.close()
    with serving(restored(installation)) as server:
        site = open_site(server)
        admin = site.operator.with_token(before.admin.token)
        home = Workspace(id=before.id, admin=admin, body=before.body)
        rotation = rotate(home, old)
        assert blocked(rotation) == [("history.incomplete", None)]
        assert expect(admin.get(f"{old.path}/impact"), 200)["impact"] == "unknown"
        expect(rotation.steer("complete"), 409, "rotation.evidence_missing")
        expect(rotation.steer("rollback"), 200)
        assert until(lambda: blocked(rotate(home, home.admin.create())) == [])
        assert until(lambda: _ends_without_look_back(home, old), PATIENCE_SECONDS)
        site.operator.client.close()


def _ends_without_look_back(home: Workspace, old: Issued) -> bool:
    """Whether a look-back that begins after the gap is free of it."""
    rotation = rotate(home, old, lookback_seconds=0)
    expect(rotation.steer("rollback"), 200)
    return blockers(rotation.body) == []


# --- rule 2: what ends by itself, and what never does ---------------------------------------------


def test_it_ends_by_itself_as_soon_as_it_may_and_before_its_deadline(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF)
    assert is_left_alone(rotation)
    rotation.move()
    assert rotation.is_in("completed")
    body = rotation.now()
    assert (body["forced"], body["overdue"], body["blocked_by"]) == (False, False, [])
    assert evidence_of(body, "worker")["moved"] is True
    assert rotation.statuses() == ("revoked", "active")
    (entry,) = home.activity(action="rotation.completed")
    assert (entry["actor_type"], entry["request_id"]) == ("worker", None)
    assert len(entry["metadata"]["evidence_sha256"]) == 64


def test_it_ends_by_itself_after_its_deadline_too(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF | {"overlap_seconds": 1})
    assert until(lambda: rotation.now()["overdue"])
    assert is_left_alone(rotation)
    assert rotation.use(rotation.old)["valid"]
    rotation.move()
    assert rotation.is_in("completed")
    assert rotation.now()["overdue"] is True


def test_its_last_step_is_a_brown_out(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF | {"brownout_seconds": 1})
    rotation.move()
    assert rotation.is_in("completed")
    assert rotation.steps() == [
        "rotation.started",
        "rotation.browned_out",
        "rotation.completed",
    ]
    assert [one["action"] for one in home.activity(resource_id=rotation.old.id)] == [
        "api_key.created",
        "api_key.suspended",
        "api_key.revoked",
    ]


@pytest.mark.parametrize("terms", [{}, {"lookback_seconds": HOUR}], ids=str)
def test_time_alone_never_retires_a_key(home: Workspace, terms: dict[str, Any]) -> None:
    short = BY_ITSELF | {"overlap_seconds": 1} | terms
    used = rotate(home, used_key(home, name="used-prod"), **short)
    unused = rotate(home, home.admin.create(name="unused-prod"), **short)
    assert until(lambda: used.now()["overdue"] and unused.now()["overdue"])
    assert is_left_alone(used)
    assert is_left_alone(unused)
    for rotation in (used, unused):
        assert home.verify(rotation.old.token, runtime="worker")["valid"]


def test_one_sighting_of_the_new_key_does_not_retire_the_old_one(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "nightly"), **BY_ITSELF)
    rotation.move("worker")
    rotation.move("somebody")
    assert is_left_alone(rotation)
    assert blocked(rotation) == [("runtime.not_moved", "nightly")]
    rotation.move("nightly")
    assert rotation.is_in("completed")


def test_an_old_key_left_alone_for_a_whole_look_back_waits_for_a_persons_word(
    home: Workspace,
) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF | {"lookback_seconds": 1})
    assert until(lambda: blocked(rotation) == [], PATIENCE_SECONDS)
    assert is_left_alone(rotation)
    expect(rotation.steer("complete"), 200)


def test_an_old_key_that_a_person_has_suspended_waits_for_a_persons_word(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF | {"quiet_seconds": 1})
    expect(home.admin.post(f"{rotation.old.path}/suspend"), 200)
    rotation.move()
    assert is_left_alone(rotation)
    assert ("old_key.suspended", None) in blocked(rotation)


def test_without_auto_complete_nothing_ends_by_itself(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    rotation.move()
    assert blocked(rotation) == []
    assert is_left_alone(rotation)


# --- rule 3: what is known ------------------------------------------------------------------------


def test_every_answered_use_is_in_the_evidence_that_is_judged_next(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), quiet_seconds=HOUR)
    rotation.move()
    for count in range(2, 12):
        assert rotation.use(rotation.old)["valid"]
        problem = expect(rotation.steer("complete"), 409, "rotation.evidence_missing")
        assert blockers(problem) == [("runtime.still_on_old", "worker")]
        assert rotation.evidence()["old_allowed"] == count


def test_the_evidence_tells_up_to_when_it_counts(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    first = rotation.now()
    assert seconds_between(first["started_at"], first["evidence_until"]) >= 0
    rotation.move()
    second = rotation.now()
    assert second["evidence_until"] >= second["evidence"][0]["new_last_seen_at"]
    ended = expect(rotation.steer("complete"), 200)
    assert second["evidence_until"] <= ended["evidence_until"] <= ended["completed_at"]
    assert rotation.now()["evidence_until"] == ended["evidence_until"]


# --- rule 4: strangers and thieves ----------------------------------------------------------------


def test_a_stranger_never_blocks_and_never_frees(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF)
    for key in (rotation.old, rotation.new):
        assert rotation.use(key, "stranger", ip=THERE)["valid"]
    assert blocked(rotation) == [("runtime.not_moved", "worker")]
    assert rotation.evidence("stranger")["standing"] == "stranger"
    assert is_left_alone(rotation)
    rotation.move()
    rotation.use(rotation.old, "stranger", ip=THERE)
    assert rotation.is_in("completed")


def test_who_is_seen_on_the_new_key_alone_is_new(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    rotation.move("arrived")
    assert rotation.evidence("arrived")["standing"] == "new"
    assert blocked(rotation) == [("runtime.not_moved", "worker")]


def test_a_registered_runtime_blocks_though_it_was_first_seen_after_the_start(
    home: Workspace,
) -> None:
    old = home.admin.create(name="scheduler-prod", runtimes=[{"name": "nightly"}])
    rotation = rotate(home, old)
    assert blocked(rotation) == []
    assert rotation.use(rotation.old, "nightly")["valid"]
    assert blocked(rotation) == [("runtime.not_moved", "nightly")]
    rotation.move("nightly")
    assert blocked(rotation) == []


def known_from_here(home: Workspace, **terms: Any) -> Rotating:
    """The rotation of a key that the worker used from one place."""
    old = home.admin.create(name="scheduler-prod")
    assert home.verify(old.token, runtime="worker", ip=HERE)["valid"]
    return rotate(home, old, **terms)


def test_a_known_name_from_elsewhere_blocks_until_a_person_decides(home: Workspace) -> None:
    rotation = known_from_here(home, **BY_ITSELF)
    assert rotation.use(rotation.old, ip=THERE)["valid"]
    conflict = ("identity.conflict", "worker")
    assert conflict in blocked(rotation)
    assert rotation.evidence()["standing"] == "conflict"
    (told,) = [one for one in rotation.now()["blocked_by"] if one["code"] == "identity.conflict"]
    assert THERE_BLOCK in told["detail"]
    rotation.move(ip=HERE)
    assert is_left_alone(rotation)
    assert blocked(rotation) == [conflict]
    expect(rotation.steer("complete"), 409, "rotation.evidence_missing")
    word = {"runtime": "worker", "standing": "intruder", "network": THERE_BLOCK}
    expect(rotation.steer("runtimes", word), 200)
    assert rotation.is_in("completed")


def test_a_thief_with_a_known_name_does_not_finish_it_early(home: Workspace) -> None:
    rotation = known_from_here(home)
    assert rotation.use(rotation.new, ip=THERE)["valid"]
    assert sorted(blocked(rotation)) == [
        ("identity.conflict", "worker"),
        ("runtime.not_moved", "worker"),
    ]
    intruder = {"runtime": "worker", "standing": "intruder", "network": THERE_BLOCK}
    expect(rotation.steer("runtimes", intruder), 200)
    assert blocked(rotation) == [("runtime.not_moved", "worker")]
    rotation.move(ip=HERE)
    assert blocked(rotation) == []


def test_an_intruder_does_not_hold_it_open(home: Workspace) -> None:
    rotation = known_from_here(home, quiet_seconds=1)
    intruder = {"runtime": "worker", "standing": "intruder", "network": THERE_BLOCK}
    rotation.use(rotation.old, ip=THERE)
    expect(rotation.steer("runtimes", intruder), 200)
    rotation.move(ip=HERE)

    def is_free() -> bool:
        assert rotation.use(rotation.old, ip=THERE)["valid"]
        return blocked(rotation) == []

    assert until(is_free, PATIENCE_SECONDS)


def test_a_place_that_is_ours_counts_as_the_known_one(home: Workspace) -> None:
    rotation = known_from_here(home)
    rotation.use(rotation.new, ip=THERE)
    ours = {"runtime": "worker", "standing": "ours", "network": THERE_BLOCK, "reason": "moved"}
    body = expect(rotation.steer("runtimes", ours), 200)
    assert body["blocked_by"] == []
    (word,) = body["decisions"]
    assert {name: word[name] for name in ours} == ours
    expect(rotation.steer("complete"), 200)


def test_one_more_pod_of_the_same_block_is_no_new_place(home: Workspace) -> None:
    rotation = known_from_here(home)
    rotation.move(ip="10.99.3.4")
    assert blocked(rotation) == []


def test_a_place_has_the_name_that_the_workspace_gave_its_network(
    site: Site, home: Workspace
) -> None:
    networks = [{"name": "office", "cidrs": ["192.0.2.0/24"]}]
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"networks": networks}), 200)
    rotation = known_from_here(home)

    def is_named() -> bool:
        rotation.use(rotation.new, ip=THERE)
        return any("office" in one["detail"] for one in rotation.now()["blocked_by"])

    assert until(is_named, PATIENCE_SECONDS)


def test_a_stranger_that_a_person_calls_ours_is_waited_for(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    rotation.move()
    rotation.use(rotation.old, "batch")
    assert blocked(rotation) == []
    body = expect(rotation.steer("runtimes", {"runtime": "batch", "standing": "ours"}), 200)
    assert blockers(body) == [("runtime.not_moved", "batch")]
    waived = {"runtime": "batch", "standing": "waived", "reason": "switched off"}
    body = expect(rotation.steer("runtimes", waived), 200)
    assert blockers(body) == []
    assert [one["standing"] for one in body["decisions"]] == ["waived"]


def test_a_runtime_that_only_checked_in_is_taken_for_moved_by_a_persons_word(
    home: Workspace,
) -> None:
    rotation = rotate(home, used_key(home))
    word = {"runtime": "worker", "standing": "checked_in", "reason": "runs at night"}
    expect(rotation.steer("runtimes", word), 409, "rotation.not_checked_in")
    own = rotation.new.api.with_headers(Keyturn_Runtime="worker")
    expect(own.get("/v1/self"), 200)
    assert until(lambda: rotation.evidence()["checked_in_at"] is not None)
    assert rotation.evidence()["new_allowed"] == 0
    assert blocked(rotation) == [("runtime.not_moved", "worker")]
    body = expect(rotation.steer("runtimes", word), 200)
    assert body["blocked_by"] == []
    expect(rotation.steer("complete"), 200)


def test_who_asks_only_self_on_the_old_key_does_not_block(home: Workspace) -> None:
    old = home.admin.create()
    expect(old.api.with_headers(Keyturn_Runtime="worker").get("/v1/self"), 200)
    assert blocked(rotate(home, old)) == []


def test_a_management_call_with_the_old_key_is_a_use(home: Workspace) -> None:
    old = home.holder("keys:read", name="scheduler-prod")
    expect(old.api.with_headers(Keyturn_Runtime="console").get("/v1/slots"), 200)
    rotation = rotate(home, old)
    assert blocked(rotation) == [("runtime.not_moved", "console")]
    expect(rotation.new.api.with_headers(Keyturn_Runtime="console").get("/v1/slots"), 200)
    assert blocked(rotation) == []


def test_who_verifies_others_with_the_old_key_uses_it(home: Workspace) -> None:
    old = home.holder("verify", name="gateway-prod")
    old.api.with_headers(Keyturn_Runtime="proxy").verify("nothing")
    rotation = rotate(home, old)
    assert blocked(rotation) == [("runtime.not_moved", "proxy")]
    rotation.new.api.with_headers(Keyturn_Runtime="proxy").verify("nothing")
    assert blocked(rotation) == []


# --- rule 5: the brown-out that meets one of ours -------------------------------------------------


def is_lifted(rotation: Rotating, times: int) -> bool:
    return bool(rotation.now()["lifts"] == times)


def test_after_two_lifts_a_person_decides(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), **BY_ITSELF | {"brownout_seconds": HOUR})
    rotation.move()
    for lifts in (1, 2):
        assert rotation.is_in("brownout")
        assert rotation.use(rotation.old)["code"] == "suspended"
        assert until(partial(is_lifted, rotation, lifts), PATIENCE_SECONDS)
    assert is_left_alone(rotation)
    assert rotation.use(rotation.old)["valid"]
    assert blocked(rotation) == [("brownout.lifted", None)]
    assert rotation.steps().count("rotation.browned_out") == 2
    assert expect(rotation.steer("complete"), 202)["state"] == "brownout"
    body = expect(rotation.steer("complete", {"force": True, "reason": "seen to"}), 200)
    assert body["state"] == "completed"


def test_strangers_and_the_waived_do_not_lift_a_brown_out(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "batch"))
    waived = {"runtime": "batch", "standing": "waived", "reason": "switched off"}
    expect(rotation.steer("runtimes", waived), 200)
    expect(rotation.steer("brownout", {"brownout_seconds": HOUR}), 200)
    for runtime in ("stranger", "batch"):
        assert rotation.use(rotation.old, runtime)["code"] == "suspended"
    assert is_left_alone(rotation, "brownout")
    rotation.use(rotation.old, "worker")
    assert rotation.is_in("overlapping")
