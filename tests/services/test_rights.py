"""Who may change what is judged inside the change, against the rights that stand there."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from keyturn.domain.error import (
    CredentialInvalid,
    GrantExceeded,
    KeyTerminal,
    KeyturnError,
    KeyUnknown,
    PermissionMissing,
    RequestInvalid,
    VersionMoved,
)
from keyturn.domain.key import KeyState, RevocationReason
from keyturn.domain.operator import OperatorKind
from keyturn.domain.slot import NOTHING_NOTED, SlotName, SlotNotes
from keyturn.domain.verdict import VerdictCode
from keyturn.domain.workspace import WorkspaceStatus
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.appoint import appoint_operator, dismiss_operator
from keyturn.services.define import define_slot
from keyturn.services.identify import Caller
from keyturn.services.issue import IssuedKey
from keyturn.services.provision import (
    WorkspaceAmendment,
    WorkspaceDraft,
    amend_workspace,
    provision_workspace,
)
from keyturn.services.revoke import resume_key, revoke_key, suspend_key
from tests.houses import House

Attempt = Callable[[], object]

SLOT = SlotName(service="scheduler", environment="prod")


def revoke(house: House, issued: IssuedKey, by: Caller | None = None) -> None:
    key = issued.view.key
    revoke_key(house.context, house.act(by), key.workspace_id, key.id, RevocationReason.OTHER)


def try_everything(house: House, by: Caller, target: IssuedKey, place: UUID) -> list[object]:
    """Every change that a key may make: what each was refused with, None where it was not."""
    context, act, id_ = house.context, house.act(by), target.view.key.id
    attempts: tuple[Attempt, ...] = (
        lambda: house.issue(by=by, workspace_id=place),
        lambda: amend_key(context, act, place, id_, KeyAmendment(name="renamed")),
        lambda: suspend_key(context, act, place, id_),
        lambda: resume_key(context, act, place, id_),
        lambda: define_slot(context, act, place, SLOT, SlotNotes(owner="team")),
        lambda: revoke_key(context, act, place, id_, RevocationReason.OTHER),
    )
    refusals: list[object] = []
    for attempt in attempts:
        try:
            attempt()
        except KeyturnError as refusal:
            refusals.append(type(refusal))
        else:
            refusals.append(None)
    return refusals


@pytest.mark.parametrize("lost", ["revoked", "suspended", "expired", "workspace"])
def test_a_caller_that_lost_its_life_between_the_door_and_the_change_changes_nothing(
    house: House, lost: str
) -> None:
    expiry = house.clock.now() + 10
    issued = house.issue(permissions=("admin",), expires_at=expiry if lost == "expired" else None)
    target = house.issue()
    caller = house.caller(issued.token)
    match lost:
        case "revoked":
            revoke(house, issued)
        case "suspended":
            suspend_key(house.context, house.act(), house.workspace_id, issued.token.id)
        case "expired":
            house.clock.advance(10)
        case _:
            suspension = WorkspaceAmendment(status=WorkspaceStatus.SUSPENDED)
            amend_workspace(house.context, house.act(), house.workspace_id, suspension)
    before = house.position()
    refusals = try_everything(house, caller, target, house.workspace_id)
    assert refusals == [CredentialInvalid] * 6
    assert house.position() == before


@pytest.mark.parametrize("kind", list(OperatorKind))
def test_an_operator_who_was_dismissed_meanwhile_changes_nothing(
    house: House, kind: OperatorKind
) -> None:
    appointed = appoint_operator(house.context, "second", kind, None)
    caller = house.caller(appointed.token)
    dismiss_operator(house.context, appointed.operator.id)
    target = house.issue()
    before = house.position()
    assert try_everything(house, caller, target, house.workspace_id) == [CredentialInvalid] * 6
    with pytest.raises(KeyturnError):
        provision_workspace(house.context, house.act(caller), WorkspaceDraft(name="acme"))
    assert house.position() == before


def test_rights_that_were_narrowed_meanwhile_are_narrow_in_the_change(house: House) -> None:
    issued = house.issue(permissions=("admin",), scopes=("read", "write"))
    caller = house.caller(issued.token)
    narrowed = KeyAmendment(permissions=("keys:write",), scopes=("read",))
    amend_key(house.context, house.act(), house.workspace_id, issued.token.id, narrowed)
    with pytest.raises(GrantExceeded):
        house.issue(by=caller, scopes=("write",))
    assert house.issue(by=caller, scopes=("read",)).view.key.scopes == ("read",)


def test_a_gateway_changes_nothing(house: House) -> None:
    gateway = appoint_operator(house.context, "gateway", OperatorKind.GATEWAY, None)
    caller = house.caller(gateway.token)
    before = house.position()
    refusals = try_everything(house, caller, house.issue(), house.workspace_id)
    assert refusals == [PermissionMissing] * 6
    assert house.position() == before + 2  # the slot and the key that it tried its hands on


@pytest.mark.parametrize(
    "wider",
    [
        {"scopes": ("write",)},
        {"scopes": ("pins:*",)},
        {"permissions": ("keys:read",)},
        {"permissions": ("admin",)},
        {"permissions": ("keys:write",)},  # the caller's own is narrowed to a slot
        {"allowed_cidrs": ()},
        {"allowed_cidrs": ("10.0.0.0/7",)},
        {"expires_at": None},
    ],
    ids=str,
)
def test_a_key_grants_only_what_it_holds_and_touches_nobody_wider_but_to_contain(
    house: House, wider: dict[str, Any]
) -> None:
    expiry = house.clock.now() + 1_000_000
    mine: dict[str, Any] = {
        "scopes": ("read", "pins:publish"),
        "permissions": ("keys:write@scheduler-*",),
        "allowed_cidrs": ("10.0.0.0/8",),
        "expires_at": expiry,
    }
    caller = house.caller_within("10.1.2.3", house.issue(**mine).token)
    asked = {**mine, **wider}
    context, act, place = house.context, house.act(caller), house.workspace_id
    before = house.position()
    with pytest.raises(GrantExceeded):
        house.issue(by=caller, **asked)
    assert house.position() == before
    wide = house.issue(**asked)
    id_ = wide.view.key.id
    with pytest.raises(GrantExceeded):
        amend_key(context, act, place, id_, KeyAmendment(name="renamed"))
    equal = house.issue(by=caller, **mine)
    if wider not in ({"allowed_cidrs": ()}, {"expires_at": None}):
        with pytest.raises(GrantExceeded):
            amend_key(context, act, place, equal.view.key.id, KeyAmendment(**wider))
    suspended = suspend_key(context, act, place, id_)
    assert suspended.key.state is KeyState.SUSPENDED
    with pytest.raises(GrantExceeded):
        resume_key(context, act, place, id_)
    assert house.view(id_).key.state is KeyState.SUSPENDED
    revoked = revoke_key(context, act, place, id_, RevocationReason.COMPROMISED)
    assert revoked.key.state is KeyState.REVOKED


def test_a_permission_narrowed_to_slots_ends_at_them(house: House) -> None:
    caller = house.caller(house.issue(permissions=("keys:write@scheduler-*",)).token)
    other = house.issue(slot="other-prod")
    refusals = try_everything(house, caller, other, house.workspace_id)
    assert refusals == [None, *[PermissionMissing] * 3, None, PermissionMissing]
    with pytest.raises(PermissionMissing):
        house.issue(by=caller, slot="other-prod")
    with pytest.raises(PermissionMissing):
        define_slot(
            house.context,
            house.act(caller),
            house.workspace_id,
            SlotName(service="other", environment="prod"),
            NOTHING_NOTED,
        )


def test_a_key_of_another_workspace_is_one_that_does_not_exist(house: House) -> None:
    abroad = house.provision("abroad")
    caller = house.caller(abroad.administrator.token)
    target = house.issue()
    place = abroad.workspace.id
    refusals = try_everything(house, caller, target, place)
    assert refusals == [None, KeyUnknown, KeyUnknown, KeyUnknown, None, KeyUnknown]
    assert house.verdict(target.token) is VerdictCode.VALID


# --- the life of a key ----------------------------------------------------------------------------


def test_to_revoke_once_more_changes_nothing_and_says_the_same(house: House) -> None:
    issued = house.issue()
    place, id_ = house.workspace_id, issued.token.id
    first = revoke_key(house.context, house.act(), place, id_, RevocationReason.UNUSED)
    before = house.position()
    house.clock.advance(1_000)
    for reason in (RevocationReason.UNUSED, RevocationReason.OTHER):
        again = revoke_key(house.context, house.act(), place, id_, reason)
        assert again == first
    assert house.position() == before


def test_compromised_is_learnt_after_a_revocation_and_never_taken_back(house: House) -> None:
    issued = house.issue()
    place, id_ = house.workspace_id, issued.token.id
    first = revoke_key(house.context, house.act(), place, id_, RevocationReason.UNUSED).key
    house.clock.advance(1_000)
    second = revoke_key(house.context, house.act(), place, id_, RevocationReason.COMPROMISED).key
    assert (second.compromised, second.version) == (True, 3)
    assert second.revoked_at == first.revoked_at
    for reason in RevocationReason:
        third = revoke_key(house.context, house.act(), place, id_, reason).key
        assert third == second
    assert house.verdict(issued.token) is VerdictCode.REVOKED
    assert house.attest().is_sound


def test_nothing_brings_a_revoked_key_back(house: House) -> None:
    issued = house.issue()
    revoke(house, issued)
    context, act, place, id_ = house.context, house.act(), house.workspace_id, issued.token.id
    before = house.view(id_)
    attempts: tuple[Attempt, ...] = (
        lambda: amend_key(context, act, place, id_, KeyAmendment(name="renamed")),
        lambda: suspend_key(context, act, place, id_),
        lambda: resume_key(context, act, place, id_),
    )
    for attempt in attempts:
        with pytest.raises(KeyTerminal):
            attempt()
    assert house.view(id_) == before


def test_an_expired_key_can_only_be_revoked(house: House) -> None:
    issued = house.issue(expires_at=house.clock.now() + 10)
    house.clock.advance(10)
    context, act, place, id_ = house.context, house.act(), house.workspace_id, issued.token.id
    with pytest.raises(KeyTerminal):
        suspend_key(context, act, place, id_)
    with pytest.raises(KeyTerminal):
        amend_key(context, act, place, id_, KeyAmendment(expires_at=house.clock.now() + 10))
    revoke(house, issued)
    house.clock.jump(-1_000)  # the expiry was a mistake of the clock
    assert house.verdict(issued.token) is VerdictCode.REVOKED


def test_a_suspended_workspace_takes_all_its_keys_along_and_gives_them_back(house: House) -> None:
    abroad = house.provision("abroad")
    issued, suspended = house.issue(), house.issue()
    suspend_key(house.context, house.act(), house.workspace_id, suspended.token.id)
    everything = (
        (WorkspaceStatus.SUSPENDED, [VerdictCode.SUSPENDED, VerdictCode.SUSPENDED]),
        (WorkspaceStatus.ACTIVE, [VerdictCode.VALID, VerdictCode.SUSPENDED]),
    )
    for status, expected in everything:
        amendment = WorkspaceAmendment(status=status)
        amend_workspace(house.context, house.act(), house.workspace_id, amendment)
        assert [house.verdict(one.token) for one in (issued, suspended)] == expected
        assert house.verdict(abroad.administrator.token) is VerdictCode.VALID
        assert house.verdict(house.token) is VerdictCode.VALID


def test_a_change_of_a_version_that_was_not_read_is_refused(house: House) -> None:
    issued = house.issue()
    context, act, place, id_ = house.context, house.act(), house.workspace_id, issued.token.id
    renamed = amend_key(context, act, place, id_, KeyAmendment(name="b"), expected=frozenset({1}))
    assert renamed.key.version == 2
    attempts: tuple[Attempt, ...] = (
        lambda: amend_key(
            context, act, place, id_, KeyAmendment(name="c"), expected=frozenset({1})
        ),
        lambda: suspend_key(context, act, place, id_, expected=frozenset({1, 3})),
        lambda: resume_key(context, act, place, id_, expected=frozenset()),
        lambda: revoke_key(
            context, act, place, id_, RevocationReason.OTHER, expected=frozenset({1})
        ),
    )
    for attempt in attempts:
        with pytest.raises(VersionMoved):
            attempt()
    assert house.view(id_).key == renamed.key


def test_a_change_that_changes_nothing_is_none(house: House) -> None:
    issued = house.issue(scopes=("read",))
    before = house.position()
    same = KeyAmendment(name="scheduler-prod", scopes=("read", "read"))
    view = amend_key(house.context, house.act(), house.workspace_id, issued.token.id, same)
    assert view.key.version == 1
    resume_key(house.context, house.act(), house.workspace_id, issued.token.id)
    assert house.position() == before
    with pytest.raises(RequestInvalid):
        amend_key(house.context, house.act(), house.workspace_id, issued.token.id, KeyAmendment())
