"""The HTTP protocol, with bounds where the library has none.

1. Headers arrive within 10 s of the connection or of their first byte, in at most 64 KiB.
2. The target has no user information and no fragment: nothing would look there for a credential.
3. Trailers are no headers. The library would add them to the headers of a request that is being
   judged already, where they could name another address or workspace. They are dropped.
4. A body that is still arriving after its answer is waited for 5 s, so that its sender can read the
   answer; then the connection is closed. (How long a body may take before it is answered is a
   setting, and the business of whoever reads it.)
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


LARGEST_TRAILERS_BYTES = 8 << 10
LINGER_SECONDS = 5.0


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that is late or sends too much; what is raised here is answered 400."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _trailer_bytes = 0
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

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > LARGEST_TRAILERS_BYTES:
            raise ValueError("the trailers are too large")

    def on_headers_complete(self) -> None:
        self._end_wait()
        authority = [] if self.url.startswith(b"/") else self.url.split(b"/", 3)[2:3]
        if b"#" in self.url or b"@" in b"".join(authority):
            raise ValueError("the target holds what is no path and no query")
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._end_wait()
        self._in_head = True
        self._head_bytes = self._trailer_bytes = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:
            self._end_wait()
            self._timer = self.loop.call_later(LINGER_SECONDS, self._close)

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
