"""The verdict: may this token do this now? The first reason that applies is the answer.

The order of `judge` is the contract's (wire, section 6). Nothing about a key is said before its
secret was right.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from keyturn.domain.key import Key, KeyState
from keyturn.domain.network import Address, holds_address
from keyturn.domain.scope import holds_scope
from keyturn.domain.workspace import Workspace


class VerdictCode(StrEnum):
    VALID = "valid"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    NETWORK_DENIED = "network_denied"
    SCOPE_DENIED = "scope_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer with its code. `key` is there only when the secret was right.

    It cannot be used as a bool: `if verdict:` would once be written where `if verdict.is_allowed:`
    was meant, and would always be true.
    """

    code: VerdictCode
    key: Key | None

    @property
    def is_allowed(self) -> bool:
        return self.code is VerdictCode.VALID

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict is no bool: ask `is_allowed`")


def judge(
    key: Key,
    workspace: Workspace,
    *,
    now: int,
    address: Address | None,
    scopes: Iterable[str] = (),
) -> VerdictCode:
    """The code for a key whose secret was right. `address` is None when it is not known."""
    if key.state is KeyState.REVOKED:
        return VerdictCode.REVOKED
    if key.state is KeyState.SUSPENDED or workspace.is_suspended:
        return VerdictCode.SUSPENDED
    if key.not_before is not None and now < key.not_before:
        return VerdictCode.NOT_YET_VALID
    if key.is_expired(now):
        return VerdictCode.EXPIRED
    if not holds_address(key.allowed_cidrs, address):
        return VerdictCode.NETWORK_DENIED
    for scope in scopes:
        if not holds_scope(key.scopes, scope):
            return VerdictCode.SCOPE_DENIED
    return VerdictCode.VALID
