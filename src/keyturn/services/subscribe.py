"""Subscribing: channels are made, changed, given new secrets and taken away.

A channel tells of the whole workspace, so who makes or changes one is its administrator, and who
reads one may read every key of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.channel import (
    MOST_CHANNELS,
    Channel,
    ChannelKind,
    ChannelState,
    SigningSecret,
    check_addresses,
)
from keyturn.domain.error import (
    ChannelUnknown,
    IntegrityFailed,
    PermissionMissing,
    RequestInvalid,
    WorkspaceUnknown,
)
from keyturn.domain.event import check_patterns
from keyturn.domain.instant import SECOND
from keyturn.domain.message import MessageState
from keyturn.domain.permission import Permission
from keyturn.domain.text import check_text, check_url
from keyturn.domain.webhook import SECRET_BYTES, spell_secret
from keyturn.services.context import Context
from keyturn.services.define import require_version
from keyturn.services.identify import Caller, reaffirm
from keyturn.services.journal import Act, Author, Subject, note
from keyturn.storage.log import Change
from keyturn.storage.transaction import Reading, Writing

DEFAULT_OVERLAP_SECONDS = 86_400
LONGEST_OVERLAP_SECONDS = 30 * 86_400

_UNKNOWN = "There is no channel with this id."


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDraft:
    """What a channel is to be."""

    kind: ChannelKind
    name: str
    url: str | None = None
    addresses: tuple[str, ...] = ()
    to_owners: bool = False
    events: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelAmendment:
    """What is to change; None leaves a member as it is."""

    name: str | None = None
    url: str | None = None
    addresses: tuple[str, ...] | None = None
    to_owners: bool | None = None
    events: tuple[str, ...] | None = None
    state: ChannelState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeChannel:
    """A channel, and the signing secret that was made for it just now, if any. It is told this
    once: nobody reads it later."""

    channel: Channel
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedChannel:
    """A channel, and how many of its messages are in which state."""

    channel: Channel
    waiting: int
    dead: int
    last_sent_at: int | None


Remember = Callable[[Writing, MadeChannel], None]


def make_channel(
    context: Context,
    act: Act,
    workspace_id: UUID,
    draft: ChannelDraft,
    remember: Remember | None = None,
) -> MadeChannel:
    """Makes a channel. Raises `RequestInvalid`, `PermissionMissing` or `WorkspaceUnknown`."""
    draft = replace(
        draft, name=check_text(draft.name, "/name"), events=check_patterns(draft.events)
    )
    url, addresses = _checked(
        context, draft.kind, draft.url, draft.addresses, to_owners=draft.to_owners
    )
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now).require(Permission.ADMIN)
        if transaction.workspaces.find(workspace_id) is None:
            raise WorkspaceUnknown("There is no workspace with this id.")
        if transaction.channels.count(workspace_id) >= MOST_CHANNELS:
            raise RequestInvalid.at("", f"A workspace may have at most {MOST_CHANNELS} channels.")
        channel = Channel(
            id=context.new_id(now),
            workspace_id=workspace_id,
            kind=draft.kind,
            name=draft.name,
            url=url,
            addresses=addresses,
            to_owners=draft.to_owners,
            events=draft.events,
            state=ChannelState.ACTIVE,
            reason=None,
            secrets=(),
            since=transaction.log.head.activity_number + 1,
            created_at=now,
            created_by=act.caller.actor.label,
            updated_at=now,
            version=1,
        )
        secret = None
        if draft.kind is ChannelKind.WEBHOOK:
            channel, secret = _with_secret(context, channel, 0, now)
            channel = replace(channel, version=1)
        transaction.channels.add(channel)
        _note(context, transaction, Author.of(act), channel, "created", "was made", now)
        made = MadeChannel(channel=channel, secret=secret)
        if remember is not None:
            remember(transaction, made)
    return made


def amend_channel(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    amendment: ChannelAmendment,
    *,
    expected: frozenset[int] | None = None,
) -> Channel:
    """Changes a channel; one that was disabled is tried again where it is made active."""
    if amendment == ChannelAmendment():
        raise RequestInvalid.at(
            "", "Name at least one member to change; null is as good as absent."
        )
    _require_good(context, amendment)
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        rights.require(Permission.ADMIN)
        channel = find_channel(transaction, workspace_id, id)
        require_version(channel.version, expected)
        following = channel.becoming(_amended(context, channel, amendment), now)
        if following is not channel:
            transaction.channels.replace(following, channel.version)
            _note(context, transaction, Author.of(act), following, "updated", "was changed", now)
    return following


def rotate_secret(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    *,
    overlap_seconds: int | None = None,
    remember: Remember | None = None,
) -> MadeChannel:
    """Gives a webhook a new secret beside the old one, which signs along for the overlap."""
    overlap = DEFAULT_OVERLAP_SECONDS if overlap_seconds is None else overlap_seconds
    if not 0 <= overlap <= LONGEST_OVERLAP_SECONDS:
        raise RequestInvalid.at(
            "/overlap_seconds", f"This is from 0 to {LONGEST_OVERLAP_SECONDS} seconds."
        )
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now).require(Permission.ADMIN)
        channel = find_channel(transaction, workspace_id, id)
        if channel.kind is not ChannelKind.WEBHOOK:
            raise RequestInvalid.at("", "Only a webhook has signing secrets.")
        following, secret = _with_secret(context, channel, overlap * SECOND, now)
        transaction.channels.replace(following, channel.version)
        verb = "has a new signing secret"
        _note(context, transaction, Author.of(act), following, "secret_rotated", verb, now)
        made = MadeChannel(channel=following, secret=secret)
        if remember is not None:
            remember(transaction, made)
    return made


def delete_channel(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    *,
    expected: frozenset[int] | None = None,
) -> None:
    """Takes a channel away, a damaged one too. What waits for it is not sent."""
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now).require(Permission.ADMIN)
        try:
            channel = find_channel(transaction, workspace_id, id)
            require_version(channel.version, expected)
            following = channel.deleted(now)
            transaction.channels.replace(following, channel.version)
        except IntegrityFailed:
            following = _tombstone(transaction, workspace_id, id, now)
            transaction.channels.repair(following)
        transaction.messages.bury(now, "The channel was deleted.", channel_id=id)
        _note(context, transaction, Author.of(act), following, "deleted", "was deleted", now)


def give_up(
    context: Context,
    author: Author,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    reason: str,
) -> bool:
    """Disables a channel whose receiver takes nothing, and says whether it did. What waits for it
    is dead, and may be sent anew once somebody has made it active again."""
    with context.store.change() as transaction:
        now = context.clock.now()
        try:
            channel = transaction.channels.find(workspace_id, id)
        except IntegrityFailed:
            return False
        if channel is None or channel.state is not ChannelState.ACTIVE:
            return False
        following = channel.disabled(reason, now)
        transaction.channels.replace(following, channel.version)
        transaction.messages.bury(now, reason, channel_id=id)
        _note(context, transaction, author, following, "disabled", "was disabled", now)
    return True


def open_secret(context: Context, channel: Channel, secret: SigningSecret) -> bytes:
    """A signing secret to sign with. Raises `IntegrityFailed`."""
    return context.strongbox.open(_place(channel), secret.sealed)


def find_channel(
    transaction: Reading,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> Channel:
    """The channel. Raises `ChannelUnknown`, or `IntegrityFailed` where it is damaged."""
    channel = transaction.channels.find(workspace_id, id)
    if channel is None:
        raise ChannelUnknown(_UNKNOWN)
    return channel


def view_channel(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> ViewedChannel:
    """One channel. Raises `ChannelUnknown` or `PermissionMissing`."""
    require_reading(caller.rights)
    with context.store.read() as transaction:
        return _viewed(transaction, [find_channel(transaction, workspace_id, id)])[0]


def list_channels(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[ViewedChannel], int | None]:
    """Channels, newest first, and how many where asked."""
    require_reading(caller.rights)
    with context.store.read() as transaction:
        found = transaction.channels.list(workspace_id, limit=limit, before=before)
        total = transaction.channels.count(workspace_id) if count else None
        return _viewed(transaction, found), total


def require_reading(rights: Rights) -> None:
    """Raises `PermissionMissing` unless the keys of every slot may be read."""
    if "*" not in rights.slots(Permission.KEYS_READ):
        raise PermissionMissing(
            f"This needs the permission {Permission.KEYS_READ} for every slot of the workspace."
        )


def channel_subject(channel: Channel) -> Subject:
    """How the log names a channel and the change that it has just gone through."""
    return Subject(
        workspace_id=channel.workspace_id,
        type="channel",
        id=str(channel.id),
        change=Change(kind="channel", ref=str(channel.id), version=channel.version),
    )


def _viewed(transaction: Reading, channels: Sequence[Channel]) -> list[ViewedChannel]:
    tally = transaction.messages.tally([one.id for one in channels])
    return [
        ViewedChannel(
            channel=one,
            waiting=tally[one.id].get(MessageState.WAITING, 0),
            dead=tally[one.id].get(MessageState.DEAD, 0),
            last_sent_at=transaction.messages.last_sent_at(one.id),
        )
        for one in channels
    ]


def _require_good(context: Context, amendment: ChannelAmendment) -> None:
    """What is wrong whatever the channel is. Raises `RequestInvalid`."""
    if amendment.name is not None:
        check_text(amendment.name, "/name")
    if amendment.url is not None:
        _checked_url(context, amendment.url)
    check_addresses(amendment.addresses or ())
    if amendment.events is not None:
        check_patterns(amendment.events)


def _amended(context: Context, channel: Channel, amendment: ChannelAmendment) -> Channel:
    to_owners = channel.to_owners if amendment.to_owners is None else amendment.to_owners
    url, addresses = _checked(
        context,
        channel.kind,
        channel.url if amendment.url is None else amendment.url,
        channel.addresses if amendment.addresses is None else amendment.addresses,
        to_owners=to_owners,
    )
    state = channel.state if amendment.state is None else amendment.state
    return replace(
        channel,
        name=channel.name if amendment.name is None else check_text(amendment.name, "/name"),
        url=url,
        addresses=addresses,
        to_owners=to_owners,
        events=channel.events if amendment.events is None else check_patterns(amendment.events),
        state=state,
        reason=channel.reason if state is ChannelState.DISABLED else None,
    )


def _checked(
    context: Context,
    kind: ChannelKind,
    url: str | None,
    addresses: tuple[str, ...],
    *,
    to_owners: bool,
) -> tuple[str | None, tuple[str, ...]]:
    """Where a channel of this kind leads. Raises `RequestInvalid`."""
    if kind is ChannelKind.WEBHOOK:
        if addresses or to_owners:
            raise RequestInvalid.at("/addresses", "A webhook has a `url`, and no addresses.")
        if url is None:
            raise RequestInvalid.at("/url", "A webhook needs the address that it is sent to.")
        return _checked_url(context, url), ()
    if url is not None:
        raise RequestInvalid.at("/url", "Mail has `addresses`, and no `url`.")
    if not context.has_mail:
        raise RequestInvalid.at(
            "/kind",
            "This installation has no mail server. Whoever runs it names one in "
            "KEYTURN_MAIL_SERVER and a sender in KEYTURN_MAIL_FROM.",
        )
    if not addresses and not to_owners:
        raise RequestInvalid.at("/addresses", "Name an address, or send it to the slots' owners.")
    return None, check_addresses(addresses)


def _checked_url(context: Context, url: str) -> str:
    url = check_url(url, "/url")
    if not url.lower().startswith("https:") and not context.may_send_plain:
        raise RequestInvalid.at(
            "/url",
            "This must be an https address: plain http goes only to networks that whoever runs "
            "Keyturn allows in its settings.",
        )
    return url


def _with_secret(context: Context, channel: Channel, overlap: int, now: int) -> tuple[Channel, str]:
    secret = context.entropy.take(SECRET_BYTES)
    sealed = context.strongbox.seal(context.entropy, _place(channel), secret)
    return channel.with_secret(sealed, overlap, now), spell_secret(secret)


def _place(channel: Channel) -> tuple[str, ...]:
    return ("channels", "secrets", str(channel.workspace_id), str(channel.id))


def _tombstone(
    transaction: Writing,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    now: int,
) -> Channel:
    """A good, empty record for the place of a damaged one, above all versions that ever were."""
    return Channel(
        id=id,
        workspace_id=workspace_id,
        kind=ChannelKind.WEBHOOK,
        name="-",
        url=None,
        addresses=(),
        to_owners=False,
        events=(),
        state=ChannelState.DELETED,
        reason=None,
        secrets=(),
        since=transaction.log.head.activity_number,
        created_at=now,
        created_by="-",
        updated_at=now,
        version=transaction.activity.next_version("channel", str(id)),
    )


def _note(
    context: Context,
    transaction: Writing,
    author: Author,
    channel: Channel,
    action: str,
    verb: str,
    now: int,
) -> None:
    why = {} if channel.reason is None else {"reason": channel.reason}
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"channel.{action}",
        category=Category.INTEGRATION,
        subject=channel_subject(channel),
        message=f"Channel {channel.name} {verb}.",
        metadata={"kind": channel.kind.value, "events": list(channel.events), **why},
        now=now,
    )
