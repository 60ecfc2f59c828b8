"""What is kept of messages: for how long, and what becomes of it in a restored copy."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keyturn.domain.channel import ChannelKind
from keyturn.domain.instant import DAY
from keyturn.domain.message import MessageState
from keyturn.domain.webhook import MOST_PAYLOAD_BYTES
from keyturn.services.announce import compose_event
from keyturn.services.correspond import replay_message
from keyturn.services.preserve import preserve
from keyturn.services.restore import Choice, Order, restore, weigh
from keyturn.services.subscribe import ChannelDraft
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
