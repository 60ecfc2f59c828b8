"""Destinations and deliveries through both faces of the client, against real servers, on both
engines."""

from typing import Any

import pytest

from keyturn.client import Conflict, Invalid, NotFound, TokenDelivered
from tests.acceptance.api import Site, Workspace, label
from tests.acceptance.servers import until
from tests.client.faces import Face


@pytest.fixture
def client(face: Face, site: Site, home: Workspace) -> Any:
    """The administrator of this test's own workspace."""
    assert home.admin.token is not None
    return face.client(site.server.url, home.admin.token)


def test_a_destination_lives_and_is_taken_away(face: Face, client: Any) -> None:
    made = face.do(client.destinations.create, "local", "file")
    assert made.is_proven
    assert made.config == {"path": "{slot}.token"}
    with pytest.raises(Conflict, match=r"destination\.exists"):
        face.do(client.destinations.create, "local", "file")
    with pytest.raises(Invalid) as wrong:
        face.do(client.destinations.create, "other", "file", credential={"token": "s3cret"})
    assert [one.pointer for one in wrong.value.errors] == ["/credential/token"]
    assert "s3cret" not in repr(wrong.value)
    moved = face.do(
        client.destinations.change, "local", config={"path": "a/{slot}"}, version=made.version
    )
    assert moved.is_proven
    assert moved.version > made.version
    assert face.do(client.destinations.prove, "local").is_proven
    assert [one.name for one in face.items(client.destinations.list(kind="file"))] == ["local"]
    assert face.do(client.destinations.remove, "local") is None
    with pytest.raises(NotFound):
        face.do(client.destinations.read, "local")


def test_a_key_and_its_successor_are_delivered_and_shown_to_nobody(face: Face, client: Any) -> None:
    face.do(client.destinations.create, "local", "file")
    face.do(client.slots.define, "sent-prod", destinations=["local"])
    made = face.do(client.keys.create, "sent-prod")
    with pytest.raises(TokenDelivered):
        _ = made.token
    [delivery] = made.deliveries

    def is_delivered(id_: str) -> bool:
        return bool(face.do(client.deliveries.read, id_).state == "delivered")

    assert until(lambda: is_delivered(delivery.id), 20)
    with pytest.raises(Conflict, match=r"delivery\.closed"):
        face.do(client.deliveries.retry, delivery.id)
    started = face.do(client.rotations.start, made.id)
    assert started.api_key is None
    [following] = started.deliveries
    assert until(lambda: is_delivered(following.id), 20)
    assert [one.state for one in face.do(client.rotations.read, started.id).deliveries] == [
        "delivered"
    ]
    found = face.items(client.deliveries.list(rotation_id=started.id))
    assert [(one.id, one.key_id) for one in found] == [(following.id, started.new_key_id)]
    shown = face.do(client.keys.create, "shown-prod", destinations=["local"], deliver_to=[])
    assert face.do(client.verify, shown.token).valid


def test_what_somebody_knew_is_delivered_and_not_answered(face: Face, client: Any) -> None:
    person = f"{label('ada')}@example.com"
    face.do(client.destinations.create, "local", "file")
    face.do(client.keys.create, "known-prod", owner=person, destinations=["local"])
    [one] = face.do(client.staff_changes.report, person, rotate=True).keys
    assert one.api_key is None
    assert [sent.destination for sent in one.deliveries] == ["local"]


def test_a_workspace_may_show_no_token(face: Face, site: Site) -> None:
    assert site.operator.token is not None
    operator = face.client(site.server.url, site.operator.token)
    made = face.do(operator.workspaces.create, label("silent"), reveal="never")
    assert made.reveal == "never"
    inside = face.client(site.server.url, made.token.reveal())
    with pytest.raises(Conflict, match=r"reveal\.refused"):
        face.do(inside.keys.create, "shown-prod")
    assert face.do(operator.workspaces.change, made.id, reveal="always").reveal == "always"
    assert face.do(inside.keys.create, "shown-prod").token
