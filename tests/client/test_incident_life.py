"""Incidents through both faces of the client, against real servers, on both engines."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.client import (
    Conflict,
    Invalid,
    KeySelection,
    KeysOpen,
    KeyWaiver,
    NotFound,
    SelectionMoved,
)
from tests.acceptance.api import Site, Workspace, label
from tests.acceptance.servers import until
from tests.client.faces import Face


@pytest.fixture
def client(face: Face, site: Site, home: Workspace) -> Any:
    """The administrator of this test's own workspace."""
    assert home.admin.token is not None
    return face.client(site.server.url, home.admin.token)


def test_from_a_leaked_token_to_the_end(face: Face, client: Any) -> None:
    issued = face.do(client.keys.create, f"{label('worker')}-prod", scopes=["read"])
    token = issued.token
    for runtime, address in (("web", "10.0.0.4"), ("thief", "203.0.113.7")):
        assert face.do(client.verify, token, runtime=runtime, ip=address).valid
    opened = face.do(client.incidents.open, tokens=[token, "nothing"], detail="in a gist")
    assert (opened.unmatched, opened.is_joined) == ([1], False)
    assert str(opened.propagation).startswith("complete")
    assert not face.do(client.verify, token).valid
    assert face.do(client.incidents.open, key_ids=[issued.id]).is_joined
    assert until(lambda: face.do(client.incidents.read, opened.id).counted_at is not None, 20)
    with pytest.raises(KeysOpen) as refused:
        face.do(client.incidents.close, opened.id, "confirmed")
    assert [one.key_id for one in refused.value.keys] == [issued.id]
    [made] = face.do(client.incidents.replace, opened.id).replacements
    assert made.replaces == issued.id
    face.do(client.incidents.place, opened.id, "thief", "intruder")
    placed = face.do(client.incidents.place, opened.id, "web", "ours", network="10.0.0.4")
    assert {one.runtime: one.standing for one in placed.placements} == {
        "thief": "intruder",
        "web": "ours",
    }
    assert face.do(client.verify, made.token, runtime="web", ip="10.0.0.4").valid
    assert until(lambda: face.do(client.incidents.read, opened.id).recovered_at is not None, 20)
    report = face.do(client.incidents.report, opened.id)
    assert {one.runtime for one in report.runtimes if one.standing == "intruder"} == {"thief"}
    assert [one.ip for one in report.requests if one.valid] == ["203.0.113.7"]
    assert "thief" in face.do(client.incidents.export, opened.id, "markdown")
    assert "<html" in face.do(client.incidents.export, opened.id, "html")
    assert '"203.0.113.7"' in face.do(client.incidents.export, opened.id, "csv")
    closed = face.do(client.incidents.close, opened.id, "confirmed")
    assert (closed.state, closed.is_open, closed.outcome) == ("closed", False, "confirmed")
    assert closed.seconds.recover is not None
    listed = client.incidents.list(state="closed", key_id=issued.id)
    assert [one.id for one in face.items(listed)] == [opened.id]
    with pytest.raises(Conflict):
        face.do(client.incidents.place, opened.id, "web", "ours")


def test_a_selection_is_looked_at_and_must_be_as_it_was(face: Face, client: Any) -> None:
    owner = f"{label('owner')}@example.com"
    ids = [face.do(client.keys.create, f"{label('many')}-prod", owner=owner).id for _ in range(3)]
    chosen = KeySelection(owner=owner)
    found = face.do(client.incidents.select, chosen)
    assert (found.count, [one.key_id for one in found.keys]) == (3, ids)
    with pytest.raises(SelectionMoved) as moved:
        face.do(client.incidents.open, select=chosen, expected_count=2)
    assert [one.key_id for one in moved.value.keys] == ids
    opened = face.do(client.incidents.open, select=chosen, expected_count=3, containment="suspend")
    assert {one.status for one in opened.keys} == {"suspended"}
    waive = [KeyWaiver(key_id=ids[0], reason="gone", until=datetime.now(UTC) + timedelta(days=1))]
    with pytest.raises(KeysOpen):
        face.do(client.incidents.close, opened.id, "confirmed", waive=waive)
    back = face.do(client.incidents.close, opened.id, "false_alarm")
    assert {one.status for one in back.keys} == {"active"}


def test_a_compromised_key_names_its_incident_and_what_is_none_is_refused(
    face: Face, client: Any
) -> None:
    issued = face.do(client.keys.create, f"{label('gone')}-prod")
    effect = face.do(client.keys.revoke, issued.id, reason="compromised")
    assert face.do(client.incidents.read, effect.incident_id).keys[0].key_id == issued.id
    with pytest.raises(Invalid) as nothing:
        face.do(client.incidents.open, key_ids=["01a203e7-487b-774f-94db-b6feca2dc3f3"])
    assert nothing.value.code == "incident.no_key"
    with pytest.raises(NotFound):
        face.do(client.incidents.read, "01a203e7-487b-774f-94db-b6feca2dc3f3")
