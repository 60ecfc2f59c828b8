"""`/v1/messages`: what is on its way to channels, what arrived, and what did not."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from keyturn.domain.message import Message, MessageState, Outcome
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer, answer_list
from keyturn.http.call import Admitted, MessageId
from keyturn.http.given import given_id
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.key_bodies import NothingGiven
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.http.schema import GivenInstant, Paged, Shown, ShownInstant
from keyturn.http.spelling import Id, Sought
from keyturn.services.correspond import list_messages, replay_message, view_message
from keyturn.storage.messages import MessageFilter
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["notifications"], route_class=GuardedRoute)


class AttemptBody(Shown):
    at: ShownInstant
    outcome: Outcome
    status: str | None


class MessageBody(Shown):
    id: str
    workspace_id: str
    channel_id: str
    event: str
    subject: str
    state: MessageState
    reason: str | None
    tries: int
    next_try_at: ShownInstant | None
    recipients: list[str]
    created_at: ShownInstant
    ended_at: ShownInstant | None
    attempts: list[AttemptBody]
    payload: dict[str, object]

    @classmethod
    def of(cls, message: Message) -> "MessageBody":
        envelope = message.envelope
        is_waiting = message.state is MessageState.WAITING
        return cls(
            id=str(envelope.id),
            workspace_id=str(envelope.workspace_id),
            channel_id=str(envelope.channel_id),
            event=envelope.event,
            subject=envelope.subject,
            state=message.state,
            reason=message.reason,
            tries=message.tries,
            next_try_at=message.due_at if is_waiting else None,
            recipients=list(envelope.recipients),
            created_at=envelope.created_at,
            ended_at=message.ended_at,
            attempts=[
                AttemptBody(at=one.at, outcome=one.outcome, status=one.status)
                for one in message.attempts
            ],
            payload=json.loads(envelope.body),
        )


class MessagesAsked(Paged):
    channel_id: Id | None = None
    state: MessageState | None = None
    event: Sought | None = None
    subject: Sought | None = None
    since: GivenInstant | None = None
    until: GivenInstant | None = None

    def wanted(self) -> MessageFilter:
        return MessageFilter(
            channel_id=given_id(self.channel_id, "/channel_id"),
            state=self.state,
            event=self.event,
            subject=self.subject,
            since=self.since,
            until=self.until,
        )


@router.get(
    "/v1/messages",
    summary="List messages",
    response_model=list[MessageBody],
    **guard(Permission.KEYS_READ),
)
def get_messages(
    request: Request, call: Admitted, asked: Annotated[MessagesAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    found, total = list_messages(
        call.context,
        call.caller,
        call.home(),
        asked.wanted(),
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.envelope.id))
    return answer_list(request, [MessageBody.of(one) for one in page], cursor=cursor, total=total)


@router.get(
    "/v1/messages/{id}",
    summary="Read a message, with its attempts",
    response_model=MessageBody,
    **guard(Permission.KEYS_READ),
)
def get_message(call: Admitted, id: MessageId) -> Response:  # noqa: A002
    home, id_ = call.named_message(id)
    return answer(MessageBody.of(view_message(call.context, call.caller, home, id_)))


@router.post(
    "/v1/messages/{id}/replay",
    summary="Send a message anew, with the id that it has",
    status_code=202,
    response_model=MessageBody,
    **guard(Permission.ADMIN, action="message.replayed"),
)
def post_message_replay(
    call: Admitted,
    id: MessageId,  # noqa: A002
    body: NothingGiven | None = None,  # noqa: ARG001  (refuses members)
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_message(id)
    with replaying(call, idempotency_key, f"POST /v1/messages/{id_}/replay", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, message: Message) -> None:
            replay.keep(transaction, status=202, headers={}, body=lambda: MessageBody.of(message))

        message = replay_message(call.context, call.act, home, id_, remember)
    return answer(MessageBody.of(message), status=202)
