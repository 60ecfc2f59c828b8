"""Planned rotations start by themselves: once, in their window, where a token can be brought."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest

from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.policy import RotationPolicy, WindowDraft, make_policy
from keyturn.domain.rotation import Rotation, RotationState
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.services.connect import prove_destination
from keyturn.services.find import reconcile
from keyturn.services.launch import Launcher
from keyturn.services.meter import Meter
from keyturn.services.provision import WorkspaceAmendment, amend_workspace
from keyturn.services.revoke import suspend_key
from keyturn.services.schedule import SCHEDULE_KINDS, schedule_causes
from keyturn.services.steer import Helm, roll_back
from keyturn.services.witness import Witness
from keyturn.storage.rotations import RotationFilter
from keyturn.testing.storage import making
from tests.delivery.dock import SLOT, Dock
from tests.delivery.manners import behave
from tests.delivery.shelf import Honest

PERIOD = 30
# Two and four looks in each window.
QUIET_LOOK_SECONDS, LOOK_SECONDS = 3_600, 1_800
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def policy(most_at_once: int = 1, *, days: list[str] | None = None) -> RotationPolicy:
    return make_policy(
        rotation_period_days=PERIOD,
        most_at_once=most_at_once,
        windows=[WindowDraft(days=days or DAYS, starts="03:00", minutes=120)],
    )


def set_policy(dock: Dock, wanted: RotationPolicy) -> None:
    house = dock.house
    amendment = WorkspaceAmendment(policy=wanted)
    amend_workspace(house.context, house.act(), house.workspace_id, amendment)


def rotations(dock: Dock) -> list[Rotation]:
    with dock.house.store.read() as reading:
        found = reading.rotations.list(
            dock.house.workspace_id, RotationFilter(), limit=1_000, before=None
        )
    return list(reversed(found))


def launcher(dock: Dock) -> Launcher:
    context = dock.house.context
    return Launcher(context, Witness(context, Meter(context)))


def live(dock: Dock, launch: Launcher, days: float, look_seconds: int = LOOK_SECONDS) -> None:
    """Lets days pass. The process looks on all the time, as a real one does."""
    for _ in range(int(days * DAY / SECOND / look_seconds)):
        dock.house.clock.advance(look_seconds * SECOND)
        launch.step()
        dock.deliverer.step()


def hour(at: int) -> float:
    return (at % DAY) / (DAY / 24)


def test_a_planned_rotation_starts_once_in_its_window_and_its_token_arrives(dock: Dock) -> None:
    old = dock.furnish()
    set_policy(dock, policy())
    launch = launcher(dock)
    live(dock, launch, PERIOD - 1.5, QUIET_LOOK_SECONDS)
    assert rotations(dock) == []
    live(dock, launch, 4)
    [rotation] = rotations(dock)
    assert 3 <= hour(rotation.started_at) < 5
    assert rotation.started_at <= old.view.key.created_at + PERIOD * DAY
    assert rotation.started_by == "keyturn rotations"
    value = dock.shelf.value(SLOT)
    assert value is not None
    assert value != old.token.reveal()
    [delivery] = [one for one in dock.deliveries() if one.rotation_id is not None]
    assert delivery.key_id == rotation.new_key_id


def due_now(dock: Dock) -> None:
    """Moves to a window in which the rotation of each key is overdue."""
    house = dock.house
    late = house.clock.now() + (PERIOD + 1) * DAY
    house.clock.advance(late - late % DAY + 4 * 3_600 * SECOND - house.clock.now())
    making.record(house.store, making.request(house.clock.now()), first=10**6)  # it bears that out


@pytest.mark.parametrize("seed", range(3))
def test_two_processes_start_it_once(dock: Dock, seed: int) -> None:
    dock.furnish()
    set_policy(dock, policy(most_at_once=3))
    due_now(dock)
    fresh = dock.house.again(seed=seed + 10)
    fresh.context = replace(fresh.context, kinds=dock.house.context.kinds)
    launches = [
        launcher(dock),
        Launcher(fresh.context, Witness(fresh.context, Meter(fresh.context))),
    ]
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda one: one.step(), launches))
    fresh.close()
    assert sum(started) == 1
    assert len(rotations(dock)) == 1
    assert launcher(dock).step() == 0, "nor does a process that was started again"


def test_nothing_starts_where_a_destination_is_not_proven_or_there_is_none(dock: Dock) -> None:
    dock.furnish()
    dock.shelf.manner = behave("it is down")
    dock.connect("down", "down")
    dock.shelf.manner = Honest()
    dock.define("shelf", "down")
    dock.house.issue(slot="plain-prod")
    set_policy(dock, policy(most_at_once=9))
    due_now(dock)
    assert launcher(dock).step() == 0
    dock.define("shelf")
    assert launcher(dock).step() == 1


@pytest.mark.parametrize("change", ["a policy", "a destination", "a proof", "room"])
def test_who_found_nothing_to_start_sees_what_is_changed_meanwhile(dock: Dock, change: str) -> None:
    house = dock.house
    dock.furnish()
    other = house.issue(slot="other-prod", notes=SlotNotes(owner="ops@example.com"))
    due_now(dock)
    if change != "a policy":
        set_policy(dock, policy())
    if change == "a destination":
        dock.define()
    elif change == "a proof":
        dock.shelf.manner = behave("it is down")
        dock.connect("second", "second")
        dock.shelf.manner = Honest()
        dock.define("second")
    elif change == "room":
        dock.rotate(other.view.key.id)
    launch = launcher(dock)
    for _ in range(3):
        assert launch.step() == 0
        house.clock.advance(2 * SECOND)
    match change:
        case "a policy":
            set_policy(dock, policy())
        case "a destination":
            dock.define("shelf")
        case "a proof":
            prove_destination(house.context, house.act(), house.workspace_id, "second")
        case _:
            [opened] = rotations(dock)
            roll_back(
                Helm(
                    context=house.context,
                    witness=dock.witness,
                    act=house.act(),
                    workspace_id=house.workspace_id,
                    id=opened.id,
                )
            )
    assert launch.step() == 1


def test_who_waits_for_a_person_holds_up_none_that_starts_by_itself(dock: Dock) -> None:
    """The one that is due first has nowhere to go, and one at most may be open."""
    first = dock.house.issue(slot="plain-prod")
    dock.house.clock.advance(DAY)
    second = dock.furnish()
    set_policy(dock, policy(most_at_once=1))
    due_now(dock)
    assert launcher(dock).step() == 1
    assert [one.old_key_id for one in rotations(dock)] == [second.view.key.id]
    assert first.view.key.id != second.view.key.id


def test_never_more_are_open_than_may_be(dock: Dock) -> None:
    dock.connect()
    for number in range(5):
        slot = SlotName(service=f"service{number}", environment="prod")
        dock.define("shelf", slot=slot)
        dock.house.issue(slot=str(slot))
    dock.settle()
    set_policy(dock, policy(most_at_once=2))
    due_now(dock)
    launch = launcher(dock)
    for _ in range(10):
        launch.step()
        dock.house.clock.advance(300 * SECOND)
    assert sum(one.is_open for one in rotations(dock)) == 2


def test_a_clock_that_is_ahead_for_a_moment_starts_nothing(dock: Dock) -> None:
    dock.furnish()
    set_policy(dock, policy())
    launch = launcher(dock)
    launch.step()
    dock.house.clock.jump(60 * DAY)
    assert launch.step() == 0
    dock.house.clock.jump(-60 * DAY)
    assert launch.step() == 0
    assert rotations(dock) == []


def test_what_somebody_has_rolled_back_waits_for_the_next_window(dock: Dock) -> None:
    dock.furnish()
    set_policy(dock, policy())
    due_now(dock)
    launch = launcher(dock)
    assert launch.step() == 1
    house = dock.house
    [rotation] = rotations(dock)
    helm = Helm(
        context=house.context,
        witness=dock.witness,
        act=house.act(),
        workspace_id=house.workspace_id,
        id=rotation.id,
    )
    roll_back(helm)
    for _ in range(5):
        house.clock.advance(60 * SECOND)
        assert launch.step() == 0
    live(dock, launch, 1.5)
    assert [one.state for one in rotations(dock)] == [
        RotationState.ROLLED_BACK,
        RotationState.OVERLAPPING,
    ]


def test_a_key_that_is_suspended_or_a_workspace_that_is_starts_nothing(dock: Dock) -> None:
    old = dock.furnish()
    set_policy(dock, policy())
    due_now(dock)
    house = dock.house
    suspend_key(house.context, house.act(), house.workspace_id, old.view.key.id)
    assert launcher(dock).step() == 0


def announced(dock: Dock) -> dict[UUID, tuple[str, str]]:
    house = dock.house
    with house.store.read() as reading:
        workspace = reading.workspaces.find(house.workspace_id)
        assert workspace is not None
        causes = schedule_causes(reading, workspace, house.clock.now())
    reconcile(house.context, house.workspace_id, causes, SCHEDULE_KINDS)
    return {
        UUID(one.subject_id): (str(one.evidence["next_step"]), str(one.severity))
        for one in causes
        if one.kind is FindingKind.ROTATION_ANNOUNCED and str(one.slot) != "administrator-default"
    }


def test_an_announcement_says_truly_whether_it_starts_by_itself(dock: Dock) -> None:
    old = dock.furnish()
    plain = dock.house.issue(slot="plain-prod")
    set_policy(dock, policy(most_at_once=9))
    dock.house.clock.advance((PERIOD - 3) * DAY)
    told = announced(dock)
    assert "starts by itself" in told[old.view.key.id][0]
    assert "shelf" in told[old.view.key.id][0]
    assert "by hand" in told[plain.view.key.id][0]
    dock.shelf.manner = behave("it is down")
    dock.connect("down", "down")
    dock.define("shelf", "down")
    text, severity = announced(dock)[old.view.key.id]
    assert "not proven" in text
    assert severity == "warning"
    with dock.house.store.read() as reading:
        [kept] = [
            one
            for one in reading.findings.unresolved(dock.house.workspace_id)
            if one.kind is FindingKind.ROTATION_ANNOUNCED and one.subject_id == str(old.view.key.id)
        ]
    assert "not proven" in kept.evidence
