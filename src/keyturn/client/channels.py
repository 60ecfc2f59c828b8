"""`/v1/channels`: where a workspace is told of events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from keyturn.client.call import Answer, Call, Listing, body, if_match, once, query, reading, segment
from keyturn.client.channel_records import Channel, MadeChannel, Message, Replayed
from keyturn.client.errors import NotUnderstood
from keyturn.client.paging import listing

_PATH = "/v1/channels"
_channel = reading(Channel)
_made = reading(MadeChannel)
_message = reading(Message)
_replayed = reading(Replayed)

ChannelKind = Literal["webhook", "email"]
ChannelState = Literal["active", "paused"]


def create_channel(
    kind: ChannelKind,
    name: str,
    *,
    url: str | None = None,
    addresses: Sequence[str] | None = None,
    to_owners: bool | None = None,
    events: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[MadeChannel]:
    """Makes a channel: a webhook with a `url`, or mail to `addresses`, and to the owners of slots.
    `events` are types, nouns like `rotation.*`, or `*`, which is taken where none are given. The
    signing secret of a webhook is answered this once, in `.signing_secret`."""
    return Call(
        method="POST",
        path=_PATH,
        content=body(
            kind=kind, name=name, url=url, addresses=addresses, to_owners=to_owners, events=events
        ),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_made,
    )


def list_channels(*, limit: int | None = None, count: bool = False) -> Listing[Channel]:
    """The channels of the workspace, newest first."""
    return listing(Channel, _PATH, query(limit=limit, count=count or None))


def read_channel(id: str) -> Call[Channel]:  # noqa: A002
    """A channel by its id."""
    return Call(method="GET", path=_path(id), read=_channel)


def change_channel(
    id: str,  # noqa: A002
    *,
    name: str | None = None,
    url: str | None = None,
    addresses: Sequence[str] | None = None,
    to_owners: bool | None = None,
    events: Sequence[str] | None = None,
    state: ChannelState | None = None,
    version: int | None = None,
) -> Call[Channel]:
    """Changes what is given. A channel that is paused gathers messages and sends none; one that was
    disabled is tried again where it is made active."""
    return Call(
        method="PATCH",
        path=_path(id),
        headers=if_match(version),
        content=body(
            name=name,
            url=url,
            addresses=addresses,
            to_owners=to_owners,
            events=events,
            state=state,
        ),
        may_repeat=version is None,
        read=_channel,
    )


def delete_channel(id: str, *, version: int | None = None) -> Call[None]:  # noqa: A002
    """Takes a channel away; what waits for it is not sent."""
    return Call(
        method="DELETE",
        path=_path(id),
        headers=if_match(version),
        may_repeat=False,
        read=_nothing,
    )


def rotate_secret(
    id: str,  # noqa: A002
    *,
    overlap_seconds: int | None = None,
    idempotency_key: str | None = None,
) -> Call[MadeChannel]:
    """Gives a webhook a new signing secret; the old one signs along for the overlap."""
    return Call(
        method="POST",
        path=f"{_path(id)}/secrets",
        content=body(overlap_seconds=overlap_seconds),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_made,
    )


def try_channel(id: str, *, idempotency_key: str | None = None) -> Call[Message]:  # noqa: A002
    """Has a trial sent, by the way that all messages take."""
    return Call(
        method="POST",
        path=f"{_path(id)}/test",
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_message,
    )


def replay_channel(
    id: str,  # noqa: A002
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    idempotency_key: str | None = None,
) -> Call[Replayed]:
    """Has all that is dead of a channel sent anew, in order."""
    return Call(
        method="POST",
        path=f"{_path(id)}/replay",
        content=body(since=since, until=until),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_replayed,
    )


def _path(id: str) -> str:  # noqa: A002
    return f"{_PATH}/{segment(id)}"


def _nothing(answer: Answer) -> None:
    """A deletion is answered without a body."""
    if answer.status != 204:
        raise NotUnderstood(answer.status, "it is no answer to a deletion")
