"""Permissions: each for every slot or for some, held against a model that enumerates slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.permission import (
    MOST_PERMISSIONS,
    Permission,
    check_permissions,
    covers_slot,
    holds_permission,
    permitted_slots,
)

SLOTS = ("a-prod", "a-test", "ab-prod", "ab-x-prod", "b-prod", "a-default")
PATTERNS = ("*", "a*", "a-*", "ab*", "ab-x-*", "b-prod", "a-prod", "a-prod*", "c*")
NARROWED = [one for one in Permission if one not in (Permission.ADMIN, Permission.ACTIVITY_READ)]
# Slots that no pattern above names: what a pattern covers beyond the known slots.
UNIVERSE = (*SLOTS, "a-new", "anew-x", "ab-new", "ab-x-new", "a-prodnew", "cnew", "new")

one_permission = st.sampled_from(list(Permission)).map(str) | st.builds(
    lambda name, pattern: f"{name}@{pattern}",
    st.sampled_from(NARROWED),
    st.sampled_from(PATTERNS + SLOTS),
)
several = st.sets(one_permission, max_size=4)

Deed = tuple[str, str | None]


def deeds(permission: str) -> set[Deed]:
    """Every single thing that a permission lets its holder do; None is the whole workspace."""
    name, _, pattern = permission.partition("@")
    if name == Permission.ADMIN:
        return {(one, slot) for one in Permission for slot in (*UNIVERSE, None)}
    if pattern in ("", "*"):
        return {(name, slot) for slot in (*UNIVERSE, None)}
    if pattern.endswith("*"):
        return {(name, slot) for slot in UNIVERSE if slot.startswith(pattern.rstrip("*"))}
    return {(name, pattern)}


@given(several, one_permission)
def test_a_permission_is_held_when_all_that_it_allows_is_allowed(
    held: set[str], asked: str
) -> None:
    allowed: set[Deed] = set().union(*map(deeds, held)) if held else set()
    assert holds_permission(held, asked) == deeds(asked).issubset(allowed)


@given(several, st.sampled_from(list(Permission)), st.sampled_from(UNIVERSE))
def test_a_slot_is_covered_when_the_deed_is_allowed(
    held: set[str], permission: Permission, slot: str
) -> None:
    allowed = any((permission, slot) in deeds(one) for one in held)
    assert covers_slot(permitted_slots(held, permission), slot) == allowed


@given(several)
def test_an_admin_alone_gives_admin(held: set[str]) -> None:
    assert holds_permission(held, Permission.ADMIN) == (Permission.ADMIN in held)


@pytest.mark.parametrize("permission", list(Permission))
def test_nothing_held_permits_nothing(permission: Permission) -> None:
    assert permitted_slots((), permission) == ()
    assert not holds_permission((), permission)


def test_to_write_is_not_to_read() -> None:
    assert not holds_permission([Permission.KEYS_WRITE], Permission.KEYS_READ)


@given(several)
def test_checked_permissions_are_sorted_and_each_once(values: set[str]) -> None:
    assert check_permissions([*values, *values]) == tuple(sorted(values))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ADMIN",
        "admin ",
        "keys",
        "keys:*",
        "*",
        "keys:delete",
        "admin@a-*",
        "admin@*",
        "activity:read@a-prod",
        "keys:write@",
        "keys:write@@a",
        "keys:write@a@b",
        "keys:write@*a",
        "keys:write@a*b",
        "keys:write@**",
        "keys:write@A-prod",
        "keys:write@-a",
        "keys:write@a-prod\n",
        "keys:write@a_b",
        "keys:write@é",
        "keys:write@" + "a" * 83,
    ],
)
def test_what_is_no_permission_is_refused_and_named(value: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        check_permissions(["verify", value])
    assert [fault.pointer for fault in caught.value.faults] == ["/permissions/1"]


def test_there_may_be_as_many_permissions_as_is_said_and_no_more() -> None:
    values = [f"keys:read@s{number}" for number in range(MOST_PERMISSIONS + 1)]
    assert len(check_permissions(values[1:])) == MOST_PERMISSIONS
    with pytest.raises(RequestInvalid, match="at most 100"):
        check_permissions(values)
