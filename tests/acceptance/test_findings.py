"""Section 7: findings, what a person should know about a key, a slot or a rotation."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.api import (
    Issued,
    Site,
    Workspace,
    expect,
    expect_invalid,
    label,
)
from tests.acceptance.rotating import BY_ITSELF, HOUR, rotate, used_key
from tests.acceptance.servers import on_one_engine, until

MEMBERS = {
    "id", "workspace_id", "kind", "severity", "state", "subject", "since", "evidence",
    "acknowledged_at", "acknowledged_by", "reason", "resolved_at", "version",
}  # fmt: skip
PATIENCE_SECONDS = 90.0  # a look that takes long, on a slow machine, is followed by a long rest
HERE, THERE = "10.0.0.1", "192.0.2.7"
MOST_RUNTIMES = 256
POLICY = {"rotation_period_days": 7, "most_at_once": 5}


def findings(home: Workspace, **query: Any) -> list[Any]:
    return list(expect(home.admin.get("/v1/findings", **query), 200))


def found(home: Workspace, kind: str, count: int = 1, **query: Any) -> list[Any]:
    """The findings of one kind, once there are so many."""
    seen: list[Any] = []

    def there() -> bool:
        seen[:] = findings(home, kind=kind, **query)
        return len(seen) == count

    assert until(there, PATIENCE_SECONDS), f"{len(seen)} of {count} findings of {kind}"
    return seen


def owned(home: Workspace, **members: Any) -> Issued:
    """A key in a slot with which nothing is wrong."""
    return used_key(home, **{"owner": "ops", **members})


# --- what is found, and when it is over -----------------------------------------------------------


def test_a_slot_without_an_owner_is_found_until_it_has_one(home: Workspace) -> None:
    home.admin.create(name="scheduler-prod")
    (one,) = found(home, "slot.unowned", slot="scheduler-prod")
    assert set(one) == MEMBERS
    assert one["workspace_id"] == home.id
    assert (one["state"], one["severity"]) == ("open", "info")
    assert one["subject"] == {"type": "slot", "id": "scheduler-prod", "slot": "scheduler-prod"}
    assert one["evidence"]["slot"] == "scheduler-prod"
    assert (one["acknowledged_at"], one["acknowledged_by"], one["reason"]) == (None, None, None)
    assert (one["resolved_at"], one["version"]) == (None, 1)
    expect(home.admin.put("/v1/slots/scheduler-prod", {"owner": "ops"}), 200)
    found(home, "slot.unowned", 0, slot="scheduler-prod")
    (gone,) = found(home, "slot.unowned", slot="scheduler-prod", state="resolved")
    assert gone["id"] == one["id"]
    assert gone["resolved_at"] is not None
    expect(home.admin.put("/v1/slots/scheduler-prod", {}), 200)
    (again,) = found(home, "slot.unowned", slot="scheduler-prod")
    assert again["id"] != one["id"]


def test_more_than_two_live_keys_in_a_slot_are_found(home: Workspace) -> None:
    keys = [home.admin.create(name="scheduler-prod", owner="ops") for _ in range(3)]
    (one,) = found(home, "slot.too_many_keys")
    assert (one["severity"], one["evidence"]["count"]) == ("warning", 3)
    assert {key["id"] for key in one["evidence"]["keys"]} == {key.id for key in keys}
    expect(home.admin.delete(keys[0].path), 204)
    found(home, "slot.too_many_keys", 0)


def test_a_rotation_that_goes_well_is_no_finding(home: Workspace) -> None:
    rotation = rotate(home, owned(home))
    rotation.move()
    expect(rotation.steer("complete"), 200)
    found(home, "slot.unowned", slot="administrator-default")
    assert findings(home, slot="scheduler-prod", state="all") == []


def test_each_stranger_on_the_old_key_is_found(home: Workspace) -> None:
    rotation = rotate(home, owned(home))
    for runtime in ("stranger", "other"):
        rotation.use(rotation.old, runtime, ip=THERE)
    one, other = found(home, "stranger_on_old_key", 2)
    assert one["severity"] == "warning"
    assert one["subject"] == {
        "type": "rotation",
        "id": rotation.id,
        "slot": "scheduler-prod",
    }
    assert one["evidence"]["old_key_id"] == rotation.old.id
    assert {each["evidence"]["runtime"] for each in (one, other)} == {"stranger", "other"}
    assert findings(home, subject_id=rotation.id) == [one, other]


def test_a_known_name_from_elsewhere_is_a_critical_finding_until_a_person_decides(
    home: Workspace,
) -> None:
    old = home.admin.create(name="scheduler-prod", owner="ops")
    home.verify(old.token, runtime="worker", ip=HERE)
    rotation = rotate(home, old)
    rotation.use(rotation.old, ip=THERE)
    (one,) = found(home, "identity.conflict", severity="critical")
    assert one["evidence"]["runtime"] == "worker"
    word = {"runtime": "worker", "standing": "intruder"}
    assert rotation.steer("runtimes", word).status_code == 422  # which of the two networks is his?
    there = [place for place in one["evidence"]["networks"] if not place.startswith("10.")]
    word["network"] = there[0]
    expect(rotation.steer("runtimes", word), 200)
    found(home, "identity.conflict", 0)


def test_an_overdue_rotation_is_found_until_it_has_more_time(home: Workspace) -> None:
    rotation = rotate(home, owned(home), overlap_seconds=1)
    (one,) = found(home, "rotation.overdue")
    assert one["evidence"]["deadline"] == rotation.body["deadline"]
    (blocker,) = one["evidence"]["blocked_by"]
    assert (blocker["code"], blocker["runtime"]) == ("runtime.not_moved", "worker")
    assert rotation.now()["overdue"] is True
    expect(rotation.steer("extend", {"overlap_seconds": HOUR}), 200)
    found(home, "rotation.overdue", 0)


def test_a_brown_out_that_was_lifted_twice_is_found(home: Workspace) -> None:
    rotation = rotate(home, owned(home), **BY_ITSELF | {"brownout_seconds": HOUR})
    rotation.move()
    for _ in range(2):
        assert rotation.is_in("brownout")
        rotation.use(rotation.old)
        assert rotation.is_in("overlapping")
    (one,) = found(home, "rotation.brownout_lifted")
    assert (one["evidence"]["runtimes"], one["evidence"]["lifts"]) == (["worker"], 2)


def test_the_end_of_a_rotation_resolves_all_that_was_found_on_it(home: Workspace) -> None:
    for verb, body in (("complete", {"force": True, "reason": "now"}), ("rollback", None)):
        rotation = rotate(home, owned(home, name=f"{label('slot')}-prod"), overlap_seconds=1)
        rotation.use(rotation.old, "stranger")
        for kind in ("rotation.overdue", "stranger_on_old_key"):
            found(home, kind, subject_id=rotation.id)
        expect(rotation.steer(verb, body), 200)
        assert findings(home, subject_id=rotation.id) == []
        assert len(findings(home, subject_id=rotation.id, state="resolved")) == 2


def test_more_runtimes_than_can_be_told_apart_are_found(home: Workspace) -> None:
    key = owned(home)
    with ThreadPoolExecutor(8) as pool:
        names = [f"pod-{number}" for number in range(MOST_RUNTIMES + 4)]
        verdicts = list(pool.map(lambda name: home.verify(key.token, runtime=name), names))
    assert all(one["valid"] for one in verdicts)
    expect(home.admin.put("/v1/slots/scheduler-prod", {"owner": "dev"}), 200)
    (one,) = found(home, "key.too_many_runtimes")
    assert one["subject"] == {"type": "api_key", "id": key.id, "slot": "scheduler-prod"}
    runtimes = {
        one["runtime"] for one in expect(home.admin.get(f"{key.path}/impact"), 200)["runtimes"]
    }
    assert "other" in runtimes
    assert len(runtimes) <= MOST_RUNTIMES + 1


def test_a_key_that_is_to_be_rotated_soon_is_found_and_announced(
    site: Site, home: Workspace
) -> None:
    key = owned(home, rotation_period_days=2)
    path = f"/v1/workspaces/{home.id}"
    found(home, "rotation.announced", 0)
    expect(site.operator.patch(path, {"rotation_policy": POLICY}), 200)
    (told,) = found(home, "rotation.announced", slot="scheduler-prod")
    assert told["subject"]["id"] == key.id
    assert told["evidence"]["owner"] == "ops"
    rotate(home, key)
    found(home, "rotation.announced", 0, slot="scheduler-prod")


# --- acknowledging --------------------------------------------------------------------------------


def test_an_acknowledged_finding_is_known_and_no_longer_open(home: Workspace) -> None:
    home.admin.create(name="scheduler-prod")
    (one,) = found(home, "slot.unowned", slot="scheduler-prod")
    path = f"/v1/findings/{one['id']}"
    response = home.admin.post(f"{path}/acknowledge", {"reason": "we know"}, X_Request_Id="known")
    body = expect(response, 200)
    assert (body["state"], body["reason"], body["version"]) == ("acknowledged", "we know", 2)
    assert (body["acknowledged_by"], body["acknowledged_at"] is None) == ("administrator", False)
    assert response.headers["etag"] == '"2"'
    assert expect(home.admin.get(path), 200) == body
    assert expect(home.admin.post(f"{path}/acknowledge", {"reason": "again"}), 200) == body
    assert findings(home, slot="scheduler-prod") == []
    assert findings(home, slot="scheduler-prod", state="acknowledged") == [body]
    (entry,) = home.activity(request_id="known")
    assert (entry["action"], entry["resource_id"]) == ("finding.acknowledged", one["id"])
    assert entry["resource_type"] == "finding"
    expect(home.admin.put("/v1/slots/scheduler-prod", {"owner": "ops"}), 200)
    (gone,) = found(home, "slot.unowned", slot="scheduler-prod", state="resolved")
    assert (gone["id"], gone["reason"]) == (one["id"], "we know")
    assert expect(home.admin.post(f"{path}/acknowledge"), 200) == gone


def test_each_thing_that_happens_to_a_finding_is_one_entry(home: Workspace) -> None:
    home.admin.create(name="scheduler-prod")
    (one,) = found(home, "slot.unowned", slot="scheduler-prod")
    expect(home.admin.post(f"/v1/findings/{one['id']}/acknowledge"), 200)
    expect(home.admin.put("/v1/slots/scheduler-prod", {"owner": "ops"}), 200)
    found(home, "slot.unowned", slot="scheduler-prod", state="resolved")
    entries = home.activity(resource_id=one["id"])
    assert [(entry["action"], entry["actor_type"]) for entry in entries] == [
        ("finding.opened", "worker"),
        ("finding.acknowledged", "api_key"),
        ("finding.resolved", "worker"),
    ]


def test_a_wrong_acknowledgement_is_422(home: Workspace) -> None:
    key = home.admin.create(name="scheduler-prod")
    (one,) = found(home, "slot.unowned", slot="scheduler-prod")
    path = f"/v1/findings/{one['id']}/acknowledge"
    for reason in ("", 5, "x" * 2_000, "a\u0000b", f"see {key.token}"):
        expect_invalid(home.admin.post(path, {"reason": reason}), "/reason")
    expect_invalid(home.admin.post(path, {"why": "x"}), "/why")
    assert expect(home.admin.get(f"/v1/findings/{one['id']}"), 200)["version"] == 1
    expect(home.admin.post(path, {"reason": None}), 200)


# --- reading --------------------------------------------------------------------------------------


def test_findings_are_listed_newest_first_filtered_and_in_pages(home: Workspace) -> None:
    found(home, "slot.unowned", slot="administrator-default")  # of the workspace's first key
    for name in ("a-prod", "b-prod", "c-prod"):
        home.admin.create(name=name)
        found(home, "slot.unowned", slot=name)
    names = [one["subject"]["id"] for one in findings(home, kind="slot.unowned")]
    assert names[:3] == ["c-prod", "b-prod", "a-prod"]
    assert findings(home, severity="critical") == []
    assert len(findings(home, severity="info")) == len(names)
    assert len(findings(home, subject_id="b-prod")) == 1
    first = home.admin.get("/v1/findings", limit=2, count="true")
    assert len(expect(first, 200)) == 2
    assert int(first.headers["x-total-count"]) == len(names)
    rest = expect(home.admin.get(first.links["next"]["url"]), 200)
    assert [one["subject"]["id"] for one in rest] == names[2:]


@on_one_engine
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"state": "closed"}, "/state"),
        ({"kind": "x"}, "/kind"),
        ({"severity": "bad"}, "/severity"),
        ({"slot": "Nothing"}, "/slot"),
        ({"cursor": "x"}, "/cursor"),
        ({"limit": "0"}, "/limit"),
        ({"owner": "ops"}, "/owner"),
    ],
)
def test_a_wrong_question_is_422(common: Workspace, query: dict[str, str], pointer: str) -> None:
    expect_invalid(common.admin.get("/v1/findings", **query), pointer)


def test_a_finding_that_is_none_is_unknown(home: Workspace, other: Workspace) -> None:
    (mine,) = found(home, "slot.unowned")
    for id_ in (str(uuid4()), "nothing"):
        expect(home.admin.get(f"/v1/findings/{id_}"), 404, "finding.unknown")
        expect(home.admin.post(f"/v1/findings/{id_}/acknowledge"), 404, "finding.unknown")
    path = f"/v1/findings/{mine['id']}"
    expect(other.admin.get(path), 404, "finding.unknown")
    expect(other.admin.post(f"{path}/acknowledge"), 404, "finding.unknown")


def test_who_is_narrowed_to_slots_sees_and_acknowledges_their_findings_alone(
    home: Workspace,
) -> None:
    for name in ("a-prod", "b-prod"):
        home.admin.create(name=name)
    ids = {name: found(home, "slot.unowned", slot=name)[0]["id"] for name in ("a-prod", "b-prod")}
    caller = home.holder("keys:read@a-*", "keys:write@a-*", name="caller-dev", owner="ops").api
    listed = caller.get("/v1/findings", count="true")
    assert [one["id"] for one in expect(listed, 200)] == [ids["a-prod"]]
    assert listed.headers["x-total-count"] == "1"
    expect(caller.get(f"/v1/findings/{ids['b-prod']}"), 403, "permission.missing")
    theirs = f"/v1/findings/{ids['b-prod']}/acknowledge"
    expect(caller.post(theirs), 403, "permission.missing")
    expect(caller.post(f"/v1/findings/{ids['a-prod']}/acknowledge"), 200)
    reader = home.holder("keys:read", owner="ops").api
    expect(reader.get(f"/v1/findings/{ids['b-prod']}"), 200)
    expect(reader.post(theirs), 403, "permission.missing")
