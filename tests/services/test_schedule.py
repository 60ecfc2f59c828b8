"""Looking over a workspace: what is due is found in time and told once, and so is disorder."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from keyturn.domain.finding import Cause, Finding, FindingKind, Severity, SubjectType
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.key import RevocationReason
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.runtime import MOST_RUNTIMES_OF_A_KEY, Runtime
from keyturn.domain.slot import SlotNotes
from keyturn.services.find import reconcile
from keyturn.services.issue import IssuedKey
from keyturn.services.provision import WorkspaceAmendment, amend_workspace
from keyturn.services.revoke import revoke_key, suspend_key
from keyturn.services.rotate import RotationDraft, start_rotation
from keyturn.services.schedule import SCHEDULE_KINDS, schedule_causes
from keyturn.storage.findings import FindingFilter
from keyturn.storage.uses import CallerUse
from tests.houses import House, Plots

# What each new workspace has: the slot of its first administrator key, which nobody owns.
FIRST = "administrator-default"
OWNED = SlotNotes(owner="ops@example.com")
REMINDERS = (FindingKind.KEY_ROTATION_DUE, FindingKind.KEY_ROTATION_OVERDUE)


def causes_of(house: House, workspace_id: UUID | None = None) -> list[Cause]:
    with house.store.read() as transaction:
        workspace = transaction.workspaces.find(workspace_id or house.workspace_id)
        assert workspace is not None
        found = schedule_causes(transaction, workspace, house.clock.now())
    assert {cause.kind for cause in found} <= set(SCHEDULE_KINDS)
    assert len({cause.identity for cause in found}) == len(found)
    return found


def found(house: House, *kinds: FindingKind, workspace_id: UUID | None = None) -> dict[str, Cause]:
    return {
        cause.subject_id: cause
        for cause in causes_of(house, workspace_id)
        if cause.kind in kinds and str(cause.slot) != FIRST
    }


def keep(house: House) -> Sequence[Finding]:
    """Looks over the workspace and writes what is found. All findings that ever were."""
    reconcile(house.context, house.workspace_id, causes_of(house), SCHEDULE_KINDS)
    with house.store.read() as transaction:
        return transaction.findings.list(
            house.workspace_id, FindingFilter(), limit=1_000, before=None
        )


def set_policy(house: House, policy: RotationPolicy) -> None:
    amendment = WorkspaceAmendment(policy=policy)
    amend_workspace(house.context, house.act(), house.workspace_id, amendment)


def rotate(house: House, issued: IssuedKey) -> UUID:
    started = start_rotation(
        house.context, house.act(), house.workspace_id, issued.view.key.id, RotationDraft()
    )
    return started.rotation.new_key_id


def id_of(issued: IssuedKey) -> str:
    return str(issued.view.key.id)


# --- keys to be rotated --------------------------------------------------------------------------


def test_each_reminder_is_given_once_in_a_keys_time(house: House) -> None:
    key = house.issue(notes=replace(OWNED, rotation_period_days=40))
    opened = []
    for _ in range(45 * 2):
        opened = [one for one in keep(house) if one.subject_id == id_of(key)]
        house.clock.advance(DAY // 2)
    due = key.view.key.created_at + 40 * DAY
    assert [(one.kind, one.mark) for one in reversed(opened)] == [
        *[(FindingKind.KEY_ROTATION_DUE, f"{days}@{due}") for days in (30, 14, 7, 1)],
        (FindingKind.KEY_ROTATION_OVERDUE, f"{due}"),
    ]
    assert [one.resolved_at is None for one in opened] == [True, False, False, False, False]


def test_a_reminder_that_came_due_while_the_server_was_down_is_not_given_late(
    house: House,
) -> None:
    key = house.issue(notes=replace(OWNED, rotation_period_days=40))
    house.clock.advance(9 * DAY)
    keep(house)
    house.clock.advance(28 * DAY)
    kept = [one.mark.partition("@")[0] for one in keep(house) if one.subject_id == id_of(key)]
    assert kept == ["7"]


def test_a_clock_that_is_set_back_and_forth_doubles_no_reminder(house: House) -> None:
    key = house.issue(notes=replace(OWNED, rotation_period_days=40))
    kept: list[tuple[str, str]] = []
    for days in (15, 33, 15, 41, 33, 41, 15, 41):
        house.clock.jump(key.view.key.created_at + days * DAY - house.clock.now())
        kept = [(one.kind, one.mark) for one in keep(house) if one.subject_id == id_of(key)]
    assert len(kept) == len(set(kept)) == 3


def test_the_workspaces_policy_reminds_of_keys_whose_slots_say_nothing(house: House) -> None:
    plain = house.issue(slot="plain-prod", notes=OWNED)
    own = house.issue(slot="own-prod", notes=replace(OWNED, rotation_period_days=90))
    house.clock.advance(25 * DAY)
    assert found(house, *REMINDERS) == {}
    set_policy(house, RotationPolicy(rotation_period_days=30))
    assert set(found(house, *REMINDERS)) == {id_of(plain)}
    house.clock.advance(60 * DAY)
    assert set(found(house, *REMINDERS)) == {id_of(plain), id_of(own)}
    set_policy(house, RotationPolicy())
    assert set(found(house, *REMINDERS)) == {id_of(own)}


def test_a_key_that_ends_by_itself_is_reminded_of_and_the_finding_goes_with_it(
    house: House,
) -> None:
    ends = house.clock.now() + 40 * DAY
    key = house.issue(notes=OWNED, expires_at=ends)
    for _ in range(45 * 2):
        keep(house)
        house.clock.advance(DAY // 2)
    opened = [one for one in keep(house) if one.subject_id == id_of(key)]
    assert [(one.kind, one.mark) for one in reversed(opened)] == [
        (FindingKind.KEY_EXPIRING, f"{days}@{ends}") for days in (30, 14, 7, 1)
    ]
    assert all(one.resolved_at is not None for one in opened)


def test_of_a_key_that_ends_soon_that_alone_is_said(house: House) -> None:
    ends = house.clock.now() + 40 * DAY
    key = house.issue(notes=replace(OWNED, rotation_period_days=41), expires_at=ends)
    overdue = house.issue(
        name="other-prod", notes=replace(OWNED, rotation_period_days=20), expires_at=ends
    )
    house.clock.advance(30 * DAY)
    told = {(cause.subject_id, cause.kind) for cause in causes_of(house)}
    assert {kind for id_, kind in told if id_ == id_of(key)} == {FindingKind.KEY_EXPIRING}
    assert {kind for id_, kind in told if id_ == id_of(overdue)} == {
        FindingKind.KEY_EXPIRING,
        FindingKind.KEY_ROTATION_OVERDUE,
    }
    rotate(house, key)
    assert id_of(key) not in found(house, FindingKind.KEY_EXPIRING)


def test_of_an_open_rotation_nobody_is_reminded_and_an_overdue_key_is_told_of(
    house: House,
) -> None:
    timely = house.issue(notes=replace(OWNED, rotation_period_days=10))
    overdue = house.issue(slot="other-prod", notes=replace(OWNED, rotation_period_days=5))
    set_policy(house, RotationPolicy(most_at_once=9))
    house.clock.advance(6 * DAY)
    kinds = (*REMINDERS, FindingKind.ROTATION_ANNOUNCED)
    assert set(found(house, *kinds)) == {id_of(timely), id_of(overdue)}
    rotate(house, timely)
    rotate(house, overdue)
    house.clock.advance(DAY)
    causes = found(house, *kinds)
    assert set(causes) == {id_of(overdue)}
    assert causes[id_of(overdue)].kind is FindingKind.KEY_ROTATION_OVERDUE


def test_a_key_that_is_suspended_or_revoked_is_not_due(house: House) -> None:
    set_policy(house, RotationPolicy(rotation_period_days=5))
    suspended, revoked = house.issue(notes=OWNED), house.issue(notes=OWNED)
    expired = house.issue(notes=OWNED, expires_at=house.clock.now() + DAY)
    house.clock.advance(6 * DAY)
    suspend_key(house.context, house.act(), house.workspace_id, suspended.view.key.id)
    reason = RevocationReason.OTHER
    revoke_key(house.context, house.act(), house.workspace_id, revoked.view.key.id, reason)
    assert expired.view.key.is_expired(house.clock.now())
    assert found(house, *REMINDERS, FindingKind.ROTATION_ANNOUNCED) == {}


# --- announcements -------------------------------------------------------------------------------


def test_nothing_is_announced_where_no_policy_plans_it(house: House) -> None:
    house.issue(notes=replace(OWNED, rotation_period_days=5))
    house.clock.advance(4 * DAY)
    assert found(house, FindingKind.ROTATION_ANNOUNCED) == {}


def test_no_more_rotations_are_announced_for_a_day_than_may_be_open(house: House) -> None:
    set_policy(house, RotationPolicy(rotation_period_days=10, most_at_once=2))
    keys = [house.issue(slot=f"s{number}-prod", notes=OWNED) for number in range(6)]
    assert found(house, FindingKind.ROTATION_ANNOUNCED) == {}
    house.clock.advance(5 * DAY)
    first = found(house, FindingKind.ROTATION_ANNOUNCED)
    assert set(first) == {id_of(key) for key in keys}
    starts = sorted(int(cause.mark) for cause in first.values())
    assert starts[0] == starts[1] <= starts[2] - DAY
    assert starts[2] == starts[3] <= starts[4] - DAY
    assert starts[4] == starts[5]


def test_rotations_that_are_open_put_off_those_that_are_announced(house: House) -> None:
    key = house.issue(slot="a-prod", notes=replace(OWNED, rotation_period_days=5))
    house.issue(slot="b-prod", notes=OWNED)
    set_policy(house, RotationPolicy(most_at_once=1, rotation_period_days=365))
    house.clock.advance(6 * DAY)
    (before,) = found(house, FindingKind.ROTATION_ANNOUNCED).values()
    other = house.issue(slot="c-prod", notes=OWNED)
    rotate(house, other)
    (after,) = found(house, FindingKind.ROTATION_ANNOUNCED).values()
    assert before.subject_id == after.subject_id == id_of(key)
    assert int(after.mark) >= house.clock.now() + DAY > int(before.mark)


# --- slots that are not in order -----------------------------------------------------------------


def test_more_than_two_live_keys_in_a_slot_are_found(house: House) -> None:
    keys = [house.issue(notes=OWNED) for _ in range(2)]
    assert found(house, FindingKind.TOO_MANY_KEYS) == {}
    keys.append(house.issue(notes=OWNED))
    suspend_key(house.context, house.act(), house.workspace_id, keys[0].view.key.id)
    cause = found(house, FindingKind.TOO_MANY_KEYS)["scheduler-prod"]
    assert (cause.subject_type, cause.mark) == (SubjectType.SLOT, "")
    named = cause.evidence["keys"]
    assert isinstance(named, list)
    assert {one["id"] for one in named} == {id_of(key) for key in keys}
    assert cause.evidence["count"] == 3
    reason = RevocationReason.UNUSED
    revoke_key(house.context, house.act(), house.workspace_id, keys[1].view.key.id, reason)
    assert found(house, FindingKind.TOO_MANY_KEYS) == {}


def test_a_slot_that_nobody_owns_is_found_while_it_has_an_active_key(house: House) -> None:
    house.issue(slot="owned-prod", notes=OWNED)
    key = house.issue(slot="plain-prod")
    (name, cause), *others = found(house, FindingKind.UNOWNED).items()
    assert (name, cause.severity, others) == ("plain-prod", Severity.INFO, [])
    suspend_key(house.context, house.act(), house.workspace_id, key.view.key.id)
    assert found(house, FindingKind.UNOWNED) == {}


def test_of_a_damaged_slot_it_is_not_said_that_nobody_owns_it(house: House) -> None:
    key = house.issue(notes=replace(OWNED, rotation_period_days=5))
    house.clock.advance(6 * DAY)
    house.run("UPDATE slots SET owner = NULL WHERE service = 'scheduler'")
    assert found(house, FindingKind.UNOWNED) == {}
    set_policy(house, RotationPolicy(rotation_period_days=3))
    assert set(found(house, *REMINDERS)) == {id_of(key)}


def test_a_key_with_more_runtimes_than_are_told_apart_is_found(house: House) -> None:
    key, other = house.issue(slot="a-prod", notes=OWNED), house.issue(slot="b-prod", notes=OWNED)

    def use(issued: IssuedKey, runtimes: int) -> None:
        now = house.clock.now()
        uses = [
            CallerUse(
                key_id=issued.view.key.id,
                runtime=Runtime(f"worker-{number}", declared=True),
                environment=None,
                place=None,
                first_at=now - SECOND,
                last_at=now,
                allowed=2,
            )
            for number in range(runtimes)
        ]
        with house.store.record() as transaction:
            transaction.uses.note(uses)

    use(key, MOST_RUNTIMES_OF_A_KEY + 1)
    use(other, MOST_RUNTIMES_OF_A_KEY)
    assert set(found(house, FindingKind.TOO_MANY_RUNTIMES)) == {id_of(key)}
    elsewhere = house.provision().workspace.id
    assert found(house, FindingKind.TOO_MANY_RUNTIMES, workspace_id=elsewhere) == {}


def test_one_workspace_says_nothing_of_another(house: House) -> None:
    set_policy(house, RotationPolicy(rotation_period_days=5))
    elsewhere = house.provision().workspace.id
    for _ in range(3):
        house.issue(workspace_id=elsewhere)
    house.clock.advance(6 * DAY)
    assert found(house, *SCHEDULE_KINDS) == {}
    kinds = {cause.kind for cause in causes_of(house, elsewhere)}
    assert kinds == {FindingKind.TOO_MANY_KEYS, FindingKind.UNOWNED}


@pytest.mark.parametrize("engine", ["sqlite"])
def test_all_keys_are_looked_at_however_many(plots: Plots, engine: str) -> None:
    ground, installed = plots.installed(engine)
    house = House(ground, installed)
    try:
        keys = {id_of(house.issue(slot=f"s{number}-prod")) for number in range(1_050)}
        set_policy(house, RotationPolicy(rotation_period_days=5, most_at_once=1_000))
        house.clock.advance(6 * DAY)
        assert set(found(house, *REMINDERS)) == keys
        assert len(found(house, FindingKind.UNOWNED)) == len(keys)
    finally:
        house.close()
        plots.clear(ground)


def test_to_look_a_second_time_writes_nothing(house: House) -> None:
    set_policy(house, RotationPolicy(rotation_period_days=10))
    for number in range(3):
        house.issue(slot=f"s{number}-prod")
    house.clock.advance(5 * DAY)
    assert keep(house)
    position = house.position()
    keep(house)
    assert house.position() == position
