"""Who may do and grant what: a grant passes when all that it allows is allowed to its giver."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.authority import UNBOUNDED, VERIFY_ONLY, Rights
from keyturn.domain.error import GrantExceeded, PermissionMissing
from keyturn.domain.network import parse_address
from keyturn.domain.permission import Permission
from keyturn.domain.slot import SlotName
from tests.domain.samples import SAMPLE_KEY
from tests.domain.test_permission import deeds
from tests.domain.test_permission import several as permissions
from tests.domain.test_scope import PATTERNS, WORDS, gives

WORD_UNIVERSE = (*WORDS, "pins:new", "pins:a:new", "pinsx:new", "new")
# No two of these blocks join to a third: what lies in the union of two lies in one of them.
CIDRS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.7/32", "2001:db8::/32", "::/0")
ADDRESSES = tuple(
    parse_address(text)
    for text in ("10.9.9.9", "10.1.9.9", "10.1.2.3", "192.0.2.7", "2001:db8::1", "::1", "8.8.8.8")
)
MOMENTS = (0, 9, 10, 19, 20, 29, 10**18)

rights = st.builds(
    Rights,
    scopes=st.lists(st.sampled_from(WORDS + PATTERNS), max_size=3).map(tuple),
    permissions=permissions.map(sorted).map(tuple),
    allowed_cidrs=st.lists(st.sampled_from(CIDRS), max_size=3, unique=True).map(tuple),
    expires_at=st.sampled_from([None, 10, 20, 30]),
)
no_admins = rights.filter(lambda held: not held.is_admin)


def words(held: Rights) -> set[str]:
    return {word for word in WORD_UNIVERSE if any(gives(one, word) for one in held.scopes)}


def permitted(held: Rights) -> set[tuple[str, str | None]]:
    return {deed for permission in held.permissions for deed in deeds(permission)}


def places(held: Rights) -> set[str]:
    """From where it may be used; `anywhere` stands for every address that is not listed."""
    if not held.allowed_cidrs:
        return {str(address) for address in ADDRESSES} | {"anywhere"}
    blocks = {
        "10.0.0.0/8": {"10.9.9.9", "10.1.9.9", "10.1.2.3"},
        "10.1.0.0/16": {"10.1.9.9", "10.1.2.3"},
        "10.1.2.0/24": {"10.1.2.3"},
        "192.0.2.7/32": {"192.0.2.7"},
        "2001:db8::/32": {"2001:db8::1"},
        "::/0": {"2001:db8::1", "::1"},
    }
    return set().union(*(blocks[cidr] for cidr in held.allowed_cidrs))


def moments(held: Rights) -> set[int]:
    return {at for at in MOMENTS if held.expires_at is None or at < held.expires_at}


def is_within(asked: Rights, held: Rights) -> bool:
    return all(of(asked) <= of(held) for of in (words, permitted, places, moments))


def passes(held: Rights, asked: Rights) -> bool:
    try:
        held.require_covering(asked)
    except GrantExceeded:
        return False
    return True


@given(no_admins, rights)
def test_a_grant_passes_when_all_that_it_allows_is_allowed_to_its_giver(
    held: Rights, asked: Rights
) -> None:
    assert passes(held, asked) == is_within(asked, held)


@given(rights)
def test_everybody_may_grant_what_he_holds_himself(held: Rights) -> None:
    held.require_covering(held)


@given(no_admins, no_admins, rights)
def test_a_chain_of_grants_never_widens(first: Rights, second: Rights, third: Rights) -> None:
    if passes(first, second) and passes(second, third):
        assert passes(first, third)


@given(no_admins, no_admins, st.data())
def test_a_narrower_grant_passes_each_part_alone(
    held: Rights, asked: Rights, data: st.DataObject
) -> None:
    """One part that is too wide is enough, whichever it is, and however narrow the others."""
    member = data.draw(st.sampled_from(["scopes", "permissions", "allowed_cidrs", "expires_at"]))
    mixed = replace(held)
    match member:
        case "scopes":
            mixed = replace(held, scopes=asked.scopes)
        case "permissions":
            mixed = replace(held, permissions=asked.permissions)
        case "allowed_cidrs":
            mixed = replace(held, allowed_cidrs=asked.allowed_cidrs)
        case _:
            mixed = replace(held, expires_at=asked.expires_at)
    assert passes(held, mixed) == is_within(mixed, held)


@given(rights, rights)
def test_an_admin_may_grant_anything(held: Rights, asked: Rights) -> None:
    admin = replace(held, permissions=(*held.permissions, Permission.ADMIN))
    admin.require_covering(asked)
    UNBOUNDED.require_covering(asked)


@given(no_admins)
def test_nobody_but_an_admin_makes_an_admin(held: Rights) -> None:
    asked = replace(held, permissions=(Permission.ADMIN,))
    with pytest.raises(GrantExceeded, match="permission admin"):
        held.require_covering(asked)


def test_two_halves_of_a_block_do_not_give_the_whole() -> None:
    """They would, to the letter; to refuse is safe, and the caller may ask for the halves."""
    halves = replace(UNBOUNDED, permissions=(), allowed_cidrs=("10.0.0.0/9", "10.128.0.0/9"))
    assert not passes(halves, replace(halves, allowed_cidrs=("10.0.0.0/8",)))
    assert passes(halves, halves)


@pytest.mark.parametrize(("held", "asked"), list(product([None, 10, 20], repeat=2)))
def test_a_lifetime_is_within_the_givers_own(held: int | None, asked: int | None) -> None:
    giver = replace(VERIFY_ONLY, expires_at=held)
    expected = held is None or (asked is not None and asked <= held)
    assert passes(giver, replace(VERIFY_ONLY, expires_at=asked)) == expected


# --- what somebody may do ------------------------------------------------------------------------


@given(rights, st.sampled_from(list(Permission)), st.sampled_from(["a", "ab", "ab-x", "b", "c"]))
def test_a_deed_needs_its_permission_for_its_slot(
    held: Rights, permission: Permission, service: str
) -> None:
    slot = SlotName(service=service, environment="prod")
    if permission in reached(held, str(slot)):
        held.require(permission, slot)
    else:
        with pytest.raises(PermissionMissing, match=permission):
            held.require(permission, slot)


def reached(held: Rights, slot: str) -> set[str]:
    """The permissions that reach `slot`."""
    found: set[str] = set()
    for one in held.permissions:
        name, _, pattern = one.partition("@")
        if name == Permission.ADMIN:
            found |= set(Permission)
        elif pattern in ("", "*", slot) or (pattern[-1] == "*" and slot.startswith(pattern[:-1])):
            found.add(name)
    return found


@given(rights, st.sampled_from(list(Permission)))
def test_a_deed_without_a_slot_needs_the_permission_for_any(
    held: Rights, permission: Permission
) -> None:
    names = {one.partition("@")[0] for one in held.permissions}
    if names & {permission, Permission.ADMIN}:
        held.require(permission)
    else:
        with pytest.raises(PermissionMissing, match=permission):
            held.require(permission)


@pytest.mark.parametrize("permission", list(Permission))
def test_an_operator_may_do_all_and_a_gateway_may_verify_only(permission: Permission) -> None:
    slot = SAMPLE_KEY.slot
    UNBOUNDED.require(permission, slot)
    if permission is Permission.VERIFY:
        VERIFY_ONLY.require(permission, slot)
    else:
        with pytest.raises(PermissionMissing):
            VERIFY_ONLY.require(permission, slot)


def test_a_keys_rights_are_those_of_its_record() -> None:
    key = replace(
        SAMPLE_KEY,
        scopes=("read",),
        permissions=("verify",),
        allowed_cidrs=("10.0.0.0/8",),
        expires_at=10,
    )
    assert Rights.of(key) == Rights(
        scopes=("read",), permissions=("verify",), allowed_cidrs=("10.0.0.0/8",), expires_at=10
    )
