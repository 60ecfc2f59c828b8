"""Section 5: a workspace's rotation policy, and what follows from it for its keys."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.api import Site, Workspace, expect, expect_invalid, label
from tests.acceptance.servers import on_one_engine

WINDOW = {"days": ["mon", "thu"], "starts": "22:30", "minutes": 240}
POLICY: dict[str, Any] = {
    "rotation_period_days": 30,
    "most_at_once": 5,
    "maintenance_windows": [WINDOW],
    "overlap_seconds": 86_400,
    "quiet_seconds": 1_800,
    "brownout_seconds": 600,
    "lookback_seconds": 604_800,
}


def days_until_rotation(body: dict[str, Any]) -> int | None:
    if body["rotate_by"] is None:
        return None
    left = datetime.fromisoformat(body["rotate_by"]) - datetime.fromisoformat(body["created_at"])
    assert left % timedelta(days=1) == timedelta(0)
    return left.days


def test_a_workspace_is_made_with_its_policy(site: Site) -> None:
    made = site.operator.post("/v1/workspaces", {"name": label("acme"), "rotation_policy": POLICY})
    body = expect(made, 201)
    assert body["rotation_policy"] == POLICY
    path = f"/v1/workspaces/{body['id']}"
    assert expect(site.operator.get(path), 200)["rotation_policy"] == POLICY
    listed = expect(site.operator.get("/v1/workspaces", limit=1_000), 200)
    assert [one["rotation_policy"] for one in listed if one["id"] == body["id"]] == [POLICY]


def test_a_policy_is_taken_whole_and_taken_away(site: Site, home: Workspace) -> None:
    path = f"/v1/workspaces/{home.id}"
    assert expect(site.operator.get(path), 200)["rotation_policy"] is None
    changed = expect(site.operator.patch(path, {"rotation_policy": POLICY}), 200)
    assert (changed["rotation_policy"], changed["version"]) == (POLICY, 2)
    again = expect(site.operator.patch(path, {"rotation_policy": POLICY}), 200)
    assert again["version"] == 2
    renamed = expect(site.operator.patch(path, {"name": "b", "rotation_policy": None}), 200)
    assert renamed["rotation_policy"] == POLICY
    fewer = expect(site.operator.patch(path, {"rotation_policy": {"most_at_once": 2}}), 200)
    assert fewer["rotation_policy"] == {
        "rotation_period_days": None,
        "most_at_once": 2,
        "maintenance_windows": [],
        "overlap_seconds": None,
        "quiet_seconds": None,
        "brownout_seconds": None,
        "lookback_seconds": None,
    }
    gone = expect(site.operator.patch(path, {"rotation_policy": {}}), 200)
    assert (gone["rotation_policy"], gone["version"]) == (None, 5)
    changes = [one["action"] for one in home.activity(resource_type="workspace")]
    assert changes == ["workspace.created"] + ["workspace.updated"] * 4


@on_one_engine
@pytest.mark.parametrize(
    ("policy", "pointer"),
    [
        ([], ""),
        ({"rotation_period_days": 0}, "/rotation_period_days"),
        ({"rotation_period_days": 3_651}, "/rotation_period_days"),
        ({"rotation_period_days": "30"}, "/rotation_period_days"),
        ({"most_at_once": 0}, "/most_at_once"),
        ({"most_at_once": 1_001}, "/most_at_once"),
        ({"most_at_once": True}, "/most_at_once"),
        ({"maintenance_windows": [WINDOW] * 51}, "/maintenance_windows"),
        *(
            ({"maintenance_windows": [WINDOW, window]}, f"/maintenance_windows/1{pointer}")
            for window, pointer in (
                (WINDOW | {"days": []}, "/days"),
                (WINDOW | {"days": ["mon", "x"]}, "/days/1"),
                (WINDOW | {"starts": "9:00"}, "/starts"),
                (WINDOW | {"minutes": 14}, "/minutes"),
                (WINDOW | {"zone": "CET"}, "/zone"),
                ({"days": ["mon"], "minutes": 60}, "/starts"),
            )
        ),
        ({"period": 1}, "/period"),
    ],
)
def test_a_wrong_policy_is_422_and_changes_nothing(
    site: Site, common: Workspace, policy: object, pointer: str
) -> None:
    path = f"/v1/workspaces/{common.id}"
    before = expect(site.operator.get(path), 200)
    wrong = {"rotation_policy": policy}
    expect_invalid(site.operator.patch(path, wrong), f"/rotation_policy{pointer}")
    expect_invalid(
        site.operator.post("/v1/workspaces", {"name": "a", **wrong}), f"/rotation_policy{pointer}"
    )
    assert expect(site.operator.get(path), 200) == before


def test_a_policy_is_an_operators_to_set(home: Workspace) -> None:
    response = home.admin.patch(f"/v1/workspaces/{home.id}", {"rotation_policy": POLICY})
    expect(response, 403, "permission.missing")


def test_a_key_is_to_be_rotated_by_its_slots_period_or_else_the_workspaces(
    site: Site, home: Workspace
) -> None:
    plain = home.admin.create(name="plain-prod")
    own = home.admin.create(name="own-prod", rotation_period_days=7)
    assert days_until_rotation(home.key(plain)) is None
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"rotation_policy": POLICY}), 200)
    assert days_until_rotation(home.key(plain)) == 30
    assert home.key(plain)["rotation_period_days"] is None
    assert days_until_rotation(home.key(own)) == 7
    listed = {one["name"]: days_until_rotation(one) for one in home.all_keys()}
    assert (listed["plain-prod"], listed["own-prod"]) == (30, 7)


def test_every_answer_about_a_key_tells_the_same_time(site: Site, home: Workspace) -> None:
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"rotation_policy": POLICY}), 200)
    key = home.admin.create(name="a-prod")
    due = key.body["rotate_by"]
    assert days_until_rotation(key.body) == 30
    answers = [
        expect(home.admin.get(key.path), 200),
        expect(home.admin.patch(key.path, {"name": "b"}), 200),
        expect(home.admin.post(f"{key.path}/suspend"), 200),
        expect(home.admin.post(f"{key.path}/resume"), 200),
        expect(home.admin.with_token(key.token).get("/v1/self"), 200)["key"],
    ]
    assert [one["rotate_by"] for one in answers] == [due] * len(answers)


def test_a_policy_is_of_one_workspace(site: Site, home: Workspace, other: Workspace) -> None:
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"rotation_policy": POLICY}), 200)
    assert days_until_rotation(other.admin.create(name="a-prod").body) is None
    assert days_until_rotation(home.admin.create(name="a-prod").body) == 30
