"""Notifying: what waits in the outbox is sent, in order for each channel and subject.

1. A message is sent after all earlier ones of its channel and subject have been sent or are dead;
   other subjects and other channels do not wait for it.
2. Each attempt runs in a thread of its own, of a bounded number. A channel has few of them, one
   that is failing has one, and all that are failing together never have more than half.
3. An attempt is kept after it was made. Killed in between, the message is sent once more, with the
   id that it had; it is never lost.
4. A receiver that takes something again is given at once what waits for it.
5. One that says that it is gone (410), or has taken nothing for as long as a message is tried, is
   given up on: its channel is disabled, and tells so.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.channel import Channel, ChannelState
from keyturn.domain.error import IntegrityFailed, KeyturnError
from keyturn.domain.message import (
    RETRY_SECONDS,
    Attempt,
    Message,
    MessageState,
    Outcome,
    next_try,
)
from keyturn.services.context import Context
from keyturn.services.courier import Courier, Report
from keyturn.services.journal import NOTIFIER
from keyturn.services.subscribe import give_up
from keyturn.storage.messages import DAMAGED
from keyturn.storage.transaction import Reading

PLACES = 16
MOST_OF_A_CHANNEL = 4
MOST_FAILING = 8
REST_SECONDS = 1.0

GONE = "Its receiver answered that it is gone (410)."
GIVEN_UP = "Its receiver has taken nothing for as long as a message is tried."

# A receiver that is in no state to judge a message: the next one fares no better.
_FAILURES = frozenset(
    {
        Outcome.BUSY,
        Outcome.BROKEN,
        Outcome.UNREACHABLE,
        Outcome.TIMED_OUT,
        Outcome.ADDRESS_REFUSED,
        Outcome.NOT_UNDERSTOOD,
        Outcome.NOT_SENDABLE,
    }
)
_TOLD = {
    Outcome.ACCEPTED: "it was accepted",
    Outcome.REDIRECTED: "the receiver answered with a redirect, which is not followed",
    Outcome.GONE: "the receiver answered that it is gone",
    Outcome.REFUSED: "the receiver refused it",
    Outcome.BUSY: "the receiver was too busy",
    Outcome.BROKEN: "the receiver failed",
    Outcome.UNREACHABLE: "the receiver could not be reached",
    Outcome.TIMED_OUT: "the receiver did not answer in time",
    Outcome.ADDRESS_REFUSED: "the receiver's address is in a network that Keyturn may not reach",
    Outcome.NOT_UNDERSTOOD: "what answered was none that takes messages",
    Outcome.NOT_SENDABLE: "it could not be signed or posted here",
}

_log = logging.getLogger("keyturn.notifications")


@dataclass(frozen=True, slots=True)
class _Sending:
    """What is being sent at this moment."""

    channel_id: UUID
    subject: str


class Notifier:
    """One process's sender; `step` begins what may be sent now. `hurry` is called when an attempt
    has ended, from its thread: there may be more to send."""

    def __init__(
        self,
        context: Context,
        courier: Courier,
        *,
        schedule: tuple[int, ...] = RETRY_SECONDS,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._context = context
        self._courier = courier
        self._schedule = schedule
        self._rest_seconds = rest_seconds
        self._lock = threading.Condition()
        self._sending: dict[UUID, _Sending] = {}
        self._failing: set[UUID] = set()
        self._resting: dict[UUID, float] = {}
        self.hurry: Callable[[], None] = lambda: None

    def step(self) -> int:
        """Begins to send what is due and may be sent. Says how much it was. Raises
        `StorageUnavailable`."""
        with self._lock:
            # Before the look: what ends in between is seen as waiting, and must not begin again.
            busy = dict(self._sending)
        chosen: list[tuple[Channel, Message]] = []
        unsendable: list[tuple[UUID, UUID | None, str]] = []
        with self._context.store.read() as reading:
            now = self._context.clock.now()
            for channel_id in self._in_turn(reading.messages.waiting_channels()):
                channel = _find(reading, channel_id)
                if channel is None:
                    unsendable.append((channel_id, None, "There is no such channel any more."))
                    continue
                if channel.state is not ChannelState.ACTIVE:
                    continue
                self._choose(reading, channel, busy, chosen, unsendable, now)
        for channel_id, message_id, reason in unsendable:
            self._bury(channel_id, message_id, reason)
        for channel, message in chosen:
            self._begin(channel, message)
        return len(chosen)

    def drain(self, seconds: float) -> bool:
        """Waits until nothing is being sent; says whether that came in time."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._sending, seconds)

    def _in_turn(self, channels: Sequence[UUID]) -> list[UUID]:
        """Those that fail come last: they must not take the places of the others."""
        return sorted(channels, key=lambda one: (one in self._failing, one))

    def _choose(
        self,
        reading: Reading,
        channel: Channel,
        busy: dict[UUID, _Sending],
        chosen: list[tuple[Channel, Message]],
        unsendable: list[tuple[UUID, UUID | None, str]],
        now: int,
    ) -> None:
        room = self._room(channel.id, busy, chosen)
        if room <= 0:
            return
        mine = {one.subject for one in busy.values() if one.channel_id == channel.id}
        for found in reading.messages.due(channel.id, now, limit=room + len(mine)):
            if isinstance(found, UUID):
                unsendable.append((channel.id, found, DAMAGED))
            elif room > 0 and found.envelope.subject not in mine:
                chosen.append((channel, found))
                room -= 1

    def _room(
        self,
        channel_id: UUID,
        busy: dict[UUID, _Sending],
        chosen: list[tuple[Channel, Message]],
    ) -> int:
        """How many messages of a channel may be begun now."""
        if self._context.clock.elapsed() < self._resting.get(channel_id, 0.0):
            return 0
        taken = [one.channel_id for one in busy.values()] + [one.id for one, _ in chosen]
        mine = taken.count(channel_id)
        free = PLACES - len(taken)
        if channel_id not in self._failing:
            return min(MOST_OF_A_CHANNEL - mine, free)
        failing = sum(one in self._failing for one in taken)
        return min(1 - mine, MOST_FAILING - failing, free)

    def _begin(self, channel: Channel, message: Message) -> None:
        envelope = message.envelope
        with self._lock:
            self._sending[envelope.id] = _Sending(channel.id, envelope.subject)
        thread = threading.Thread(
            target=self._send, args=(channel, message), name="sending", daemon=True
        )
        thread.start()

    def _send(self, channel: Channel, message: Message) -> None:
        try:
            self._settle(channel, message, self._courier.take(channel, message))
        except KeyturnError as error:
            _log.warning("a message was sent and that cannot be kept: %s", error.detail)
        except Exception:  # noqa: BLE001  (a thread that dies tells nobody)
            _log.exception("sending a message failed")
        finally:
            with self._lock:
                self._sending.pop(message.envelope.id, None)
                self._lock.notify_all()
            self.hurry()

    def _settle(self, channel: Channel, message: Message, report: Report) -> None:
        """Keeps how an attempt ended."""
        context, envelope = self._context, message.envelope
        now = context.clock.now()
        was_failing = self._judge(channel.id, report)
        attempt = Attempt(at=now, outcome=report.outcome, status=report.status)
        with context.store.record() as transaction:
            current = transaction.messages.find(envelope.workspace_id, envelope.id)
            if current is None:
                return
            is_accepted = report.outcome is Outcome.ACCEPTED
            if current.state is not MessageState.WAITING and not is_accepted:
                return  # it was buried meanwhile, and was not taken either
            tries = current.tries + 1
            due_at = next_try(self._schedule, tries, now, self._chance(), report.retry_after)
            times = tries + current.hurries
            reason = f"It was tried {times} times; at last {_TOLD[report.outcome]}."
            following = current.attempted(attempt, report.reached, due_at, reason)
            transaction.messages.keep(following)
            if is_accepted and (was_failing or current.tries > 0):
                transaction.messages.hurry(channel.id, now)
            is_over = following.state is MessageState.DEAD and _has_taken_nothing(
                transaction, following
            )
        if report.outcome is Outcome.GONE:
            give_up(context, NOTIFIER, channel.workspace_id, channel.id, GONE)
        elif is_over:
            give_up(context, NOTIFIER, channel.workspace_id, channel.id, GIVEN_UP)

    def _judge(self, channel_id: UUID, report: Report) -> bool:
        """Takes note of how a channel fares, and says whether it was failing before."""
        with self._lock:
            was_failing = channel_id in self._failing
            if report.outcome not in _FAILURES:
                self._failing.discard(channel_id)
                self._resting.pop(channel_id, None)
                return was_failing
            self._failing.add(channel_id)
            # What it asks for is for all of its messages, within bounds: each has its own time too.
            rest = max(self._rest_seconds, min(report.retry_after or 0, self._schedule[-1]))
            self._resting[channel_id] = self._context.clock.elapsed() + rest
            return was_failing

    def _chance(self) -> float:
        return int.from_bytes(self._context.entropy.take(4), "big") / 2**32

    def _bury(self, channel_id: UUID, message_id: UUID | None, reason: str) -> None:
        with self._context.store.record() as transaction:
            now = self._context.clock.now()
            if message_id is None:
                transaction.messages.bury(now, reason, channel_id=channel_id)
            else:
                transaction.messages.bury_one(message_id, now, reason)


def _find(reading: Reading, channel_id: UUID) -> Channel | None:
    """The channel, None where there is none that anything may be sent to."""
    workspace_id = reading.channels.workspace_of(channel_id)
    try:
        return None if workspace_id is None else reading.channels.find(workspace_id, channel_id)
    except IntegrityFailed:
        return None


def _has_taken_nothing(transaction: Reading, message: Message) -> bool:
    """Whether a channel has taken nothing since the message was first tried."""
    last = transaction.messages.last_sent_at(message.envelope.channel_id)
    return last is None or not message.attempts or last < message.attempts[0].at
