"""`/v1/channels`: where a workspace is told of events, by webhook or by mail."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from keyturn.domain.channel import MOST_ADDRESSES, Channel, ChannelKind, ChannelState
from keyturn.domain.event import MOST_PATTERNS
from keyturn.domain.message import Message
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, Call, ChannelId
from keyturn.http.given import given_id
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.key_bodies import NothingGiven
from keyturn.http.messages import MessageBody
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.precondition import IfMatch, expected_versions
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.http.schema import Given, GivenInstant, Paged, Shown, ShownInstant
from keyturn.http.spelling import EventPattern, MailAddress, Name, Url
from keyturn.services.correspond import replay_channel, try_channel
from keyturn.services.subscribe import (
    DEFAULT_OVERLAP_SECONDS,
    LONGEST_OVERLAP_SECONDS,
    ChannelAmendment,
    ChannelDraft,
    MadeChannel,
    ViewedChannel,
    amend_channel,
    delete_channel,
    list_channels,
    make_channel,
    rotate_secret,
    view_channel,
)
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["notifications"], route_class=GuardedRoute)

NO_STORE = {"Cache-Control": "no-store"}

Addresses = Annotated[list[MailAddress], Field(max_length=MOST_ADDRESSES)]
Patterns = Annotated[list[EventPattern], Field(min_length=1, max_length=MOST_PATTERNS)]


class GivenChannel(Given):
    """What a channel is to be: a webhook has a `url`, mail has `addresses` or goes `to_owners`."""

    kind: Literal["webhook", "email"]
    name: Name
    url: Url | None = Field(default=None, examples=["https://hooks.example.com/keyturn"])
    addresses: Addresses | None = None
    to_owners: bool | None = Field(
        default=None, description="Also to the owner of the event's slot, where that is an address."
    )
    events: Patterns | None = Field(
        default=None, description="Like `rotation.completed`, `finding.*`, or `*`, which is taken."
    )

    def draft(self) -> ChannelDraft:
        return ChannelDraft(
            kind=ChannelKind(self.kind),
            name=self.name,
            url=self.url,
            addresses=tuple(self.addresses or ()),
            to_owners=self.to_owners is True,
            events=("*",) if self.events is None else tuple(self.events),
        )


class GivenChannelAmendment(Given):
    name: Name | None = None
    url: Url | None = None
    addresses: Addresses | None = None
    to_owners: bool | None = None
    events: Patterns | None = None
    state: Literal["active", "paused"] | None = Field(
        default=None, description="What is paused gathers messages and sends none."
    )

    def amendment(self) -> ChannelAmendment:
        return ChannelAmendment(
            name=self.name,
            url=self.url,
            addresses=None if self.addresses is None else tuple(self.addresses),
            to_owners=self.to_owners,
            events=None if self.events is None else tuple(self.events),
            state=None if self.state is None else ChannelState(self.state),
        )


class GivenSecretRotation(Given):
    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_SECONDS)] | None = Field(
        default=None,
        description="How long the old secret signs along; "
        f"{DEFAULT_OVERLAP_SECONDS} where nothing is said.",
    )


class GivenReplay(Given):
    since: GivenInstant | None = None
    until: GivenInstant | None = None


class ShownSecret(Shown):
    created_at: ShownInstant
    ends_at: ShownInstant | None


class ChannelBody(Shown):
    id: str
    workspace_id: str
    kind: ChannelKind
    name: str
    url: str | None
    addresses: list[str]
    to_owners: bool
    events: list[str]
    state: ChannelState
    reason: str | None
    secrets: list[ShownSecret]
    messages_waiting: int
    messages_dead: int
    last_sent_at: ShownInstant | None
    created_at: ShownInstant
    created_by: str
    updated_at: ShownInstant
    version: int


class MadeChannelBody(ChannelBody):
    """A channel with its newest signing secret, which is answered this once."""

    secret: str | None


class ReplayedBody(Shown):
    channel_id: str
    messages: int


def _members(call: Call, viewed: ViewedChannel) -> dict[str, object]:
    channel = viewed.channel
    is_admin = Permission.ADMIN in call.caller.rights.permissions
    secrets = channel.live_secrets(call.context.clock.now())
    return {
        "id": str(channel.id),
        "workspace_id": str(channel.workspace_id),
        "kind": channel.kind,
        "name": channel.name,
        "url": channel.url if is_admin else _origin(channel.url),
        "addresses": list(channel.addresses),
        "to_owners": channel.to_owners,
        "events": list(channel.events),
        "state": channel.state,
        "reason": channel.reason,
        "secrets": [ShownSecret(created_at=one.created_at, ends_at=one.ends_at) for one in secrets],
        "messages_waiting": viewed.waiting,
        "messages_dead": viewed.dead,
        "last_sent_at": viewed.last_sent_at,
        "created_at": channel.created_at,
        "created_by": channel.created_by,
        "updated_at": channel.updated_at,
        "version": channel.version,
    }


def _origin(url: str | None) -> str | None:
    """What is told to who only reads: in the path of many a webhook stands a password."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def _new(channel: Channel) -> ViewedChannel:
    return ViewedChannel(channel=channel, waiting=0, dead=0, last_sent_at=None)


def _body(call: Call, viewed: ViewedChannel) -> ChannelBody:
    return ChannelBody.model_validate(_members(call, viewed))


def _made_body(call: Call, made: MadeChannel, secret: str | None) -> MadeChannelBody:
    members = _members(call, _new(made.channel))
    return MadeChannelBody.model_validate({**members, "secret": secret})


def _headers(channel: Channel) -> dict[str, str]:
    return {"ETag": etag(channel.version), "Location": f"/v1/channels/{channel.id}"}


@router.post(
    "/v1/channels",
    summary="Make a channel",
    description="The signing secret of a webhook is answered this once.",
    status_code=201,
    response_model=MadeChannelBody,
    **guard(Permission.ADMIN, action="channel.created"),
)
def post_channel(
    call: Admitted, body: GivenChannel, idempotency_key: IdempotencyKey = None
) -> Response:
    home = call.home()
    with replaying(call, idempotency_key, "POST /v1/channels", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, made: MadeChannel) -> None:
            replay.keep(
                transaction,
                status=201,
                headers=_headers(made.channel),
                body=lambda: _made_body(call, made, None),
            )

        made = make_channel(call.context, call.act, home, body.draft(), remember)
    return answer(
        _made_body(call, made, made.secret),
        status=201,
        headers={**_headers(made.channel), **NO_STORE},
    )


@router.get(
    "/v1/channels",
    summary="List channels",
    response_model=list[ChannelBody],
    **guard(Permission.KEYS_READ),
)
def get_channels(request: Request, call: Admitted, asked: Annotated[Paged, Query()]) -> Response:
    before = decode_cursor(asked.cursor, str)
    found, total = list_channels(
        call.context,
        call.caller,
        call.home(),
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    cursor = None if last is None else encode_cursor(str(last.channel.id))
    return answer_list(request, [_body(call, one) for one in page], cursor=cursor, total=total)


@router.get(
    "/v1/channels/{id}",
    summary="Read a channel",
    response_model=ChannelBody,
    **guard(Permission.KEYS_READ),
)
def get_channel(call: Admitted, id: ChannelId) -> Response:  # noqa: A002
    home, id_ = call.named_channel(id)
    viewed = view_channel(call.context, call.caller, home, id_)
    return answer(_body(call, viewed), headers={"ETag": etag(viewed.channel.version)})


@router.patch(
    "/v1/channels/{id}",
    summary="Change a channel, pause it, or try it again",
    response_model=ChannelBody,
    **guard(Permission.ADMIN, action="channel.updated"),
)
def patch_channel(
    call: Admitted,
    id: ChannelId,  # noqa: A002
    body: GivenChannelAmendment,
    if_match: IfMatch = None,
) -> Response:
    home, id_ = call.named_channel(id)
    expected = expected_versions(if_match)
    amend_channel(call.context, call.act, home, id_, body.amendment(), expected=expected)
    viewed = view_channel(call.context, call.caller, home, id_)
    return answer(_body(call, viewed), headers={"ETag": etag(viewed.channel.version)})


@router.delete(
    "/v1/channels/{id}",
    summary="Take a channel away; what waits for it is not sent",
    status_code=204,
    response_class=Response,
    **guard(Permission.ADMIN, action="channel.deleted"),
)
def remove_channel(
    call: Admitted,
    id: ChannelId,  # noqa: A002
    if_match: IfMatch = None,
) -> Response:
    home, id_ = call.named_channel(id)
    delete_channel(call.context, call.act, home, id_, expected=expected_versions(if_match))
    return Response(status_code=204)


@router.post(
    "/v1/channels/{id}/secrets",
    summary="Give a webhook a new signing secret beside the old one",
    description="Both sign until the overlap is over. The new one is answered this once.",
    status_code=201,
    response_model=MadeChannelBody,
    **guard(Permission.ADMIN, action="channel.secret_rotated"),
)
def post_secret(
    call: Admitted,
    id: ChannelId,  # noqa: A002
    body: GivenSecretRotation | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_channel(id)
    with replaying(call, idempotency_key, f"POST /v1/channels/{id_}/secrets", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, made: MadeChannel) -> None:
            replay.keep(
                transaction,
                status=201,
                headers=_headers(made.channel),
                body=lambda: _made_body(call, made, None),
            )

        made = rotate_secret(
            call.context,
            call.act,
            home,
            id_,
            overlap_seconds=None if body is None else body.overlap_seconds,
            remember=remember,
        )
    return answer(
        _made_body(call, made, made.secret),
        status=201,
        headers={**_headers(made.channel), **NO_STORE},
    )


@router.post(
    "/v1/channels/{id}/test",
    summary="Send a trial by the way that all messages take",
    status_code=202,
    response_model=MessageBody,
    **guard(Permission.ADMIN, action="channel.test"),
)
def post_test(
    call: Admitted,
    id: ChannelId,  # noqa: A002
    body: NothingGiven | None = None,  # noqa: ARG001  (refuses members)
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_channel(id)
    with replaying(call, idempotency_key, f"POST /v1/channels/{id_}/test", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, message: Message) -> None:
            replay.keep(transaction, status=202, headers={}, body=lambda: MessageBody.of(message))

        message = try_channel(call.context, call.act, home, id_, remember)
    return answer(MessageBody.of(message), status=202)


@router.post(
    "/v1/channels/{id}/replay",
    summary="Send anew what a channel was not given",
    status_code=202,
    response_model=ReplayedBody,
    **guard(Permission.ADMIN, action="channel.replayed"),
)
def post_channel_replay(
    call: Admitted,
    id: ChannelId,  # noqa: A002
    body: GivenReplay | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_channel(id)
    asked = GivenReplay() if body is None else body
    with replaying(call, idempotency_key, f"POST /v1/channels/{id_}/replay", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, messages: int) -> None:
            shown = ReplayedBody(channel_id=str(id_), messages=messages)
            replay.keep(transaction, status=202, headers={}, body=lambda: shown)

        messages = replay_channel(
            call.context,
            call.act,
            home,
            id_,
            since=asked.since,
            until=asked.until,
            remember=remember,
        )
    return answer(ReplayedBody(channel_id=str(id_), messages=messages), status=202)
