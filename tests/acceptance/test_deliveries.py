"""Destinations and deliveries on the wire: into real files, and no token in any answer."""

import pytest

from tests.acceptance.api import (
    PATIENCE_SECONDS,
    Json,
    Site,
    Workspace,
    expect,
    expect_invalid,
    label,
)
from tests.acceptance.delivering import connect, unused_destination, waiting_delivery
from tests.acceptance.servers import until

FILE = {"kind": "file", "config": {"path": "{slot}"}}


def delivery(home: Workspace, id_: str) -> Json:
    return expect(home.admin.get(f"/v1/deliveries/{id_}"), 200)


def read(site: Site, home: Workspace, folder: str, slot: str) -> str:
    path = site.server.installation.home / "delivered" / home.id / folder / slot
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def test_a_new_token_is_delivered_and_answered_to_nobody(site: Site, home: Workspace) -> None:
    connect(home, "wide", "wide/{slot}")
    slot = f"{label()}-prod"
    made = expect(home.admin.put(f"/v1/slots/{slot}", {"destinations": ["wide"]}), 201)
    assert made["destinations"] == ["wide"]
    key = expect(home.admin.post("/v1/api-keys", {"name": slot, "scopes": ["read"]}), 201)
    assert key["api_key"] is None
    [sent] = key["deliveries"]
    assert (sent["destination"], sent["state"], sent["rotation_id"]) == ("wide", "waiting", None)
    assert until(lambda: delivery(home, sent["id"])["state"] == "delivered", PATIENCE_SECONDS)
    token = read(site, home, "wide", slot)
    verdict = home.verify(token)
    assert (verdict["valid"], verdict["key"]["id"]) == (True, key["id"])
    started = expect(home.admin.post(f"/v1/api-keys/{key['id']}/rotations", {}), 201)
    assert started["api_key"] is None
    [sent] = started["deliveries"]
    assert until(lambda: read(site, home, "wide", slot) != token, PATIENCE_SECONDS)
    verdict = home.verify(read(site, home, "wide", slot))
    assert verdict["key"]["id"] == started["new_key_id"]
    assert until(lambda: delivery(home, sent["id"])["state"] == "delivered", PATIENCE_SECONDS)
    rotation = expect(home.admin.get(f"/v1/rotations/{started['id']}"), 200)
    assert [one["state"] for one in rotation["deliveries"]] == ["delivered"]
    assert "wide" in rotation["next_step"]
    back = expect(
        home.admin.post(
            f"/v1/rotations/{started['id']}/rollback", {"force": True, "reason": "Not wanted."}
        ),
        200,
    )
    assert back["state"] == "rolled_back"
    assert until(lambda: delivery(home, sent["id"])["state"] == "restored", PATIENCE_SECONDS)
    assert read(site, home, "wide", slot) == token


def test_a_rotation_says_which_destination_it_waits_for_and_why(home: Workspace) -> None:
    waiting = delivery(home, waiting_delivery(home))
    started = expect(
        home.admin.post(
            f"/v1/api-keys/{waiting['key_id']}/rotations", {"deliver_to": ["wide", "narrow"]}
        ),
        201,
    )
    rotation = expect(home.admin.get(f"/v1/rotations/{started['id']}"), 200)
    told = [one for one in rotation["blocked_by"] if one["code"] == "delivery.waiting"]
    assert any("narrow" in one["detail"] for one in told)
    expect(
        home.admin.post(f"/v1/rotations/{started['id']}/complete"), 409, "rotation.evidence_missing"
    )


def test_a_delivery_is_hurried_and_given_up_and_then_closed(home: Workspace) -> None:
    id_ = waiting_delivery(home)
    assert until(lambda: delivery(home, id_)["failures"] > 0, PATIENCE_SECONDS)
    told = delivery(home, id_)
    assert told["fault"]["kind"]
    assert told["fault"]["detail"]
    expect(home.admin.post(f"/v1/deliveries/{id_}/retry"), 200)
    expect_invalid(home.admin.post(f"/v1/deliveries/{id_}/cancel", {}), "/reason")
    given_up = expect(home.admin.post(f"/v1/deliveries/{id_}/cancel", {"reason": "Done."}), 200)
    assert (given_up["state"], given_up["next_attempt_at"]) == ("cancelled", None)
    expect(home.admin.post(f"/v1/deliveries/{id_}/cancel", {"reason": "x"}), 409, "delivery.closed")
    expect(home.admin.post(f"/v1/deliveries/{id_}/retry"), 409, "delivery.closed")
    listed = expect(home.admin.get("/v1/deliveries", key_id=given_up["key_id"], count="true"), 200)
    assert {one["destination"] for one in listed} == {"wide", "narrow"}


def test_a_repeated_call_gives_a_delivery_up_once(home: Workspace) -> None:
    id_ = waiting_delivery(home)
    first, second = (
        home.admin.post(f"/v1/deliveries/{id_}/cancel", {"reason": "Done."}, Idempotency_Key="same")
        for _ in range(2)
    )
    assert expect(first, 200) == expect(second, 200)


def test_the_only_one_who_has_a_token_is_not_given_up(home: Workspace) -> None:
    waiting_delivery(home)
    body = expect(
        home.admin.post(
            "/v1/api-keys",
            {
                "service": label("only").ljust(63, "x"),
                "environment": "prod",
                "deliver_to": ["narrow"],
            },
        ),
        201,
    )
    [sent] = body["deliveries"]
    refused = home.admin.post(f"/v1/deliveries/{sent['id']}/cancel", {"reason": "x"})
    expect(refused, 409, "delivery.last")


def test_a_destination_has_a_life_and_its_name_is_free_after_it(home: Workspace) -> None:
    name = "mine"
    made = home.admin.post("/v1/destinations", {"name": name, **FILE})
    body = expect(made, 201)
    assert made.headers["Location"] == f"/v1/destinations/{name}"
    assert "credential" not in body
    expect(home.admin.post("/v1/destinations", {"name": name, **FILE}), 409, "destination.exists")
    changed = home.admin.patch(
        f"/v1/destinations/{name}", {"config": {"path": "b/{slot}"}}, If_Match=made.headers["ETag"]
    )
    assert expect(changed, 200)["state"] == "proven"
    stale = home.admin.patch(
        f"/v1/destinations/{name}", {"config": {"path": "c/{slot}"}}, If_Match=made.headers["ETag"]
    )
    expect(stale, 412, "version.moved")
    assert expect(home.admin.post(f"/v1/destinations/{name}/prove"), 200)["fault"] is None
    expect(home.admin.delete(f"/v1/destinations/{name}"), 204)
    expect(home.admin.get(f"/v1/destinations/{name}"), 404, "destination.unknown")
    assert connect(home, name, "d/{slot}")["id"] != body["id"]


def test_what_cannot_be_a_destination_is_refused_and_says_where(home: Workspace) -> None:
    hostile: list[tuple[dict[str, object], str]] = [
        ({"name": "a b", **FILE}, "/name"),
        ({"name": "-a", **FILE}, "/name"),
        ({"name": "a", "kind": "floppy"}, "/kind"),
        ({"name": "a", "kind": "file", "config": {"path": "../{slot}"}}, "/config/path"),
        ({"name": "a", "kind": "file", "config": {"path": "/etc/{slot}"}}, "/config/path"),
        ({"name": "a", "kind": "file", "config": {"path": "same"}}, "/config/path"),
        ({"name": "a", "kind": "file", "config": {"other": 1}}, "/config/other"),
        ({"name": "a", "kind": "file", "credential": {"password": "x"}}, "/credential/password"),
    ]
    for body, pointer in hostile:
        expect_invalid(home.admin.post("/v1/destinations", body), pointer)
    slot = f"{label()}-prod"
    many = [f"d{number}" for number in range(9)]
    for destinations, pointer in (
        (["nothing"], "/destinations/0"),
        (["a", "a"], "/destinations"),
        (many, "/destinations"),
    ):
        expect_invalid(home.admin.put(f"/v1/slots/{slot}", {"destinations": destinations}), pointer)
    refused = home.admin.post("/v1/api-keys", {"name": slot, "deliver_to": ["nothing"]})
    expect_invalid(refused, "/deliver_to/0")
    expect_invalid(
        home.admin.post("/v1/api-keys", {"service": "keyturn", "environment": "destination"}),
        "/service",
    )


def test_another_tenants_destination_is_one_that_does_not_exist(
    home: Workspace, other: Workspace
) -> None:
    unused_destination(home)
    expect(other.admin.get("/v1/destinations/unused"), 404, "destination.unknown")
    expect(other.admin.delete("/v1/destinations/unused"), 404, "destination.unknown")
    expect(other.admin.post("/v1/destinations/unused/prove"), 404, "destination.unknown")
    expect_invalid(
        other.admin.post("/v1/api-keys", {"name": "a-prod", "deliver_to": ["unused"]}),
        "/deliver_to/0",
    )
    assert connect(other, "unused", "unused/{slot}")["workspace_id"] == other.id


def test_a_workspace_that_reveals_nothing_shows_no_token(site: Site) -> None:
    home = site.workspace()
    operator = site.operator.with_headers(Keyturn_Workspace=home.id)
    changed = expect(operator.patch(f"/v1/workspaces/{home.id}", {"reveal": "never"}), 200)
    assert changed["reveal"] == "never"
    expect(home.admin.post("/v1/api-keys", {"name": "a-prod"}), 409, "reveal.refused")
    connect(home, "wide", "wide/{slot}")
    made = expect(home.admin.post("/v1/api-keys", {"name": "a-prod", "deliver_to": ["wide"]}), 201)
    assert made["api_key"] is None
    refused = home.admin.post(f"/v1/api-keys/{made['id']}/rotations", {"deliver_to": []})
    expect(refused, 409, "reveal.refused")
    again = home.admin.post("/v1/api-keys", {"name": "a-prod", "replaces": made["id"]})
    expect(again, 409, "reveal.refused")
    assert len([one for one in home.records() if one["service"] == "a"]) == 1
    made = expect(site.operator.post("/v1/workspaces", {"name": "closed", "reveal": "never"}), 201)
    assert made["api_key"], "its first key is shown, or nobody could begin"


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 64])
def test_a_list_by_what_names_no_destination_is_refused(home: Workspace, name: str) -> None:
    expect_invalid(home.admin.get("/v1/deliveries", destination=name), "/destination")
    assert expect(home.admin.get("/v1/deliveries", destination="absent"), 200) == []
