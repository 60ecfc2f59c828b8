"""The HTTP protocol with bounds on what comes before a body: headers neither too late nor too long.

The library waits for ever for headers that are half sent, and keeps as many of them as arrive.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.domain.error import RequestMalformed
from keyturn.domain.identity import make_id
from keyturn.http.problem import MEDIA_TYPE, problem

HEADERS_TIMEOUT_SECONDS = 10.0
LARGEST_HEADERS_BYTES = 64 << 10


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are late or too large."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEADERS_BYTES:
            self._close()

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_wait()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP as every other error is answered."""
        request_id = str(make_id(SystemClock().now(), SystemEntropy()))
        body = problem(RequestMalformed("This is no HTTP that can be understood."), request_id)
        lines = (
            "HTTP/1.1 400 Bad Request",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            f"X-Request-Id: {request_id}",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
            "Connection: close",
        )
        self.transport.write("\r\n".join((*lines, "", "")).encode("ascii") + body)
        self.transport.close()

    def _expect_head(self) -> None:
        self._end_wait()
        self._timer = self.loop.call_later(HEADERS_TIMEOUT_SECONDS, self._close)

    def _end_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
