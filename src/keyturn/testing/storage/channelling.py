"""Channels and messages: kept whole, sent in order, each once in the outbox."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from keyturn.domain.channel import ChannelKind, ChannelState, SigningSecret
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.message import MOST_HURRIES, Attempt, Message, MessageState, Outcome
from keyturn.storage.contract import Store
from keyturn.storage.messages import MessageFilter
from keyturn.storage.schema import announced, channels, messages
from keyturn.storage.sealed import Damage
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

CHANNEL = making.id_of(1)
LONGEST = 1_000


class ChannelContract(StorageBase):
    """A channel is there until it is deleted, and its id means no other after that."""

    def test_a_channel_is_kept_with_every_member(self, store: Store) -> None:
        made = making.channel(1, name="é")
        mail = making.channel(2, kind=ChannelKind.EMAIL)
        making.add_channels(store, made, mail)
        secrets = (
            SigningSecret(sealed=bytes(range(256)), created_at=1, ends_at=2),
            SigningSecret(sealed=b"", created_at=3, ends_at=None),
        )
        changed = replace(
            made, secrets=secrets, events=("a.b", "c.*"), state=ChannelState.DISABLED, reason="r"
        )
        following = made.becoming(changed, SOME_TIME + 1)
        with store.change() as transaction:
            transaction.channels.replace(following, 1)
            making.log_channel(transaction, following)
        with store.read() as reading:
            kept = reading.channels
            assert kept.find(making.HOME, made.id) == following
            assert kept.find(making.HOME, mail.id) == mail
            assert kept.find(making.ABROAD, made.id) is None
            assert kept.workspace_of(made.id) == making.HOME
            assert kept.workspace_of(making.NOBODY) is None
            assert list(kept.list(making.HOME, limit=10, before=None)) == [mail, following]
            assert list(kept.list(making.HOME, limit=10, before=mail.id)) == [following]
            assert kept.count(making.HOME) == 2

    def test_a_deleted_channel_is_found_no_more(self, store: Store) -> None:
        made, beside = making.channel(1, since=5), making.channel(2, since=9)
        making.add_channels(store, made, beside)
        with store.read() as reading:
            assert reading.channels.earliest() == 5
        with store.change() as transaction:
            transaction.channels.replace(made.deleted(SOME_TIME), 1)
            making.log_channel(transaction, made.deleted(SOME_TIME))
        with store.read() as reading:
            kept = reading.channels
            assert kept.find(making.HOME, made.id) is None
            assert list(kept.of_workspace(making.HOME)) == [beside]
            assert list(kept.list(making.HOME, limit=10, before=None)) == [beside]
            assert (kept.count(making.HOME), kept.earliest()) == (1, 9)

    def test_a_damaged_channel_is_reported_and_can_be_set_aside(
        self, store: Store, damage: list[Damage]
    ) -> None:
        made = making.channel(1)
        making.add_channels(store, made)
        with store.create() as reading:
            reading.session.connection.execute(
                update(channels).where(channels.c.id == str(made.id)).values(state="deleted")
            )
        with store.read() as reading:
            with pytest.raises(IntegrityFailed):
                reading.channels.find(making.HOME, made.id)
            assert list(reading.channels.of_workspace(making.HOME)) == []
        assert Damage("channel", str(made.id)) in damage
        tombstone = replace(made.deleted(SOME_TIME), version=2)
        with store.change() as transaction:
            transaction.channels.repair(tombstone)
            making.log_channel(transaction, tombstone)
        damage.clear()
        with store.read() as reading:
            assert reading.channels.find(making.HOME, made.id) is None
        assert damage == []


class MessageContract(StorageBase):
    """Of each subject the earliest that waits is next, and no other."""

    def test_a_message_is_kept_with_every_member_and_once(self, store: Store) -> None:
        made = making.message(7)
        making.add_messages(store, made)
        tried = replace(
            made,
            state=MessageState.DEAD,
            tries=3,
            due_at=5,
            hurries=1,
            ended_at=9,
            reason="é",
            reached=("a@b",),
            attempts=(Attempt(at=1, outcome=Outcome.BROKEN, status="5xx"),),
        )
        with store.record() as transaction:
            assert not transaction.messages.add(made)
            transaction.messages.keep(tried)
            assert not transaction.messages.add(made)
        with store.read() as reading:
            kept = reading.messages
            assert kept.find(making.HOME, made.envelope.id) == tried
            assert kept.find(making.ABROAD, made.envelope.id) is None
            assert kept.workspace_of(made.envelope.id) == making.HOME
            assert kept.tally([CHANNEL]) == {CHANNEL: {MessageState.DEAD: 1}}

    def test_the_next_are_the_earliest_of_each_subject_that_are_due(self, store: Store) -> None:
        making.add_messages(
            store,
            making.message(5, subject="a"),
            making.message(3, subject="a", due_at=SOME_TIME + 9, tries=1),
            making.message(4, subject="b"),
            making.message(6, subject="b"),
            making.message(7, subject="c", channel=2),
        )

        def due(now: int, limit: int = 10) -> list[int]:
            with store.read() as reading:
                found = reading.messages.due(CHANNEL, now, limit=limit, longest=LONGEST)
            return [one.envelope.number for one in found if isinstance(one, Message)]

        assert due(SOME_TIME) == [4]
        assert due(SOME_TIME + 9) == [3, 4]
        assert due(SOME_TIME + 9, limit=1) == [3]
        # What was never tried waits for no time, and nothing for so long: the clock was set back.
        assert due(SOME_TIME - 1) == [4]
        assert due(SOME_TIME + 9 - LONGEST) == [4]
        assert due(SOME_TIME + 8 - LONGEST) == [3, 4]
        with store.record() as transaction:
            sent = replace(making.message(3), state=MessageState.SENT, ended_at=SOME_TIME)
            transaction.messages.keep(sent)
        assert due(SOME_TIME) == [4, 5]
        with store.read() as reading:
            assert sorted(reading.messages.waiting_channels()) == [CHANNEL, making.id_of(2)]
            assert reading.messages.last_sent_at(CHANNEL) == SOME_TIME

    def test_what_waits_is_hurried_a_few_times_alone(self, store: Store) -> None:
        later = SOME_TIME + 1_000
        making.add_messages(
            store,
            making.message(1, tries=2, due_at=later),
            making.message(2, subject="b", due_at=later),  # not tried yet: it has its own time
            making.message(3, subject="c", tries=1, due_at=SOME_TIME),
            making.message(4, channel=2, tries=1, due_at=later),
        )
        for turn in range(MOST_HURRIES + 1):
            with store.record() as transaction:
                hurried = transaction.messages.hurry(CHANNEL, SOME_TIME)
                assert hurried == (turn < MOST_HURRIES)
                found = transaction.messages.find(making.HOME, making.id_of(1))
                assert found is not None
                transaction.messages.keep(replace(found, tries=2, due_at=later))

    def test_what_waits_is_buried_and_what_is_dead_revived(self, store: Store) -> None:
        making.add_messages(
            store,
            making.message(1, tries=2),
            making.message(2, created_at=SOME_TIME + 5),
            making.message(3, channel=2),
        )
        with store.record() as transaction:
            assert transaction.messages.bury(7, "why", channel_id=CHANNEL) == 2
            assert transaction.messages.bury(7, "why", channel_id=CHANNEL) == 0
        with store.read() as reading:
            found = reading.messages.find(making.HOME, making.id_of(1))
            assert found is not None
            assert (found.state, found.reason, found.ended_at) == (MessageState.DEAD, "why", 7)
        with store.record() as transaction:
            assert transaction.messages.revive(CHANNEL, 9, until=SOME_TIME + 5) == 1
            assert transaction.messages.revive(CHANNEL, 9, since=SOME_TIME + 5) == 1
            assert transaction.messages.find(making.HOME, making.id_of(1)) == making.message(
                1, due_at=9
            )
            assert transaction.messages.bury(7, "all") == 3

    def test_messages_are_listed_and_counted_as_their_filters_say(self, store: Store) -> None:
        one = making.message(1, event="a.b")
        two = making.message(2, subject="s", created_at=SOME_TIME + 5)
        three = making.message(3, channel=2)
        making.add_messages(store, one, two, three)
        with store.record() as transaction:
            dead = replace(two, state=MessageState.DEAD, ended_at=1)
            transaction.messages.keep(dead)
        cases: list[tuple[dict[str, Any], list[Message]]] = [
            ({}, [three, dead, one]),
            ({"channel_id": CHANNEL}, [dead, one]),
            ({"state": MessageState.DEAD}, [dead]),
            ({"event": "a.b"}, [one]),
            ({"subject": "s"}, [dead]),
            ({"since": SOME_TIME + 5}, [dead]),
            ({"until": SOME_TIME + 5}, [three, one]),
        ]
        with store.read() as reading:
            for wanted, expected in cases:
                asked = MessageFilter(**wanted)
                listed = reading.messages.list(making.HOME, asked, limit=10, before=None)
                assert list(listed) == expected, wanted
                assert reading.messages.count(making.HOME, asked) == len(expected)
            page = reading.messages.list(
                making.HOME, MessageFilter(), limit=1, before=three.envelope.id
            )
            assert list(page) == [dead]
            assert reading.messages.count(making.ABROAD, MessageFilter()) == 0

    def test_what_has_outlived_its_time_goes(self, store: Store) -> None:
        for number, state in enumerate((MessageState.SENT, MessageState.DEAD), 1):
            for ended_at in (5, 15):
                made = making.message(number * 100 + ended_at)
                making.add_messages(store, made)
                with store.record() as transaction:
                    transaction.messages.keep(replace(made, state=state, ended_at=ended_at))
        making.add_messages(store, making.message(9))
        with store.record() as transaction:
            assert transaction.messages.purge(MessageState.SENT, 10, limit=50) == 1
            assert transaction.messages.purge(MessageState.SENT, 20, limit=0) == 0
            assert transaction.messages.count(making.HOME, MessageFilter()) == 4

    def test_a_message_that_was_edited_is_damage(self, store: Store, damage: list[Damage]) -> None:
        made = making.message(1)
        making.add_messages(store, made, making.message(2, subject="b"))
        for column, hostile in (("body", "{}"), ("recipients", "[]"), ("event", "x.y")):
            with store.create() as reading:
                reading.session.connection.execute(
                    update(messages)
                    .where(messages.c.id == str(made.envelope.id))
                    .values({column: hostile})
                )
            with store.read() as reading:
                with pytest.raises(IntegrityFailed):
                    reading.messages.find(making.HOME, made.envelope.id)
                first, second = reading.messages.due(CHANNEL, SOME_TIME, limit=10, longest=LONGEST)
                assert first == made.envelope.id
                assert isinstance(second, Message)
            assert Damage("message", str(made.envelope.id)) in damage

    def test_the_place_in_the_log_is_kept_and_an_edited_one_is_none(
        self, store: Store, damage: list[Damage]
    ) -> None:
        with store.read() as reading:
            assert reading.announced.find() is None
        for number in (7, 9):
            with store.record() as transaction:
                transaction.announced.keep(number)
                assert transaction.announced.find() == number
        with store.create() as reading:
            reading.session.connection.execute(update(announced).values(number=100))
        with store.read() as reading:
            assert reading.announced.find() is None
        assert damage == [Damage("announced", "1")]
