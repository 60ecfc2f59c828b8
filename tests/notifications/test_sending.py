"""What is sent: signed as the public library of the format verifies it, in order, and again until
it is taken."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from keyturn.domain.channel import ChannelKind, ChannelState
from keyturn.domain.error import ChannelInactive
from keyturn.domain.instant import SECOND
from keyturn.domain.key import RevocationReason
from keyturn.domain.message import MOST_HURRIES, RETRY_SECONDS, MessageState, Outcome
from keyturn.outbound.guard import AddressGuard
from keyturn.services.correspond import replay_channel, replay_message, try_channel
from keyturn.services.notify import GIVEN_UP, GONE
from keyturn.services.places import MOST_OF_A_WORKSPACE
from keyturn.services.revoke import revoke_key
from keyturn.services.subscribe import (
    ChannelAmendment,
    ChannelDraft,
    MadeChannel,
    amend_channel,
    delete_channel,
    make_channel,
    rotate_secret,
    view_channel,
)
from tests.notifications.office import Office
from tests.notifications.receiver import Received, Receiver

HOUR = 3_600.0
DAY = 24 * HOUR


def secret_of(made: MadeChannel) -> str:
    assert made.secret is not None
    return made.secret


def state_of(office: Office, made: MadeChannel) -> ChannelState:
    house = office.house
    viewed = view_channel(office.context, house.operator, house.workspace_id, made.channel.id)
    return viewed.channel.state


def test_what_happens_is_sent_and_verified_by_the_public_library(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url)
    issued = office.house.issue(name="scheduler-prod")
    assert office.work() == 2
    key, slot = sorted(receiver.received, key=lambda one: one.event)
    for one in (slot, key):
        assert one.verify(secret_of(made)) == one.payload
    assert (slot.event, key.event) == ("slot.created", "api_key.created")
    data = key.payload["data"]
    assert (data["resource_id"], data["action"]) == (str(issued.view.key.id), "api_key.created")
    assert data["workspace_id"] == str(office.house.workspace_id)
    assert key.headers["content-type"] == "application/json"
    assert issued.token.reveal() not in key.body.decode()
    assert {one.state for one in office.messages()} == {MessageState.SENT}
    assert office.work() == 0


def test_a_message_that_was_changed_on_its_way_is_not_genuine(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url, "api_key.*")
    office.house.issue()
    office.work()
    [one] = receiver.received
    other = office.webhook(receiver.url, "workspace.*")
    forged = (
        Received(headers=one.headers, body=one.body.replace(b"created", b"revoked")),
        Received(headers={**one.headers, "webhook-id": "another"}, body=one.body),
        Received(
            headers={
                **one.headers,
                "webhook-timestamp": str(int(one.headers["webhook-timestamp"]) + 1),
            },
            body=one.body,
        ),
    )
    for each in forged:
        with pytest.raises(WebhookVerificationError):
            each.verify(secret_of(made))
    with pytest.raises(WebhookVerificationError):
        one.verify(secret_of(other))


def test_two_secrets_sign_until_the_overlap_is_over(office: Office, receiver: Receiver) -> None:
    old = office.webhook(receiver.url, "api_key.*")
    house = office.house
    rotated = rotate_secret(
        office.context, house.act(), house.workspace_id, old.channel.id, overlap_seconds=60
    )
    house.issue()
    office.work()
    assert receiver.received[-1].verify(secret_of(old))
    assert receiver.received[-1].verify(secret_of(rotated))
    office.pass_time(60)
    house.issue()
    office.work()
    assert not receiver.received[-1].is_signed_with(secret_of(old))
    assert receiver.received[-1].is_signed_with(secret_of(rotated))
    made = [
        rotate_secret(office.context, house.act(), house.workspace_id, old.channel.id)
        for _ in range(3)
    ]
    assert len(made[-1].channel.live_secrets(house.clock.now())) == 2


def test_a_channel_is_told_of_what_it_wants_and_of_nothing_else(
    office: Office, receiver: Receiver, open_receiver: Callable[[], Receiver]
) -> None:
    other = open_receiver()
    office.webhook(receiver.url, "api_key.revoked")
    office.webhook(other.url, "slot.*", "api_key.created")
    house = office.house
    before = house.issue(name="a-prod").view.key
    revoke_key(office.context, house.act(), house.workspace_id, before.id, RevocationReason.UNUSED)
    acme = house.provision()
    house.issue(name="b-prod", workspace_id=acme.workspace.id)
    office.work()
    assert [one.event for one in receiver.received] == ["api_key.revoked"]
    assert {one.event for one in other.received} == {"slot.created", "api_key.created"}


def test_a_receiver_that_is_down_for_an_hour_gets_all_of_it_in_order_of_each_subject(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url)
    house = office.house
    keys = [house.issue(name=f"s{number}-prod").view.key for number in range(5)]
    receiver.shut()
    office.work()
    for minute in range(60):
        if minute % 12 == 0:
            key = keys[minute // 12]
            revoke_key(
                office.context, house.act(), house.workspace_id, key.id, RevocationReason.UNUSED
            )
        office.pass_time(60)
        office.work()
    assert receiver.received == []
    receiver.open()
    # The next that happens finds it open; what waits does not wait for its own time.
    house.issue(name="last-prod")
    office.work()
    wanted = [(one.envelope.subject, str(one.envelope.id)) for one in office.messages(made)]
    got = [(one.subject, one.id) for one in receiver.received]
    assert sorted(got) == sorted(wanted)
    for subject in {subject for subject, _ in wanted}:
        assert [one for one in got if one[0] == subject] == [
            one for one in wanted if one[0] == subject
        ]
    for one in receiver.received:
        assert one.is_signed_with(secret_of(made))
    at = datetime.fromtimestamp(office.house.clock.now() / SECOND, UTC).timestamp()
    assert all(at - int(one.headers["webhook-timestamp"]) < 5 for one in receiver.received)


def test_a_message_waits_for_the_one_before_it_and_for_no_other(
    office: Office, receiver: Receiver
) -> None:
    office.webhook(receiver.url)
    house = office.house
    one, other = (house.issue(name=f"{word}-prod").view.key for word in ("one", "other"))
    receiver.answer = lambda received: 500 if received.subject.endswith(str(one.id)) else 204
    for key in (one, other):
        revoke_key(office.context, house.act(), house.workspace_id, key.id, RevocationReason.UNUSED)
    office.work()
    of_other = [r.event for r in receiver.received if r.subject.endswith(str(other.id))]
    assert of_other == ["api_key.created", "api_key.revoked"]
    assert not [r for r in receiver.received if r.subject.endswith(str(one.id))]
    receiver.answer = lambda _: 204
    office.pass_time(RETRY_SECONDS[0] * 2)
    office.work()
    of_one = [r.event for r in receiver.received if r.subject.endswith(str(one.id))]
    assert of_one == ["api_key.created", "api_key.revoked"]


def test_a_message_is_tried_on_the_schedule_and_then_is_dead(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    receiver.answer = lambda _: 400
    office.house.issue()
    office.work()
    for wait in RETRY_SECONDS:
        [message] = office.messages(made)
        assert message.state is MessageState.WAITING
        office.pass_time(wait * 0.99)
        assert office.send() == 0
        office.pass_time(wait * 0.12)
        assert office.send() == 1
    [message] = office.messages(made)
    assert message.state is MessageState.DEAD
    assert message.reason is not None
    assert "10 times" in message.reason
    assert {one.status for one in message.attempts} == {"4xx"}
    assert state_of(office, made) is ChannelState.DISABLED  # it took nothing in all that time


def test_one_message_that_is_refused_does_not_end_a_channel_that_takes_others(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    receiver.answer = lambda received: 500 if b"poison" in received.body else 204
    poison = office.house.issue(name="poison-prod").view.key
    office.work()
    for number, wait in enumerate((*RETRY_SECONDS, *RETRY_SECONDS)):
        office.pass_time(wait * 1.2)
        office.house.issue(name=f"good{number}-prod")
        office.work()
    [message] = [one for one in office.messages(made) if str(poison.id) in one.envelope.subject]
    assert message.state is MessageState.DEAD
    assert message.hurries <= MOST_HURRIES
    assert len(message.attempts) == len(RETRY_SECONDS) + 1 + message.hurries
    assert state_of(office, made) is ChannelState.ACTIVE


def test_a_receiver_that_is_gone_disables_its_channel(office: Office, receiver: Receiver) -> None:
    made = office.webhook(receiver.url, "api_key.*")
    house = office.house
    receiver.answer = lambda _: 410
    house.issue(name="a-prod")
    office.work()
    viewed = view_channel(office.context, house.operator, house.workspace_id, made.channel.id)
    assert (viewed.channel.state, viewed.channel.reason) == (ChannelState.DISABLED, GONE)
    [message] = office.messages(made)
    assert (message.state, message.reason) == (MessageState.DEAD, GONE)
    assert message.attempts[-1].outcome is Outcome.GONE
    house.issue(name="b-prod")
    office.work()
    assert len(office.messages(made)) == 1
    with pytest.raises(ChannelInactive):
        replay_message(office.context, house.act(), house.workspace_id, message.envelope.id)
    receiver.answer = lambda _: 204
    amend_channel(
        office.context,
        house.act(),
        house.workspace_id,
        made.channel.id,
        ChannelAmendment(state=ChannelState.ACTIVE),
    )
    assert replay_channel(office.context, house.act(), house.workspace_id, made.channel.id) == 1
    office.work()
    assert receiver.received[0].id == str(message.envelope.id)
    assert house.attest().is_sound


def test_what_is_sent_anew_has_the_id_that_it_had(office: Office, receiver: Receiver) -> None:
    made = office.webhook(receiver.url, "api_key.*")
    office.house.issue()
    office.work()
    [message] = office.messages(made)
    replay_message(
        office.context, office.house.act(), office.house.workspace_id, message.envelope.id
    )
    office.work()
    first, second = receiver.received
    assert first.id == second.id
    assert first.body == second.body
    assert second.verify(secret_of(made))


def test_a_redirect_is_a_failure_and_is_not_followed(
    office: Office, receiver: Receiver, open_receiver: Callable[[], Receiver]
) -> None:
    elsewhere = open_receiver()
    made = office.webhook(receiver.url, "api_key.created")
    receiver.answer = lambda _: 307
    receiver.headers = {"location": elsewhere.url}
    office.house.issue()
    office.work()
    [message] = office.messages(made)
    assert message.attempts[-1].outcome is Outcome.REDIRECTED
    assert elsewhere.received == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_receiver_is_left_alone_as_long_as_it_asks(
    office: Office, receiver: Receiver, status: int
) -> None:
    office.webhook(receiver.url, "api_key.created")
    receiver.answer = lambda _: status
    receiver.headers = {"retry-after": "120"}
    office.house.issue(name="a-prod")
    office.work()
    receiver.answer = lambda _: 204
    office.house.issue(name="b-prod")
    office.pass_time(119)
    assert office.work() == 0
    office.pass_time(2)
    office.work()
    assert len(receiver.received) == 2


def test_a_trial_goes_to_its_channel_alone_whatever_it_wants(
    office: Office, receiver: Receiver, open_receiver: Callable[[], Receiver]
) -> None:
    other = open_receiver()
    made = office.webhook(receiver.url, "workspace.suspended")
    office.webhook(other.url, "api_key.*")
    house = office.house
    tried = try_channel(office.context, house.act(), house.workspace_id, made.channel.id)
    office.work()
    [one] = receiver.received
    assert (one.event, one.id) == ("channel.test", str(tried.envelope.id))
    assert one.verify(secret_of(made))
    assert other.received == []


def test_a_paused_channel_gathers_and_sends_when_it_is_active_again(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    house = office.house

    def become(state: ChannelState) -> None:
        amend_channel(
            office.context,
            house.act(),
            house.workspace_id,
            made.channel.id,
            ChannelAmendment(state=state),
        )

    become(ChannelState.PAUSED)
    house.issue(name="a-prod")
    assert office.work() == 0
    assert [one.state for one in office.messages(made)] == [MessageState.WAITING]
    become(ChannelState.ACTIVE)
    assert office.work() == 1


def test_what_waits_for_a_deleted_channel_is_not_sent(office: Office, receiver: Receiver) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    house = office.house
    house.issue(name="a-prod")
    office.announce()
    delete_channel(office.context, house.act(), house.workspace_id, made.channel.id)
    house.issue(name="b-prod")
    assert office.work() == 0
    [message] = office.messages()
    assert message.state is MessageState.DEAD
    assert receiver.received == []
    assert house.attest().is_sound


def test_one_dead_receiver_does_not_hold_up_another(
    office: Office, receiver: Receiver, open_receiver: Callable[[], Receiver]
) -> None:
    held = threading.Event()
    slow = open_receiver()

    def hang(_: Received) -> int:
        held.wait(10)
        return 204

    slow.answer = hang
    for _ in range(3):
        office.webhook(slow.url, "api_key.created")
    office.webhook(receiver.url, "api_key.created")
    for number in range(6):
        office.house.issue(name=f"s{number}-prod")
    office.announce()
    deadline = time.monotonic() + 5
    try:
        while len(receiver.received) < 6 and time.monotonic() < deadline:
            office.notifier.step()
            time.sleep(0.02)
        assert len(receiver.received) == 6
        assert slow.received == []
    finally:
        held.set()


def test_a_message_that_was_changed_from_outside_is_never_sent(
    office: Office, receiver: Receiver
) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    house = office.house
    house.issue(name="a-prod")
    office.announce()
    house.run("UPDATE messages SET body = '{}'")
    assert office.work() == 0
    assert receiver.received == []
    assert [one.kind for one in house.damage if one.kind == "message"]
    [[state]] = house.run("SELECT state FROM messages")
    assert state == "dead"
    house.run("UPDATE channels SET url = 'http://127.0.0.1:1/'")
    house.issue(name="b-prod")
    office.work()
    assert receiver.received == []
    delete_channel(office.context, house.act(), house.workspace_id, made.channel.id)
    assert house.attest().is_sound


def test_nobody_makes_us_call_a_network_that_the_operator_has_not_allowed(
    office: Office, receiver: Receiver
) -> None:
    guarded = Office(office.house, guard=AddressGuard(()))
    made = guarded.webhook(receiver.url, "api_key.created")
    guarded.house.issue()
    guarded.work()
    [message] = guarded.messages(made)
    assert message.attempts[-1].outcome is Outcome.ADDRESS_REFUSED
    assert receiver.received == []


def test_the_reason_of_giving_up_is_told(office: Office, receiver: Receiver) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    receiver.shut()
    office.house.issue()
    office.work()
    for wait in RETRY_SECONDS:
        office.pass_time(wait * 1.2)
        office.work()
    house = office.house
    viewed = view_channel(office.context, house.operator, house.workspace_id, made.channel.id)
    assert viewed.channel.reason == GIVEN_UP
    assert viewed.dead == 1


def test_a_slow_receiver_that_accepts_keeps_no_other_waiting(
    office: Office, receiver: Receiver, open_receiver: Callable[[], Receiver]
) -> None:
    house = office.house
    slow = open_receiver()
    answers = threading.Semaphore(0)
    begun: list[str] = []

    def dawdle(received: Received) -> int:
        begun.append(received.id)
        answers.acquire(timeout=10)
        return 204

    slow.answer = dawdle
    # Theirs are the lower ids, and they have more to be sent than there are places.
    for _ in range(4):
        office.webhook(slow.url, "api_key.created")
    for number in range(12):
        house.issue(name=f"s{number}-prod")
    office.announce()
    try:
        held = office.notifier.step()
        assert held == MOST_OF_A_WORKSPACE
        assert office.notifier.step() == 0
        # In another workspace a place is free, whatever they do.
        abroad = house.provision().workspace.id
        draft = ChannelDraft(
            kind=ChannelKind.WEBHOOK, name="hook", url=receiver.url, events=("api_key.created",)
        )
        make_channel(office.context, house.act(), abroad, draft)
        house.issue(name="abroad-prod", workspace_id=abroad)
        office.announce()
        assert office.notifier.step() == 1
        eventually(lambda: len(receiver.received) == 1)
        # In the same one the next that is free is for whoever has none.
        office.webhook(receiver.url, "api_key.created")
        house.issue(name="home-prod")
        office.announce()
        assert office.notifier.step() == 0
        eventually(lambda: len(begun) == held)
        answers.release()
        eventually(lambda: office.notifier.step() == 1)
        eventually(lambda: len(receiver.received) == 2)
    finally:
        answers.release(1_000)


def test_what_finds_no_thread_is_sent_as_soon_as_there_is_one(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.webhook(receiver.url, "api_key.created")
    office.house.issue()
    office.announce()
    start = threading.Thread.start

    def fail(self: threading.Thread) -> None:
        if self.name == "sending":
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert office.notifier.step() == 0
    assert office.notifier.drain(0.0)
    assert office.send() == 1
    assert len(receiver.received) == 1


@pytest.mark.parametrize("is_running", [True, False])
def test_a_clock_that_is_set_back_holds_nothing_up(
    office: Office, receiver: Receiver, is_running: bool
) -> None:
    made = office.webhook(receiver.url, "api_key.created")
    receiver.answer = lambda _: 500
    office.house.issue(name="a-prod")
    office.work()
    receiver.answer = lambda _: 204
    if is_running:
        office.house.clock.jump(int(-HOUR * SECOND))
        office.pass_time(RETRY_SECONDS[0] * 0.9)
        assert office.send() == 0
        office.pass_time(RETRY_SECONDS[0] * 0.3)
        assert office.send() == 1
    else:
        # What was not seen to be set back is noticed by a wait that is longer than any, and keeps
        # nothing from being tried for the first time.
        office.house.issue(name="b-prod")
        office.announce()
        office.house.clock.jump(int(-2 * DAY * SECOND))
        office.begin_anew()
        office.work()
    assert {one.state for one in office.messages(made)} == {MessageState.SENT}


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
