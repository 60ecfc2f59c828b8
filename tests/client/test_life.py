"""The client against real servers: a key's whole life through both faces, on both engines."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.client import (
    ClientClosed,
    Conflict,
    Denied,
    ExpectedRuntime,
    Forbidden,
    Invalid,
    NamedNetwork,
    NotFound,
    Unauthenticated,
    VersionMoved,
)
from tests.acceptance.api import Site, Workspace, label
from tests.acceptance.servers import until
from tests.client.faces import Face


@pytest.fixture
def client(face: Face, site: Site, home: Workspace) -> Any:
    """The administrator of this test's own workspace."""
    assert home.admin.token is not None
    return face.client(site.server.url, home.admin.token, runtime="tests")


def test_a_key_lives_its_whole_life(face: Face, site: Site, client: Any, home: Workspace) -> None:
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    issued = face.do(
        client.keys.create,
        "scheduler-prod",
        scopes=["read", "write"],
        expires_at=expires_at,
        metadata={"team": {"size": 3}},
        owner="payments@example.com",
        runtimes=[ExpectedRuntime(name="batch", max_call_interval_seconds=3600)],
    )
    assert (issued.slot, issued.status, issued.version) == ("scheduler-prod", "active", 1)
    assert issued.expires_at == expires_at
    assert issued.metadata == {"team": {"size": 3}}
    assert issued.token.reveal().startswith(issued.hint)

    read = face.do(client.keys.read, issued.id)
    assert not hasattr(read, "api_key")
    assert [one.id for one in face.items(client.keys.list(service="scheduler"))] == [issued.id]

    verdict = face.do(
        client.verify,
        issued.token,
        scopes=["read"],
        ip="203.0.113.7",
        runtime="batch",
        path="/v1/pins",
        request_id=label("request"),
    )
    assert verdict.require().owner == "payments@example.com"
    assert verdict.key.metadata == {"team": {"size": 3}}
    denied = face.do(client.verify, issued.token.reveal(), scopes=["admin"])
    assert (denied.valid, denied.code) == (False, "scope_denied")
    with pytest.raises(Denied):
        denied.require()

    assert until(lambda: len(face.items(client.requests.list(key_id=issued.id))) == 2, 10)
    [refused, allowed] = face.items(client.requests.list(key_id=issued.id))
    assert (refused.valid, refused.code) == (False, "scope_denied")
    assert (allowed.runtime, allowed.declared, allowed.path) == ("batch", True, "/v1/pins")
    usage = face.do(client.keys.usage, issued.id, bucket="hour")
    assert (usage.totals.allowed, usage.totals.denied) == (1, 1)
    assert {one.runtime for one in usage.runtimes} >= {"batch"}

    changed = face.do(client.keys.change, issued.id, version=1, scopes=["read"])
    assert (changed.scopes, changed.version) == (["read"], 2)
    with pytest.raises(VersionMoved) as moved:
        face.do(client.keys.change, issued.id, version=1, name="other")
    assert (moved.value.code, moved.value.status) == ("version.moved", 412)

    assert face.do(client.keys.suspend, issued.id).status == "suspended"
    assert face.do(client.verify, issued.token).code == "suspended"
    assert face.do(client.keys.resume, issued.id).status == "active"
    assert face.do(client.keys.trace, issued.id).nodes

    effect = face.do(client.keys.revoke, issued.id, reason="superseded")
    assert effect.is_complete
    assert effect.propagation.startswith("complete")
    assert face.do(client.keys.revoke, issued.id).is_complete
    assert face.do(client.verify, issued.token).code == "revoked"
    with pytest.raises(Conflict) as terminal:
        face.do(client.keys.change, issued.id, name="other")
    assert terminal.value.code == "key.terminal"

    actions = [one.action for one in face.items(client.activity.list(resource_id=issued.id))]
    assert actions[0] == "api_key.revoked"
    assert actions[-1] == "api_key.created"


def test_lists_are_gone_through_page_by_page(face: Face, client: Any) -> None:
    made = [face.do(client.keys.create, f"pager-{number}").id for number in range(7)]
    listed = client.keys.list(limit=3, count=True)
    pages = face.pages(listed)
    assert [len(page.items) for page in pages][:2] == [3, 3]
    assert pages[0].total == 8  # with the administrator's own
    ids = [key.id for key in face.items(listed)]
    assert ids[:7] == made[::-1]
    assert ids == [key.id for key in face.items(listed)]  # again from the beginning
    entries = face.items(client.activity.list(action="api_key.created", limit=2))
    assert {one.resource_id for one in entries} >= set(made)
    assert len(entries) == len({one.id for one in entries})
    face.do(client.verify, "nothing")
    face.do(client.verify, "nothing")
    assert until(lambda: len(face.items(client.requests.list(code="malformed", limit=1))) == 2, 10)
    for number in range(3):
        face.do(client.slots.define, f"paged{number}-prod")
    names = {one.name for one in face.items(client.slots.list(limit=1))}
    assert names >= {"paged0-prod", "paged1-prod", "paged2-prod"}


def test_a_slot_is_made_and_changed(face: Face, client: Any) -> None:
    slot = face.do(client.slots.define, "billing-prod", owner="me@example.com", purpose="Bills")
    assert (slot.service, slot.environment, slot.purpose) == ("billing", "prod", "Bills")
    again = face.do(client.slots.define, "billing-prod", owner="me@example.com", version=1)
    assert again.purpose is None
    assert face.do(client.slots.read, "billing-prod") == again
    with pytest.raises(VersionMoved):
        face.do(client.slots.define, "billing-prod", version=1)


def test_an_operator_makes_and_changes_workspaces(face: Face, site: Site) -> None:
    operator = face.client(site.server.url, site.server.installation.operator_token())
    networks = [NamedNetwork(name="office", cidrs=["203.0.113.0/24"])]
    made = face.do(operator.workspaces.create, label("tenant"), networks=networks)
    assert made.networks == networks
    admin = face.client(site.server.url, made.token.reveal())
    itself = face.do(admin.whoami)
    assert (itself.type, itself.workspace_id) == ("api_key", made.id)
    assert "admin" in itself.permissions
    renamed = face.do(operator.workspaces.change, made.id, name=label("new"), version=1)
    assert renamed.effect is not None
    assert renamed.effect.is_complete
    read = face.do(operator.workspaces.read, made.id)
    assert all(getattr(read, one) == getattr(renamed, one) for one in read.__struct_fields__)
    assert made.id in {one.id for one in face.items(operator.workspaces.list(limit=2))}
    there = face.client(
        site.server.url, site.server.installation.operator_token(), workspace=made.id
    )
    key = face.do(there.keys.create, "a-prod")
    assert key.workspace_id == made.id
    suspended = face.do(operator.workspaces.change, made.id, status="suspended")
    assert suspended.status == "suspended"
    with pytest.raises(Unauthenticated):
        face.do(admin.whoami)
    assert face.do(there.whoami).operator.name


def test_every_refusal_has_its_class_its_code_and_its_request(
    face: Face, site: Site, client: Any
) -> None:
    with pytest.raises(NotFound) as unknown:
        face.do(client.keys.read, "0190aaaa-0000-7000-8000-000000000000")
    assert unknown.value.code == "key.unknown"
    assert unknown.value.request_id
    with pytest.raises(Invalid) as invalid:
        face.do(client.keys.create, "x" * 300, rotation_period_days=-1)
    assert {one.pointer for one in invalid.value.errors} >= {"/name"}
    weak = face.do(client.keys.create, "weak-prod", permissions=["keys:read"])
    caller = face.client(site.server.url, weak.token.reveal())
    with pytest.raises(Forbidden) as forbidden:
        face.do(caller.keys.create, "a-prod")
    assert forbidden.value.code == "permission.missing"
    face.do(client.keys.revoke, weak.id)
    with pytest.raises(Unauthenticated) as dead:
        face.do(caller.whoami)
    assert dead.value.code == "credential.invalid"


def test_the_server_tells_what_it_is_and_how(face: Face, site: Site, client: Any) -> None:
    assert face.do(client.about).service == "keyturn"
    assert face.do(client.health).status == "ok"
    assert face.do(client.readiness).is_ready
    assert "# TYPE" in face.do(client.metrics)


def test_the_workload_that_was_declared_is_recorded(face: Face, client: Any) -> None:
    itself = face.do(client.whoami).key
    assert until(lambda: bool(face.items(client.requests.list(runtime="tests"))), 10)
    recorded = face.items(client.requests.list(runtime="tests"))
    assert {one.key_id for one in recorded} == {itself.id}
    assert all(one.declared for one in recorded)


def test_a_closed_client_says_so(face: Face, client: Any) -> None:
    face.do(client.whoami)
    face.close(client)
    with pytest.raises(ClientClosed, match="closed"):
        face.do(client.whoami)
    face.close(client)  # once more is no fault
