"""Posture: the guide's checklist on a workspace's own data, waivers, and the auditor's question."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from keyturn.domain.posture.check import CheckId
from tests.acceptance.api import Api, Site, Workspace, expect, expect_invalid
from tests.acceptance.rotating import rotate
from tests.acceptance.servers import until

PATIENCE_SECONDS = 15.0
MEMBERS = {
    "id", "line", "result", "known", "since", "evidence", "concerned", "total", "remedy",
}  # fmt: skip
CONCERNED = {"type", "id", "name", "slot", "result", "why", "since", "remedy", "waived"}
WAIVER = {
    "id", "workspace_id", "check", "key_id", "slot", "reason", "until", "active", "created_at",
    "created_by", "ended_at", "ended_by", "version",
}  # fmt: skip
EVIDENCE = {
    "key_id", "name", "slot", "owner", "runbook_url", "scopes", "permissions", "created_at",
    "created_by", "last_used_at", "ended_at", "ended_by", "greatest_age_seconds",
    "rotation_period_days", "was_overdue", "rotations", "incidents", "waivers",
}  # fmt: skip
GOOD: dict[str, Any] = {
    "owner": "ops@example.com",
    "runbook_url": "https://wiki.example.com/a",
    "rotation_period_days": 90,
    "allowed_cidrs": ["10.0.0.0/8"],
}


def ahead(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def posture(caller: Api, **query: Any) -> Any:
    body = expect(caller.get("/v1/posture", **query), 200)
    assert set(body) == {"workspace_id", "as_of", "whole_workspace", "totals", "checks"}
    for one in body["checks"]:
        assert set(one) == MEMBERS
        assert all(set(each) == CONCERNED for each in one["concerned"])
    return body


def check(caller: Api, id_: str) -> Any:
    (one,) = posture(caller, check=id_)["checks"]
    return one


def concerned(caller: Api, id_: str, result: str = "fail") -> set[str]:
    return {one["id"] for one in check(caller, id_)["concerned"] if one["result"] == result}


def waive(caller: Api, id_: str, **members: Any) -> Any:
    body = {"check": id_, "reason": "until the move", "until": ahead(days=1), **members}
    made = expect(caller.post("/v1/posture/waivers", body), 201)
    assert set(made) == WAIVER
    return made


# --- the checklist --------------------------------------------------------------------------------


def test_every_check_is_told_failing_ones_first(home: Workspace) -> None:
    key = home.admin.create(name="scheduler-prod")
    body = posture(home.admin)
    assert (body["workspace_id"], body["whole_workspace"]) == (home.id, True)
    assert {one["id"] for one in body["checks"]} == set(CheckId)
    results = [one["result"] for one in body["checks"]]
    assert results == sorted(results, key=["fail", "unknown", "waived", "pass"].index)
    names = {"passed": "pass", "failed": "fail", "unknown": "unknown", "waived": "waived"}
    assert body["totals"] == {name: results.count(word) for name, word in names.items()}
    owned = check(home.admin, "keys.owned")
    assert (owned["result"], owned["known"]) == ("fail", "declared")
    (mine,) = [one for one in owned["concerned"] if one["id"] == key.id]
    assert mine["remedy"] == f"`keyturn keys update {key.id} --owner WHO`"
    assert (mine["type"], mine["slot"]) == ("api_key", "scheduler-prod")


def test_a_check_follows_what_is_done(home: Workspace) -> None:
    bare = home.admin.create(name="bare-prod")
    good = home.admin.create(name="good-prod", **GOOD)
    for id_ in ("keys.owned", "keys.runbook", "keys.scheduled", "keys.networks"):
        failing = concerned(home.admin, id_)
        assert bare.id in failing
        assert good.id not in failing
    expect(home.admin.put("/v1/slots/bare-prod", {"owner": "ops"}), 200)
    assert bare.id not in concerned(home.admin, "keys.owned")
    expect(home.admin.delete(bare.path), 204)
    assert bare.id not in concerned(home.admin, "keys.networks")


def test_the_list_is_narrowed_by_check_and_by_result(home: Workspace) -> None:
    home.admin.create(name="scheduler-prod")
    whole = posture(home.admin)
    failing = posture(home.admin, result="fail")
    assert {one["result"] for one in failing["checks"]} == {"fail"}
    assert failing["totals"] == whole["totals"]
    assert len(posture(home.admin, check="log.verified")["checks"]) == 1
    expect_invalid(home.admin.get("/v1/posture", check="keys.rich"), "/check")
    expect_invalid(home.admin.get("/v1/posture", result="good"), "/result")
    expect_invalid(home.admin.get("/v1/posture", state="open"), "/state")


def test_what_was_never_seen_in_use_is_unknown_and_what_was_is_measured(home: Workspace) -> None:
    silent = home.admin.create(name="silent-prod")
    shared = home.admin.create(name="shared-prod", scopes=["read"])
    alone = home.admin.create(name="alone-prod", scopes=["read"])
    for key, runtime, environment in (
        (shared, "web", "prod"),
        (shared, "batch", "staging"),
        (alone, "web", "prod"),
    ):
        assert home.verify(
            key.token,
            runtime=runtime,
            environment=environment,
            scopes=["read"],
            user_agent="worker/1",
        )["valid"]
    home.verify(shared.token, headers={"Sec-Fetch-Site": "cross-site"}, user_agent="Mozilla/5.0")
    assert until(lambda: shared.id in concerned(home.admin, "keys.backend_only"), PATIENCE_SECONDS)
    for id_ in ("keys.separate", "keys.one_environment", "keys.backend_only"):
        assert concerned(home.admin, id_) & {shared.id, alone.id} == {shared.id}
        assert silent.id in concerned(home.admin, id_, "unknown")
    assert alone.id not in concerned(home.admin, "keys.scopes_used", "unknown")
    expect(
        home.admin.put(
            "/v1/slots/shared-prod",
            {"runtimes": [{"name": "web"}, {"name": "batch"}]},
        ),
        200,
    )
    inferred = next(
        one for one in check(home.admin, "keys.separate")["concerned"] if one["id"] == shared.id
    )
    assert "1 of them not declared: ua:Mozilla" in inferred["why"]


def test_more_than_two_live_keys_of_a_slot_fail_it(home: Workspace) -> None:
    for _ in range(3):
        home.admin.create(name="scheduler-prod")
    assert concerned(home.admin, "slots.few_keys") == {"scheduler-prod"}


def test_a_key_that_may_read_no_keys_sees_no_posture(home: Workspace) -> None:
    blind = home.holder("verify")
    for path in ("/v1/posture", "/v1/posture/waivers"):
        expect(blind.api.get(path), 403, "permission.missing")
    asked = {"from": ahead(days=-1), "to": ahead(days=1)}
    expect(blind.api.get("/v1/posture/evidence", **asked), 403, "permission.missing")


def test_who_reads_some_slots_is_told_of_these_and_the_rest_is_unknown(home: Workspace) -> None:
    mine = home.admin.create(name="mine-prod")
    other = home.admin.create(name="other-prod")
    narrow = home.holder("keys:read@mine-*", name="reader-prod").api
    body = posture(narrow)
    assert body["whole_workspace"] is False
    assert mine.id in str(body)
    assert other.id not in str(body)
    by_id = {one["id"]: one["result"] for one in body["checks"]}
    for id_ in ("notifications.channel", "rotations.drilled", "incidents.closed"):
        assert by_id[id_] == "unknown"
    asked = {"from": ahead(days=-1), "to": ahead(days=1)}
    seen = expect(narrow.get("/v1/posture/evidence", **asked), 200)
    assert [(one["key_id"], one["incidents"]) for one in seen] == [(mine.id, None)]


# --- waivers --------------------------------------------------------------------------------------


def test_a_waiver_says_by_whom_why_and_until_when(home: Workspace) -> None:
    key = home.admin.create(name="scheduler-prod")
    made = waive(home.admin, "keys.networks", key_id=key.id)
    assert (made["key_id"], made["slot"], made["active"]) == (key.id, "scheduler-prod", True)
    one = next(
        one for one in check(home.admin, "keys.networks")["concerned"] if one["id"] == key.id
    )
    assert one["result"] == "waived"
    assert one["waived"] == {
        "id": made["id"],
        "by": made["created_by"],
        "reason": "until the move",
        "until": made["until"],
    }
    told = home.activity(resource_type="posture_waiver", resource_id=made["id"])
    assert [entry["action"] for entry in told] == ["posture.waived"]
    assert told[0]["metadata"]["reason"] == "until the move"


def test_a_waiver_of_the_whole_check_waives_it_and_its_end_takes_that_back(home: Workspace) -> None:
    home.admin.create(name="scheduler-prod")
    made = waive(home.admin, "keys.networks")
    assert check(home.admin, "keys.networks")["result"] == "waived"
    path = f"/v1/posture/waivers/{made['id']}"
    for _ in range(2):
        assert home.admin.delete(path).status_code == 204
    assert check(home.admin, "keys.networks")["result"] == "fail"
    (kept,) = expect(home.admin.get("/v1/posture/waivers"), 200)
    assert (kept["active"], kept["ended_by"]) == (False, made["created_by"])
    actions = [one["action"] for one in home.activity(resource_type="posture_waiver")]
    assert actions == ["posture.waived", "posture.unwaived"]


def test_a_second_waiver_takes_the_place_of_the_first(home: Workspace) -> None:
    first = waive(home.admin, "log.verified")
    second = waive(home.admin, "log.verified", reason="longer", until=ahead(days=9))
    listed = expect(home.admin.get("/v1/posture/waivers"), 200)
    assert [(one["id"], one["active"]) for one in listed] == [
        (second["id"], True),
        (first["id"], False),
    ]


def test_a_waiver_ends_at_its_time(home: Workspace) -> None:
    home.admin.create(name="scheduler-prod")
    waive(home.admin, "keys.owned", slot="scheduler-prod", until=ahead(seconds=8))
    assert "scheduler-prod" not in {
        one["slot"]
        for one in check(home.admin, "keys.owned")["concerned"]
        if one["result"] == "fail"
    }
    assert until(
        lambda: (
            "scheduler-prod"
            in {
                one["slot"]
                for one in check(home.admin, "keys.owned")["concerned"]
                if one["result"] == "fail"
            }
        ),
        PATIENCE_SECONDS,
    )
    # Whoever waives it anew knows: the finding goes.
    home.admin.create(name="spare-prod", owner="ops@example.org")
    asked = {"kind": "posture.waiver_expired"}
    assert until(lambda: home.admin.get("/v1/findings", **asked).json() != [], PATIENCE_SECONDS)
    (found,) = expect(home.admin.get("/v1/findings", **asked), 200)
    assert (found["subject"]["type"], found["subject"]["id"]) == ("slot", "scheduler-prod")
    assert (found["evidence"]["check"], found["evidence"]["reason"]) == (
        "keys.owned",
        "until the move",
    )
    waive(home.admin, "keys.owned", slot="scheduler-prod")
    assert until(lambda: home.admin.get("/v1/findings", **asked).json() == [], PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"check": "keys.rich"}, "/check"),
        ({"reason": ""}, "/reason"),
        ({"until": ahead(days=-1)}, "/until"),
        ({"until": ahead(days=367)}, "/until"),
        ({"key_id": "x"}, "/key_id"),
        ({"slot": "x"}, "/slot"),
        ({"key_id": str(uuid4()), "slot": "a-prod"}, "/slot"),
        ({"owner": "me"}, "/owner"),
    ],
    ids=["check", "reason", "past", "too far", "no id", "no slot", "both", "unknown member"],
)
def test_a_waiver_that_cannot_be_is_refused(
    home: Workspace, members: dict[str, Any], pointer: str
) -> None:
    body = {"check": "keys.owned", "reason": "why", "until": ahead(days=1), **members}
    expect_invalid(home.admin.post("/v1/posture/waivers", body), pointer)


def test_a_waiver_of_what_there_is_not_is_refused(home: Workspace) -> None:
    body = {"check": "keys.owned", "reason": "why", "until": ahead(days=1)}
    post = home.admin.post
    expect(post("/v1/posture/waivers", {**body, "key_id": str(uuid4())}), 404, "key.unknown")
    expect(post("/v1/posture/waivers", {**body, "slot": "none-prod"}), 404, "slot.unknown")
    unknown = f"/v1/posture/waivers/{uuid4()}"
    expect(home.admin.delete(unknown), 404, "posture.waiver_unknown")
    expect(home.admin.delete("/v1/posture/waivers/x"), 404, "posture.waiver_unknown")


def test_who_may_change_some_slots_waives_nothing_of_others(home: Workspace) -> None:
    mine = home.admin.create(name="mine-prod")
    other = home.admin.create(name="other-prod")
    narrow = home.holder("keys:write@mine-*", "keys:read@mine-*", name="writer-prod").api
    made = waive(narrow, "keys.owned", key_id=mine.id)
    waive(narrow, "keys.owned", slot="mine-prod")
    body = {"check": "keys.owned", "reason": "why", "until": ahead(days=1)}
    for more in ({}, {"slot": "other-prod"}, {"key_id": other.id}):
        expect(narrow.post("/v1/posture/waivers", {**body, **more}), 403, "permission.missing")
    general = waive(home.admin, "keys.owned")
    others = waive(home.admin, "keys.owned", key_id=other.id)
    for one in (general, others):
        expect(narrow.delete(f"/v1/posture/waivers/{one['id']}"), 403, "permission.missing")
    seen = {one["id"] for one in expect(narrow.get("/v1/posture/waivers"), 200)}
    assert made["id"] in seen
    assert others["id"] not in seen
    assert narrow.delete(f"/v1/posture/waivers/{made['id']}").status_code == 204


def test_a_waiver_is_made_once_for_an_idempotency_key(home: Workspace) -> None:
    body = {"check": "keys.owned", "reason": "why", "until": ahead(days=1)}
    first, second = (
        expect(home.admin.post("/v1/posture/waivers", body, idempotency_key="once"), 201)
        for _ in range(2)
    )
    assert first == second
    assert len(expect(home.admin.get("/v1/posture/waivers"), 200)) == 1


def test_tenants_see_and_waive_nothing_of_each_other(site: Site) -> None:
    mine, other = site.workspace(), site.workspace()
    key = mine.admin.create(name="mine-prod")
    made = waive(mine.admin, "keys.owned", key_id=key.id)
    told = str(posture(other.admin))
    assert key.id not in told
    assert mine.id not in told
    assert expect(other.admin.get("/v1/posture/waivers"), 200) == []
    expect(other.admin.delete(f"/v1/posture/waivers/{made['id']}"), 404, "posture.waiver_unknown")
    body = {"check": "keys.owned", "reason": "why", "until": ahead(days=1), "key_id": key.id}
    expect(other.admin.post("/v1/posture/waivers", body), 404, "key.unknown")
    asked = {"from": ahead(days=-1), "to": ahead(days=1)}
    seen = expect(other.admin.get("/v1/posture/evidence", **asked), 200)
    assert key.id not in {one["key_id"] for one in seen}


# --- the auditor's question -----------------------------------------------------------------------


def test_every_key_that_lived_in_a_period_is_told_with_what_was_done(home: Workspace) -> None:
    kept = home.admin.create(name="kept-prod", **GOOD)
    gone = home.admin.create(name="gone-prod")
    expect(home.admin.delete(f"{gone.path}?reason=unused"), 204)
    leaked = home.admin.create(name="leaked-prod")
    opened = expect(home.admin.post("/v1/incidents", {"key_ids": [leaked.id]}), 201)
    rotating = rotate(home, home.admin.create(name="turned-prod"))
    made = waive(home.admin, "keys.owned", key_id=kept.id)
    asked = {"from": ahead(days=-1), "to": ahead(days=1)}
    found = expect(home.admin.get("/v1/posture/evidence", **asked), 200)
    assert all(set(one) == EVIDENCE for one in found)
    told = {one["key_id"]: one for one in found}
    assert set(told) == {one["id"] for one in home.all_keys()}
    assert (told[kept.id]["owner"], told[kept.id]["was_overdue"]) == ("ops@example.com", False)
    assert [one["id"] for one in told[kept.id]["waivers"]] == [made["id"]]
    assert told[gone.id]["ended_by"] == "unused"
    assert [one["id"] for one in told[leaked.id]["incidents"]] == [opened["id"]]
    roles = [
        [(one["id"], one["role"]) for one in told[key.id]["rotations"]]
        for key in (rotating.old, rotating.new)
    ]
    assert roles == [[(rotating.id, "old")], [(rotating.id, "new")]]
    before = {"from": ahead(days=-9), "to": ahead(days=-8)}
    assert expect(home.admin.get("/v1/posture/evidence", **before), 200) == []


def test_the_evidence_comes_in_pages(home: Workspace) -> None:
    ids = [home.admin.create(name=f"a{number}-prod").id for number in range(5)]
    asked: dict[str, Any] = {"from": ahead(days=-1), "to": ahead(days=1), "limit": 2}
    seen: list[str] = []
    while True:
        response = home.admin.get("/v1/posture/evidence", **asked)
        seen += [one["key_id"] for one in expect(response, 200)]
        link = response.headers.get("link")
        if link is None:
            break
        asked["cursor"] = link.partition("cursor=")[2].partition(">")[0]
    assert seen[:5] == ids[::-1]
    assert len(seen) == len(set(seen)) == len(home.all_keys())


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"from": ahead(days=1)}, "/to"),
        ({"from": ahead(days=1), "to": ahead(days=-1)}, "/to"),
        ({"from": "yesterday", "to": ahead(days=1)}, "/from"),
    ],
    ids=["ahead", "backwards", "no time"],
)
def test_a_period_that_is_none_is_refused(
    home: Workspace, asked: dict[str, str], pointer: str
) -> None:
    expect_invalid(home.admin.get("/v1/posture/evidence", **asked), pointer)
