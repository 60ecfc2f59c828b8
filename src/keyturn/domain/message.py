"""The message: one event on its way to one channel, and when it is tried again.

1. Its id is made of the event's and the channel's: whoever makes it twice makes the same one, and a
   receiver that is sent it twice can tell.
2. A message is sent after all earlier ones of its channel and subject, and never beside them.
3. It is tried on a schedule that grows to a day; then it is dead, and waits for a person.
4. What is known of the attempts are times and our own words: nothing that the other side has said.
"""

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.instant import DAY, SECOND

# After how many seconds a message is tried again: the schedule that Standard Webhooks recommends.
RETRY_SECONDS: tuple[int, ...] = (
    5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
)  # fmt: skip
# Of two that failed together the next attempts lie apart: by up to so much of the time.
JITTER = 0.1
LONGEST_RETRY_AFTER = DAY
# A receiver that answers again is given what waits at once, instead of each message at its own
# time; but no message more often than this, lest one that alone is refused use up its attempts.
MOST_HURRIES = 3
MOST_ATTEMPTS_TOLD = 20
# What is older is no news: after a long stop, or where the place in the log was lost.
NEWS = 7 * DAY


class MessageState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"


class Outcome(StrEnum):
    """How an attempt ended."""

    ACCEPTED = "accepted"
    REDIRECTED = "redirected"
    GONE = "gone"
    REFUSED = "refused"  # 4xx
    BUSY = "busy"  # 429, 503
    BROKEN = "broken"  # 5xx
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    ADDRESS_REFUSED = "address_refused"  # our own guard
    NOT_UNDERSTOOD = "not_understood"
    NOT_SENDABLE = "not_sendable"  # ours: a secret or a record that cannot be used


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that a message was sent. `status` is the answer's class, like `5xx`."""

    at: int
    outcome: Outcome
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a message is, once and for all. `body` is JSON; `number` is that of the log's entry;
    `recipients` are the addresses of mail."""

    id: UUID
    channel_id: UUID
    workspace_id: UUID
    number: int
    event: str
    subject: str
    body: str = field(repr=False)
    recipients: tuple[str, ...]
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An envelope, and how far it has come. `reached` are the recipients that have it; `tries` are
    counted from its beginning or its last replay, `attempts` are the last of all there were."""

    envelope: Envelope
    state: MessageState
    tries: int
    due_at: int
    hurries: int
    ended_at: int | None
    reason: str | None
    reached: tuple[str, ...]
    attempts: tuple[Attempt, ...]

    def revived(self, now: int) -> "Message":
        """To be sent anew, to all of its recipients, from the beginning of its schedule. One that
        waits is only due at once: who has it already is not sent it twice."""
        is_waiting = self.state is MessageState.WAITING
        return replace(
            self,
            state=MessageState.WAITING,
            tries=0,
            hurries=0,
            due_at=now,
            ended_at=None,
            reason=None,
            reached=self.reached if is_waiting or self.state is MessageState.DEAD else (),
        )

    def attempted(
        self, attempt: Attempt, reached: tuple[str, ...], due_at: int | None, reason: str
    ) -> "Message":
        """After one more attempt. It is dead, for `reason`, where it was not accepted and is not
        due again."""
        attempts = (*self.attempts, attempt)[-MOST_ATTEMPTS_TOLD:]
        tried = replace(self, tries=self.tries + 1, attempts=attempts, reached=reached)
        if attempt.outcome is Outcome.ACCEPTED:
            return replace(tried, state=MessageState.SENT, ended_at=attempt.at, reason=None)
        if due_at is None:
            return replace(tried, state=MessageState.DEAD, ended_at=attempt.at, reason=reason)
        return replace(tried, due_at=due_at)


def message_id(event_id: UUID, channel_id: UUID) -> UUID:
    """The id of the message that tells a channel of an event: a version 7 UUID of its time, so that
    later ones sort later."""
    chance = hashlib.sha256(event_id.bytes + channel_id.bytes).digest()[:8]
    head = int.from_bytes(event_id.bytes[:8], "big")
    tail = 0b10 << 62 | int.from_bytes(chance, "big") >> 2
    return UUID(int=head << 64 | tail)


def next_try(
    schedule: tuple[int, ...], tries: int, now: int, chance: float, retry_after: int | None
) -> int | None:
    """When a message that has failed so often is tried again, None where that was the last time.
    `retry_after` is the receiver's own wish, in seconds; `chance` is from 0 to 1."""
    if tries > len(schedule):
        return None
    wait = round(schedule[tries - 1] * SECOND * (1 + JITTER * chance))
    if retry_after is not None:
        wait = max(wait, min(retry_after * SECOND, LONGEST_RETRY_AFTER))
    return now + wait


def longest_wait(schedule: tuple[int, ...]) -> int:
    """What no message waits longer than until it is tried again."""
    return max(round(max(schedule, default=0) * SECOND * (1 + JITTER)), LONGEST_RETRY_AFTER)
