"""Notifying: what waits in the outbox is sent, in order for each channel and subject.

1. A message is sent after all earlier ones of its channel and subject have been sent or are dead;
   other subjects and other channels do not wait for it.
2. Each attempt runs in a thread of its own, of a bounded number; who has one is said in `places`.
   Where none can be had, the message waits on as if it had not been its turn.
3. An attempt is kept after it was made. Killed in between, the message is sent once more, with the
   id that it had; it is never lost.
4. A receiver that takes something again is given at once what waits for it.
5. One that says that it is gone (410), or has taken nothing for as long as a message is tried, is
   given up on: its channel is disabled, and tells so.
6. How long a message waits is not changed by a clock that is set back.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.domain.channel import Channel, ChannelState
from keyturn.domain.error import IntegrityFailed, KeyturnError
from keyturn.domain.instant import SECOND
from keyturn.domain.message import (
    RETRY_SECONDS,
    Attempt,
    Message,
    MessageState,
    Outcome,
    longest_wait,
    next_try,
)
from keyturn.services.context import Context
from keyturn.services.courier import Courier, Report
from keyturn.services.journal import NOTIFIER
from keyturn.services.places import Place, Round, Turns
from keyturn.services.subscribe import give_up
from keyturn.storage.messages import DAMAGED
from keyturn.storage.transaction import Reading

REST_SECONDS = 1.0
# What a clock is set back by less than this, as time servers do, is no more than a delay.
SET_BACK = 2 * SECOND

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is seen in one look at the outbox: whose turn it is, and what is none to be sent."""

    reading: Reading
    now: int
    busy: dict[UUID, Place]
    round: Round
    chosen: list[tuple[Channel, Message]] = field(default_factory=list)
    unsendable: list[tuple[UUID, UUID | None, str]] = field(default_factory=list)


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
        self._sending: dict[UUID, Place] = {}
        self._turns = Turns()
        self._looked_at: tuple[int, float] | None = None
        self._failing: set[UUID] = set()
        self._resting: dict[UUID, float] = {}
        self.hurry: Callable[[], None] = lambda: None

    def step(self) -> int:
        """Begins to send what is due and may be sent. Says how much it was. Raises
        `StorageUnavailable`."""
        self._heed_clock()
        with self._lock:
            # Before the look: what ends in between is seen as waiting, and must not begin again.
            busy = dict(self._sending)
            failing = frozenset(self._failing)
        with self._context.store.read() as reading:
            look = _Look(
                reading=reading,
                now=self._context.clock.now(),
                busy=busy,
                round=Round(self._turns, busy.values(), failing),
            )
            for channel_id in reading.messages.waiting_channels():
                channel = _find(reading, channel_id)
                if channel is None:
                    gone = "There is no such channel any more."
                    look.unsendable.append((channel_id, None, gone))
                elif channel.state is ChannelState.ACTIVE and not self._rests(channel_id):
                    look.round.join(channel)
            self._choose(look)
        for channel_id, message_id, reason in look.unsendable:
            self._bury(channel_id, message_id, reason)
        begun = 0
        for channel, message in look.chosen:
            if not self._begin(channel, message):
                break
            begun += 1
        return begun

    def drain(self, seconds: float) -> bool:
        """Waits until nothing is being sent; says whether that came in time."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._sending, seconds)

    def _heed_clock(self) -> None:
        """Where the clock was set back since the last look, what waits for a time is due so much
        earlier."""
        clock = self._context.clock
        now, elapsed = clock.now(), clock.elapsed()
        if self._looked_at is not None:
            then, at = self._looked_at
            back = then + int((elapsed - at) * SECOND) - now
            if back > SET_BACK:
                with self._context.store.record() as transaction:
                    transaction.messages.bring_forward(now, back)
                _log.warning("the clock was set back by %d s", back // SECOND)
        self._looked_at = now, elapsed

    def _rests(self, channel_id: UUID) -> bool:
        with self._lock:
            return self._context.clock.elapsed() < self._resting.get(channel_id, 0.0)

    def _choose(self, look: _Look) -> None:
        """One message for each turn, until there is no place or nothing due."""
        queues: dict[UUID, deque[Message]] = {}
        while (channel := look.round.next()) is not None:
            if channel.id not in queues:
                queues[channel.id] = deque(self._due(look, channel))
            if not queues[channel.id]:
                continue
            look.chosen.append((channel, queues[channel.id].popleft()))
            look.round.take(channel)
            look.round.join(channel)

    def _due(self, look: _Look, channel: Channel) -> Sequence[Message]:
        """What a channel may be sent now, as much as it has room for."""
        mine = {one.subject for one in look.busy.values() if one.channel_id == channel.id}
        found: list[Message] = []
        for one in look.reading.messages.due(
            channel.id,
            look.now,
            limit=look.round.room(channel) + len(mine),
            longest=longest_wait(self._schedule),
        ):
            if isinstance(one, UUID):
                look.unsendable.append((channel.id, one, DAMAGED))
            elif one.envelope.subject not in mine:
                found.append(one)
        return found

    def _begin(self, channel: Channel, message: Message) -> bool:
        """Says whether there was a thread for it."""
        envelope = message.envelope
        place = Place(
            workspace_id=channel.workspace_id, channel_id=channel.id, subject=envelope.subject
        )
        with self._lock:
            self._sending[envelope.id] = place
        thread = threading.Thread(
            target=self._send, args=(channel, message), name="sending", daemon=True
        )
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # this machine has no more of them
            _log.error("a message is not sent yet: %s", error)
            self._give_back(envelope.id)
            return False
        return True

    def _give_back(self, message_id: UUID) -> None:
        with self._lock:
            self._sending.pop(message_id, None)
            self._lock.notify_all()

    def _send(self, channel: Channel, message: Message) -> None:
        try:
            self._settle(channel, message, self._courier.take(channel, message))
        except KeyturnError as error:
            _log.warning("a message was sent and that cannot be kept: %s", error.detail)
        except Exception:  # noqa: BLE001  (a thread that dies tells nobody)
            _log.exception("sending a message failed")
        finally:
            self._give_back(message.envelope.id)
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
