"""Section 10: somebody has left. What that person owned, made or was shown, and its rotation."""

from typing import Any

import pytest

from tests.acceptance.api import Api, Issued, Site, Workspace, expect, expect_invalid, label
from tests.acceptance.rotating import rotate

MEMBERS = {
    "key_id", "name", "slot", "status", "because", "rotation_id", "new_key_id", "api_key",
    "deliveries", "refused",
}  # fmt: skip


def left(caller: Api, person: str, **members: Any) -> dict[str, Any]:
    """What the departure of a person tells, by the ids of keys."""
    response = caller.post("/v1/staff-changes", {"person": person, **members})
    body = expect(response, 200)
    assert set(body) == {"person", "keys"}
    assert body["person"] == person
    assert all(set(one) == MEMBERS for one in body["keys"])
    assert response.headers["cache-control"] == "no-store"
    return {one["key_id"]: one for one in body["keys"]}


def test_what_a_person_owns_is_listed_whatever_the_letters_case(home: Workspace) -> None:
    mine = home.admin.create(name="a-prod", owner="Ada@example.com")
    home.admin.create(name="b-prod", owner="bob@example.com")
    home.admin.create(name="c-prod")
    for person in ("Ada@example.com", "ada@EXAMPLE.com"):
        told = left(home.admin, person)
        assert told == {
            mine.id: {
                "key_id": mine.id,
                "name": "a-prod",
                "slot": "a-prod",
                "status": "active",
                "because": ["owner"],
                "rotation_id": None,
                "new_key_id": None,
                "api_key": None,
                "deliveries": [],
                "refused": None,
            }
        }
    assert left(home.admin, "nobody") == {}
    assert expect(home.admin.get("/v1/rotations"), 200) == []


def test_what_an_operator_made_and_was_shown_is_listed(site: Site, home: Workspace) -> None:
    name = label("operator")
    operator = site.operator_in(home).with_token(site.server.installation.operator_token_of(name))
    operator = operator.with_headers(Keyturn_Workspace=home.id)
    made = operator.create(name="made-prod")
    home.admin.create(name="other-prod")
    told = left(home.admin, name.upper())
    assert {id_: one["because"] for id_, one in told.items()} == {made.id: ["maker", "shown"]}


def test_what_a_persons_key_made_is_listed(home: Workspace) -> None:
    theirs = home.holder("keys:write", name="ada-laptop", owner="ada")
    made = theirs.api.create(name="made-prod")
    by_name = left(home.admin, "ada-laptop")
    assert {id_: one["because"] for id_, one in by_name.items()} == {made.id: ["maker", "shown"]}
    by_owner = left(home.admin, "ada")
    assert {id_: one["because"] for id_, one in by_owner.items()} == {
        theirs.id: ["owner"],
        made.id: ["maker", "shown"],
    }


def test_one_call_rotates_all_of_it(home: Workspace) -> None:
    keys = [home.admin.create(name=f"{name}-prod", owner="ada") for name in "abc"]
    told = left(home.admin, "ada", rotate=True)
    assert set(told) == {key.id for key in keys}
    for key in keys:
        one = told[key.id]
        assert one["refused"] is None
        assert home.verify(key.token)["deprecation"]["rotation_id"] == one["rotation_id"]
        assert home.verify(one["api_key"])["key"]["id"] == one["new_key_id"]
        rotation = expect(home.admin.get(f"/v1/rotations/{one['rotation_id']}"), 200)
        assert (rotation["old_key_id"], rotation["new_key_id"]) == (key.id, one["new_key_id"])
    assert len(home.activity(action="rotation.started", status="success")) == 3


def test_a_second_call_joins_and_tells_no_token(home: Workspace) -> None:
    key = home.admin.create(name="a-prod", owner="ada")
    first = left(home.admin, "ada", rotate=True)[key.id]
    again = left(home.admin, "ada", rotate=True)
    assert (again[key.id]["rotation_id"], again[key.id]["api_key"]) == (
        first["rotation_id"],
        None,
    )
    assert all(one["api_key"] is None for one in again.values())
    assert left(home.admin, "ada")[key.id]["rotation_id"] == first["rotation_id"]
    assert len(expect(home.admin.get("/v1/rotations"), 200)) == 1
    assert len(home.all_keys()) == 3


def test_a_rotation_that_was_open_is_joined(home: Workspace) -> None:
    rotation = rotate(home, home.admin.create(name="a-prod", owner="ada"))
    told = left(home.admin, "ada", rotate=True)[rotation.old.id]
    assert (told["rotation_id"], told["new_key_id"]) == (rotation.id, rotation.new.id)
    assert (told["api_key"], told["refused"]) == (None, None)


def test_dead_keys_are_not_listed(home: Workspace) -> None:
    key = home.admin.create(name="a-prod", owner="ada")
    expect(home.admin.delete(key.path), 204)
    assert left(home.admin, "ada", rotate=True) == {}


def test_what_may_not_be_rotated_is_told_and_keeps_no_other(home: Workspace) -> None:
    rich = home.admin.create(name="rich-prod", owner="ada", scopes=["write"])
    poor = home.admin.create(name="poor-prod", owner="ada")
    caller = home.holder("rotations:write").api
    told = left(caller, "ada", rotate=True)
    assert (told[rich.id]["refused"], told[rich.id]["rotation_id"]) == ("grant.exceeded", None)
    assert told[rich.id]["api_key"] is None
    assert told[poor.id]["refused"] is None
    assert home.verify(told[poor.id]["api_key"])["valid"]


def test_who_is_narrowed_to_slots_learns_and_rotates_these_alone(home: Workspace) -> None:
    mine = home.admin.create(name="a-prod", owner="ada")
    home.admin.create(name="b-prod", owner="ada")
    caller = home.holder("rotations:write@a-*").api
    assert set(left(caller, "ada", rotate=True)) == {mine.id}
    expect(
        home.holder("keys:write").api.post("/v1/staff-changes", {"person": "ada"}),
        403,
        "permission.missing",
    )


def test_another_tenants_keys_are_none(home: Workspace, other: Workspace) -> None:
    key: Issued = home.admin.create(name="a-prod", owner="ada")
    assert left(other.admin, "ada", rotate=True) == {}
    assert home.key(key)["version"] == 1
    assert expect(home.admin.get("/v1/rotations"), 200) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/person"),
        ({"person": None}, "/person"),
        ({"person": ""}, "/person"),
        ({"person": "x" * 256}, "/person"),
        ({"person": 5}, "/person"),
        ({"person": "a\u0000b"}, "/person"),
        ({"person": "ada", "rotate": "yes"}, "/rotate"),
        ({"person": "ada", "rotate": 1}, "/rotate"),
        ({"person": "ada", "reason": "left"}, "/reason"),
    ],
    ids=str,
)
def test_a_wrong_body_is_422(home: Workspace, body: Any, pointer: str) -> None:
    expect_invalid(home.admin.post("/v1/staff-changes", body), pointer)


def test_a_token_is_nobodys_name(home: Workspace) -> None:
    key = home.admin.create(name="a-prod", owner="ada")
    response = home.admin.post("/v1/staff-changes", {"person": key.token})
    expect_invalid(response, "/person")
    has_token = key.token in response.text
    assert not has_token
