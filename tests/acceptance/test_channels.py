"""Channels and messages over HTTP, from an event to a receiver that verifies it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.api import (
    PATIENCE_SECONDS,
    Api,
    Site,
    Workspace,
    expect,
    expect_invalid,
    label,
)
from tests.acceptance.servers import until
from tests.notifications.receiver import Receiver

Json = Any


@pytest.fixture(scope="module")
def site(engine: str, open_shared_site: Callable[..., Site]) -> Site:
    """A server that may call receivers on this machine."""
    return open_shared_site(engine, outbound_networks="127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def webhook(admin: Api, url: str, *events: str, **headers: str) -> Json:
    draft = {"kind": "webhook", "name": label("hook"), "url": url, "events": list(events) or ["*"]}
    response = admin.post("/v1/channels", draft, **headers)
    assert response.headers["cache-control"] == "no-store"
    return expect(response, 201)


def read(admin: Api, channel: Json) -> Json:
    return expect(admin.get(f"/v1/channels/{channel['id']}"), 200)


def test_an_event_arrives_and_is_verified(home: Workspace, receiver: Receiver) -> None:
    channel = webhook(home.admin, receiver.url, "api_key.*")
    key = home.admin.create(name="scheduler-prod")
    assert until(lambda: len(receiver.received) == 1, PATIENCE_SECONDS)
    [one] = receiver.received
    payload = one.verify(channel["secret"])
    assert payload["type"] == "api_key.created"
    assert payload["data"]["resource_id"] == key.id
    [message] = expect(home.admin.get("/v1/messages", channel_id=channel["id"]), 200)
    assert (message["id"], message["payload"]) == (one.id, payload)
    assert until(lambda: state_of(home.admin, message) == "sent", PATIENCE_SECONDS)
    assert read(home.admin, channel)["last_sent_at"] is not None


def state_of(admin: Api, message: Json) -> str:
    return str(expect(admin.get(f"/v1/messages/{message['id']}"), 200)["state"])


def test_the_secret_is_answered_once(home: Workspace, receiver: Receiver) -> None:
    once = {"Idempotency_Key": label("once")}
    draft = {"kind": "webhook", "name": "hook", "url": receiver.url}
    made = expect(home.admin.post("/v1/channels", draft, **once), 201)
    again = expect(home.admin.post("/v1/channels", draft, **once), 201)
    assert made["secret"].startswith("whsec_")
    assert again == {**made, "secret": None}
    assert len(expect(home.admin.get("/v1/channels"), 200)) == 1
    assert "secret" not in read(home.admin, made)
    path = f"/v1/channels/{made['id']}/secrets"
    rotated = expect(home.admin.post(path, {"overlap_seconds": 600}, **once), 201)
    assert expect(home.admin.post(path, {"overlap_seconds": 600}, **once), 201)["secret"] is None
    assert rotated["secret"] != made["secret"]
    assert [one["ends_at"] is None for one in rotated["secrets"]] == [False, True]
    expect(home.admin.post(f"/v1/channels/{made['id']}/test"), 202)
    assert until(lambda: bool(receiver.received), PATIENCE_SECONDS)
    for secret in (made["secret"], rotated["secret"]):
        assert receiver.received[-1].verify(secret)
    entries = home.activity(resource_type="channel")
    assert made["secret"] not in str(entries)


def test_a_message_that_is_dead_is_listed_and_sent_anew(
    home: Workspace, receiver: Receiver
) -> None:
    channel = webhook(home.admin, receiver.url, "api_key.created")
    receiver.answer = lambda _: 410
    home.admin.create()

    def is_disabled() -> bool:
        return bool(read(home.admin, channel)["state"] == "disabled")

    assert until(is_disabled, PATIENCE_SECONDS)
    [dead] = expect(home.admin.get("/v1/messages", state="dead", channel_id=channel["id"]), 200)
    assert [one["outcome"] for one in dead["attempts"]] == ["gone"]
    replay = f"/v1/messages/{dead['id']}/replay"
    expect(home.admin.post(replay), 409, "channel.inactive")
    receiver.answer = lambda _: 204
    shown = read(home.admin, channel)
    response = home.admin.patch(
        f"/v1/channels/{channel['id']}", {"state": "active"}, If_Match=f'"{shown["version"]}"'
    )
    assert expect(response, 200)["reason"] is None
    replayed = expect(home.admin.post(f"/v1/channels/{channel['id']}/replay"), 202)
    assert replayed["messages"] == 1
    assert until(lambda: bool(receiver.received), PATIENCE_SECONDS)
    assert receiver.received[0].id == dead["id"]
    assert receiver.received[0].verify(channel["secret"])
    assert until(lambda: state_of(home.admin, dead) == "sent", PATIENCE_SECONDS)
    expect(home.admin.post(replay), 202)
    assert until(lambda: len(receiver.received) == 2, PATIENCE_SECONDS)


def test_what_is_wrong_with_a_channel_is_named(home: Workspace, site: Site) -> None:
    def refused(*pointers: str, **draft: object) -> None:
        given = {"kind": "webhook", "name": "hook", "url": "https://hooks.invalid/", **draft}
        given = {name: value for name, value in given.items() if value is not None}
        expect_invalid(home.admin.post("/v1/channels", given), *pointers)

    refused("/url", url=None)
    refused("/url", url="ftp://x.invalid/")
    refused("/url", url="https://user:password@x.invalid/")
    refused("/addresses", addresses=["ops@example.com"])
    refused("/events", events=[])
    refused("/events/1", events=["rotation.*", "rotation.*.x"])
    refused("/events/0", events=["rotation.complete"])
    refused("/events/0", events=["rotations.*"])
    refused("/kind", kind="email", url=None, addresses=["ops@example.com"])
    made = webhook(home.admin, "https://hooks.invalid/")
    path = f"/v1/channels/{made['id']}"
    expect_invalid(home.admin.patch(path, {}), "")
    expect(home.admin.patch(path, {"name": "x"}, If_Match='"9"'), 412, "version.moved")
    # What is wrong whatever the version is told first.
    expect(home.admin.patch(path, {"url": "no"}, If_Match='"9"'), 422, "request.invalid")
    expect(home.admin.delete(path, If_Match='"9"'), 412, "version.moved")
    assert home.admin.delete(path).status_code == 204
    expect(home.admin.get(path), 404, "channel.unknown")
    expect(home.admin.delete(path), 404, "channel.unknown")


def test_plain_http_is_refused_where_no_network_is_allowed(
    engine: str, open_shared_site: Callable[..., Site]
) -> None:
    home = open_shared_site(engine).workspace()
    draft = {"kind": "webhook", "name": "hook", "url": "http://hooks.invalid/"}
    body = expect_invalid(home.admin.post("/v1/channels", draft), "/url")
    assert "https" in body["detail"]


def test_who_only_reads_is_told_no_more_of_an_address_than_its_host(home: Workspace) -> None:
    channel = webhook(home.admin, "https://hooks.invalid/a/password?in=it")
    reader = home.holder("keys:read").api
    assert read(reader, channel)["url"] == "https://hooks.invalid/…"
    assert "password" not in str(expect(reader.get("/v1/channels"), 200))
    narrow = home.holder("keys:read@scheduler-*").api
    for path in ("/v1/channels", f"/v1/channels/{channel['id']}", "/v1/messages"):
        expect(narrow.get(path), 403, "permission.missing")


def test_lists_of_channels_and_messages_come_in_pages(home: Workspace) -> None:
    made = [
        webhook(home.admin, "https://hooks.invalid/", "workspace.suspended")["id"] for _ in range(3)
    ]
    first = home.admin.get("/v1/channels", limit=2, count=True)
    assert [one["id"] for one in expect(first, 200)] == made[:0:-1]
    assert first.headers["x-total-count"] == "3"
    following = home.admin.get(first.links["next"]["url"])
    assert [one["id"] for one in expect(following, 200)] == made[:1]
    sent = [expect(home.admin.post(f"/v1/channels/{made[0]}/test"), 202)["id"] for _ in range(3)]
    page = home.admin.get("/v1/messages", limit=2, event="channel.test", count=True)
    assert [one["id"] for one in expect(page, 200)] == sent[:0:-1]
    assert page.headers["x-total-count"] == "3"
    assert len(expect(home.admin.get(page.links["next"]["url"]), 200)) == 1
