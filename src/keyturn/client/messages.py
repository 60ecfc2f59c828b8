"""`/v1/messages`: what is on its way to channels, what arrived, and what did not."""

from datetime import datetime
from typing import Literal

from keyturn.client.call import Call, Listing, once, query, reading, segment
from keyturn.client.channel_records import Message
from keyturn.client.paging import listing

_PATH = "/v1/messages"
_message = reading(Message)

MessageState = Literal["waiting", "sent", "dead"]


def list_messages(
    *,
    channel_id: str | None = None,
    state: MessageState | None = None,
    event: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[Message]:
    """The messages of the workspace, newest first."""
    return listing(
        Message,
        _PATH,
        query(
            channel_id=channel_id,
            state=state,
            event=event,
            subject=subject,
            since=since,
            until=until,
            limit=limit,
            count=count or None,
        ),
    )


def read_message(id: str) -> Call[Message]:  # noqa: A002
    """A message by its id, with its attempts and what it says."""
    return Call(method="GET", path=f"{_PATH}/{segment(id)}", read=_message)


def replay_message(id: str, *, idempotency_key: str | None = None) -> Call[Message]:  # noqa: A002
    """Has a message sent anew, whatever became of it; its id stays."""
    return Call(
        method="POST",
        path=f"{_PATH}/{segment(id)}/replay",
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_message,
    )
