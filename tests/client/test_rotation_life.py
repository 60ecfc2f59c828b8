"""Rotations through both faces of the client, against real servers, on both engines."""

import logging
from typing import Any

import pytest

from keyturn.client import (
    Conflict,
    EvidenceMissing,
    MaintenanceWindow,
    NotFound,
    RollbackUnsafe,
    RotationPolicy,
    TokenLost,
    Waiver,
)
from keyturn.client.notices import LOGGER
from tests.acceptance.api import Site, Workspace, label
from tests.acceptance.servers import until
from tests.client.faces import Face


@pytest.fixture
def client(face: Face, site: Site, home: Workspace) -> Any:
    """The administrator of this test's own workspace."""
    assert home.admin.token is not None
    return face.client(site.server.url, home.admin.token, runtime="tests")


def made_and_used(face: Face, client: Any, name: str, *runtimes: str) -> Any:
    """A key that these workloads have used."""
    issued = face.do(client.keys.create, name, scopes=["read", "write"])
    for runtime in runtimes:
        assert face.do(client.verify, issued.token, runtime=runtime).valid
    return issued


def test_a_key_is_replaced_on_the_evidence(face: Face, client: Any) -> None:
    old = made_and_used(face, client, "scheduler-prod", "worker", "nightly")
    assert until(lambda: len(face.do(client.keys.impact, old.id).runtimes) == 2, 10)
    weighed = face.do(client.keys.impact, old.id)
    assert {one.runtime for one in weighed.runtimes if one.breaks} == {"worker", "nightly"}
    assert not weighed.is_safe
    assert weighed.is_only_live_key

    started = face.do(
        client.rotations.start, old.id, scopes=["read"], quiet_seconds=0, auto_complete=False
    )
    assert started.is_open
    assert (started.slot, started.new_key.scopes) == ("scheduler-prod", ["read"])
    joined = face.do(client.rotations.start, old.id)
    assert joined.is_joined
    assert joined.id == started.id
    with pytest.raises(TokenLost):
        _ = joined.token

    with pytest.raises(EvidenceMissing) as missing:
        face.do(client.rotations.complete, started.id)
    assert {one.runtime for one in missing.value.blocked_by} >= {"nightly"}
    assert missing.value.status == 409

    assert face.do(client.verify, started.token, runtime="worker", scopes=["read"]).valid
    assert until(
        lambda: any(one.new_allowed for one in face.do(client.rotations.read, started.id).evidence),
        10,
    )
    with pytest.raises(RollbackUnsafe) as unsafe:
        face.do(client.rotations.rollback, started.id)
    assert unsafe.value.runtimes == ("worker",)

    waived = face.do(
        client.rotations.decide, started.id, "nightly", "waived", reason="switched off"
    )
    assert [(one.runtime, one.standing) for one in waived.decisions] == [("nightly", "waived")]
    later = face.do(client.rotations.extend, started.id, overlap_seconds=3 * 86_400)
    assert later.deadline > started.deadline
    face.do(client.rotations.complete, started.id, force=True, reason="the host is gone")
    ended = face.do(client.rotations.read, started.id)
    assert (ended.state, ended.forced, ended.is_open) == ("completed", True, False)
    assert face.do(client.verify, old.token).code == "revoked"
    listed = face.items(client.rotations.list(slot="scheduler-prod", state="completed"))
    assert [one.id for one in listed] == [started.id]
    with pytest.raises(Conflict) as closed:
        face.do(client.rotations.rollback, started.id)
    assert closed.value.code == "rotation.closed"


def test_the_log_tells_once_of_a_key_on_its_way_out(
    face: Face, site: Site, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = made_and_used(face, client, "logged-prod", "worker")
    started = face.do(client.rotations.start, old.id, auto_complete=False)
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        for _ in range(3):
            verdict = face.do(client.verify, old.token, runtime="worker")
            assert verdict.deprecation.rotation_id == started.id
        own = face.client(site.server.url, old.token)
        assert face.do(own.whoami).rotation.role == "old"
        assert face.do(face.client(site.server.url, started.token).whoami).rotation.role == "new"
    [line] = [one.getMessage() for one in caplog.records if started.id in one.getMessage()]
    assert old.id in line
    assert old.token.reveal()[-49:] not in line or pytest.fail("it is told", pytrace=False)


def test_a_key_may_be_made_in_the_place_of_another(face: Face, client: Any) -> None:
    old = made_and_used(face, client, "placed-prod")
    made = face.do(client.keys.create, replaces=old.id)
    assert made.slot == old.slot
    rotation = face.do(client.rotations.read, made.rotation_id)
    assert (rotation.old_key_id, rotation.new_key_id) == (old.id, made.id)
    tested = face.do(client.rotations.brownout, rotation.id, brownout_seconds=600)
    assert tested.state == "brownout"
    back = face.do(client.rotations.rollback, rotation.id)
    assert back.state == "rolled_back"


def test_waivers_leave_single_workloads_out(face: Face, client: Any) -> None:
    old = made_and_used(face, client, "waived-prod", "worker", "nightly")
    started = face.do(client.rotations.start, old.id, quiet_seconds=0, brownout_seconds=0)
    waive = [Waiver(runtime=one, reason="switched off") for one in ("worker", "nightly")]
    ended = face.do(
        client.rotations.complete, started.id, waive=waive, force=True, reason="all of it"
    )
    assert ended.state == "completed"


def test_findings_and_what_a_person_knew(face: Face, client: Any) -> None:
    person = f"{label('ada')}@example.com"
    face.do(client.keys.create, "known-prod", owner=person)
    face.do(client.keys.create, "unowned-prod")
    unowned = client.findings.list(kind="slot.unowned", slot="unowned-prod")
    assert until(lambda: bool(face.items(unowned)), 60)
    [finding] = face.items(unowned)
    assert finding.subject.slot == "unowned-prod"
    known = face.do(client.findings.acknowledge, finding.id, reason="Ada sees to it")
    assert (known.state, known.reason) == ("acknowledged", "Ada sees to it")
    assert face.do(client.findings.read, finding.id).state == "acknowledged"
    with pytest.raises(NotFound):
        face.do(client.findings.read, "01a203e7-487b-774f-94db-b6feca2dc3f3")
    told = face.do(client.staff_changes.report, person)
    assert [(one.slot, one.api_key) for one in told.keys] == [("known-prod", None)]
    rotated = face.do(client.staff_changes.report, person, rotate=True)
    [one] = rotated.keys
    assert face.do(client.verify, one.api_key).valid
    assert face.do(client.rotations.read, one.rotation_id).is_open


def test_a_workspace_says_how_it_rotates(face: Face, site: Site) -> None:
    assert site.operator.token is not None
    operator = face.client(site.server.url, site.operator.token)
    policy = RotationPolicy(
        rotation_period_days=90,
        most_at_once=3,
        maintenance_windows=[MaintenanceWindow(days=["mon", "tue"], starts="02:00", minutes=120)],
    )
    made = face.do(operator.workspaces.create, label("policy"), rotation_policy=policy)
    assert made.rotation_policy == policy
    renamed = face.do(operator.workspaces.change, made.id, name=label("renamed"))
    assert renamed.rotation_policy == policy
    bare = face.do(operator.workspaces.change, made.id, rotation_policy=RotationPolicy())
    assert bare.rotation_policy is None
