"""Corresponding: messages are read, a channel is tried out, and what was not taken is sent anew."""

from collections.abc import Callable, Sequence
from uuid import UUID

from keyturn.domain.activity import ActivityStatus, Category, Entry
from keyturn.domain.channel import Channel, ChannelState
from keyturn.domain.error import ChannelInactive, MessageUnknown
from keyturn.domain.event import TRIAL
from keyturn.domain.instant import DAY, format_instant
from keyturn.domain.message import Message
from keyturn.domain.permission import Permission
from keyturn.services.announce import compose_event, make_message
from keyturn.services.context import Context
from keyturn.services.identify import Caller, reaffirm
from keyturn.services.journal import Act, Subject, note
from keyturn.services.subscribe import find_channel, require_reading
from keyturn.storage.messages import MessageFilter
from keyturn.storage.transaction import Writing

_UNKNOWN = "There is no message with this id."

Remember = Callable[[Writing, Message], None]
RememberCount = Callable[[Writing, int], None]


def try_channel(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    remember: Remember | None = None,
) -> Message:
    """Has a trial sent to the channel, by the way that all messages take. Raises `ChannelUnknown`
    or `ChannelInactive`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now).require(Permission.ADMIN)
        channel = _active(transaction, workspace_id, id)
        entry = _trial(context, act, channel, now)
        transaction.log.append(entry)
        number = transaction.log.head.activity_number
        body = compose_event(entry, None)
        message = make_message(channel, entry, number, body, channel.addresses, now)
        transaction.messages.add(message)
        if remember is not None:
            remember(transaction, message)
    return message


def _trial(context: Context, act: Act, channel: Channel, now: int) -> Entry:
    """The log's own entry, since its id makes the message's."""
    return Entry(
        id=context.new_id(now),
        workspace_id=channel.workspace_id,
        actor=act.caller.actor,
        action=TRIAL,
        category=Category.INTEGRATION,
        resource_type="channel",
        resource_id=str(channel.id),
        resource_version=None,
        status=ActivityStatus.SUCCESS,
        message=f"Channel {channel.name} was tried out.",
        metadata={"kind": channel.kind.value},
        request_id=act.request_id,
        retention_days=context.activity_retention_days,
        created_at=now,
        expires_at=now + context.activity_retention_days * DAY,
        position=None,
    )


def replay_message(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    remember: Remember | None = None,
) -> Message:
    """Has a message sent anew, whatever became of it; its id stays. Raises `MessageUnknown` or
    `ChannelInactive`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now).require(Permission.ADMIN)
        message = transaction.messages.find(workspace_id, id)
        if message is None:
            raise MessageUnknown(_UNKNOWN)
        channel = _active(transaction, workspace_id, message.envelope.channel_id)
        following = message.revived(now)
        transaction.messages.keep(following)
        note(
            context,
            transaction,
            actor=act.caller.actor,
            request_id=act.request_id,
            action="message.replayed",
            category=Category.INTEGRATION,
            subject=Subject(workspace_id=workspace_id, type="message", id=str(id)),
            message=f"A message to channel {channel.name} is sent anew.",
            metadata={"channel_id": str(channel.id), "event": message.envelope.event},
            now=now,
        )
        if remember is not None:
            remember(transaction, following)
    return following


def replay_channel(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    *,
    since: int | None = None,
    until: int | None = None,
    remember: RememberCount | None = None,
) -> int:
    """Has all that is dead of a channel sent anew, in order. Says how much it was."""
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now).require(Permission.ADMIN)
        channel = _active(transaction, workspace_id, id)
        revived = transaction.messages.revive(id, now, since=since, until=until)
        note(
            context,
            transaction,
            actor=act.caller.actor,
            request_id=act.request_id,
            action="channel.replayed",
            category=Category.INTEGRATION,
            subject=Subject(workspace_id=workspace_id, type="channel", id=str(id)),
            message=f"What channel {channel.name} was not given is sent anew: {revived} messages.",
            metadata={
                "messages": revived,
                "since": None if since is None else format_instant(since),
                "until": None if until is None else format_instant(until),
            },
            now=now,
        )
        if remember is not None:
            remember(transaction, revived)
    return revived


def _active(
    transaction: Writing,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> Channel:
    channel = find_channel(transaction, workspace_id, id)
    if channel.state is not ChannelState.ACTIVE:
        raise ChannelInactive(
            f"This channel is {channel.state} and sends nothing; make it active first."
        )
    return channel


def view_message(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> Message:
    """One message. Raises `MessageUnknown` or `PermissionMissing`."""
    require_reading(caller.rights)
    with context.store.read() as transaction:
        message = transaction.messages.find(workspace_id, id)
    if message is None:
        raise MessageUnknown(_UNKNOWN)
    return message


def list_messages(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: MessageFilter,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[Message], int | None]:
    """Messages, newest first, and how many where asked."""
    require_reading(caller.rights)
    with context.store.read() as transaction:
        messages = transaction.messages.list(workspace_id, wanted, limit=limit, before=before)
        return messages, transaction.messages.count(workspace_id, wanted) if count else None


def bury_restored(transaction: Writing, now: int) -> int:
    """What waits in a restored copy was, as far as anybody knows, sent since: it is dead, and a
    person may send it anew. Says how much it was."""
    return transaction.messages.bury(
        now, "It waited when this copy was made, and may have been sent since."
    )
