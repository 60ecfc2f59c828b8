"""`/v1/verify`, as a raw ASGI callable: the hot path has no framework in it.

1. A call is answered only when there is room to record it; it never waits for the recording.
2. What was looked at must be new enough at the moment of the answer, not at that of the look: the
   sight is asked last, and nothing is waited for between that and the sending. It is so for each
   answer that comes of what was looked at, denials and refusals of the caller included.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import msgspec

from keyturn.domain.activity import ActorType
from keyturn.domain.browser import browser_sign
from keyturn.domain.error import (
    FreshnessLost,
    KeyturnError,
    MethodNotAllowed,
    RequestInvalid,
    RequestMalformed,
)
from keyturn.domain.instant import format_instant
from keyturn.domain.key import Key
from keyturn.domain.network import Address, parse_address
from keyturn.domain.permission import Permission
from keyturn.domain.place import place_of
from keyturn.domain.redaction import holds_shape
from keyturn.domain.request import Request
from keyturn.domain.runtime import check_runtime, identify_runtime, is_runtime
from keyturn.domain.scope import MOST_SCOPES, check_scopes
from keyturn.domain.token import Token, parse_token
from keyturn.domain.verdict import VerdictCode
from keyturn.http.body import Receive, check_media_type, parse_json
from keyturn.http.credential import presented_token
from keyturn.http.desk import Desk
from keyturn.http.origin import caller_address
from keyturn.http.spelling import ADDRESS, HEADERS, RUNTIME, SCOPE
from keyturn.http.tenancy import named_workspace
from keyturn.http.told_headers import headers_in
from keyturn.services.identify import MALFORMED, Caller, identify, reference
from keyturn.services.locate import locate_workspace
from keyturn.services.meter import user_of
from keyturn.services.verify import Answer, Question, verify
from keyturn.storage.contract import CredentialReading, Deprecation, KeyCredential

PATH = "/v1/verify"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_POSITION = re.compile(rb"[0-9]{1,18}")
_POINTER = re.compile(r"(.*) - at `\$([^`]*)`", re.DOTALL)


class VerifyBody(msgspec.Struct, frozen=True, gc=False):
    """What may be asked. Members that this version does not know are ignored."""

    api_key: str
    scopes: (
        Annotated[
            list[Annotated[str, msgspec.Meta(extra_json_schema=SCOPE)]],
            msgspec.Meta(max_length=MOST_SCOPES),
        ]
        | None
    ) = None
    request_id: str | None = None
    ip: Annotated[str, msgspec.Meta(extra_json_schema=ADDRESS)] | None = None
    user_agent: str | None = None
    runtime: Annotated[str, msgspec.Meta(extra_json_schema=RUNTIME)] | None = None
    environment: str | None = None
    method: str | None = None
    path: str | None = None
    headers: Annotated[Any, msgspec.Meta(extra_json_schema=HEADERS)] = None


class VerifiedKey(msgspec.Struct, frozen=True, gc=False):
    """What a verdict tells of a key whose secret was right."""

    id: str
    name: str
    service: str
    environment: str
    workspace_id: str
    owner: str | None
    scopes: tuple[str, ...]
    metadata: msgspec.Raw


class VerdictBody(msgspec.Struct, frozen=True, gc=False):
    """The answer. `as_of` is a position of the log that the state judged is at least as new as.
    `grace` is there where this node has lost its sight of the database, and answers all the same,
    as the workspace allows."""

    valid: bool
    code: str
    request_id: str
    key: VerifiedKey | None
    as_of: int
    deprecation: "ShownDeprecation | None" = None
    grace: "ShownGrace | None" = None


class ShownGrace(msgspec.Struct, frozen=True, gc=False):
    """By how much the answer is older than Keyturn promises."""

    late_seconds: int


class ShownDeprecation(msgspec.Struct, frozen=True, gc=False):
    """Said of a key that is being rotated away: since when, until when, by which rotation."""

    since: str
    sunset: str
    rotation_id: str


_decode = msgspec.json.Decoder(VerifyBody).decode
# The decoder takes the last of two members of one name, another parser the first. Where a member
# may stand twice (or be spelled with an escape) the strict reading decides.
_MEMBERS = [f'"{name}"'.encode() for name in VerifyBody.__struct_fields__]
_encode = msgspec.json.Encoder().encode
_HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """One call, as it came. What is wrong with it is told only once the caller is known to have
    the right: `fault` of its body, `misplaced` of the position that it wants to be answered by."""

    scope: Scope
    token: Token | None
    subject: Token | None
    body: VerifyBody | None
    fault: KeyturnError
    at_least: int
    misplaced: RequestInvalid | None


class VerifyEndpoint:
    """Answers `POST /v1/verify`. Errors are raised, for whoever wraps this to answer."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise MethodNotAllowed("This path takes POST.", allow="POST")
        desk, headers = self._desk, scope["headers"]
        brand = desk.context.brand
        token = parse_token(presented_token(headers), brand=brand)
        body, fault = await _receive(receive, headers)
        at_least, misplaced = _least_position(headers)
        subject = None if body is None else parse_token(body.api_key, brand=brand)
        asked = _Asked(scope, token, subject, body, fault, at_least, misplaced)
        await desk.wait_for_room()
        reading = await self._look(asked)
        # From here to the answer nothing is waited for: the verdict is as new as the reading, and
        # the time that it is judged by is the present.
        now = desk.meter.arrive()
        try:
            caller, answer = self._judge(asked, reading, now)
            home = named_workspace(headers, caller) or caller.workspace_id
            if answer.verdict.key is None:
                answer = await self._placed(answer, caller, home)
                # That took time. The caller may have been revoked, and that answered.
                reading = await self._look(asked)
                _, again = self._judge(asked, reading, now)
                answer = answer if again.verdict.key is None else again
            grace_seconds = _grace_of(answer, reading)
            # Asked before it is noted as well, since what is noted as let in is evidence.
            desk.sight.require_fresh(grace_seconds)
            desk.meter.note(answer.request)
            must_keep = self._must_keep(answer.request) | self._note_caller(scope, caller, now)
        finally:
            desk.meter.depart(now)
        while must_keep:
            await desk.keep()
            # That took time, in which the key may have been revoked and that answered. The one
            # that was noted stays in the log; what is answered is as new as this reading.
            reading = await self._look(asked)
            answer, must_keep = self._judge_again(asked, reading, answer)
            grace_seconds = _grace_of(answer, reading)
        desk.metrics.verified(answer.verdict.code.value)
        spelled, told = _spelled(answer, reading.position, None), _HEADERS
        late_seconds = desk.sight.require_fresh(grace_seconds)
        if late_seconds is not None:
            spelled = _spelled(answer, reading.position, late_seconds)
            told = [*_HEADERS, (b"keyturn-grace", str(late_seconds).encode())]
        start = [*told, (b"content-length", str(len(spelled)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": spelled})

    async def _look(self, asked: "_Asked") -> CredentialReading:
        """What the tokens name. Raises `FreshnessLost` where that is older than the caller wants,
        whoever it is: nothing may be judged by it."""
        tokens = [reference(one) for one in (asked.token, asked.subject) if one]
        reading = await self._desk.sight.look(tokens, asked.at_least)
        if reading.position < asked.at_least:
            raise FreshnessLost(
                "This node has not come to the position of the log that was asked for; try again."
            )
        return reading

    def _judge(
        self, asked: "_Asked", reading: CredentialReading, now: int
    ) -> tuple[Caller, Answer]:
        """Who calls, and the answer. Raises what refuses the call."""
        try:
            return self._judged(asked, reading, now)
        except KeyturnError:
            # Who is refused may only have become a caller lately.
            self._desk.sight.require_fresh(0)
            raise

    def _judged(
        self, asked: "_Asked", reading: CredentialReading, now: int
    ) -> tuple[Caller, Answer]:
        scope, subject = asked.scope, asked.subject
        headers = scope["headers"]
        address = caller_address(scope.get("client"), headers, self._desk.proxies)
        caller = self._admit(asked.token, reading, now, address)
        home = named_workspace(headers, caller) or caller.workspace_id
        if asked.misplaced is not None:
            raise asked.misplaced
        if scope["query_string"]:
            raise RequestInvalid.at("", "This call takes no query parameters.")
        if asked.body is None:
            raise asked.fault
        question = _question(asked.body, subject, scope, self._desk.context.country)
        credential = None if subject is None else reading.found.get(subject.id)
        ring = self._desk.context.ring
        return caller, verify(ring, caller, question, credential, now=now, home=home)

    def _judge_again(
        self, asked: "_Asked", reading: CredentialReading, first: Answer
    ) -> tuple[Answer, bool]:
        """The answer as it is now. One that has become another is noted too; says whether that
        must be kept before it is given."""
        now = self._desk.meter.arrive()
        try:
            _, answer = self._judge(asked, reading, now)
            if answer.verdict.code is first.verdict.code:
                return answer, False
            self._desk.sight.require_fresh(_grace_of(answer, reading))
            self._desk.meter.note(answer.request)
            return answer, self._must_keep(answer.request)
        finally:
            self._desk.meter.depart(now)

    def _must_keep(self, request: Request) -> bool:
        user = user_of(request) if request.is_valid else None
        return user is not None and self._desk.meter.must_keep(user, request.at)

    def _note_caller(self, scope: Scope, caller: Caller, now: int) -> bool:
        """A call to verify is recorded under its subject alone. That a key was used to make it is
        counted, lest a rotation take the key of whoever only verifies for one that nobody uses.
        Says whether that must be kept before the answer."""
        if caller.actor.type is not ActorType.API_KEY:
            return False
        headers = dict(scope["headers"])
        address = caller_address(scope.get("client"), scope["headers"], self._desk.proxies)
        declared = headers.get(b"keyturn-runtime", b"").decode("latin-1")
        runtime = identify_runtime(
            declared if is_runtime(declared) else None,
            headers.get(b"user-agent", b"").decode("latin-1"),
            address,
            caller.networks,
        )
        place = place_of(address, caller.networks)
        user = (caller.id, runtime.name, runtime.declared, None, place)
        must_keep = self._desk.meter.must_keep(user, now)
        self._desk.meter.note_call(user, now)
        return must_keep

    async def _placed(self, answer: Answer, caller: Caller, home: UUID | None) -> Answer:
        """An answer that tells of no key, with the workspace in whose log it belongs. An operator
        may have named one that does not exist; waiting to know cannot make a denial stale."""
        request = answer.request
        if caller.is_operator and home is not None:
            await self._desk.elsewhere(locate_workspace, self._desk.context, caller, home)
        elif request.workspace_id is None:
            request = replace(request, workspace_id=await self._desk.sole_workspace())
        return replace(answer, request=request)

    def _admit(
        self, token: Token | None, reading: CredentialReading, now: int, address: Address | None
    ) -> Caller:
        identification = MALFORMED
        if token is not None:
            identification = identify(
                self._desk.context.ring,
                token,
                reading.found.get(token.id),
                now=now,
                address=address,
            )
        if identification.code is not VerdictCode.VALID:
            self._desk.metrics.refused_credentials.labels(identification.code.value).inc()
        caller = identification.require()
        caller.rights.require(Permission.VERIFY)
        return caller


def _least_position(headers: Headers) -> tuple[int, RequestInvalid | None]:
    """The position of the log that an answer has to be as new as, or what is wrong with it."""
    lines = {value for name, value in headers if name == b"keyturn-min-position"}
    if not lines:
        return 0, None
    if len(lines) == 1 and _POSITION.fullmatch(line := lines.pop()):
        return int(line), None
    detail = "This is a position of the log, one number from 0 on: `as_of` of an answer."
    return 0, RequestInvalid.at("/Keyturn-Min-Position", detail)


def _grace_of(answer: Answer, reading: CredentialReading) -> int:
    """For how long the workspace of a key that was told of is answered for by a node that is
    late."""
    key = answer.verdict.key
    credential = None if key is None else reading.found.get(key.id)
    if not isinstance(credential, KeyCredential):
        return 0
    return credential.workspace.grace_seconds


async def _receive(receive: Receive, headers: Headers) -> tuple[VerifyBody | None, KeyturnError]:
    """The body, or what is wrong with it: told only once the caller is known to have the right."""
    try:
        return parse_body(await _read(receive), headers)
    except KeyturnError as error:
        return None, error


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestMalformed("The connection was closed before the body had arrived.")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse_body(raw: bytes, headers: Headers) -> tuple[VerifyBody | None, KeyturnError]:
    """The body, or what is wrong with it: told only once the caller is known to have the right."""
    fine = RequestMalformed("The body cannot be read.")
    try:
        check_media_type(headers)
        body = _decode(raw)
        if b"\\" in raw or any(raw.count(member) > 1 for member in _MEMBERS):
            parse_json(raw)
        if not raw.isascii():
            raw.decode()  # the decoder does not look into members that it does not know
    except KeyturnError as error:
        return None, error
    except msgspec.ValidationError as error:
        return None, _invalid(raw, error)
    except RecursionError:
        return None, RequestMalformed("The body is nested too deep.")
    except ValueError:
        return None, RequestMalformed("The body is not JSON in UTF-8.")
    return body, fine


def _invalid(raw: bytes, error: msgspec.ValidationError) -> KeyturnError:
    """What is wrong with a body that is not of our shape; the decoder stops at the first thing
    that it cannot use, JSON or not."""
    try:
        parse_json(raw)
    except KeyturnError as malformed:
        return malformed
    match = _POINTER.fullmatch(str(error))
    detail, path = (str(error), "") if match is None else match.groups()
    pointer = re.sub(r"[.\[\]]+", "/", path).rstrip("/")
    return RequestInvalid.at(pointer, f"{detail}.")


def _question(
    body: VerifyBody,
    token: Token | None,
    scope: Scope,
    country_of: Callable[[Address | None], str | None],
) -> Question:
    """The question that a body asks. Raises `RequestInvalid` for members that cannot be meant."""
    address = None
    if body.ip is not None:
        address = parse_address(body.ip)
        if address is None:
            raise RequestInvalid.at("/ip", "This is an IPv4 or IPv6 address, without a port.")
    headers = {} if body.headers is None else headers_in(body.headers)
    agent = body.user_agent or headers.get("user-agent")
    request_id = body.request_id
    if request_id is None or REQUEST_ID.fullmatch(request_id) is None or holds_shape(request_id):
        request_id = scope["keyturn.request_id"]
    elif not scope["keyturn.request_id_given"]:
        # The caller named its own request in the body alone: that joins this call with it.
        scope["keyturn.request_id"] = request_id
    return Question(
        token=token,
        request_id=request_id,
        scopes=() if not body.scopes else check_scopes(body.scopes),
        address=address,
        user_agent=agent,
        runtime=None if body.runtime is None else check_runtime(body.runtime, "/runtime"),
        environment=body.environment,
        method=body.method,
        path=body.path,
        country=country_of(address),
        browser=browser_sign(headers, agent),
    )


def _spelled(answer: Answer, position: int, late_seconds: int | None) -> bytes:
    key = answer.verdict.key
    return _encode(
        VerdictBody(
            valid=answer.verdict.is_allowed,
            code=answer.verdict.code.value,
            request_id=answer.request.request_id,
            key=None if key is None else _shown(key, answer.owner),
            as_of=position,
            deprecation=None if answer.deprecation is None else _deprecated(answer.deprecation),
            grace=None if late_seconds is None else ShownGrace(late_seconds=late_seconds),
        )
    )


def _deprecated(deprecation: Deprecation) -> ShownDeprecation:
    return ShownDeprecation(
        since=format_instant(deprecation.since),
        sunset=format_instant(deprecation.sunset),
        rotation_id=str(deprecation.rotation_id),
    )


def _shown(key: Key, owner: str | None) -> VerifiedKey:
    return VerifiedKey(
        id=str(key.id),
        name=key.name,
        service=key.slot.service,
        environment=key.slot.environment,
        workspace_id=str(key.workspace_id),
        owner=owner,
        scopes=key.scopes,
        metadata=msgspec.Raw(key.metadata.encode()),
    )
