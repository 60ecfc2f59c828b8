"""Section 5: slots."""

from typing import Any

import pytest

from tests.acceptance.api import Site, Workspace, expect, expect_invalid
from tests.acceptance.raw import RawAnswer, RawConnection
from tests.acceptance.servers import on_one_engine
from tests.acceptance.test_tampering import behind_its_back

MEMBERS = {
    "name", "workspace_id", "service", "environment", "owner", "purpose", "runbook_url",
    "rotation_period_days", "runtimes", "destinations", "created_at", "updated_at", "version",
}  # fmt: skip
NOTES: dict[str, Any] = {
    "owner": "ops",
    "purpose": "nightly",
    "runbook_url": "https://example.com/r",
    "rotation_period_days": 30,
    "runtimes": [{"name": "worker", "max_call_interval_seconds": 60}],
}


def test_put_makes_a_slot_and_then_changes_it(home: Workspace) -> None:
    made = home.admin.put("/v1/slots/scheduler-prod", NOTES)
    body = expect(made, 201)
    assert set(body) == MEMBERS
    assert made.headers["location"] == "/v1/slots/scheduler-prod"
    assert made.headers["etag"] == '"1"'
    assert {name: body[name] for name in NOTES} == NOTES
    assert (body["name"], body["service"], body["environment"]) == (
        "scheduler-prod",
        "scheduler",
        "prod",
    )
    assert (body["workspace_id"], body["destinations"]) == (home.id, [])
    changed = home.admin.put("/v1/slots/scheduler-prod", {**NOTES, "owner": "dev"})
    assert expect(changed, 200)["owner"] == "dev"
    assert changed.headers["etag"] == '"2"'
    read = home.admin.get("/v1/slots/scheduler-prod")
    assert expect(read, 200) == changed.json()
    assert read.headers["etag"] == '"2"'


def test_put_leaves_exactly_what_it_says(home: Workspace) -> None:
    home.admin.put("/v1/slots/a-prod", NOTES)
    body = expect(home.admin.put("/v1/slots/a-prod", {"owner": "ops"}), 200)
    assert (body["owner"], body["purpose"], body["runtimes"]) == ("ops", None, [])


def test_the_same_again_changes_nothing(home: Workspace) -> None:
    first = expect(home.admin.put("/v1/slots/a-prod", NOTES), 201)
    entries = len(home.activity())
    assert expect(home.admin.put("/v1/slots/a-prod", NOTES), 200) == first
    assert len(home.activity()) == entries


def test_a_key_sets_the_notes_of_its_slot_and_shares_them(home: Workspace) -> None:
    first = home.admin.create(name="a-prod", owner="ops", purpose="x")
    second = home.admin.create(name="a-prod", owner="dev")
    assert home.key(first)["owner"] == home.key(second)["owner"] == "dev"
    assert home.key(second)["purpose"] == "x"
    expect(home.admin.put("/v1/slots/a-prod", {"rotation_period_days": 1}), 200)
    body = home.key(first)
    assert (body["owner"], body["rotation_period_days"]) == (None, 1)
    assert body["rotate_by"] is not None


def test_slots_are_listed_and_filtered(home: Workspace) -> None:
    for name, owner in (("a-prod", "x"), ("a-dev", "y"), ("b-prod", "x")):
        expect(home.admin.put(f"/v1/slots/{name}", {"owner": owner}), 201)

    def named(**query: str) -> list[str]:
        found = expect(home.admin.get("/v1/slots", **query), 200)
        return [one["name"] for one in found if one["service"] != "administrator"]

    assert named() == ["b-prod", "a-dev", "a-prod"]
    assert named(service="a") == ["a-dev", "a-prod"]
    assert named(environment="prod") == ["b-prod", "a-prod"]
    assert named(owner="x") == ["b-prod", "a-prod"]
    response = home.admin.get("/v1/slots", owner="x", count="true")
    assert response.headers["x-total-count"] == "2"


def test_an_unknown_slot_is_404(home: Workspace) -> None:
    for name in ("none-prod", "none", "-", "A-prod", "a-b-c-d", "ä-prod"):
        expect(home.admin.get(f"/v1/slots/{name}"), 404, "slot.unknown")


@on_one_engine
@pytest.mark.parametrize(
    "name", ["none", "A-prod", "-prod", "a-", "a-operator", "a" * 64 + "-prod"]
)
def test_what_is_no_slots_name_is_422(common: Workspace, name: str) -> None:
    expect_invalid(common.admin.put(f"/v1/slots/{name}", {}), "/slot")


@on_one_engine
@pytest.mark.parametrize(
    ("notes", "pointer"),
    [
        ({"owner": ""}, "/owner"),
        ({"owner": "x" * 256}, "/owner"),
        ({"purpose": "x" * 1_001}, "/purpose"),
        ({"runbook_url": "example.com"}, "/runbook_url"),
        ({"rotation_period_days": 0}, "/rotation_period_days"),
        ({"runtimes": [{"name": "a b"}]}, "/runtimes/0/name"),
        ({"service": "b"}, "/service"),
        ({"name": "b-prod"}, "/name"),
    ],
)
def test_wrong_notes_are_422_and_change_nothing(
    home: Workspace, notes: dict[str, Any], pointer: str
) -> None:
    before = expect(home.admin.put("/v1/slots/a-prod", NOTES), 201)
    expect_invalid(home.admin.put("/v1/slots/a-prod", notes), pointer)
    assert expect(home.admin.get("/v1/slots/a-prod"), 200) == before


def test_slots_honour_etags_too(home: Workspace) -> None:
    expect(home.admin.put("/v1/slots/a-prod", NOTES), 201)
    expect(home.admin.put("/v1/slots/a-prod", {}, If_Match='"1"'), 200)
    expect(home.admin.put("/v1/slots/a-prod", NOTES, If_Match='"1"'), 412, "version.moved")
    expect(home.admin.put("/v1/slots/b-prod", NOTES, If_Match='"1"'), 412, "version.moved")
    assert expect(home.admin.get("/v1/slots/a-prod"), 200)["owner"] is None
    expect(home.admin.get("/v1/slots/b-prod"), 404, "slot.unknown")


def test_a_slot_may_be_made_only_where_there_is_none(home: Workspace) -> None:
    expect(home.admin.put("/v1/slots/a-prod", NOTES, If_None_Match="*"), 201)
    expect(home.admin.put("/v1/slots/a-prod", {}, If_None_Match="*"), 412, "version.moved")
    both = home.admin.put("/v1/slots/a-prod", {}, If_None_Match="*", If_Match='"1"')
    expect(both, 412, "version.moved")
    expect(home.admin.put("/v1/slots/b-prod", {}, If_None_Match='"1"'), 400, "request.malformed")
    assert expect(home.admin.get("/v1/slots/a-prod"), 200)["version"] == 1


def test_a_star_in_if_match_makes_nothing_that_is_not_there(home: Workspace) -> None:
    expect(home.admin.put("/v1/slots/a-prod", NOTES, If_Match="*"), 412, "version.moved")
    expect(home.admin.get("/v1/slots/a-prod"), 404, "slot.unknown")
    expect(home.admin.put("/v1/slots/a-prod", NOTES), 201)
    expect(home.admin.put("/v1/slots/a-prod", {}, If_Match="*"), 200)


def test_a_damaged_slot_is_there_for_who_would_only_make_it(site: Site, home: Workspace) -> None:
    expect(home.admin.put("/v1/slots/a-prod", NOTES), 201)
    statement = "UPDATE slots SET owner = 'thief' WHERE workspace_id = :id AND service = 'a'"
    assert behind_its_back(site.server.installation, statement, id=home.id) == 1
    for condition in ({"If_None_Match": "*"}, {"If_Match": '"1"'}):
        refused = home.admin.put("/v1/slots/a-prod", NOTES, **condition)
        expect(refused, 412, "version.moved")
    assert home.activity(action="slot.updated") == []
    expect(home.admin.put("/v1/slots/a-prod", NOTES, If_Match="*"), 200)
    assert expect(home.admin.get("/v1/slots/a-prod"), 200)["owner"] == NOTES["owner"]


def put_raw(site: Site, home: Workspace, *headers: str) -> RawAnswer:
    with RawConnection(site.server.port) as connection:
        connection.request(
            "/v1/slots/a-prod",
            f"Authorization: Bearer {home.admin.token}",
            "Content-Type: application/json",
            "Content-Length: 2",
            *headers,
            method="PUT",
            body=b"{}",
        )
        return connection.answer()


def test_the_lines_of_a_precondition_are_judged_together(site: Site, home: Workspace) -> None:
    for name in ("If-None-Match", "If-Match"):
        for first, second in (("*", '"1"'), ('"1"', "*")):
            answer = put_raw(site, home, f"{name}: {first}", f"{name}: {second}")
            assert (answer.status, answer.code) == (400, "request.malformed")
    expect(home.admin.get("/v1/slots/a-prod"), 404, "slot.unknown")
    expect(home.admin.put("/v1/slots/a-prod", NOTES), 201)
    assert put_raw(site, home, 'If-Match: "7"', 'If-Match: "1"').status == 200


def test_nobody_changes_the_slot_of_a_key_that_is_wider_than_his_own(home: Workspace) -> None:
    wide = home.admin.create(name="boss-prod", permissions=["admin"], owner="boss@example.com")
    narrow = home.holder("keys:write", "keys:read")
    said = {"owner": "mallory@example.com"}
    for response in (
        narrow.api.put("/v1/slots/boss-prod", said),
        narrow.api.patch(wide.path, said),
        narrow.api.post("/v1/api-keys", {"name": "boss-prod", **said}),
    ):
        expect(response, 403, "grant.exceeded")
    assert home.key(wide)["owner"] == "boss@example.com"
    expect(narrow.api.post("/v1/api-keys", {"name": "boss-prod"}), 201)
    expect(home.admin.delete(wide.path), 204)
    expect(narrow.api.put("/v1/slots/boss-prod", said), 200)
