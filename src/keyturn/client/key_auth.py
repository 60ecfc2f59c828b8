"""The token of a `KeySource` for the HTTP library: presented with each request, and where it is
refused (401) and its place has another one by now, the request is sent once more with that."""

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import httpx2

from keyturn.domain.token import Token

if TYPE_CHECKING:
    from keyturn.client.key_source import KeySource

_REFUSED = 401


class KeyAuth(httpx2.Auth):
    def __init__(self, source: "KeySource") -> None:
        self._source = source

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        token = self._source.token()
        response = yield _presenting(request, token)
        if _may_repeat(request, response):
            other = self._source.other_than(token)
            if other is not None:
                yield _presenting(request, other)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = await self._source.atoken()
        response = yield _presenting(request, token)
        if _may_repeat(request, response):
            other = await self._source.aother_than(token)
            if other is not None:
                yield _presenting(request, other)


def _presenting(request: httpx2.Request, token: Token) -> httpx2.Request:
    request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request


def _may_repeat(request: httpx2.Request, response: httpx2.Response) -> bool:
    """A 401 has carried nothing out. What was streamed cannot be had a second time."""
    return response.status_code == _REFUSED and isinstance(request.stream, httpx2.ByteStream)
