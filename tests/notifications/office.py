"""An outbox at work, step by step: what happened is announced, and what is due is sent."""

import time
from dataclasses import replace
from ipaddress import IPv4Network
from uuid import UUID

from keyturn.ambient import SystemClock
from keyturn.domain.channel import ChannelKind
from keyturn.domain.message import RETRY_SECONDS, Message
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.guard import AddressGuard, AllowedNetwork
from keyturn.outbound.letter import Postbox
from keyturn.services.announce import Announcer
from keyturn.services.courier import Courier
from keyturn.services.notify import Notifier
from keyturn.services.subscribe import ChannelDraft, MadeChannel, make_channel
from keyturn.storage.messages import MessageFilter
from tests.houses import House

PATIENCE_SECONDS = 20.0
LOOPBACK = AddressGuard((AllowedNetwork(network=IPv4Network("127.0.0.0/8")),))


class Office:
    """The house's clock is set to now, since a receiver refuses what is not fresh."""

    def __init__(
        self,
        house: House,
        *,
        postbox: Postbox | None = None,
        schedule: tuple[int, ...] = RETRY_SECONDS,
        guard: AddressGuard = LOOPBACK,
    ) -> None:
        house.clock.jump(time.time_ns() // 1_000 - house.clock.now())
        house.context = replace(house.context, has_mail=postbox is not None, may_send_plain=True)
        self.house = house
        self.context = house.context
        self.announcer = Announcer(self.context)
        courier = Courier(self.context, GuardedOutbound(guard, SystemClock()), postbox)

        def begin() -> Notifier:
            return Notifier(self.context, courier, schedule=schedule, rest_seconds=0.0)

        self._begin = begin
        self.notifier = begin()

    def begin_anew(self) -> None:
        """As after a restart: what one process knows of the last is in the database alone."""
        self.close()
        self.notifier = self._begin()

    def webhook(self, url: str, *events: str) -> MadeChannel:
        draft = ChannelDraft(
            kind=ChannelKind.WEBHOOK, name="hook", url=url, events=events or ("*",)
        )
        return self.make(draft)

    def make(self, draft: ChannelDraft) -> MadeChannel:
        house = self.house
        return make_channel(self.context, house.act(), house.workspace_id, draft)

    def announce(self) -> int:
        """Announces all that there is, and says how many messages were made."""
        made = 0
        while True:
            step = self.announcer.step()
            made += step
            if not step and not self._is_behind():
                return made

    def _is_behind(self) -> bool:
        with self.house.store.read() as reading:
            return bool(reading.activity.links(after=reading.announced.find() or 0, limit=1))

    def send(self) -> int:
        """Sends what is due now, and waits until all of it has ended."""
        begun = 0
        while step := self.notifier.step():
            begun += step
            assert self.notifier.drain(PATIENCE_SECONDS)
        return begun

    def work(self) -> int:
        """Announces, then sends."""
        self.announce()
        return self.send()

    def pass_time(self, seconds: float) -> None:
        self.house.clock.advance(int(seconds * 1_000_000))

    def messages(self, channel: MadeChannel | None = None) -> list[Message]:
        """All messages of the workspace, or of a channel, in their order."""
        channel_id: UUID | None = None if channel is None else channel.channel.id
        with self.house.store.read() as reading:
            found = reading.messages.list(
                self.house.workspace_id,
                MessageFilter(channel_id=channel_id),
                limit=10_000,
                before=None,
            )
        return sorted(found, key=lambda one: one.envelope.number)

    def close(self) -> None:
        assert self.notifier.drain(PATIENCE_SECONDS)
