"""Section 9: exposed keys are contained before anything else, and an incident is over them."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.acceptance.api import Site, Workspace, expect, expect_invalid, label
from tests.acceptance.responding import Responding, respond
from tests.acceptance.rotating import in_future, rotate, used_key
from tests.acceptance.servers import until


def test_the_keys_are_refused_everywhere_when_it_answers(home: Workspace) -> None:
    keys = [home.admin.create(name="worker-prod", scopes=["read"]) for _ in range(3)]
    response = home.admin.post("/v1/incidents", {"key_ids": [one.id for one in keys]})
    body = expect(response, 201)
    assert [home.verify(one.token)["code"] for one in keys] == ["revoked"] * 3
    assert response.headers["location"] == f"/v1/incidents/{body['id']}"
    assert response.headers["etag"] == f'"{body["version"]}"'
    assert response.headers["keyturn-propagation"].startswith("complete; nodes=1; ms=")
    assert (body["state"], body["reason"], body["containment"]) == (
        "contained",
        "leaked",
        "revoke",
    )
    assert {one["key_id"] for one in body["keys"]} == {one.id for one in keys}
    assert {one["status"] for one in body["keys"]} == {"revoked"}
    assert (body["keys_total"], body["keys_open"]) == (3, 3)
    assert (body["unmatched"], body["elsewhere"], body["unreached"]) == ([], [], [])
    assert body["seconds"]["contain"] >= 0
    assert home.key(keys[0])["revocation_reason"] == "compromised"


def test_opening_writes_one_entry_for_it_and_one_per_key(home: Workspace) -> None:
    keys = [home.admin.create() for _ in range(3)]
    name = label("request")
    expect(
        home.admin.post("/v1/incidents", {"key_ids": [one.id for one in keys]}, X_Request_Id=name),
        201,
    )
    entries = home.activity(request_id=name)
    assert [one["action"] for one in entries] == ["incident.opened"] + [
        "incident.key_contained"
    ] * 3
    assert {one["resource_id"] for one in entries[1:]} == {one.id for one in keys}
    assert {one["resource_type"] for one in entries[1:]} == {"api_key"}
    assert all(one["metadata"]["incident_id"] for one in entries[1:])


def test_a_token_is_enough_and_is_neither_answered_nor_kept(home: Workspace) -> None:
    key = home.admin.create(name="worker-prod")
    asked = {"tokens": ["no token", key.token, f"{key.token[:-7]}AAAAAAA"]}
    headers = {"Idempotency_Key": label("once")}
    response = home.admin.post("/v1/incidents", asked, **headers)
    body = expect(response, 201)
    assert [one["key_id"] for one in body["keys"]] == [key.id]
    assert body["unmatched"] == [0, 2]
    again = home.admin.post("/v1/incidents", asked, **headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == body["id"]
    for answered in (response.text, again.text, str(home.activity())):
        assert key.token not in answered


def test_what_names_no_key_contains_nothing(home: Workspace, other: Workspace) -> None:
    theirs = other.admin.create()
    before = home.acts()
    for asked in (
        {"key_ids": [str(uuid4())]},
        {"key_ids": [theirs.id]},
        {"tokens": [theirs.token]},
        {"tokens": ["nothing"]},
        {"select": {"slot": "nothing-prod"}},
    ):
        expect(home.admin.post("/v1/incidents", asked), 422, "incident.no_key")
    assert home.acts() == before
    assert other.verify(theirs.token)["valid"]


@pytest.mark.parametrize(
    ("asked", "pointers"),
    [
        ({}, [""]),
        ({"key_ids": [str(uuid4())], "tokens": ["x"]}, [""]),
        ({"key_ids": ["x"]}, ["/key_ids/0"]),
        ({"select": {}}, ["/select"]),
        ({"key_ids": [str(uuid4())], "dry_run": True}, ["/dry_run"]),
        ({"key_ids": [str(uuid4())], "expected_count": 1}, ["/expected_count"]),
        ({"key_ids": [str(uuid4())], "exposed_since": in_future(3_600)}, ["/exposed_since"]),
        ({"key_ids": [str(uuid4())], "found_url": "ftp://x"}, ["/found_url"]),
    ],
)
def test_what_cannot_be_meant_is_refused(
    common: Workspace, asked: dict[str, object], pointers: list[str]
) -> None:
    expect_invalid(common.admin.post("/v1/incidents", asked), *pointers)


def test_a_token_in_a_text_is_refused(home: Workspace) -> None:
    key = home.admin.create()
    for member in ("detail", "found_url"):
        value = f"https://x.example/{key.token}" if member == "found_url" else key.token
        asked = {"key_ids": [key.id], member: value}
        response = home.admin.post("/v1/incidents", asked)
        expect_invalid(response, f"/{member}")
        assert key.token not in response.text
    assert home.verify(key.token)["valid"]


def test_whoever_contains_once_more_joins(home: Workspace) -> None:
    first, second, third = (home.admin.create() for _ in range(3))
    incident = respond(home, first, second)
    joined = home.admin.post("/v1/incidents", {"key_ids": [second.id]})
    assert expect(joined, 200)["id"] == incident.id
    more = respond(home, second, third)
    assert [one["key_id"] for one in more.body["keys"]] == [third.id]
    assert more.body["elsewhere"] == [{"key_id": second.id, "incident_id": incident.id}]


def test_a_key_that_is_revoked_already_is_taken_in(home: Workspace) -> None:
    key = home.admin.create()
    expect(home.admin.delete(f"{key.path}?reason=unused"), 204)
    alive = home.admin.create()
    incident = respond(home, key, alive)
    assert incident.key(key)["status"] == "revoked"
    assert incident.key(key)["status_before"] == "revoked"
    assert incident.key(alive)["status_before"] == "active"
    assert home.key(key)["revocation_reason"] == "compromised"


def test_compromised_opens_or_joins_an_incident_and_names_it(home: Workspace) -> None:
    key = home.admin.create()
    response = home.admin.delete(f"{key.path}?reason=compromised")
    expect(response, 204)
    id_ = response.headers["keyturn-incident"]
    body = expect(home.admin.get(f"/v1/incidents/{id_}"), 200)
    assert [one["key_id"] for one in body["keys"]] == [key.id]
    again = home.admin.delete(f"{key.path}?reason=compromised")
    assert again.headers["keyturn-incident"] == id_
    assert home.verify(key.token)["code"] == "revoked"
    other = home.admin.create()
    assert "keyturn-incident" not in home.admin.delete(f"{other.path}?reason=unused").headers


def test_a_selection_is_looked_at_first_and_must_be_as_it_was(home: Workspace) -> None:
    slot = f"{label('batch')}-prod"
    keys = [home.admin.create(name=slot, owner="ops@example.org") for _ in range(3)]
    spare = home.admin.create(name=slot)
    expect(home.admin.delete(spare.path), 204)
    select = {"select": {"slot": slot}}
    looked = expect(home.admin.post("/v1/incidents", {**select, "dry_run": True}), 200)
    assert looked["count"] == 3
    assert {one["key_id"] for one in looked["keys"]} == {one.id for one in keys}
    assert looked["keys"][0]["owner"] == "ops@example.org"
    problem = expect(
        home.admin.post("/v1/incidents", {**select, "expected_count": 2}),
        409,
        "incident.count_moved",
    )
    assert {one["key_id"] for one in problem["keys"]} == {one.id for one in keys}
    assert all(home.verify(one.token)["valid"] for one in keys)
    body = expect(home.admin.post("/v1/incidents", {**select, "expected_count": 3}), 201)
    assert body["keys_total"] == 3


def test_each_member_of_a_selection_counts(home: Workspace) -> None:
    maker = home.holder("keys:write")
    owner = f"{label('owner')}@example.org"
    mine = maker.api.create(name="a-prod")
    theirs = home.admin.create(name="b-prod", owner=owner)
    for select, wanted in (
        ({"created_by": maker.id}, {mine.id}),
        ({"owner": owner}, {theirs.id}),
        ({"slot": "a-prod", "owner": owner}, set()),
        ({"since": theirs.body["created_at"]}, {theirs.id}),
        ({"until": theirs.body["created_at"], "slot": "a-prod"}, {mine.id}),
    ):
        looked = expect(home.admin.post("/v1/incidents", {"select": select, "dry_run": True}), 200)
        assert {one["key_id"] for one in looked["keys"]} == wanted, select


def test_what_a_contained_key_made_while_exposed_is_contained_too(home: Workspace) -> None:
    maker = home.holder("keys:write", "verify")
    before = maker.api.create()
    since = home.admin.create().body["created_at"]
    made = maker.api.create(permissions=["keys:write"])
    further = made.api.create()
    incident = respond(home, maker, exposed_since=since)
    because = {one["key_id"]: one["because"] for one in incident.body["keys"]}
    assert because == {
        maker.id: "named",
        made.id: "made_by_contained",
        further.id: "made_by_contained",
    }
    assert incident.body["unreached"] == [{"key_id": before.id, "name": before.body["name"]}]
    assert home.verify(before.token)["valid"]
    assert home.verify(further.token)["code"] == "revoked"


def test_a_dry_run_tells_what_was_made_by_the_selected_too(home: Workspace) -> None:
    owner = f"{label('owner')}@example.org"
    maker = home.holder("keys:write", "verify", name=f"{label('maker')}-prod", owner=owner)
    before = maker.api.create()
    since = home.admin.create().body["created_at"]
    made = maker.api.create(permissions=["keys:write"])
    further = made.api.create()
    asked = {"select": {"owner": owner}, "exposed_since": since}
    looked = expect(home.admin.post("/v1/incidents", {**asked, "dry_run": True}), 200)
    assert (looked["count"], [one["key_id"] for one in looked["keys"]]) == (1, [maker.id])
    assert {one["key_id"] for one in looked["made_by_contained"]} == {made.id, further.id}
    assert looked["unreached"] == [{"key_id": before.id, "name": before.body["name"]}]
    assert all(home.verify(one.token)["valid"] for one in (before, made, further))
    future = {**asked, "exposed_since": in_future(3_600), "dry_run": True}
    expect_invalid(home.admin.post("/v1/incidents", future), "/exposed_since")
    body = expect(home.admin.post("/v1/incidents", {**asked, "expected_count": 1}), 201)
    assert {one["key_id"] for one in body["keys"]} == {maker.id, made.id, further.id}


def test_a_rotation_is_cancelled_and_its_other_key_works_on(home: Workspace) -> None:
    for containment in ("revoke", "suspend"):
        rotation = rotate(home, used_key(home, name=f"{label()}-prod"))
        respond(home, rotation.old, containment=containment)
        assert rotation.now()["state"] == "cancelled"
        assert home.verify(rotation.new.token)["valid"]
        newer = rotate(home, used_key(home, name=f"{label()}-prod"))
        respond(home, newer.new, containment=containment)
        assert newer.now()["state"] == "cancelled"
        assert home.verify(newer.old.token)["valid"]


def test_a_browned_out_key_is_given_back_by_who_contained_the_other(home: Workspace) -> None:
    rotation = rotate(
        home, used_key(home, name=f"{label()}-prod"), brownout_seconds=60, quiet_seconds=60
    )
    expect(rotation.steer("brownout", {"brownout_seconds": 60}), 200)
    assert rotation.statuses()[0] == "suspended"
    respond(home, rotation.new)
    assert rotation.statuses() == ("active", "revoked")
    both = rotate(
        home, used_key(home, name=f"{label()}-prod"), brownout_seconds=60, quiet_seconds=60
    )
    expect(both.steer("brownout", {"brownout_seconds": 60}), 200)
    incident = respond(home, both.old, both.new, containment="suspend")
    assert both.statuses() == ("suspended", "suspended")
    expect(incident.act("close", {"outcome": "false_alarm"}), 200)
    assert both.statuses() == ("active", "active")


def test_nothing_brings_a_contained_key_back_but_a_false_alarm(home: Workspace) -> None:
    key = home.admin.create(name=f"{label()}-prod")
    was_suspended = home.admin.create()
    expect(home.admin.post(f"{was_suspended.path}/suspend"), 200)
    incident = respond(home, key, was_suspended, containment="suspend")
    assert home.verify(key.token)["code"] == "suspended"
    expect(home.admin.post(f"{key.path}/resume"), 409, "key.contained")
    expect(home.admin.patch(key.path, {"name": "x"}), 409, "key.contained")
    expect(home.admin.post(f"{key.path}/rotations"), 409, "key.contained")
    expect(home.admin.post("/v1/api-keys", {"replaces": key.id}), 409, "key.contained")
    expect(home.admin.post(f"{key.path}/suspend"), 200)
    body = expect(incident.act("close", {"outcome": "false_alarm"}), 200)
    assert (body["state"], body["outcome"]) == ("closed", "false_alarm")
    assert home.verify(key.token)["valid"]
    assert home.key(was_suspended)["status"] == "suspended"
    expect(home.admin.post(f"{was_suspended.path}/resume"), 200)


def test_confirmed_revokes_for_good_what_was_suspended(home: Workspace) -> None:
    key = home.admin.create()
    incident = respond(home, key, containment="suspend")
    until_ = in_future(3_600)
    waive = [{"key_id": key.id, "reason": "not needed", "until": until_}]
    expect(incident.act("close", {"outcome": "confirmed", "waive": waive}), 200)
    assert home.key(key)["status"] == "revoked"
    expect(home.admin.post(f"{key.path}/resume"), 409, "key.terminal")


def test_a_false_alarm_does_not_undo_a_revocation_and_says_so(home: Workspace) -> None:
    key, dead = home.admin.create(), home.admin.create()
    expect(home.admin.delete(f"{dead.path}?reason=unused"), 204)
    incident = respond(home, key, dead)
    problem = expect(incident.act("close", {"outcome": "false_alarm"}), 409, "incident.keys_open")
    assert [one["key_id"] for one in problem["keys"]] == [key.id]
    incident.replace(key)
    body = expect(incident.act("close", {"outcome": "false_alarm"}), 200)
    assert "stays so" in body["next_step"]
    assert home.verify(key.token)["code"] == "revoked"
    expect(incident.act("close", {"outcome": "false_alarm"}), 200)
    expect(incident.act("close", {"outcome": "confirmed"}), 409, "incident.closed")
    expect(incident.act("runtimes", {"runtime": "x", "standing": "ours"}), 409, "incident.closed")
    expect(incident.act("replacements"), 409, "incident.closed")


def test_a_false_alarm_gives_back_only_what_its_caller_may_give(home: Workspace) -> None:
    wide = home.admin.create(name="wide-prod", scopes=["write"])
    incident = respond(home, wide, containment="suspend")
    narrow = home.holder("incidents:write")
    response = narrow.api.post(f"{incident.path}/close", {"outcome": "false_alarm"})
    expect(response, 403, "grant.exceeded")
    assert home.key(wide)["status"] == "suspended"


def test_containing_needs_no_wider_rights_but_those_over_the_slot(home: Workspace) -> None:
    wide = home.admin.create(name="scheduler-prod", permissions=["admin"])
    beyond = home.admin.create(name="payments-prod")
    caller = home.holder("incidents:write@scheduler-*")
    for asked in ({"key_ids": [wide.id, beyond.id]}, {"tokens": [beyond.token]}):
        expect(caller.api.post("/v1/incidents", asked), 403, "permission.missing")
    assert home.verify(wide.token)["valid"]
    expect(
        caller.api.post("/v1/incidents", {"select": {"slot": "payments-prod"}}),
        422,
        "incident.no_key",
    )
    body = expect(caller.api.post("/v1/incidents", {"key_ids": [wide.id]}), 201)
    assert home.verify(wide.token)["code"] == "revoked"
    reader = home.holder("requests:read@payments-*")
    expect(reader.api.get(f"/v1/incidents/{body['id']}"), 403, "permission.missing")
    assert expect(reader.api.get("/v1/incidents"), 200) == []
    mixed = home.admin.create(name="scheduler-prod")
    both = respond(home, mixed, beyond)
    seen = expect(reader.api.get(both.path), 200)
    assert [one["key_id"] for one in seen["keys"]] == [beyond.id]
    expect(
        caller.api.post(f"{both.path}/close", {"outcome": "false_alarm"}), 403, "permission.missing"
    )


def test_another_tenants_incident_is_one_that_does_not_exist(
    home: Workspace, other: Workspace
) -> None:
    incident = respond(home, home.admin.create())
    for id_ in (incident.id, str(uuid4())):
        path = f"/v1/incidents/{id_}"
        expect(other.admin.get(path), 404, "incident.unknown")
        expect(other.admin.post(f"{path}/close", {}), 404, "incident.unknown")
        expect(other.admin.post(f"{path}/replacements"), 404, "incident.unknown")
        place = {"runtime": "x", "standing": "ours"}
        expect(other.admin.post(f"{path}/runtimes", place), 404, "incident.unknown")
    assert expect(other.admin.get("/v1/incidents", state="all"), 200) == []


def test_an_operator_takes_the_workspace_from_what_it_names(
    site: Site, home: Workspace, other: Workspace
) -> None:
    key, theirs = home.admin.create(), other.admin.create()
    asked = {"tokens": ["noise", key.token, theirs.token]}
    body = expect(site.operator.post("/v1/incidents", asked), 201)
    assert (body["workspace_id"], body["unmatched"]) == (home.id, [0, 2])
    assert other.verify(theirs.token)["valid"]
    expect(site.operator.post("/v1/incidents", {"tokens": ["x"]}), 422, "incident.no_key")
    expect(
        site.operator.post("/v1/incidents", {"select": {"slot": "a-prod"}}),
        400,
        "workspace.required",
    )


def test_lists_tell_of_those_that_are_wanted(home: Workspace) -> None:
    key = home.admin.create()
    first = respond(home, key, reason="suspected", containment="suspend")
    second = respond(home, home.admin.create())
    expect(first.act("close", {"outcome": "false_alarm"}), 200)

    def ids(**asked: str) -> list[str]:
        return [one["id"] for one in expect(home.admin.get("/v1/incidents", **asked), 200)]

    assert ids() == [second.id]
    assert ids(state="all") == [second.id, first.id]
    assert ids(state="closed") == [first.id]
    assert ids(state="all", key_id=key.id) == [first.id]
    assert ids(state="all", reason="leaked") == [second.id]
    assert ids(state="all", until=second.body["opened_at"]) == [first.id]
    page = home.admin.get("/v1/incidents", state="all", limit=1, count="true")
    assert (page.headers["x-total-count"], len(page.json())) == ("2", 1)
    assert "keys" not in page.json()[0]
    assert home.admin.get(page.headers["link"].split(">")[0][1:]).json()[0]["id"] == first.id


def test_of_many_who_contain_a_key_at_once_all_are_in_one_incident(home: Workspace) -> None:
    keys = [home.admin.create() for _ in range(3)]
    asked = {"key_ids": [one.id for one in keys]}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: home.admin.post("/v1/incidents", asked), range(6)))
    assert sorted(one.status_code for one in answers) == [200] * 5 + [201]
    assert len({one.json()["id"] for one in answers}) == 1
    opened = expect(home.admin.get("/v1/incidents", key_id=keys[0].id), 200)
    assert len(opened) == 1


def test_a_key_may_contain_itself(home: Workspace) -> None:
    key = home.holder("incidents:write")
    expect(key.api.post("/v1/incidents", {"key_ids": [key.id]}), 201)
    assert home.verify(key.token)["code"] == "revoked"


# --- what comes after -----------------------------------------------------------------------------


def leaked(home: Workspace, **members: object) -> Responding:
    key = used_key(home, "worker", name=f"{label('worker')}-prod", **members)
    home.settled_requests(key_id=key.id)
    return respond(home, key)


def test_it_comes_from_containment_to_the_end_by_what_happens(home: Workspace) -> None:
    name = f"{label('worker')}-prod"
    key = used_key(
        home,
        "worker",
        name=name,
        scopes=["read"],
        runtimes=[{"name": "worker", "max_call_interval_seconds": 60}],
    )
    incident = respond(home, key)
    assert incident.is_in("investigating")
    assert incident.now()["counted_at"] is not None
    expect(incident.act("close", {"outcome": "confirmed"}), 409, "incident.keys_open")
    (new,) = incident.replace(key)
    assert incident.now()["state"] == "recovering"
    assert incident.key(key)["replacement_key_id"] == new.id
    made = home.key(new)
    assert (made["name"], made["scopes"], made["created_at"] >= incident.body["opened_at"]) == (
        name,
        ["read"],
        True,
    )
    problem = expect(incident.act("close", {}), 409, "incident.keys_open")
    assert problem["keys"] == [{"key_id": key.id, "name": name}]
    assert "worker" in incident.now()["next_step"]
    assert home.verify(new.token, runtime="worker")["valid"]
    assert incident.has_recovered(key)
    now = incident.now()
    assert "Close it" in now["next_step"]
    assert now["seconds"]["recover"] >= now["seconds"]["replace"] >= now["seconds"]["contain"]
    (runtime,) = incident.key(key)["runtimes"]
    assert (runtime["standing"], runtime["recovered"], runtime["denied_since"]) == (
        "ours",
        True,
        None,
    )
    body = expect(incident.act("close", {"outcome": "confirmed"}), 200)
    assert (body["state"], body["closed_by"] is None) == ("closed", False)
    assert incident.steps()[0] == "incident.opened"
    assert "incident.recovered" in incident.steps()
    assert incident.steps()[-1] == "incident.closed"


def test_who_is_denied_again_takes_the_recovery_away(home: Workspace) -> None:
    key = used_key(
        home,
        name=f"{label('worker')}-prod",
        scopes=["read"],
        runtimes=[{"name": "worker", "max_call_interval_seconds": 60}],
    )
    incident = respond(home, key)
    (new,) = incident.replace()
    assert home.verify(new.token, runtime="worker")["valid"]
    assert incident.has_recovered(key)
    assert not home.verify(new.token, runtime="worker", scopes=["write"])["valid"]
    assert incident.has_recovered(key, recovered=False)
    assert "incident.relapsed" in incident.steps()
    assert "refused" in incident.now()["next_step"]
    expect(incident.act("close"), 409, "incident.keys_open")
    assert home.verify(new.token, runtime="worker")["valid"]
    assert incident.has_recovered(key)
    expect(incident.act("close"), 200)


def test_who_only_says_it_is_ours_has_to_be_placed(home: Workspace) -> None:
    key = used_key(home, "worker", "thief", name=f"{label('worker')}-prod")
    incident = respond(home, key)
    (new,) = incident.replace()
    assert home.verify(new.token, runtime="worker")["valid"]
    assert until(
        lambda: all(one["standing"] == "claimed" for one in incident.key(key)["runtimes"]), 10
    )
    expect(incident.act("close"), 409, "incident.keys_open")
    assert "Say whether" in incident.now()["next_step"]
    incident.place("worker", "ours")
    body = incident.place("thief", "intruder")
    assert {one["runtime"]: one["standing"] for one in body["placements"]} == {
        "worker": "ours",
        "thief": "intruder",
    }
    assert incident.has_recovered(key)
    expect(incident.act("close"), 200)


def test_one_place_of_a_runtime_may_be_an_intruders(home: Workspace) -> None:
    key = home.admin.create(name=f"{label('worker')}-prod")
    for address in ("192.0.2.7", "198.51.100.9"):
        assert home.verify(key.token, runtime="worker", ip=address)["valid"]
    incident = respond(home, key)
    incident.place("worker", "intruder", "198.51.100.9")
    incident.place("worker", "ours")
    standings = {one["network"]: one["standing"] for one in incident.key(key)["runtimes"]}
    assert standings == {"192.0.0.0/16": "ours", "198.51.0.0/16": "intruder"}


def test_a_thief_next_door_does_not_hide_who_is_ours(home: Workspace) -> None:
    key = home.admin.create(
        name=f"{label('worker')}-prod",
        runtimes=[{"name": "worker", "max_call_interval_seconds": 60}],
    )
    for address in ("198.51.100.7", "198.51.100.9"):
        assert home.verify(key.token, runtime="worker", ip=address)["valid"]
    home.settled_requests(key_id=key.id)
    incident = respond(home, key)
    incident.place("worker", "intruder", "198.51.100.9")
    assert [one["standing"] for one in incident.key(key)["runtimes"]] == ["ours"]
    incident.replace()
    expect(incident.act("close"), 409, "incident.keys_open")


def test_a_replacement_is_made_once(home: Workspace) -> None:
    first, second = (home.admin.create(name=f"{label()}-prod") for _ in range(2))
    incident = respond(home, first, second)
    once = {"Idempotency_Key": label("once")}
    response = incident.act("replacements", {"key_ids": [first.id]}, **once)
    (made,) = expect(response, 201)["replacements"]
    assert (made["replaces"], made["api_key"] is None) == (first.id, False)
    assert response.headers["cache-control"] == "no-store"
    replayed = expect(incident.act("replacements", {"key_ids": [first.id]}, **once), 201)
    assert replayed["replacements"][0]["api_key"] is None
    assert incident.now()["state"] == "replacing"
    assert [one.body["replaces"] for one in incident.replace()] == [second.id]
    for asked in (None, {"key_ids": [first.id, second.id]}):
        assert expect(incident.act("replacements", asked), 200)["replacements"] == []
    expect_invalid(incident.act("replacements", {"key_ids": [str(uuid4())]}), "/key_ids/0")
    told = home.activity(action="incident.replaced")
    assert [one["resource_id"] for one in told] == [first.id, second.id]


def test_a_replacement_that_was_revoked_is_none_and_another_is_made(home: Workspace) -> None:
    key = home.admin.create(name=f"{label()}-prod")
    incident = respond(home, key)
    (lost,) = incident.replace()
    expect(home.admin.delete(f"/v1/api-keys/{lost.id}?reason=unused"), 204)
    (again,) = incident.replace(key)
    (contained,) = incident.now()["keys"]
    assert contained["replacement_key_id"] == again.id != lost.id
    assert home.verify(again.token)["valid"]


def test_a_recovery_ends_with_the_replacement_that_it_was_by(home: Workspace) -> None:
    key, idle = used_key(home, name=f"{label('worker')}-prod"), home.admin.create()
    incident = respond(home, key, idle)
    incident.place("worker", "ours")
    new, lost = incident.replace()
    assert home.verify(new.token, runtime="worker")["valid"]
    assert incident.has_recovered(key)
    assert incident.has_recovered(idle)
    expect(home.admin.delete(f"/v1/api-keys/{new.id}?reason=unused"), 204)
    expect(home.admin.delete(f"/v1/api-keys/{lost.id}?reason=unused"), 204)
    problem = expect(incident.act("close"), 409, "incident.keys_open")
    assert {one["key_id"] for one in problem["keys"]} == {key.id, idle.id}
    assert until(lambda: "incident.relapsed" in incident.steps(), 10)
    now = incident.now()
    assert now["next_step"].startswith("Make a replacement for 2 of 2 keys")
    assert (now["state"], now["replaced_at"], now["keys_open"]) == ("investigating", None, 2)
    assert [one["replacement_key_id"] for one in now["keys"]] == [None, None]
    again, other = incident.replace()
    assert not {again.id, other.id} & {new.id, lost.id}
    assert home.verify(again.token, runtime="worker")["valid"]
    assert incident.has_recovered(key)
    expect(incident.act("close"), 200)


def test_what_a_replacement_became_after_the_end_does_not_change_the_incident(
    home: Workspace,
) -> None:
    key = home.admin.create()
    incident = respond(home, key)
    (new,) = incident.replace()
    expect(incident.act("close"), 200)
    before = incident.now()
    expect(home.admin.delete(f"/v1/api-keys/{new.id}?reason=unused"), 204)
    assert incident.now() == before


def test_a_replacement_goes_to_nobody_who_holds_less(home: Workspace) -> None:
    key = home.admin.create(name=f"{label()}-prod", scopes=["write"])
    caller = home.holder("incidents:write", "requests:read")
    incident = respond(home, key, by=caller.api)
    response = caller.api.post(f"{incident.path}/replacements")
    expect(response, 403, "grant.exceeded")
    assert incident.key(key)["replacement_key_id"] is None


def test_a_recovery_follows_a_replacement_that_is_replaced(home: Workspace) -> None:
    key = used_key(
        home,
        name=f"{label('worker')}-prod",
        runtimes=[{"name": "worker", "max_call_interval_seconds": 60}],
    )
    incident = respond(home, key)
    (new,) = incident.replace()
    newer = rotate(home, new)
    assert home.verify(newer.new.token, runtime="worker")["valid"]
    assert incident.has_recovered(key)


def test_a_waiver_has_a_name_a_reason_and_an_end(home: Workspace) -> None:
    key, other = home.admin.create(), home.admin.create()
    incident = respond(home, key, other)
    end = in_future(3_600)

    def waive(**members: str) -> object:
        waived = [{"key_id": one.id, "reason": "gone", "until": end} for one in (key, other)]
        return {"waive": [waived[0] | members, waived[1]]}

    expect_invalid(incident.act("close", waive(until=in_future(-1))), "/waive/0/until")
    expect_invalid(incident.act("close", waive(until=in_future(400 * 86_400))), "/waive/0/until")
    expect_invalid(incident.act("close", waive(key_id=str(uuid4()))), "/waive/0/key_id")
    expect_invalid(incident.act("close", waive(reason="  ")), "/waive/0/reason")
    half = {"waive": [{"key_id": key.id, "reason": "gone", "until": end}]}
    problem = expect(incident.act("close", half), 409, "incident.keys_open")
    assert [one["key_id"] for one in problem["keys"]] == [other.id]
    body = expect(incident.act("close", waive()), 200)
    assert [one["waived"]["reason"] for one in body["keys"]] == ["gone", "gone"]
    assert len(home.activity(action="incident.waived")) == 2


def findings_of(home: Workspace, incident: Responding) -> list[str]:
    found = expect(home.admin.get("/v1/findings", subject_id=incident.id), 200)
    assert all(one["subject"]["type"] == "incident" for one in found)
    return [str(one["kind"]) for one in found]


def test_a_waiver_that_has_run_out_is_a_finding(home: Workspace) -> None:
    for outcome in ("confirmed", "false_alarm"):
        key = home.admin.create(name="gone-prod")
        incident = respond(home, key)
        waive = [{"key_id": key.id, "reason": "gone", "until": in_future(1.5)}]
        expect(incident.act("close", {"outcome": outcome, "waive": waive}), 200)
        assert findings_of(home, incident) == []
        assert incident.now()["next_step"].startswith("Nothing is left to do")
        assert until(lambda: findings_of(home, incident) == ["incident.waiver_expired"], 20)  # noqa: B023
        assert incident.now()["next_step"].startswith("See to gone-prod: it has not recovered")


def test_a_use_after_the_end_is_a_finding_on_the_incident(home: Workspace) -> None:
    key, fine = home.admin.create(), home.admin.create()
    incident, alarm = respond(home, key), respond(home, fine)
    alarm.replace()
    home.verify(key.token, runtime="thief")
    home.settled_requests(key_id=key.id)
    waive = [{"key_id": key.id, "reason": "gone", "until": in_future(3_600)}]
    expect(incident.act("close", {"waive": waive}), 200)
    expect(alarm.act("close", {"outcome": "false_alarm"}), 200)
    assert findings_of(home, incident) == []
    home.verify(key.token, runtime="thief")
    home.verify(fine.token)
    assert until(lambda: findings_of(home, incident) == ["incident.contained_key_used"], 20)
    (found,) = expect(home.admin.get("/v1/findings", subject_id=incident.id), 200)
    assert (found["severity"], found["evidence"]["key_id"]) == ("critical", key.id)
    assert findings_of(home, alarm) == []
