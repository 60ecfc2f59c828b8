"""Generated from /openapi.json: which permission opens what, and that tenants never meet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.api import PATIENCE_SECONDS, Api, Site, Workspace, code_of, expect, label
from tests.acceptance.delivering import unused_destination, waiting_delivery
from tests.acceptance.responding import respond
from tests.acceptance.rotating import rotate, used_key
from tests.acceptance.servers import until

PERMISSIONS = [
    "admin",
    "keys:read",
    "keys:write",
    "rotations:write",
    "incidents:write",
    "requests:read",
    "activity:read",
    "verify",
]
PUBLIC = {("GET", "/"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/api-keys"): {"name": "made-prod"},
    ("PATCH", "/v1/api-keys/{id}"): {"name": "changed"},
    ("PUT", "/v1/slots/{slot}"): {"owner": "ops"},
    ("POST", "/v1/verify"): {"api_key": "nothing"},
    ("POST", "/v1/workspaces"): {"name": "tenant"},
    ("PATCH", "/v1/workspaces/{id}"): {"name": "renamed"},
    ("POST", "/v1/rotations/{id}/complete"): {"force": True, "reason": "now"},
    ("POST", "/v1/rotations/{id}/extend"): {"overlap_seconds": 200_000},
    ("POST", "/v1/rotations/{id}/runtimes"): {"runtime": "worker", "standing": "ours"},
    ("POST", "/v1/staff-changes"): {"person": "nobody"},
    ("POST", "/v1/incidents"): {"select": {"slot": "nothing-prod"}, "dry_run": True},
    ("POST", "/v1/incidents/{id}/runtimes"): {"runtime": "worker", "standing": "ours"},
    ("POST", "/v1/incidents/{id}/close"): {"outcome": "false_alarm"},
    ("POST", "/v1/destinations"): {
        "name": "made",
        "kind": "file",
        "config": {"path": "made/{slot}"},
    },
    ("PATCH", "/v1/destinations/{name}"): {"config": {"path": "changed/{slot}"}},
    ("POST", "/v1/deliveries/{id}/cancel"): {"reason": "It is seen to."},
    ("POST", "/v1/channels"): {"kind": "webhook", "name": "made", "url": "https://x.invalid/"},
    ("PATCH", "/v1/channels/{id}"): {"name": "renamed"},
    ("POST", "/v1/posture/waivers"): {"check": "log.verified", "reason": "why", "until": SOON},
}


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What operations are called on."""

    key: str
    workspace: str
    slot: str
    rotation: str
    incident: str
    finding: str
    channel: str
    waiver: str
    message: str
    destination: str
    delivery: str

    def target(self, path: str) -> str:
        """The path of an operation, with the ids in it."""
        noun = path.split("/")[2] if path.count("/") > 2 else ""
        of_nouns = {
            "workspaces": self.workspace,
            "rotations": self.rotation,
            "incidents": self.incident,
            "findings": self.finding,
            "channels": self.channel,
            "posture": self.waiver,
            "messages": self.message,
            "deliveries": self.delivery,
        }
        path = path.replace("{id}", of_nouns.get(noun, self.key))
        return path.replace("{slot}", self.slot).replace("{name}", self.destination)


def new_slot() -> str:
    return f"{label('rotated')}-prod"


def objects_of(home: Workspace) -> Objects:
    """New objects of a workspace: a key, another one that is being rotated, and what was found on
    that rotation."""
    slot = new_slot()
    rotation = rotate(home, used_key(home, name=slot))
    assert rotation.use(rotation.old, "stranger")["valid"]
    (finding,) = strangers_of(home, rotation.id)
    draft = {"kind": "webhook", "name": label("hook"), "url": "https://hooks.invalid/"}
    channel = expect(
        home.admin.post("/v1/channels", {**draft, "events": ["workspace.resumed"]}), 201
    )
    message = expect(home.admin.post(f"/v1/channels/{channel['id']}/test"), 202)
    waived = {"check": "keys.owned", "slot": slot, "reason": "why", "until": SOON}
    waiver = expect(home.admin.post("/v1/posture/waivers", waived), 201)
    return Objects(
        key=home.admin.create(name="a-prod").id,
        workspace=home.id,
        slot="a-prod",
        rotation=rotation.id,
        incident=new_incident(home),
        finding=finding["id"],
        channel=channel["id"],
        waiver=waiver["id"],
        message=message["id"],
        destination=unused_destination(home),
        delivery=waiting_delivery(home),
    )


@pytest.fixture(scope="module")
def owned(site: Site) -> tuple[Workspace, Objects]:
    """A workspace and its objects, for tests whose callers may change nothing there."""
    home = site.workspace()
    return home, objects_of(home)


def new_incident(home: Workspace) -> str:
    return respond(home, home.admin.create(name=new_slot()), containment="suspend").id


def strangers_of(home: Workspace, rotation_id: str) -> Any:
    """What is found of the strangers in a rotation, once it is."""
    found: list[Any] = []

    def is_found() -> bool:
        found[:] = expect(home.admin.get("/v1/findings", subject_id=rotation_id), 200)
        return bool(found)

    assert until(is_found, PATIENCE_SECONDS)
    return found


def objects_of_nothing() -> Objects:
    key, workspace, rotation, incident = (str(uuid4()) for _ in range(4))
    finding, channel, message, delivery, waiver = (str(uuid4()) for _ in range(5))
    return Objects(
        key=key,
        workspace=workspace,
        slot="nothing-prod",
        rotation=rotation,
        incident=incident,
        finding=finding,
        channel=channel,
        waiver=waiver,
        message=message,
        destination="nothing",
        delivery=delivery,
    )


def operations(site: Site) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and permission of each operation, the destroying one last."""
    found = [
        (method, path, operation.get("x-keyturn-permission"))
        for method, path, operation in site.operator.conformance.operations()
    ]
    yield from sorted(found, key=lambda one: (one[0] == "DELETE", one[1], one[0]))


def call(caller: Api, method: str, path: str, objects: Objects) -> httpx2.Response:
    """An operation on the objects named; its body would be accepted from who has the right."""
    return caller.call(method, objects.target(path), BODIES.get((method, path)))


def test_every_operation_declares_its_permission_or_is_public(site: Site) -> None:
    for method, path, permission in operations(site):
        if (method, path) in PUBLIC:
            assert permission is None
        else:
            assert permission in {*PERMISSIONS, "any", "operator"}, f"{method} {path}"


def test_every_operation_but_the_public_ones_needs_a_credential(
    site: Site, owned: tuple[Workspace, Objects]
) -> None:
    home, objects = owned
    before = home.records()
    for method, path, permission in operations(site):
        missing = call(site.anyone, method, path, objects)
        bad = call(site.anyone.with_token("nonsense"), method, path, objects)
        if permission is None:
            assert missing.status_code == bad.status_code == 200, path
        else:
            expect(missing, 401, "credential.missing")
            expect(bad, 401, "credential.invalid")
    assert home.records() == before


def renewed(objects: Objects, home: Workspace, path: str) -> Objects:
    """These, with another one where the last operation has ended it or goes before."""
    if path.startswith("/v1/rotations/"):
        return replace(objects, rotation=rotate(home, used_key(home, name=new_slot())).id)
    if path.startswith("/v1/incidents/"):
        return replace(objects, incident=new_incident(home))
    if path.startswith("/v1/deliveries/"):
        return replace(objects, delivery=waiting_delivery(home))
    return objects


@pytest.mark.parametrize("held", PERMISSIONS)
def test_each_permission_opens_exactly_its_operations(
    site: Site, home: Workspace, held: str
) -> None:
    caller, objects = home.holder(held).api, objects_of(home)
    opened = 0
    for method, path, permission in operations(site):
        opens = permission in (None, "any", held) or (held == "admin" and permission != "operator")
        if opens and method == "POST":
            objects = renewed(objects, home, path)
        response = call(caller, method, path, objects)
        place = f"{method} {path} with {held}"
        if opens:
            assert response.status_code < 300, f"{place}: {code_of(response)}"
            opened += 1
        else:
            assert response.status_code == 403, place
            body = expect(response, 403, "permission.missing")
            assert permission in body["detail"], place
    assert opened > 4


def test_a_key_without_permissions_opens_nothing_but_itself(
    site: Site, owned: tuple[Workspace, Objects]
) -> None:
    home, objects = owned
    caller = home.holder().api
    for method, path, permission in operations(site):
        status = 200 if permission in (None, "any") else 403
        assert call(caller, method, path, objects).status_code == status, path


def answer_of(response: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    headers = {name: value for name, value in response.headers.items() if name != "date"}
    return response.status_code, response.content, headers


def snapshot(workspace: Workspace) -> Any:
    """All that there is in a workspace, but for what looking at it leaves, and what is found there
    meanwhile by itself."""
    return (
        workspace.records(),
        expect(workspace.admin.get("/v1/slots"), 200),
        [
            {name: value for name, value in one.items() if name != "evidence_until"}
            for one in expect(workspace.admin.get("/v1/rotations"), 200)
        ],
        expect(workspace.admin.get("/v1/findings", state="all", kind="stranger_on_old_key"), 200),
        workspace.acts(),
    )


@pytest.mark.parametrize("role", ["admin", "everything but admin"])
def test_another_tenants_objects_answer_as_those_that_do_not_exist(
    site: Site, owned: tuple[Workspace, Objects], other: Workspace, role: str
) -> None:
    """Every operation by B with A's ids, and with ids of nothing: not a byte differs."""
    home, objects = owned
    mine = home.admin.create(name="secret-prod", owner="ops", scopes=["read"])
    home.verify(mine.token)
    assert home.requests(key_id=mine.id)
    theirs = replace(objects, key=mine.id, slot="secret-prod")
    before = snapshot(home)
    caller = other.admin
    if role != "admin":
        caller = other.holder(*(one for one in PERMISSIONS if one != "admin")).api
    caller = caller.with_headers(X_Request_Id=label("same"))
    compared = 0
    for method, path, permission in operations(site):
        if "{id}" not in path:
            continue
        found, missing = (call(caller, method, path, one) for one in (theirs, objects_of_nothing()))
        assert answer_of(found) == answer_of(missing), f"{method} {path}"
        beyond = {"operator"} if role == "admin" else {"operator", "admin"}
        assert found.status_code == (403 if permission in beyond else 404)
        compared += 1
    assert compared >= 27
    assert snapshot(home) == before
    assert home.verify(mine.token)["valid"]


def test_another_tenants_ids_and_names_in_filters_find_nothing(
    home: Workspace, other: Workspace
) -> None:
    name = label()
    mine = home.admin.create(name="secret-prod", owner="ops")
    home.verify(mine.token, request_id=name, runtime="worker", ip="192.0.2.7", path="/a")
    home.requests(request_id=name)
    rotation = rotate(home, used_key(home, name="rotated-prod"))
    rotation.use(rotation.old, "stranger")
    assert strangers_of(home, rotation.id)
    contained = home.admin.create()
    respond(home, contained)
    draft = {"kind": "webhook", "name": "hook", "url": "https://hooks.invalid/"}
    channel = expect(home.admin.post("/v1/channels", draft), 201)
    expect(home.admin.post(f"/v1/channels/{channel['id']}/test"), 202)
    filters: list[tuple[str, dict[str, str]]] = [
        ("/v1/api-keys", {"service": "secret"}),
        ("/v1/api-keys", {"owner": "ops"}),
        ("/v1/api-keys", {"created_by": mine.body["created_by"], "status": "all"}),
        ("/v1/slots", {"service": "secret"}),
        ("/v1/slots", {"owner": "ops"}),
        ("/v1/requests", {"key_id": mine.id}),
        ("/v1/requests", {"request_id": name}),
        ("/v1/requests", {"runtime": "worker"}),
        ("/v1/requests", {"ip": "192.0.2.0/24"}),
        ("/v1/requests", {"path": "/a"}),
        ("/v1/rotations", {"slot": rotation.body["slot"]}),
        ("/v1/rotations", {"key_id": rotation.old.id}),
        ("/v1/rotations", {"key_id": rotation.new.id, "state": "open"}),
        ("/v1/findings", {"slot": rotation.body["slot"]}),
        ("/v1/findings", {"subject_id": rotation.id}),
        ("/v1/findings", {"kind": "stranger_on_old_key"}),
        ("/v1/incidents", {"state": "all", "key_id": contained.id}),
        ("/v1/findings", {"subject_id": rotation.id, "state": "all"}),
        ("/v1/channels", {}),
        ("/v1/messages", {"channel_id": channel["id"]}),
        ("/v1/messages", {"event": "channel.test"}),
    ]
    for path, query in filters:
        assert len(expect(home.admin.get(path, **query), 200)) >= 1
        assert expect(other.admin.get(path, **query), 200) == []
    for query in ({"resource_id": mine.id}, {"actor": mine.body["created_by"]}):
        assert home.activity(**query)
        assert other.activity(**query) == []


def test_another_tenants_slot_is_one_that_does_not_exist(home: Workspace, other: Workspace) -> None:
    home.admin.create(name="secret-prod", owner="ops")
    before = snapshot(home)
    caller = other.admin.with_headers(X_Request_Id="same")
    found = caller.get("/v1/slots/secret-prod")
    missing = caller.get("/v1/slots/nothing-prod")
    assert answer_of(found) == answer_of(missing)
    made = expect(caller.put("/v1/slots/secret-prod", {}), 201)
    assert (made["workspace_id"], made["owner"]) == (other.id, None)
    assert snapshot(home) == before


def test_another_tenants_token_is_unknown_to_a_verifier(home: Workspace, other: Workspace) -> None:
    for workspace in (home, other):
        key = workspace.admin.create()
        stranger = other if workspace is home else home
        verdict = stranger.verify(key.token)
        assert (verdict["valid"], verdict["code"], verdict["key"]) == (False, "unknown", None)


def test_the_same_names_in_two_workspaces_never_meet(home: Workspace, other: Workspace) -> None:
    keys = []
    for workspace in (home, other):
        response = workspace.admin.post(
            "/v1/api-keys",
            {"name": "same-prod", "owner": f"of {workspace.id}"},
            Idempotency_Key="the-same",
            X_Request_Id="the-same",
        )
        keys.append(expect(response, 201))
    assert keys[0]["id"] != keys[1]["id"]
    assert [one["owner"] for one in keys] == [f"of {home.id}", f"of {other.id}"]
    for workspace, key in ((home, keys[0]), (other, keys[1])):
        slot = expect(workspace.admin.get("/v1/slots/same-prod"), 200)
        assert slot["owner"] == key["owner"]
        entries = workspace.activity(request_id="the-same", resource_type="api_key")
        assert [one["resource_id"] for one in entries] == [key["id"]]
        found = workspace.requests(request_id="the-same")
        assert len(found) == 1


def test_nothing_of_a_tenant_stands_in_anothers_lists(home: Workspace, other: Workspace) -> None:
    key = home.admin.create(name="secret-prod")
    home.verify(key.token)
    home.requests(key_id=key.id)
    rotate(home, key)
    waiting_delivery(home)
    for path in (
        "/v1/api-keys?status=all",
        "/v1/slots",
        "/v1/requests",
        "/v1/rotations",
        "/v1/findings?state=all",
        "/v1/channels",
        "/v1/messages",
        "/v1/posture",
        "/v1/posture/evidence",
        "/v1/posture/waivers",
        "/v1/activity-logs",
    ):
        text = json.dumps(expect(other.admin.get(path), 200))
        assert key.id not in text
        assert home.id not in text
        assert "secret-prod" not in text
