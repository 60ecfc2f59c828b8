"""The outermost layer of HTTP: what holds for every answer, whoever gives it.

Request ids, refusal of credentials in URLs, bounds on bodies, security headers, one log line a
management call, and the last resort for what nobody foresaw.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from keyturn.domain.error import KeyturnError
from keyturn.domain.redaction import holds_shape
from keyturn.http.body import BodyReader, Receive
from keyturn.http.credential import readable
from keyturn.http.desk import Desk
from keyturn.http.exposure import raw_path_of, refuse_exposed
from keyturn.http.problem import MEDIA_TYPE, headers_of, log_cause, problem, status_of
from keyturn.http.verify import PATH as VERIFY_PATH
from keyturn.http.verify import REQUEST_ID

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIMEOUT_SECONDS = 10.0

_access = logging.getLogger("keyturn.access")
_log = logging.getLogger("keyturn.server")


class Edge:
    """Stands in front of the control API and the verify endpoint."""

    def __init__(
        self,
        *,
        app: App,
        verify: App,
        desk: Desk,
        body_timeout_seconds: float = BODY_TIMEOUT_SECONDS,
    ) -> None:
        self._app = app
        self._verify = verify
        self._desk = desk
        self._body_timeout_seconds = body_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._name(scope)
        answering = _Answering(scope, send)
        started = self._desk.context.clock.elapsed()
        try:
            await refuse_exposed(self._desk, scope)
            if scope["method"] == "HEAD":
                # As GET, but for the body, which the server leaves out by the method it was sent.
                scope = {**scope, "method": "GET"}
            body = BodyReader(receive, scope["headers"], self._body_timeout_seconds)
            app = self._verify if scope["path"] == VERIFY_PATH else self._app
            await app(scope, body, answering.send)
        except KeyturnError as error:
            log_cause(error, scope["keyturn.request_id"])
            await answering.refuse(error)
        except Exception:  # noqa: BLE001  (the last resort: answered, and logged)
            _log.exception("unforeseen failure", extra={"request_id": scope["keyturn.request_id"]})
            await answering.refuse(
                KeyturnError("This failed inside Keyturn; its log has the cause.")
            )
        self._account(scope, answering.status, started)

    def _name(self, scope: Scope) -> None:
        """Gives the call its request id: its own where that is a label, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                text = value.decode("latin-1")
                if REQUEST_ID.fullmatch(text) and not holds_shape(text):
                    scope["keyturn.request_id"] = text
                    scope["keyturn.request_id_given"] = True
                    return
        context = self._desk.context
        scope["keyturn.request_id"] = str(context.new_id(context.clock.now()))
        scope["keyturn.request_id_given"] = False

    def _account(self, scope: Scope, status: int, started: float) -> None:
        metrics = self._desk.metrics
        metrics.responded(scope["method"], status)
        if scope["path"] == VERIFY_PATH and status < 500:
            return
        seconds = self._desk.context.clock.elapsed() - started
        metrics.duration.observe(seconds)
        if not scope["path"].startswith("/v1/"):
            return
        _access.info(
            "answered",
            extra={
                "method": scope["method"],
                # Decoded as far as tokens are looked for, so that redaction sees each of them.
                "path": readable(raw_path_of(scope)),
                "status": status,
                "ms": round(seconds * 1_000, 1),
                "request_id": scope["keyturn.request_id"],
            },
        )


class _Answering:
    """One answer on its way out: adds the headers that every answer has."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.status = 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message["headers"])
            headers.append((b"x-request-id", self._scope["keyturn.request_id"].encode("ascii")))
            headers.append((b"x-content-type-options", b"nosniff"))
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers
        await self._send(message)

    async def refuse(self, error: KeyturnError) -> None:
        """Answers with an error, unless another answer has begun already."""
        if self.status:
            return
        body = problem(error, self._scope["keyturn.request_id"])
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *(
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in headers_of(error).items()
            ),
        ]
        status = status_of(error)
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
