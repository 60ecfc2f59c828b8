"""Section 8: what a person does to a rotation, and how it ends by that."""

from typing import Any

import pytest

from tests.acceptance.api import Workspace, expect, expect_invalid
from tests.acceptance.rotating import (
    BY_HAND,
    DAY,
    HOUR,
    YEAR,
    blockers,
    in_future,
    rotate,
    seconds_between,
    used_key,
)
from tests.acceptance.servers import until

# --- complete -------------------------------------------------------------------------------------


def test_complete_is_refused_with_what_blocks_and_nothing_happens(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "nightly"))
    version = rotation.now()["version"]
    body: Any
    for body in (None, {}, {"force": False}, {"reason": "because"}, {"waive": []}):
        problem = expect(rotation.steer("complete", body), 409, "rotation.evidence_missing")
        assert blockers(problem) == blockers(rotation.now())
        assert blockers(problem) == [
            ("runtime.not_moved", "nightly"),
            ("runtime.not_moved", "worker"),
        ]
        assert "nightly" in problem["detail"]
    assert rotation.now()["version"] == version
    assert rotation.statuses() == ("active", "active")


def test_force_completes_past_the_evidence_and_says_why(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    expect_invalid(rotation.steer("complete", {"force": True}), "/reason")
    assert rotation.now()["state"] == "overlapping"
    response = rotation.steer("complete", {"force": True, "reason": "the worker is gone"})
    body = expect(response, 200)
    assert (body["state"], body["forced"], body["reason"]) == (
        "completed",
        True,
        "the worker is gone",
    )
    assert (body["completed_at"] is None, body["blocked_by"]) == (False, [])
    assert response.headers["keyturn-propagation"].startswith("complete; ")
    assert home.verify(rotation.old.token)["code"] == "revoked"
    assert home.key(rotation.old)["revocation_reason"] == "superseded"
    assert rotation.use(rotation.new)["valid"]
    (entry,) = home.activity(action="rotation.completed")
    assert (entry["metadata"]["forced"], entry["metadata"]["blocked_by"]) == (
        True,
        ["runtime.not_moved"],
    )


def test_who_is_waived_is_left_out_and_nobody_else(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "nightly"))
    waive = {"waive": [{"runtime": "nightly", "reason": "switched off"}]}
    problem = expect(rotation.steer("complete", waive), 409, "rotation.evidence_missing")
    assert blockers(problem) == [("runtime.not_moved", "worker")]
    assert rotation.now()["decisions"] == []
    rotation.move("worker")
    body = expect(rotation.steer("complete", waive), 200)
    assert (body["state"], body["forced"]) == ("completed", False)
    (word,) = body["decisions"]
    assert (word["runtime"], word["standing"], word["reason"]) == (
        "nightly",
        "waived",
        "switched off",
    )
    standings = {one["runtime"]: one["standing"] for one in body["evidence"]}
    assert standings == {"nightly": "waived", "worker": "ours"}


def test_with_nothing_in_the_way_a_persons_word_completes_it_at_once(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    body = expect(rotation.steer("complete"), 200)
    assert (body["state"], body["forced"]) == ("completed", False)
    assert rotation.statuses() == ("revoked", "active")
    assert rotation.steps() == ["rotation.started", "rotation.completed"]


def test_complete_answers_202_while_browned_out_and_ends_by_itself(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create(), brownout_seconds=2)
    response = rotation.steer("complete")
    body = expect(response, 202)
    assert (body["state"], body["brownout_until"] is None) == ("brownout", False)
    assert home.verify(rotation.old.token, runtime="stranger")["code"] == "suspended"
    assert rotation.statuses() == ("suspended", "active")
    again = rotation.steer("complete")
    assert again.status_code in (200, 202)
    assert rotation.is_in("completed")
    assert home.verify(rotation.old.token)["code"] == "revoked"
    ended = expect(rotation.steer("complete"), 200)
    assert seconds_between(body["started_at"], ended["completed_at"]) >= 2
    assert rotation.steps() == [
        "rotation.started",
        "rotation.browned_out",
        "rotation.completed",
    ]


def test_a_repeated_complete_is_200_again_and_writes_nothing(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    first = expect(rotation.steer("complete"), 200)
    revoked = home.key(rotation.old)
    for body in (None, {"force": True, "reason": "again"}):
        assert expect(rotation.steer("complete", body), 200) == first
    assert rotation.steps() == ["rotation.started", "rotation.completed"]
    assert home.key(rotation.old) == revoked


def test_after_one_end_the_other_is_closed(home: Workspace) -> None:
    completed, rolled_back = (rotate(home, home.admin.create()) for _ in range(2))
    cancelled = rotate(home, home.admin.create())
    expect(completed.steer("complete"), 200)
    expect(rolled_back.steer("rollback"), 200)
    expect(home.admin.delete(f"{cancelled.old.path}?reason=compromised"), 204)
    bodies: dict[str, Any] = {
        "complete": {"force": True, "reason": "x"},
        "rollback": {"force": True, "reason": "x"},
        "extend": {"overlap_seconds": 2 * HOUR},
        "brownout": None,
        "runtimes": {"runtime": "worker", "standing": "ours"},
    }
    for rotation, repeated in (
        (completed, "complete"),
        (rolled_back, "rollback"),
        (cancelled, None),
    ):
        before, steps = rotation.now(), rotation.steps()
        for verb, body in bodies.items():
            if verb != repeated:
                expect(rotation.steer(verb, body), 409, "rotation.closed")
        assert rotation.now() == before
        assert rotation.steps() == steps


# --- rollback -------------------------------------------------------------------------------------


def test_rollback_keeps_the_old_key_and_revokes_the_new_one(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    response = rotation.steer("rollback", {"reason": "not yet"})
    body = expect(response, 200)
    assert (body["state"], body["reason"], body["forced"]) == ("rolled_back", "not yet", False)
    assert rotation.use(rotation.old)["valid"]
    assert home.verify(rotation.new.token)["code"] == "revoked"
    assert home.key(rotation.new)["revocation_reason"] == "unused"
    assert response.headers["keyturn-propagation"].startswith("complete; ")
    assert expect(rotation.steer("rollback"), 200) == body


def test_rollback_is_refused_where_somebody_uses_only_the_new_key(home: Workspace) -> None:
    rotation = rotate(home, used_key(home, "worker", "nightly"))
    rotation.move("worker")
    rotation.move("arrived")
    problem = expect(rotation.steer("rollback"), 409, "rotation.rollback_unsafe")
    assert sorted(problem["runtimes"]) == ["arrived", "worker"]
    expect(rotation.steer("rollback", {"reason": "because"}), 409, "rotation.rollback_unsafe")
    assert rotation.statuses() == ("active", "active")
    expect_invalid(rotation.steer("rollback", {"force": True}), "/reason")
    body = expect(rotation.steer("rollback", {"force": True, "reason": "broken"}), 200)
    assert (body["state"], body["forced"]) == ("rolled_back", True)
    assert rotation.statuses() == ("active", "revoked")


def test_rollback_may_keep_both_as_ordinary_keys(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    rotation.move()
    body = expect(rotation.steer("rollback", {"keep_both": True}), 200)
    assert body["state"] == "rolled_back"
    assert rotation.statuses() == ("active", "active")
    for key in (rotation.old, rotation.new):
        verdict = rotation.use(key)
        assert (verdict["valid"], verdict["deprecation"]) == (True, None)
        assert expect(key.api.get("/v1/self"), 200)["rotation"] is None


def test_rollback_out_of_a_brown_out_lets_the_old_key_work_again(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    expect(rotation.steer("brownout", {"brownout_seconds": HOUR}), 200)
    assert rotation.statuses() == ("suspended", "active")
    assert expect(rotation.steer("rollback"), 200)["brownout_until"] is None
    assert rotation.statuses() == ("active", "revoked")


# --- extend ---------------------------------------------------------------------------------------


def test_extend_gives_a_later_deadline_by_its_time_or_from_the_start(home: Workspace) -> None:
    rotation = rotate(home, used_key(home), overlap_seconds=1)
    assert until(lambda: rotation.now()["overdue"])
    asked = in_future(HOUR)
    body = expect(rotation.steer("extend", {"deadline": asked}), 200)
    assert seconds_between(asked, body["deadline"]) == 0
    assert body["overdue"] is False
    longer = expect(rotation.steer("extend", {"overlap_seconds": 2 * DAY}), 200)
    assert longer["overlap_seconds"] == 2 * DAY
    assert seconds_between(longer["started_at"], longer["deadline"]) == 2 * DAY
    assert rotation.steps() == ["rotation.started", "rotation.extended", "rotation.extended"]


def test_a_deadline_that_is_not_later_is_422(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    for body, pointer in (
        ({"deadline": rotation.body["deadline"]}, "/deadline"),
        ({"deadline": in_future(1)}, "/deadline"),
        ({"deadline": in_future(2 * YEAR)}, "/deadline"),
        ({"deadline": "tomorrow"}, "/deadline"),
        ({"deadline": 1}, "/deadline"),
        ({"overlap_seconds": 0}, "/overlap_seconds"),
        ({"overlap_seconds": YEAR + 1}, "/overlap_seconds"),
        ({"overlap_seconds": "60"}, "/overlap_seconds"),
        ({}, ""),
        ({"deadline": None, "overlap_seconds": None}, ""),
        ({"deadline": in_future(DAY), "overlap_seconds": DAY}, ""),
        ({"seconds": 1}, "/seconds"),
    ):
        expect_invalid(rotation.steer("extend", body), pointer)
    sooner = rotation.steer("extend", {"overlap_seconds": HOUR})
    body = expect(sooner, 422, "request.invalid")
    assert body["errors"][0]["pointer"] in ("/overlap_seconds", "/deadline")
    expect(rotation.steer("extend"), 400, "request.malformed")
    assert rotation.now()["version"] == rotation.body["version"]


# --- brown-out ------------------------------------------------------------------------------------


def test_a_brown_out_suspends_the_old_key_for_a_stated_time(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    response = rotation.steer("brownout", {"brownout_seconds": 2})
    body = expect(response, 200)
    assert body["state"] == "brownout"
    assert response.headers["keyturn-propagation"].startswith("complete; ")
    assert home.verify(rotation.old.token, runtime="stranger")["code"] == "suspended"
    expect(rotation.steer("brownout"), 409, "rotation.closed")
    assert rotation.is_in("overlapping")
    assert rotation.use(rotation.old)["valid"]
    after = rotation.now()
    assert (after["lifts"], after["brownout_until"]) == (0, None)
    assert rotation.steps() == ["rotation.started", "rotation.browned_out", "rotation.lifted"]


@pytest.mark.parametrize("terms", [0, 7])
def test_a_brown_out_lasts_as_the_rotation_says_or_else_a_minute(
    home: Workspace, terms: int
) -> None:
    rotation = rotate(home, home.admin.create(), brownout_seconds=terms)
    body = expect(rotation.steer("brownout"), 200)
    (entry,) = home.activity(action="rotation.browned_out")
    lasted = seconds_between(entry["created_at"], body["brownout_until"])
    assert lasted == pytest.approx(terms or 60, abs=1)


def test_wrong_brown_outs_are_422(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    for value in (0, -1, DAY + 1, "60", 1.5, True):
        response = rotation.steer("brownout", {"brownout_seconds": value})
        expect_invalid(response, "/brownout_seconds")
    expect_invalid(rotation.steer("brownout", {"seconds": 1}), "/seconds")
    assert rotation.now()["state"] == "overlapping"


def test_a_brown_out_is_lifted_at_once_when_one_of_ours_meets_it(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    expect(rotation.steer("brownout", {"brownout_seconds": HOUR}), 200)
    assert rotation.use(rotation.old)["code"] == "suspended"
    assert rotation.is_in("overlapping")
    assert rotation.use(rotation.old)["valid"]
    assert rotation.statuses() == ("active", "active")


def test_a_person_who_resumes_the_key_ends_its_brown_out(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    expect(rotation.steer("brownout", {"brownout_seconds": HOUR}), 200)
    expect(home.admin.post(f"{rotation.old.path}/resume"), 200)
    assert rotation.now()["state"] == "overlapping"
    assert rotation.use(rotation.old)["valid"]


def test_a_brown_out_that_a_person_ended_is_not_begun_again_by_itself(home: Workspace) -> None:
    terms = BY_HAND | {"auto_complete": True, "brownout_seconds": HOUR}
    rotation = rotate(home, used_key(home), **terms)
    rotation.move()
    assert rotation.is_in("brownout")
    expect(home.admin.post(f"{rotation.old.path}/resume"), 200)
    assert rotation.use(rotation.old)["valid"]
    assert not until(lambda: rotation.now()["state"] != "overlapping", 3)
    assert expect(rotation.steer("complete"), 202)["state"] == "brownout"


def test_a_key_that_a_person_suspends_in_a_brown_out_stays_so_at_its_end(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    expect(rotation.steer("brownout", {"brownout_seconds": 1}), 200)
    expect(home.admin.post(f"{rotation.old.path}/suspend"), 200)
    assert rotation.is_in("overlapping")
    assert rotation.statuses() == ("suspended", "active")


def test_a_key_suspended_before_its_brown_out_stays_so_after_it(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    expect(home.admin.post(f"{rotation.old.path}/suspend"), 200)
    expect(rotation.steer("brownout", {"brownout_seconds": 1}), 200)
    assert rotation.is_in("overlapping")
    assert rotation.statuses() == ("suspended", "active")


# --- rule 6: DELETE -------------------------------------------------------------------------------


def test_delete_of_the_old_key_is_a_forced_completion(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    expect(home.admin.delete(f"{rotation.old.path}?reason=superseded"), 204)
    body = rotation.now()
    assert (body["state"], body["forced"]) == ("completed", True)
    assert rotation.statuses() == ("revoked", "active")
    assert rotation.steps() == ["rotation.started", "rotation.completed"]


def test_delete_of_the_new_key_is_a_rollback(home: Workspace) -> None:
    rotation = rotate(home, used_key(home))
    rotation.move()
    expect(home.admin.delete(rotation.new.path), 204)
    assert rotation.now()["state"] == "rolled_back"
    assert rotation.statuses() == ("active", "revoked")
    assert rotation.steps() == ["rotation.started", "rotation.rolled_back"]


def test_delete_of_the_new_key_in_a_brown_out_lets_the_old_one_work_again(
    home: Workspace,
) -> None:
    for reason in ("other", "compromised"):
        rotation = rotate(home, home.admin.create())
        expect(rotation.steer("brownout", {"brownout_seconds": HOUR}), 200)
        expect(home.admin.delete(f"{rotation.new.path}?reason={reason}"), 204)
        assert rotation.statuses() == ("active", "revoked")


@pytest.mark.parametrize("which", ["old", "new"])
@pytest.mark.parametrize("state", ["overlapping", "brownout"])
def test_compromised_on_either_key_cancels_at_once(home: Workspace, which: str, state: str) -> None:
    rotation = rotate(home, used_key(home))
    if state == "brownout":
        expect(rotation.steer("brownout", {"brownout_seconds": HOUR}), 200)
    dead, living = (rotation.old, rotation.new) if which == "old" else (rotation.new, rotation.old)
    response = home.admin.delete(f"{dead.path}?reason=compromised", X_Request_Id="caught")
    expect(response, 204)
    assert home.verify(dead.token)["code"] == "revoked"
    assert home.verify(living.token)["valid"]
    body = rotation.now()
    assert (body["state"], body["blocked_by"]) == ("cancelled", [])
    entries = home.activity(request_id="caught", status="success")
    actions = [one["action"] for one in entries]
    assert actions.count("rotation.cancelled") == actions.count("api_key.revoked") == 1
