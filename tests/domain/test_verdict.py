"""The verdict: the first reason in the contract's order is the answer."""

from dataclasses import replace
from itertools import product

import pytest

from keyturn.domain.key import KeyState
from keyturn.domain.network import parse_address
from keyturn.domain.verdict import Verdict, VerdictCode, judge
from keyturn.domain.workspace import WorkspaceStatus
from tests.domain.samples import NOW, SAMPLE_KEY, SAMPLE_WORKSPACE

# The order of wire.md, section 6, as far as it is judged of a key whose secret was right.
ORDER = (
    "revoked",
    "suspended",
    "workspace_suspended",
    "not_yet_valid",
    "expired",
    "network_denied",
    "scope_denied",
)
CODES = {"workspace_suspended": VerdictCode.SUSPENDED}


@pytest.mark.parametrize(
    "reasons",
    [
        pytest.param(reasons, id="+".join(reasons) or "none")
        for chosen in product([True, False], repeat=len(ORDER))
        if not {"revoked", "suspended"}
        <= set(reasons := tuple(r for r, on in zip(ORDER, chosen, strict=True) if on))
    ],
)
def test_the_first_reason_that_applies_is_the_answer(reasons: tuple[str, ...]) -> None:
    state = KeyState.ACTIVE
    if "revoked" in reasons:
        state = KeyState.REVOKED
    elif "suspended" in reasons:
        state = KeyState.SUSPENDED
    key = replace(
        SAMPLE_KEY,
        state=state,
        not_before=NOW + 1 if "not_yet_valid" in reasons else NOW,
        expires_at=NOW if "expired" in reasons else NOW + 1,
        allowed_cidrs=("10.0.0.0/8",),
        scopes=("read", "pins:*"),
    )
    suspended = "workspace_suspended" in reasons
    workspace = replace(
        SAMPLE_WORKSPACE,
        status=WorkspaceStatus.SUSPENDED if suspended else WorkspaceStatus.ACTIVE,
    )
    code = judge(
        key,
        workspace,
        now=NOW,
        address=parse_address("192.0.2.1" if "network_denied" in reasons else "10.1.2.3"),
        scopes=["read", "pins:a", *(["write"] if "scope_denied" in reasons else [])],
    )
    first = reasons[0] if reasons else "valid"
    assert code == CODES.get(first, first)


def test_an_unknown_address_is_outside_every_network() -> None:
    bound = replace(SAMPLE_KEY, allowed_cidrs=("0.0.0.0/0", "::/0"))
    denied = judge(bound, SAMPLE_WORKSPACE, now=NOW, address=None)
    assert denied is VerdictCode.NETWORK_DENIED
    free = judge(SAMPLE_KEY, SAMPLE_WORKSPACE, now=NOW, address=None)
    assert free is VerdictCode.VALID


def test_every_asked_scope_must_be_held() -> None:
    key = replace(SAMPLE_KEY, scopes=("read",))
    for scopes, code in [
        ([], "valid"),
        (["read"], "valid"),
        (["write"], "scope_denied"),
        (["read", "write"], "scope_denied"),
        (["write", "read"], "scope_denied"),
    ]:
        assert judge(key, SAMPLE_WORKSPACE, now=NOW, address=None, scopes=scopes) == code


@pytest.mark.parametrize("code", list(VerdictCode))
def test_a_verdict_is_no_bool(code: VerdictCode) -> None:
    verdict = Verdict(code=code, key=None)
    with pytest.raises(TypeError, match="is_allowed"):
        bool(verdict)
    with pytest.raises(TypeError):
        assert not verdict
    assert verdict.is_allowed == (code == "valid")


def test_the_codes_stand_in_the_order_of_the_contract() -> None:
    contract = (
        *("valid", "malformed", "unknown", "revoked", "suspended", "not_yet_valid", "expired"),
        *("network_denied", "browser_denied", "scope_denied", "rate_limited"),
    )
    assert list(VerdictCode) == [code for code in contract if code in set(VerdictCode)]
