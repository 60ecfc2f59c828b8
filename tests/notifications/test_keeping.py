"""What is kept of messages: for how long, and what becomes of it in a restored copy."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keyturn.domain.channel import ChannelKind, ChannelState
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.message import NEWS, MessageState
from keyturn.domain.webhook import MOST_PAYLOAD_BYTES
from keyturn.services.announce import Announcer, compose_event
from keyturn.services.correspond import replay_channel, replay_message
from keyturn.services.expire import PAUSED, TOO_MANY, expire_messages
from keyturn.services.preserve import preserve
from keyturn.services.restore import Choice, Order, restore, weigh
from keyturn.services.subscribe import (
    ChannelAmendment,
    ChannelDraft,
    MadeChannel,
    amend_channel,
)
from keyturn.services.tidy import DEAD_DAYS, SENT_DAYS, tidy
from keyturn.storage.archive import ArchiveReader, Stamp
from keyturn.testing.storage import making
from tests.houses import NOTARY, Ground, House, Plots
from tests.notifications.office import Office
from tests.notifications.receiver import Receiver

STAMP = Stamp(b"key of backups".ljust(32, b"."))


@pytest.fixture
def empty_ground(engine: str, plots: Plots) -> Iterator[Ground]:
    ground = plots.empty(engine)
    yield ground
    plots.clear(ground)


def test_what_was_sent_goes_after_a_month_and_what_is_dead_after_three(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url, "api_key.*")
    other = office.webhook("http://127.0.0.1:1/", "api_key.*")
    office.house.issue(name="a-prod")
    office.work()
    office.house.run(
        "UPDATE messages SET state = 'dead', ended_at = :at WHERE channel_id = :id",
        at=office.house.clock.now(),
        id=str(other.channel.id),
    )
    now = office.house.clock.now()
    for days, left in (
        (SENT_DAYS - 1, [1, 1]),
        (SENT_DAYS + 1, [0, 1]),
        (DEAD_DAYS - 1, [0, 1]),
        (DEAD_DAYS + 1, [0, 0]),
    ):
        tidy(office.context, now + days * DAY)
        assert [len(office.messages(one)) for one in (made, other)] == left
    office.house.issue(name="b-prod")
    office.announce()
    tidy(office.context, now + 1_000 * DAY)
    assert [one.state for one in office.messages(made)] == [MessageState.WAITING]


def pause(office: Office, made: MadeChannel, state: ChannelState = ChannelState.PAUSED) -> None:
    house = office.house
    amend_channel(
        office.context,
        house.act(),
        house.workspace_id,
        made.channel.id,
        ChannelAmendment(state=state),
    )


def test_what_a_paused_channel_gathers_waits_no_longer_than_news_is_news(
    office: Office, receiver: Receiver
) -> None:
    paused, active = (office.webhook(receiver.url, "api_key.created") for _ in range(2))
    pause(office, paused)
    office.house.issue(name="a-prod")
    office.announce()
    now = office.house.clock.now()
    assert tidy(office.context, now + NEWS - DAY).expired == 0
    office.pass_time(NEWS / SECOND)
    office.house.issue(name="b-prod")
    office.announce()
    assert tidy(office.context, now + NEWS + DAY).expired == 1
    old, young = office.messages(paused)
    assert (old.state, old.reason) == (MessageState.DEAD, PAUSED)
    assert "7 days" in PAUSED
    assert young.state is MessageState.WAITING
    assert [one.state for one in office.messages(active)] == [MessageState.WAITING] * 2
    # A person may have it sent all the same, and then it is not too old again at once.
    pause(office, paused, ChannelState.ACTIVE)
    house = office.house
    replay_channel(office.context, house.act(), house.workspace_id, paused.channel.id)
    pause(office, paused)
    assert tidy(office.context, now + NEWS + DAY).expired == 0
    pause(office, paused, ChannelState.ACTIVE)
    office.work()
    assert {one.state for one in office.messages(paused)} == {MessageState.SENT}
    assert house.attest().is_sound


def test_so_many_messages_wait_for_a_channel_and_the_oldest_go_first(
    office: Office, receiver: Receiver
) -> None:
    crowded, other = (
        office.webhook(receiver.url, "api_key.created"),
        office.webhook(receiver.url, "slot.created"),
    )
    pause(office, crowded)
    for number in range(5):
        office.house.issue(name=f"s{number}-prod", slot="only-prod")
    office.announce()
    now = office.house.clock.now()
    assert expire_messages(office.context, now, limit=2, most_waiting=2) == 2
    assert expire_messages(office.context, now, limit=2, most_waiting=2) == 1
    assert expire_messages(office.context, now, limit=2, most_waiting=2) == 0
    waiting, dead = MessageState.WAITING, MessageState.DEAD
    assert [one.state for one in office.messages(crowded)] == [dead, dead, dead, waiting, waiting]
    assert {one.reason for one in office.messages(crowded)} == {TOO_MANY, None}
    assert [one.state for one in office.messages(other)] == [waiting]


def test_a_restored_copy_sends_nothing_that_waited_in_it_by_itself(
    office: Office, receiver: Receiver, empty_ground: Ground
) -> None:
    house = office.house
    made = office.webhook(receiver.url, "api_key.*")
    house.issue(name="a-prod")
    office.announce()  # and it waits
    file = io.BytesIO()
    preserve(office.context, NOTARY, file, STAMP)
    office.send()
    assert len(receiver.received) == 1
    copied = _restored(house, empty_ground, file.getvalue())
    try:
        later = Office(copied)
        later.work()
        [message] = later.messages(made)
        assert message.state is MessageState.DEAD
        assert message.reason is not None
        assert "may have been sent" in message.reason
        assert len(receiver.received) == 1
        # A person may; it has the id that it had, and what is new is told as ever.
        replay_message(later.context, copied.act(), copied.workspace_id, message.envelope.id)
        copied.issue(name="b-prod")
        later.work()
        assert receiver.received[0].id in {one.id for one in receiver.received[1:]}
        assert len(receiver.received) == 3
        assert made.secret is not None
        for one in receiver.received:
            assert one.is_signed_with(made.secret)
        assert copied.attest().is_sound
    finally:
        copied.close()


def _restored(house: House, ground: Ground, backup: bytes) -> House:
    store = ground.open(house.damage.append)
    order = Order(
        weighed=weigh(ArchiveReader(io.BytesIO(backup), "backup"), {}),
        choice=Choice.ACCEPT,
        heads_kept_as=None,
        require_fitting=lambda _: None,
        require_sole=lambda: None,
    )
    restore(
        replace(house.context, store=store),
        NOTARY,
        ArchiveReader(io.BytesIO(backup), "backup"),
        order,
    )
    store.close()
    copied = House(ground, house.installed, seed=2)
    copied.clock = house.clock
    copied.context = replace(copied.context, clock=house.clock)
    return copied


def test_what_is_sent_is_small_whatever_happened() -> None:
    large: dict[str, object] = {"large": ["é" * 100] * 100}
    entry = replace(making.entry(1), metadata=large)
    finding = replace(making.finding(1), evidence=json.dumps(large))
    for body in (compose_event(entry, None), compose_event(making.entry(1), finding)):
        assert len(body.encode()) < MOST_PAYLOAD_BYTES
        assert json.loads(body)["data"]["is_cut"]
    assert "is_cut" not in json.loads(compose_event(making.entry(1), making.finding(1)))["data"]


def test_a_mail_channel_is_kept_without_a_secret(house: House) -> None:
    office = Office(house)
    office.context = replace(office.context, has_mail=True)
    draft = ChannelDraft(kind=ChannelKind.EMAIL, name="ops", addresses=("ops@example.com",))
    made = office.make(draft)
    assert (made.secret, made.channel.secrets) == (None, ())


def test_no_secret_stands_in_the_database(office: Office, receiver: Receiver) -> None:
    made = office.webhook(receiver.url)
    assert made.secret is not None
    [[kept]] = office.house.run("SELECT secrets FROM channels")
    assert made.secret.removeprefix("whsec_") not in kept
    assert "whsec" not in repr(made)
    assert "sealed=" not in repr(made.channel)


def test_a_step_of_announcing_is_no_longer_than_it_may_be_and_nothing_is_left_out(
    office: Office, receiver: Receiver
) -> None:
    channels = [office.webhook(receiver.url, "api_key.created") for _ in range(4)]
    keys = [office.house.issue(name=f"s{number}-prod").view.key for number in range(5)]
    made = []
    # It ends with the entry that makes it full, and begins after that one.
    for _ in range(3):
        office.announcer = Announcer(office.context, most_at_once=6)
        made.append(office.announcer.step())
    assert made == [8, 8, 4]
    assert office.announcer.step() == 0
    for channel in channels:
        subjects = [one.envelope.subject for one in office.messages(channel)]
        assert subjects == [f"api_key/{key.id}" for key in keys]
