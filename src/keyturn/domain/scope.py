"""Scopes: words that the installation's own API understands. Keyturn compares them, no more.

`pins:*` holds every scope that begins with `pins:`, and `*` holds every scope.
"""

import re
from collections.abc import Collection, Iterable

from keyturn.domain.error import Fault, RequestInvalid
from keyturn.domain.redaction import holds_token

MOST_SCOPES = 100

_PART = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SCOPE = re.compile(rf"(?:\*|{_PART}(?::{_PART})*(?::\*)?)", re.ASCII)
LONGEST = 128


def check_scopes(values: Iterable[str], pointer: str = "/scopes") -> tuple[str, ...]:
    """The scopes, sorted and each once. Raises `RequestInvalid` naming each one that is none."""
    scopes = list(values)
    if len(scopes) > MOST_SCOPES:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_SCOPES} scopes.")
    faults = tuple(
        Fault(
            pointer=f"{pointer}/{index}",
            detail="A scope is like `read`, `pins:publish` or `pins:*`, with no spaces, "
            f"and has at most {LONGEST} characters. A token is none.",
        )
        for index, scope in enumerate(scopes)
        if len(scope) > LONGEST or _SCOPE.fullmatch(scope) is None or holds_token(scope)
    )
    if faults:
        raise RequestInvalid(faults[0].detail, faults)
    return tuple(sorted(set(scopes)))


def holds_scope(held: Collection[str], asked: str) -> bool:
    """Whether one of the `held` scopes gives `asked`, which may be a pattern itself."""
    return asked in held or any(
        one == "*" or (one.endswith(":*") and asked.startswith(one[:-1])) for one in held
    )
