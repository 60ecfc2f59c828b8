"""Rotations, by hand: what is sent, and how answers and refusals are read."""

import json
import pickle

import pytest

from keyturn.client import (
    Conflict,
    EvidenceMissing,
    RollbackUnsafe,
    RotationPolicy,
    TokenLost,
    Waiver,
)
from keyturn.client.keys import create_key
from keyturn.client.rotations import complete_rotation, roll_back_rotation, start_rotation
from keyturn.client.workspaces import change_workspace
from tests.client.driving import KEY, LOST, OTHER, TOKEN, answer, drive, problem

ROTATION = {
    "id": "0190-rotation",
    "workspace_id": "0190-workspace",
    "service": "scheduler",
    "environment": "prod",
    "slot": "scheduler-prod",
    "old_key_id": "0190-key",
    "new_key_id": "0190-new",
    "state": "overlapping",
    "started_at": "2026-01-02T03:04:05.000006Z",
    "started_by": "ada",
    "deadline": "2026-01-03T03:04:05.000006Z",
    "overdue": False,
    "completed_at": None,
    "ended_by": None,
    "reason": None,
    "forced": False,
    "auto_complete": True,
    "overlap_seconds": 86400,
    "quiet_seconds": 300,
    "brownout_seconds": 60,
    "lookback_seconds": 3024000,
    "brownout_until": None,
    "lifts": 0,
    "decisions": [],
    "evidence_until": None,
    "evidence": [],
    "blocked_by": [{"code": "runtime.not_moved", "runtime": "nightly", "detail": "It has not."}],
    "next_step": "Wait.",
    "version": 1,
}
STARTED = {**ROTATION, "api_key": OTHER.reveal(), "new_key": {**KEY, "id": "0190-new"}}


def test_a_rotation_that_is_started_has_the_new_token() -> None:
    started = drive(start_rotation("0190-key"), [answer(201, STARTED)]).given()
    assert started.token.hint == OTHER.hint
    assert not started.is_joined
    assert started.is_open
    assert started.new_key.slot == "scheduler-prod"


def test_a_rotation_that_is_joined_has_none_and_says_so() -> None:
    joined = drive(start_rotation("0190-key"), [answer(200, {**STARTED, "api_key": None})]).given()
    assert joined.is_joined
    with pytest.raises(TokenLost, match="0190-new"):
        _ = joined.token


def test_a_start_whose_answer_was_lost_is_sent_again_as_the_same() -> None:
    driven = drive(start_rotation("0190-key", scopes=["read"]), [LOST, answer(201, STARTED)])
    first, second = driven.sent
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert json.loads(first.content or b"") == {"scopes": ["read"]}
    assert driven.given().token.hint == OTHER.hint


def test_a_key_that_replaces_another_names_its_rotation() -> None:
    issued = {**KEY, "api_key": OTHER.reveal()}
    made = drive(
        create_key(replaces="0190-old"), [answer(201, issued, keyturn_rotation="0190-rotation")]
    )
    assert made.given().rotation_id == "0190-rotation"
    assert drive(create_key("a"), [answer(201, issued)]).given().rotation_id is None


def test_evidence_that_is_missing_names_who_is_in_the_way_without_a_token() -> None:
    blocked = [
        {"code": "runtime.not_moved", "runtime": "nightly", "detail": f"See {TOKEN.reveal()}."},
        {"code": "history.incomplete", "runtime": None, "detail": "It is short."},
    ]
    refused = problem(409, "rotation.evidence_missing", body={"blocked_by": blocked})
    error = drive(complete_rotation("0190-rotation"), [refused]).raised()
    assert isinstance(error, EvidenceMissing)
    assert isinstance(error, Conflict)
    assert [one.runtime for one in error.blocked_by] == ["nightly", None]
    assert TOKEN.reveal()[-49:] not in repr(error.blocked_by)
    again = pickle.loads(pickle.dumps(error))
    assert again.blocked_by == error.blocked_by


def test_a_rollback_that_is_unsafe_names_whom_it_would_cut_off() -> None:
    refused = problem(409, "rotation.rollback_unsafe", body={"runtimes": ["web", "nightly"]})
    error = drive(roll_back_rotation("0190-rotation"), [refused]).raised()
    assert isinstance(error, RollbackUnsafe)
    assert error.runtimes == ("web", "nightly")


def test_another_conflict_is_none_of_these() -> None:
    error = drive(complete_rotation("0190-rotation"), [problem(409, "rotation.closed")]).raised()
    assert type(error) is Conflict


def test_waivers_and_a_policy_go_whole() -> None:
    waive = [Waiver(runtime="nightly", reason="retired")]
    [sent] = drive(complete_rotation("a", waive=waive), [answer(200, ROTATION)]).sent
    assert json.loads(sent.content or b"") == {
        "waive": [{"runtime": "nightly", "reason": "retired"}]
    }
    [sent] = drive(change_workspace("a", rotation_policy=RotationPolicy()), [problem(404)]).sent
    assert json.loads(sent.content or b"") == {
        "rotation_policy": {
            "rotation_period_days": None,
            "most_at_once": 1,
            "maintenance_windows": [],
            "overlap_seconds": None,
            "quiet_seconds": None,
            "brownout_seconds": None,
            "lookback_seconds": None,
        }
    }
