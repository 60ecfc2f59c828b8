"""Expiring: what waits in the outbox for too long, or beside too much, is dead, with its reason.

1. Of a paused channel what was due for as long as news is news (`NEWS`) waits no longer.
2. For one channel no more than `MOST_WAITING` messages wait; the oldest go first.
3. Both are dead and not gone: a person may have them sent anew.
"""

from collections.abc import Sequence
from uuid import UUID

from keyturn.domain.channel import ChannelState
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.instant import DAY
from keyturn.domain.message import NEWS, MessageState
from keyturn.services.context import Context
from keyturn.storage.transaction import Reading

MOST_WAITING = 100_000

PAUSED = f"It waited for longer than {NEWS // DAY} days: the channel was paused."
TOO_MANY = "More messages waited for this channel than are kept: the oldest were let go."


def expire_messages(
    context: Context, now: int, *, limit: int, most_waiting: int = MOST_WAITING
) -> int:
    """Buries at most `limit` messages, and says how many."""
    with context.store.read() as reading:
        waiting = reading.messages.waiting_channels()
        tally = reading.messages.tally(waiting) if waiting else {}
        paused = [one for one in waiting if _is_paused(reading, one)]
    excess = {one: tally[one].get(MessageState.WAITING, 0) - most_waiting for one in waiting}
    crowded = [one for one in waiting if excess[one] > 0]
    if not paused and not crowded:
        return 0
    return _bury(context, now, limit, paused, {one: excess[one] for one in crowded})


def _bury(
    context: Context, now: int, limit: int, paused: Sequence[UUID], excess: dict[UUID, int]
) -> int:
    left = limit
    with context.store.record() as transaction:
        outbox = transaction.messages
        for channel_id, number in excess.items():
            most = min(number, left)
            left -= outbox.bury_earliest(channel_id, now, TOO_MANY, limit=most)
        for channel_id in paused:
            left -= outbox.bury_earliest(channel_id, now, PAUSED, limit=left, due_before=now - NEWS)
    return limit - left


def _is_paused(reading: Reading, channel_id: UUID) -> bool:
    """A damaged channel is no paused one: the notifier sees to what waits for it."""
    workspace_id = reading.channels.workspace_of(channel_id)
    if workspace_id is None:
        return False
    try:
        channel = reading.channels.find(workspace_id, channel_id)
    except IntegrityFailed:
        return False
    return channel is not None and channel.state is ChannelState.PAUSED
