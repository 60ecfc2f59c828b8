"""The publishing API of the story: a small HTTP server that lets Keyturn judge each call.

It is what a reader's own API would be: it takes the token of the call, asks `/v1/verify` with a key
of its own that may do nothing else, and answers by the verdict: 401 for a token that is not valid,
403 where it may not do this. Where Keyturn gives no verdict, nobody is served (503).

It is behind one proxy, so it takes the address of the caller from the last entry of
`X-Forwarded-For`. Each answer says by which id the call is known, the caller's or one of its own.
"""

import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.client import AsyncKeyturn, KeyturnClientError, Verdict
from keyturn.demo.leash import when_released
from keyturn.domain.identity import make_id

PROGRAM = "from keyturn.demo.publishing import main; main()"
KEPT_ARTICLES = 20
MOST_ARTICLES = 1_000
# Longer than any service pauses: none sends on a connection that is being closed.
KEEP_ALIVE_SECONDS = 600

_FORBIDDEN = frozenset({"scope_denied", "network_denied", "browser_denied"})


class Publishing:
    """Articles, and who may do what with them."""

    def __init__(self, keyturn: AsyncKeyturn) -> None:
        self._keyturn = keyturn
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._numbers = count(1)
        self._articles: deque[dict[str, object]] = deque(maxlen=MOST_ARTICLES)
        self.routes = [
            Route("/articles", self._guarded("read", self._list), methods=["GET"]),
            Route("/articles", self._guarded("write", self._add), methods=["POST"]),
            Route("/articles", self._guarded("admin", self._clear), methods=["DELETE"]),
            Route("/drafts", self._guarded("read", self._list), methods=["GET"]),
            Route("/subscribers", self._guarded("read", self._list_readers), methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        return JSONResponse(list(self._articles)[-KEPT_ARTICLES:])

    async def _list_readers(self, request: Request) -> Response:
        return JSONResponse([{"email": "reader@example.com"}])

    async def _add(self, request: Request) -> Response:
        article = {"number": next(self._numbers), "title": str((await request.json())["title"])}
        self._articles.append(article)
        return JSONResponse(article, status_code=201)

    async def _clear(self, request: Request) -> Response:
        while len(self._articles) > KEPT_ARTICLES:
            self._articles.popleft()
        return Response(status_code=204)

    def _guarded(
        self, scope: str, act: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            named = request.headers.get("x-request-id")
            request_id = named or f"api-{make_id(self._clock.now(), self._entropy)}"
            answer = await answered(request, request_id)
            answer.headers["X-Request-Id"] = request_id
            return answer

        async def answered(request: Request, request_id: str) -> Response:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            try:
                verdict = await self._judge(request, request_id, token, scope)
            except KeyturnClientError:
                return _refusal(503, "Whether this call is allowed cannot be told now.")
            if verdict.valid:
                return await act(request)
            if verdict.code in _FORBIDDEN:
                return _refusal(403, "This key may not do that.")
            return _refusal(401, "This token is not valid.")

        return guarded

    async def _judge(self, request: Request, request_id: str, token: str, scope: str) -> Verdict:
        headers = request.headers
        return await self._keyturn.verify(
            token,
            scopes=[scope],
            request_id=request_id,
            ip=headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or None,
            user_agent=headers.get("user-agent"),
            runtime=headers.get("keyturn-runtime"),
            method=request.method,
            path=request.url.path,
        )


def _refusal(status: int, detail: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)


def main() -> None:
    """Serves on a free port until the leash is let go. Arguments: the address of Keyturn, and the
    file of this API's own token."""
    url, key_file = sys.argv[1:]
    keyturn = AsyncKeyturn(url, api_key_file=key_file, runtime="publishing")
    listener = socket.create_server(("127.0.0.1", 0))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with keyturn:
            sys.stdout.write(f"Publishing serves http://127.0.0.1:{listener.getsockname()[1]}\n")
            sys.stdout.flush()
            yield

    app = Starlette(routes=Publishing(keyturn).routes, lifespan=lifespan)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="on",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )

    def stop() -> None:
        server.should_exit = True

    when_released(stop)
    with listener:
        server.run(sockets=[listener])
