"""Nothing is lost, and nothing told twice but with the id that it had, wherever it breaks off."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.message import MessageState
from keyturn.services.announce import Announcer
from keyturn.services.notify import Notifier
from keyturn.storage.contract import Store
from keyturn.storage.transaction import Reading
from tests.acceptance.servers import ENGINES, Estate, Server, until
from tests.houses import House
from tests.notifications.office import Office
from tests.notifications.receiver import Receiver
from tests.servers.postgres import Postgres

KILLS = 4


class FailingStore:
    """A store whose next `record` breaks off: before its end, or after it was committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.breaks: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def record(self) -> Iterator[Reading]:
        breaks, self.breaks = self.breaks, None
        with self._store.record() as transaction:
            yield transaction
            if breaks == "before":
                raise StorageUnavailable("It broke off.")
        if breaks == "after":
            raise StorageUnavailable("It broke off.")


@pytest.fixture
def failing(office: Office) -> FailingStore:
    store = FailingStore(office.house.store)
    context = replace(office.context, store=store)
    office.announcer = Announcer(context)
    office.notifier = Notifier(context, office.notifier._courier, rest_seconds=0.0)
    return store


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_announcement_that_breaks_off_is_made_once(
    office: Office, receiver: Receiver, failing: FailingStore, moment: str
) -> None:
    made = office.webhook(receiver.url, "api_key.*")
    office.announce()
    office.house.issue(name="a-prod")
    failing.breaks = moment
    with pytest.raises(StorageUnavailable):
        office.announce()
    office.house.issue(name="b-prod")
    office.announce()
    assert len(office.messages(made)) == 2
    office.send()
    assert len({one.id for one in receiver.received}) == len(receiver.received) == 2


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_message_whose_sending_cannot_be_kept_is_sent_again_with_its_id(
    office: Office, receiver: Receiver, failing: FailingStore, moment: str
) -> None:
    made = office.webhook(receiver.url, "api_key.*")
    office.house.issue(name="a-prod")
    office.announce()
    failing.breaks = moment
    office.send()
    [message] = office.messages(made)
    assert message.state is MessageState.SENT
    assert {one.id for one in receiver.received} == {str(message.envelope.id)}
    assert len(receiver.received) == (2 if moment == "before" else 1)


def test_what_was_announced_is_announced_anew_with_the_same_ids(
    office: Office, receiver: Receiver
) -> None:
    """The place in the log was lost: a power cut took it back, or somebody edited it."""
    made = office.webhook(receiver.url, "api_key.*")
    for name in ("a-prod", "b-prod"):
        office.house.issue(name=name)
    office.work()
    before = [one.envelope for one in office.messages(made)]
    house: House = office.house
    house.run("UPDATE announced SET number = 1000000")
    assert office.announce() == 0
    assert [one.envelope for one in office.messages(made)] == before
    house.run("DELETE FROM messages")
    house.run("UPDATE announced SET number = 1")
    office.announce()
    assert [one.envelope for one in office.messages(made)] == before


@pytest.fixture
def estate(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Estate]:
    def postgres() -> Postgres:
        server = request.getfixturevalue("postgres")
        assert isinstance(server, Postgres)
        return server

    made = Estate(tmp_path_factory.mktemp("killed"), postgres)
    yield made
    made.clear()


@pytest.mark.parametrize("engine_killed", ENGINES)
def test_kill_9_anywhere_loses_no_event(
    engine_killed: str, estate: Estate, receiver: Receiver
) -> None:
    chance = random.Random(7)
    installation = estate.install(engine_killed, outbound_networks="127.0.0.0/8")
    token = installation.operator_token()
    server = Server(installation)
    try:
        with _client(server, token) as client:
            draft = {"kind": "webhook", "name": "hook", "url": receiver.url, "events": ["*"]}
            secret = client.post("/v1/channels", json=draft).raise_for_status().json()["secret"]
        for turn in range(KILLS):
            with _client(server, token) as client:
                for number in range(6):
                    name = f"s{turn}x{number}-prod"
                    made = client.post("/v1/api-keys", json={"name": name})
                    assert made.status_code == 201, made.text
                    client.delete(f"/v1/api-keys/{made.json()['id']}").raise_for_status()
            time.sleep(chance.random() * 0.6)
            server.kill()
            if turn == 1:
                receiver.shut()
            elif turn == 2:
                receiver.open()
            server = Server(installation)
        _assert_all_told(server, token, receiver, secret)
    finally:
        server.kill()


def _assert_all_told(server: Server, token: str, receiver: Receiver, secret: str) -> None:
    with _client(server, token) as client:

        def is_told() -> bool:
            waiting = client.get("/v1/messages", params={"state": "waiting"}).json()
            return not waiting and len({one.id for one in receiver.received}) >= KILLS * 18

        assert until(is_told, 30)
        told = client.get("/v1/messages", params={"limit": 1000}).json()
        log = client.get("/v1/activity-logs", params={"limit": 1000}).json()["items"]
    wanted = [
        (one["id"], one["action"])
        for one in reversed(log)
        if one["status"] == "success" and one["action"] != "channel.created"
    ]
    first: dict[str, Any] = {}
    for one in receiver.received:
        assert one.is_signed_with(secret)
        assert first.setdefault(one.id, one).body == one.body
    got = [one.payload["data"] for one in first.values()]
    events = {(one["id"], one["action"]) for one in got}
    since = next(index for index, one in enumerate(wanted) if one in events)
    assert events == set(wanted[since:])
    assert {one["id"] for one in told} == set(first)
    place = {id_: index for index, (id_, _) in enumerate(wanted)}
    for subject in {one["resource_id"] for one in got}:
        order = [place[one["id"]] for one in got if one["resource_id"] == subject]
        assert order == sorted(order)


def _client(server: Server, token: str) -> httpx2.Client:
    return httpx2.Client(
        base_url=server.url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
        trust_env=False,
    )
