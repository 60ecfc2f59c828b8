"""Section 8: how a rotation is started and read, and what its new key may do."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.api import Site, Workspace, expect, expect_invalid, label
from tests.acceptance.rotating import (
    BY_HAND,
    DAY,
    HOUR,
    YEAR,
    count_of,
    in_future,
    rotate,
    seconds_between,
)
from tests.acceptance.servers import on_one_engine, until

MEMBERS = {
    "id", "workspace_id", "service", "environment", "slot", "old_key_id", "new_key_id", "state",
    "started_at", "started_by", "deadline", "overdue", "completed_at", "ended_by", "reason",
    "forced", "auto_complete", "overlap_seconds", "quiet_seconds", "brownout_seconds",
    "lookback_seconds", "brownout_until", "lifts", "decisions", "evidence_until", "evidence",
    "blocked_by", "next_step", "deliveries", "version",
}  # fmt: skip


# --- the start ------------------------------------------------------------------------------------


def test_a_start_answers_the_rotation_its_new_key_and_once_the_token(home: Workspace) -> None:
    old = home.admin.create(name="scheduler-prod", scopes=["read"], metadata={"team": "a"})
    response = home.admin.post(f"{old.path}/rotations", BY_HAND)
    body = expect(response, 201)
    assert set(body) == MEMBERS | {"new_key", "api_key"}
    assert response.headers["location"] == f"/v1/rotations/{body['id']}"
    assert response.headers["etag"] == f'"{body["version"]}"'
    assert response.headers["cache-control"] == "no-store"
    assert (body["state"], body["slot"], body["overdue"]) == (
        "overlapping",
        "scheduler-prod",
        False,
    )
    assert (body["service"], body["environment"]) == ("scheduler", "prod")
    assert (body["workspace_id"], body["old_key_id"]) == (home.id, old.id)
    assert (body["completed_at"], body["ended_by"], body["brownout_until"]) == (None, None, None)
    assert seconds_between(body["started_at"], body["deadline"]) == HOUR
    new = body["new_key"]
    assert (new["id"], new["status"]) == (body["new_key_id"], "active")
    for member in ("name", "service", "environment", "scopes", "permissions", "metadata"):
        assert new[member] == old.body[member]
    assert new["last_rotated_at"] is not None
    for token in (old.token, body["api_key"]):
        assert home.verify(token, scopes=["read"])["valid"]


def test_a_start_without_a_body_has_sensible_terms(home: Workspace) -> None:
    old = home.admin.create()
    body = expect(home.admin.post(f"{old.path}/rotations"), 201)
    terms = ("overlap_seconds", "quiet_seconds", "brownout_seconds", "lookback_seconds")
    assert [body[term] for term in terms] == [DAY, 300, 60, 35 * DAY]
    assert body["auto_complete"] is True


@pytest.mark.parametrize(
    ("overlap", "quiet", "brownout"),
    [(1, 2, 2), (10, 2, 2), (600, 60, 60), (1_200, 120, 60), (HOUR, 300, 60)],
)
def test_a_short_overlap_asks_for_a_short_quiet(
    home: Workspace, overlap: int, quiet: int, brownout: int
) -> None:
    old = home.admin.create()
    asked = {"overlap_seconds": overlap, "auto_complete": False}
    body = expect(home.admin.post(f"{old.path}/rotations", asked), 201)
    assert (body["quiet_seconds"], body["brownout_seconds"]) == (quiet, brownout)


def test_null_terms_are_absent_ones(home: Workspace) -> None:
    old = home.admin.create(scopes=["read"])
    asked = dict.fromkeys([*BY_HAND, "lookback_seconds", "scopes", "allowed_cidrs"])
    body = expect(home.admin.post(f"{old.path}/rotations", asked), 201)
    assert (body["overlap_seconds"], body["auto_complete"]) == (DAY, True)
    assert body["new_key"]["scopes"] == ["read"]


def test_a_second_start_joins_the_open_rotation_by_either_of_its_keys(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create(name="scheduler-prod"))
    before = count_of(home)
    for key in (rotation.old, rotation.new):
        response = home.admin.post(f"{key.path}/rotations", {"overlap_seconds": 7})
        body = expect(response, 200)
        assert (body["id"], body["api_key"]) == (rotation.id, None)
        assert body["new_key"]["id"] == rotation.new.id
        assert body["overlap_seconds"] == HOUR
        assert response.headers["location"] == rotation.path
    assert count_of(home) == before
    assert rotation.steps() == ["rotation.started"]


def test_another_key_of_the_slot_joins_its_open_rotation(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create(name="scheduler-prod"))
    third = home.admin.create(name="scheduler-prod")
    body = expect(home.admin.post(f"{third.path}/rotations"), 200)
    assert (body["id"], body["old_key_id"]) == (rotation.id, rotation.old.id)
    elsewhere = home.admin.create(name="scheduler-staging")
    expect(home.admin.post(f"{elsewhere.path}/rotations"), 201)


def test_many_starts_at_once_make_one_rotation_and_tell_one_token(home: Workspace) -> None:
    old = home.admin.create(name="scheduler-prod")
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: home.admin.post(f"{old.path}/rotations", BY_HAND), range(24))
        )
    bodies = [one.json() for one in answers]
    assert sorted(one.status_code for one in answers) == [200] * 23 + [201]
    assert len({body["id"] for body in bodies}) == 1
    assert [body["api_key"] for body in bodies].count(None) == 23
    assert count_of(home) == (3, 1)


def test_a_repeated_start_replays_its_answer_without_the_token(home: Workspace) -> None:
    name, old = label(), home.admin.create()
    path = f"{old.path}/rotations"
    first = home.admin.post(path, BY_HAND, Idempotency_Key=name)
    made = expect(first, 201)
    again = home.admin.post(path, BY_HAND, Idempotency_Key=name)
    assert expect(again, 201) == {**made, "api_key": None}
    assert again.headers["location"] == first.headers["location"]
    other = home.admin.post(path, {**BY_HAND, "quiet_seconds": 1}, Idempotency_Key=name)
    expect(other, 422, "idempotency.mismatch")
    joined = expect(home.admin.post(path, BY_HAND, Idempotency_Key=label()), 200)
    assert (joined["id"], joined["api_key"]) == (made["id"], None)
    assert count_of(home) == (3, 1)


def test_a_key_that_has_ended_is_not_rotated(home: Workspace) -> None:
    revoked = home.admin.create()
    expect(home.admin.delete(revoked.path), 204)
    fleeting = home.admin.create(expires_at=in_future(3))  # the call itself may take a while
    assert until(lambda: home.key(fleeting)["status"] == "expired")
    before = count_of(home)
    for key in (revoked, fleeting):
        expect(home.admin.post(f"{key.path}/rotations"), 409, "key.terminal")
        replacing = home.admin.post("/v1/api-keys", {"replaces": key.id})
        expect(replacing, 409, "key.terminal")
    assert count_of(home) == before


def test_after_its_end_a_slot_is_rotated_anew(home: Workspace) -> None:
    first = rotate(home, home.admin.create(name="scheduler-prod"))
    expect(first.steer("complete"), 200)
    second = rotate(home, first.new)
    assert second.id != first.id
    assert second.body["old_key_id"] == first.new.id
    expect(second.steer("rollback"), 200)
    assert rotate(home, first.new).id not in (first.id, second.id)


@on_one_engine
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        *(
            ({name: value}, f"/{name}")
            for name, least, most in (
                ("overlap_seconds", 1, YEAR),
                ("quiet_seconds", 0, YEAR),
                ("brownout_seconds", 0, DAY),
                ("lookback_seconds", 0, 10 * YEAR),
            )
            for value in (least - 1, most + 1, "60", 1.5, True, [1])
        ),
        ({"auto_complete": "true"}, "/auto_complete"),
        ({"auto_complete": 1}, "/auto_complete"),
        ({"scopes": "read"}, "/scopes"),
        ({"scopes": ["a b"]}, "/scopes/0"),
        ({"allowed_cidrs": ["300.0.0.0/8"]}, "/allowed_cidrs/0"),
        ({"expires_at": "2100-01-01T00:00:00Z"}, "/expires_at"),
        ({"permissions": []}, "/permissions"),
        ([], ""),
    ],
    ids=str,
)
def test_wrong_terms_are_422_and_nothing_happens(
    home: Workspace, body: object, pointer: str
) -> None:
    old = home.admin.create(scopes=["read"])
    response = home.admin.post(f"{old.path}/rotations", body)
    expect_invalid(response, pointer)
    assert count_of(home) == (2, 0)


def test_the_bounds_themselves_are_taken(home: Workspace) -> None:
    bounds: tuple[dict[str, Any], ...] = (
        {"overlap_seconds": 1, "quiet_seconds": 0, "brownout_seconds": 0, "lookback_seconds": 0},
        {
            "overlap_seconds": YEAR,
            "quiet_seconds": YEAR,
            "brownout_seconds": DAY,
            "lookback_seconds": 10 * YEAR,
        },
    )
    for terms in bounds:
        rotation = rotate(home, home.admin.create(), **terms)
        assert {name: rotation.body[name] for name in terms} == terms


# --- rights and lifetime --------------------------------------------------------------------------


def test_the_new_key_may_do_less_but_never_more(home: Workspace) -> None:
    old = home.admin.create(scopes=["pins:*", "read"], allowed_cidrs=["10.0.0.0/8"])
    path = f"{old.path}/rotations"
    wider: Any
    for wider in (
        {"scopes": ["write"]},
        {"scopes": ["pins:*", "read", "*"]},
        {"allowed_cidrs": ["10.0.0.0/7"]},
        {"allowed_cidrs": ["10.0.0.0/8", "192.0.2.1"]},
        {"allowed_cidrs": []},
    ):
        expect(home.admin.post(path, wider), 422, "rotation.wider")
    assert count_of(home) == (2, 0)
    narrower = {"scopes": ["pins:publish"], "allowed_cidrs": ["10.1.0.0/16"]}
    new = expect(home.admin.post(path, narrower), 201)["new_key"]
    assert {name: new[name] for name in narrower} == narrower


def test_the_new_key_lives_as_long_as_the_old_one_was_made_to_live(home: Workspace) -> None:
    endless = rotate(home, home.admin.create())
    assert endless.body["new_key"]["expires_at"] is None
    old = home.admin.create(expires_at=in_future(DAY))
    life = seconds_between(old.body["created_at"], old.body["expires_at"])
    assert not until(lambda: False, 1.5)
    new = rotate(home, old).body["new_key"]
    assert abs(seconds_between(new["created_at"], new["expires_at"]) - life) < 0.001
    assert seconds_between(old.body["expires_at"], new["expires_at"]) > 1
    assert home.key(old)["expires_at"] == old.body["expires_at"]


def test_a_lifetime_begins_with_not_before(home: Workspace) -> None:
    old = home.admin.create(not_before=in_future(DAY), expires_at=in_future(3 * DAY))
    life = seconds_between(old.body["not_before"], old.body["expires_at"])
    new = rotate(home, old).body["new_key"]
    assert abs(seconds_between(new["created_at"], new["expires_at"]) - life) < 0.001


def test_who_holds_less_than_the_key_does_not_rotate_it(home: Workspace) -> None:
    old = home.admin.create(scopes=["read", "write"], permissions=["keys:read"])
    callers = [
        home.holder("rotations:write", "keys:write", "keys:read", scopes=["read"]),
        home.holder("rotations:write", "keys:write", scopes=["read", "write"]),
        home.holder(
            "rotations:write",
            "keys:write",
            "keys:read",
            scopes=["*"],
            allowed_cidrs=["127.0.0.0/8"],
        ),
        home.holder(
            "rotations:write", "keys:write", "keys:read", scopes=["*"], expires_at=in_future(HOUR)
        ),
    ]
    before, entries = count_of(home), len(home.activity(status="failed"))
    for caller in callers:
        expect(caller.api.post(f"{old.path}/rotations"), 403, "grant.exceeded")
        expect(caller.api.post("/v1/api-keys", {"replaces": old.id}), 403, "grant.exceeded")
    assert count_of(home) == before
    assert len(home.activity(status="failed")) == entries + 2 * len(callers)
    equal = home.holder("rotations:write", "keys:read", scopes=["read", "write"])
    assert rotate(home, old, by=equal.api).body["api_key"]


def test_who_is_narrowed_to_slots_rotates_and_sees_these_alone(home: Workspace) -> None:
    mine, theirs = home.admin.create(name="a-prod"), home.admin.create(name="b-prod")
    caller = home.holder("rotations:write@a-*", "keys:read@a-*", name="caller-dev").api
    other = rotate(home, theirs)
    expect(caller.post(f"{theirs.path}/rotations"), 403, "permission.missing")
    rotation = rotate(home, mine, by=caller)
    listed = expect(caller.get("/v1/rotations", count="true"), 200)
    assert [one["id"] for one in listed] == [rotation.id]
    assert expect(caller.get(rotation.path), 200)["id"] == rotation.id
    expect(caller.get(other.path), 403, "permission.missing")
    before = other.now()["version"]
    for verb, body in (
        ("complete", {"force": True, "reason": "now"}),
        ("rollback", None),
        ("extend", {"overlap_seconds": DAY}),
        ("brownout", None),
        ("runtimes", {"runtime": "worker", "standing": "ours"}),
    ):
        expect(caller.post(f"{other.path}/{verb}", body), 403, "permission.missing")
    assert other.now()["version"] == before
    expect(caller.post(f"{rotation.path}/extend", {"overlap_seconds": DAY}), 200)


def test_reading_is_not_steering(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create())
    reader, writer = home.holder("keys:read").api, home.holder("rotations:write").api
    expect(reader.get(rotation.path), 200)
    expect(reader.post(f"{rotation.path}/rollback"), 403, "permission.missing")
    expect(writer.get(rotation.path), 403, "permission.missing")
    expect(writer.get("/v1/rotations"), 403, "permission.missing")
    expect(writer.post(f"{rotation.path}/rollback"), 200)


# --- the guide's own way --------------------------------------------------------------------------


def test_a_key_that_replaces_another_begins_a_rotation(home: Workspace) -> None:
    old = home.admin.create(
        name="scheduler-prod",
        scopes=["read", "write"],
        metadata={"team": "a"},
        allowed_cidrs=["10.0.0.0/8"],
        owner="ops",
    )
    response = home.admin.post("/v1/api-keys", {"replaces": old.id, "scopes": ["read"]})
    body = expect(response, 201)
    assert (body["name"], body["scopes"], body["metadata"]) == (
        "scheduler-prod",
        ["read"],
        {"team": "a"},
    )
    assert (body["allowed_cidrs"], body["owner"]) == (["10.0.0.0/8"], "ops")
    assert response.headers["location"] == f"/v1/api-keys/{body['id']}"
    rotation = expect(home.admin.get(f"/v1/rotations/{response.headers['keyturn-rotation']}"), 200)
    assert (rotation["old_key_id"], rotation["new_key_id"]) == (old.id, body["id"])
    assert (rotation["state"], rotation["overlap_seconds"]) == ("overlapping", DAY)
    assert home.verify(body["api_key"], ip="10.0.0.1")["valid"]
    again = home.admin.post("/v1/api-keys", {"replaces": old.id})
    expect(again, 409, "rotation.open")
    assert count_of(home) == (3, 1)


def test_the_replaced_key_is_named_by_either_spelling_of_its_id(home: Workspace) -> None:
    old = home.admin.create(name="scheduler-prod")
    short = old.body["hint"].rpartition("_")[2]
    made = home.admin.post("/v1/api-keys", {"name": "scheduler-prod", "replaces": short})
    expect(made, 201)
    rotation = expect(home.admin.get(f"/v1/rotations/{made.headers['keyturn-rotation']}"), 200)
    assert rotation["old_key_id"] == old.id


def test_a_replacement_is_in_the_slot_and_within_the_rights_of_the_replaced(
    home: Workspace, other: Workspace
) -> None:
    old = home.admin.create(name="scheduler-prod", scopes=["read"])
    foreign = other.admin.create(name="scheduler-prod")
    before = count_of(home)
    post = home.admin.post
    expect_invalid(post("/v1/api-keys", {"replaces": old.id, "name": "other-prod"}), "/replaces")
    expect_invalid(post("/v1/api-keys", {"replaces": "nothing"}), "/replaces")
    expect_invalid(post("/v1/api-keys", {"replaces": 7}), "/replaces")
    for wider in ({"scopes": ["write"]}, {"permissions": ["keys:read"]}):
        expect(post("/v1/api-keys", {"replaces": old.id, **wider}), 422, "rotation.wider")
    expect(post("/v1/api-keys", {"replaces": foreign.id}), 404, "key.unknown")
    assert count_of(home) == before
    writer = home.holder("keys:write", scopes=["read"]).api
    expect(writer.post("/v1/api-keys", {"replaces": old.id}), 403, "permission.missing")


def test_a_repeated_replacement_replays_its_answer_without_the_token(home: Workspace) -> None:
    old, name = home.admin.create(), label()
    draft = {"replaces": old.id}
    first = home.admin.post("/v1/api-keys", draft, Idempotency_Key=name)
    made = expect(first, 201)
    again = home.admin.post("/v1/api-keys", draft, Idempotency_Key=name)
    assert expect(again, 201) == {**made, "api_key": None}
    assert again.headers["keyturn-rotation"] == first.headers["keyturn-rotation"]


# --- reading --------------------------------------------------------------------------------------


def test_a_rotation_is_read_as_it_was_answered_by_either_spelling_of_its_id(
    home: Workspace,
) -> None:
    rotation = rotate(home, home.admin.create())
    response = home.admin.get(rotation.path)
    body = expect(response, 200)
    assert set(body) == MEMBERS
    moving = {"evidence_until"}
    assert {name: body[name] for name in MEMBERS - moving} == {
        name: rotation.body[name] for name in MEMBERS - moving
    }
    assert response.headers["etag"] == f'"{body["version"]}"'
    expect(home.admin.get(f"/v1/rotations/{rotation.old.id}"), 404, "rotation.unknown")
    expect(home.admin.get("/v1/rotations/nothing"), 404, "rotation.unknown")


def test_rotations_are_listed_newest_first_filtered_and_in_pages(home: Workspace) -> None:
    names = ("a-prod", "b-prod", "c-prod", "d-prod")
    made = [rotate(home, home.admin.create(name=name)) for name in names]
    completed, rolled_back, browned, _ = made
    expect(completed.steer("complete"), 200)
    expect(rolled_back.steer("rollback"), 200)
    expect(browned.steer("brownout", {"brownout_seconds": DAY}), 200)
    order = [one.id for one in reversed(made)]

    def found(**query: Any) -> list[int]:
        listed = [one["id"] for one in expect(home.admin.get("/v1/rotations", **query), 200)]
        assert listed == [id_ for id_ in order if id_ in listed]
        return [index for index, one in enumerate(made) if one.id in listed]

    assert found() == found(state="all") == [0, 1, 2, 3]
    assert found(state="open") == [2, 3]
    assert found(state="overlapping") == [3]
    assert found(state="brownout") == [2]
    assert found(state="completed") == [0]
    assert found(state="rolled_back") == [1]
    assert found(state="cancelled") == []
    assert found(slot="b-prod") == [1]
    assert found(slot="b-prod", state="open") == []
    assert found(key_id=browned.old.id) == found(key_id=browned.new.id) == [2]
    assert found(key_id=home.holder().id) == []
    first = home.admin.get("/v1/rotations", limit=3, count="true")
    assert [one["id"] for one in expect(first, 200)] == order[:3]
    assert first.headers["x-total-count"] == "4"
    following = first.links["next"]["url"]
    assert [one["id"] for one in expect(home.admin.get(following), 200)] == order[3:]


@on_one_engine
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"state": "done"}, "/state"),
        ({"slot": "Nothing"}, "/slot"),
        ({"key_id": "x"}, "/key_id"),
        ({"cursor": "x"}, "/cursor"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "1001"}, "/limit"),
        ({"owner": "ops"}, "/owner"),
    ],
)
def test_a_wrong_question_is_422(common: Workspace, query: dict[str, str], pointer: str) -> None:
    expect_invalid(common.admin.get("/v1/rotations", **query), pointer)


def test_an_operator_takes_the_workspace_from_the_object_and_names_it_for_lists(
    site: Site, home: Workspace, other: Workspace
) -> None:
    old = home.admin.create()
    body = expect(site.operator.post(f"{old.path}/rotations", BY_HAND), 201)
    path = f"/v1/rotations/{body['id']}"
    assert (body["workspace_id"], body["api_key"] is not None) == (home.id, True)
    assert expect(site.operator.get(path), 200)["id"] == body["id"]
    expect(site.operator.get("/v1/rotations"), 400, "workspace.required")
    expect(site.operator.get("/v1/findings"), 400, "workspace.required")
    person = {"person": "nobody"}
    expect(site.operator.post("/v1/staff-changes", person), 400, "workspace.required")
    mine, theirs = site.operator_in(home), site.operator_in(other)
    assert [one["id"] for one in expect(mine.get("/v1/rotations"), 200)] == [body["id"]]
    assert expect(theirs.get("/v1/rotations"), 200) == []
    expect(theirs.get(path), 404, "rotation.unknown")
    expect(theirs.post(f"{path}/rollback"), 404, "rotation.unknown")
    expect(theirs.post(f"{old.path}/rotations"), 404, "key.unknown")
    expect(site.operator.post(f"{path}/complete"), 200)
    steps = home.activity(resource_id=body["id"])
    assert [(one["action"], one["actor_type"]) for one in steps] == [
        ("rotation.started", "user"),
        ("rotation.completed", "user"),
    ]
