"""A faulty way to a real server: a small TCP proxy that does to each request what it was told to.

    upstream.then(lose_answer, stall)    # the next request, and the one after; others pass

Each connection carries one request. What was received is kept, without its token.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_STEP_SECONDS = 0.05


@dataclass(kw_only=True)
class Received:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    at: float
    raw: bytes = field(repr=False)


Fault = Callable[["Upstream", socket.socket, Received], None]


class Upstream:
    """Listens until it is left, and passes to the server at `port` what no fault was named for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.is_ending = False
        self.received: list[Received] = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def then(self, *faults: Fault) -> None:
        self._faults += faults

    def fetched(self, request: Received) -> bytes:
        """The server's whole answer."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as server:
            server.sendall(request.raw)
            answer = b""
            while chunk := server.recv(65_536):
                answer += chunk
        return answer

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_ending = True
        for thread in self._threads:
            thread.join(30)
        self._socket.close()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._socket.settimeout(_STEP_SECONDS)
        while not self.is_ending:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            try:
                request = _read(connection)
            except (OSError, ValueError):
                return
            with self._lock:
                self.received.append(request)
                fault = self._faults.pop(0) if self._faults else passed_on
            with suppress(OSError):  # the client has gone
                fault(self, connection, request)


def _read(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += _some(connection)
    method, target, _ = start.split(" ")
    kept = [line for line in lines if not line.lower().startswith("connection:")]
    raw = "\r\n".join([start, *kept, "Connection: close", "", ""]).encode("latin-1") + body
    headers.pop("authorization", None)
    return Received(method=method, target=target, headers=headers, at=time.monotonic(), raw=raw)


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(65_536)
    if not chunk:
        raise ValueError("it broke off")
    return chunk


# --- what may be done to a request ----------------------------------------------------------------


def passed_on(upstream: Upstream, connection: socket.socket, request: Received) -> None:
    connection.sendall(upstream.fetched(request))


def lose_answer(upstream: Upstream, connection: socket.socket, request: Received) -> None:
    """The server carries it out; nobody hears of it."""
    upstream.fetched(request)


def drop(upstream: Upstream, connection: socket.socket, request: Received) -> None:
    """It is read, and the connection closed."""


def halve_answer(upstream: Upstream, connection: socket.socket, request: Received) -> None:
    answer = upstream.fetched(request)
    head, _, body = answer.partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n" + body[: len(body) // 2])


def stall(upstream: Upstream, connection: socket.socket, request: Received) -> None:
    """Nothing is answered until the test ends."""
    while not upstream.is_ending:
        time.sleep(_STEP_SECONDS)


def say(status: str, body: bytes = b"", **headers: str) -> Fault:
    """Answers this, and passes nothing on."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    raw = "\r\n".join([*lines, "", ""]).encode() + body

    def fault(upstream: Upstream, connection: socket.socket, request: Received) -> None:
        connection.sendall(raw)

    return fault


def refuse(retry_after: str) -> Fault:
    """What a busy server says."""
    body = b'{"code": "storage.unavailable", "detail": "Not now.", "request_id": "r"}'
    return say(
        "503 Service Unavailable",
        body,
        Content_Type="application/problem+json",
        Retry_After=retry_after,
    )
