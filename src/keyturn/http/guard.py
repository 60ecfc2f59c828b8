"""The door: every route but the public ones is guarded, and says so where it is declared.

In this order: the credential, the permission, the workspace's header, the query, the body. What
comes first is answered first, so nobody learns of a body's faults without the right to send it.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from keyturn.domain.browser import browser_sign
from keyturn.domain.error import (
    CredentialInvalid,
    GrantExceeded,
    KeyturnError,
    PermissionMissing,
    RequestInvalid,
    RequestMalformed,
)
from keyturn.domain.identity import parse_id
from keyturn.domain.permission import Permission
from keyturn.domain.place import name_of, place_of
from keyturn.domain.request import VALID, recordable
from keyturn.domain.request import Request as RecordedRequest
from keyturn.domain.runtime import check_runtime, identify_runtime
from keyturn.domain.text import without_controls
from keyturn.domain.token import parse_token
from keyturn.domain.verdict import VerdictCode
from keyturn.http.body import check_media_type, parse_json
from keyturn.http.call import Call
from keyturn.http.credential import header_texts, presented_token, readable
from keyturn.http.desk import Desk
from keyturn.http.effect import EFFECT, effective, prefers_async
from keyturn.http.exposure import raw_path_of
from keyturn.http.origin import caller_address
from keyturn.http.precondition import join_lines
from keyturn.http.problem import log_cause
from keyturn.http.tenancy import named_workspace
from keyturn.services.identify import Caller, Identification, identify, reference
from keyturn.services.journal import Act, Subject, note_refusal
from keyturn.services.meter import user_of
from keyturn.services.provision import require_operator

OPERATOR = "operator"
ANY_TOKEN = "any"

PERMISSION = "x-keyturn-permission"
_ACTION = "x-keyturn-action"
_MISSING = "permission_missing"
_LONGEST_NAME = 200
CHECK_IN_PATH = "/v1/self"
_MOST_PARAMETERS = 50


def guard(
    permission: Permission | str, *, action: str | None = None, takes_away: bool = False
) -> dict[str, Any]:
    """What a route declares: the permission that it needs, the action that a refusal is recorded
    as, and whether it takes something away that has to be effective everywhere when it answers.
    Give it to the route's decorator as keyword arguments."""
    extra: dict[str, Any] = {PERMISSION: str(permission), "security": [{"bearer": []}, {"key": []}]}
    if action is not None:
        extra[_ACTION] = action
    if takes_away:
        extra[EFFECT] = True
    return {"openapi_extra": extra}


class StrictRequest(Request):
    """A request whose JSON was parsed already, at the door."""

    parsed: object = None

    async def json(self) -> Any:
        return self.parsed


class GuardedRoute(APIRoute):
    """A route behind the door. One that declares no permission cannot be built."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        extra = self.openapi_extra or {}
        if PERMISSION not in extra:
            raise TypeError(f"the route {self.path} declares no permission; see `guard`")
        self.permission: str = extra[PERMISSION]
        self.action: str | None = extra.get(_ACTION)
        self.takes_away: bool = extra.get(EFFECT, False)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            visit = Visit(request, self)
            try:
                try:
                    await visit.enter()
                    response = await answer(visit.request)
                except Exception as error:
                    await visit.leave(error)
                    raise
                await visit.leave(None)
            finally:
                visit.depart()
            return await visit.take_effect(response)

        return handle


class Visit:
    """One call's way through the door, and what is recorded of it."""

    def __init__(self, request: Request, route: GuardedRoute) -> None:
        request.scope["headers"] = join_lines(request.scope["headers"])
        self.request = StrictRequest(request.scope, request.receive)
        self._route = route
        self._desk: Desk = request.app.state.desk
        self._request_id: str = request.scope["keyturn.request_id"]
        self._headers: list[tuple[bytes, bytes]] = request.scope["headers"]
        self._now = self._desk.context.clock.now()
        self._arrived: int | None = None
        self._address = caller_address(
            request.scope.get("client"), self._headers, self._desk.proxies
        )
        self._identification: Identification | None = None
        self._caller: Caller | None = None
        self._runtime: str | None = None
        self._call: Call | None = None

    async def enter(self) -> None:
        """Lets the call in. Raises what refuses it."""
        await self._desk.wait_for_room()
        self._identification = await self._identify()
        misnamed = self._take_runtime()
        if self._identification.code is not VerdictCode.VALID:
            self._desk.metrics.refused_credentials.labels(self._identification.code.value).inc()
        caller = self._caller = self._identification.require()
        self._require_permission(caller)
        workspace = named_workspace(self._headers, caller)
        if misnamed is not None:
            raise misnamed
        self._check_query()
        if len({value for name, value in self._headers if name == b"idempotency-key"}) > 1:
            raise RequestInvalid.at("/Idempotency-Key", "Two different keys were sent; send one.")
        call = Call(
            desk=self._desk,
            caller=caller,
            request_id=self._request_id,
            workspace=workspace,
            arrived=self._now,
            away=self._away,
            takes_away=self._route.takes_away,
        )
        call.body = self.request.parsed = await self._read_body()
        # Only now, since a body may take its time, and no time is settled while a call is about.
        self._arrived = self._desk.meter.arrive()
        self.request.state.call = self._call = call

    @contextmanager
    def _away(self) -> Iterator[None]:
        """The call is about no more, as far as what is known is concerned, and arrives anew after
        that: it is recorded as of then, which nothing that was told as complete goes past."""
        self.depart()
        try:
            yield
        finally:
            self._arrived = self._desk.meter.arrive()

    async def _identify(self) -> Identification:
        desk = self._desk
        token = parse_token(presented_token(self._headers), brand=desk.context.brand)
        credential = None
        if token is not None:
            reading = await desk.look_up([reference(token)])
            credential = reading.found.get(token.id)
        return identify(desk.context.ring, token, credential, now=self._now, address=self._address)

    def _take_runtime(self) -> RequestInvalid | None:
        """Takes the declared runtime before anything is refused, since refused calls are recorded
        under it too. Returns what is wrong with it, to be told in its turn."""
        runtime = self.request.headers.get("keyturn-runtime")
        try:
            if runtime is not None:
                self._runtime = check_runtime(runtime, "/Keyturn-Runtime")
        except RequestInvalid as error:
            return error
        return None

    def _require_permission(self, caller: Caller) -> None:
        if self._route.permission == OPERATOR:
            require_operator(caller)
        elif self._route.permission != ANY_TOKEN:
            caller.rights.require(Permission(self._route.permission))

    def _check_query(self) -> None:
        query = self.request.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        except ValueError:
            raise RequestInvalid.at("", "There are too many query parameters.") from None
        seen = set()
        for full_name, value in pairs:
            name = full_name[:_LONGEST_NAME]
            if not self._route.dependant.query_params:
                raise RequestInvalid.at(f"/{name}", "This call takes no query parameters.")
            if name in seen:
                raise RequestInvalid.at(f"/{name}", "This was given more than once.")
            if without_controls(value, len(value)) != value:
                raise RequestInvalid.at(f"/{name}", "This may not have control characters.")
            seen.add(name)

    async def _read_body(self) -> object:
        if self.request.method == "GET":
            return None
        try:
            raw = await self.request.body()
        except ClientDisconnect:
            raise RequestMalformed("The connection ended before the body had arrived.") from None
        if raw and self.request.method == "DELETE":
            raise RequestInvalid.at("", "DELETE takes no body; a reason is a query parameter.")
        if not raw:
            field = self._route.body_field
            if field is not None and field.field_info.is_required():
                raise RequestMalformed("This call needs a JSON body.")
            return None
        check_media_type(self._headers)
        return parse_json(raw)

    async def leave(self, error: Exception | None) -> None:
        """Records the call: each use of a key, and each change refused for want of rights."""
        identification = self._identification
        if identification is None:
            return
        if identification.workspace_id is not None and self._is_worth_noting(identification):
            if self._arrived is None:
                self._arrived = self._desk.meter.arrive()
            request = self._recorded(identification, error, self._arrived)
            self._desk.meter.note(request)
            user = user_of(request) if request.is_valid else None
            must_keep = user is not None and self._desk.meter.must_keep(user, request.at)
            if must_keep and not request.is_check_in:
                await self._desk.keep()
                if self.request.method == "GET":
                    # That took time, in which the caller may have been revoked. What changes
                    # something has asked in its own transaction.
                    (await self._identify()).require()
        if isinstance(error, PermissionMissing | GrantExceeded):
            await self._record_refusal(error)

    def depart(self) -> None:
        """Ends the visit: what there was to note is noted."""
        if self._arrived is not None:
            self._desk.meter.depart(self._arrived)
            self._arrived = None

    async def take_effect(self, response: Response) -> Response:
        """The answer, once what the call has taken away is effective everywhere."""
        grace_seconds = None if self._call is None else self._call.grace_seconds
        if grace_seconds is None:
            return response
        is_async = prefers_async(self._headers)
        return await effective(self._desk, response, grace_seconds, is_async=is_async)

    def _is_worth_noting(self, identification: Identification) -> bool:
        """A wrong secret for an id that exists is recorded, but who knows only an id, which is no
        secret, cannot fill the log with it: beyond a trickle such calls are only counted."""
        if identification.key_id is not None:
            return True
        elapsed = self._desk.context.clock.elapsed()
        return self._desk.strangers.lets(identification.workspace_id, elapsed)

    async def _record_refusal(self, error: KeyturnError) -> None:
        """Beyond a trickle a caller's refusals stand in the request log alone: each entry of the
        activity log is kept for ever, and takes its turn with the revocations."""
        caller, action = self._caller, self._route.action
        if caller is None or action is None:
            return
        if not self._desk.refusals.lets(caller.id, self._desk.context.clock.elapsed()):
            return
        named = str(next(iter(self.request.path_params.values()), ""))
        subject = Subject(
            workspace_id=caller.workspace_id,
            type=action.partition(".")[0],
            id=str(parse_id(named) or "") or recordable(named, _LONGEST_NAME) or "",
        )
        act = Act(caller=caller, request_id=self._request_id)
        try:
            await run_in_threadpool(
                note_refusal,
                self._desk.context,
                act,
                action=action,
                subject=subject,
                error=error,
            )
        except KeyturnError as failure:
            # The refusal stands, whether or not it could be written down.
            log_cause(failure, self._request_id)

    def _recorded(
        self, identification: Identification, error: Exception | None, at: int
    ) -> RecordedRequest:
        code = identification.code.value
        if code == VALID and isinstance(error, PermissionMissing | GrantExceeded):
            code = _MISSING
        elif code == VALID and isinstance(error, CredentialInvalid):
            code = VerdictCode.REVOKED.value
        caller = identification.caller
        user_agent = self.request.headers.get("user-agent")
        networks = caller.networks if caller else ()
        return RecordedRequest(
            at=at,
            request_id=self._request_id,
            workspace_id=identification.workspace_id,
            key_id=identification.key_id,
            code=code,
            runtime=identify_runtime(self._runtime, user_agent, self._address, networks),
            place=place_of(self._address, networks),
            is_check_in=self.request.scope["path"] == CHECK_IN_PATH,
            address=self._address,
            user_agent=user_agent,
            method=self.request.method,
            path=readable(raw_path_of(self.request.scope)),
            scopes=(),
            environment=None,
            named_network=name_of(self._address, networks),
            country=self._desk.context.country(self._address),
            browser=browser_sign(header_texts(self._headers), user_agent),
        )
