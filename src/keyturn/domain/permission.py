"""Permissions: what a key may do to Keyturn itself, each perhaps narrowed to slots.

`keys:write` reaches every slot of the workspace, `keys:write@scheduler-prod` one of them, and
`keys:write@scheduler-*` those whose name begins so.
"""

import re
from collections.abc import Iterable
from enum import StrEnum

from keyturn.domain.error import Fault, RequestInvalid

MOST_PERMISSIONS = 100


class Permission(StrEnum):
    ADMIN = "admin"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    ROTATIONS_WRITE = "rotations:write"
    INCIDENTS_WRITE = "incidents:write"
    REQUESTS_READ = "requests:read"
    ACTIVITY_READ = "activity:read"
    VERIFY = "verify"


# These two speak of the whole workspace, so half of them would mean nothing.
_WHOLE = frozenset({Permission.ADMIN, Permission.ACTIVITY_READ})
_PATTERN = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,80}\*?|\*)", re.ASCII)


def check_permissions(values: Iterable[str], pointer: str = "/permissions") -> tuple[str, ...]:
    """The permissions, sorted and each once. Raises `RequestInvalid` naming each that is none."""
    permissions = list(values)
    if len(permissions) > MOST_PERMISSIONS:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_PERMISSIONS} permissions.")
    faults = tuple(
        Fault(pointer=f"{pointer}/{index}", detail=detail)
        for index, value in enumerate(permissions)
        if (detail := _fault(value)) is not None
    )
    if faults:
        raise RequestInvalid(faults[0].detail, faults)
    return tuple(sorted(set(permissions)))


def _fault(value: str) -> str | None:
    name, at, pattern = value.partition("@")
    if name not in set(Permission):
        return f"A permission is one of {', '.join(Permission)}."
    if at and name in _WHOLE:
        return f"The permission {name} is for the whole workspace and cannot be narrowed."
    if at and _PATTERN.fullmatch(pattern) is None:
        return (
            "A permission is narrowed to a slot or to a beginning, like `keys:write@scheduler-*`."
        )
    return None


def permitted_slots(held: Iterable[str], permission: Permission) -> tuple[str, ...]:
    """The slot patterns for which `permission` is held: `("*",)` for all, `()` for none."""
    patterns = set()
    for one in held:
        name, _, pattern = one.partition("@")
        if name in (permission, Permission.ADMIN):
            patterns.add(pattern or "*")
    return ("*",) if "*" in patterns else tuple(sorted(patterns))


def covers_slot(patterns: Iterable[str], slot: str) -> bool:
    """Whether one of the patterns covers the slot (or the narrower pattern) `slot`."""
    return any(
        pattern == slot or (pattern.endswith("*") and slot.startswith(pattern[:-1]))
        for pattern in patterns
    )


def holds_permission(held: Iterable[str], asked: str) -> bool:
    """Whether what is held gives the permission `asked`, narrowed or not."""
    name, _, pattern = asked.partition("@")
    return covers_slot(permitted_slots(held, Permission(name)), pattern or "*")
