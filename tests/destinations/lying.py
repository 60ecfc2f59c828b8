"""A server in front of a real one that lies, fails or dawdles as a test says, over real sockets."""

import socket
import ssl
from collections.abc import Callable
from enum import StrEnum
from typing import Self

from keyturn.destinations.contract import FaultKind
from tests.servers.raw import RawServer, http, read_request

SAID = "words-of-the-other-side"  # what no fault may repeat


class Lie(StrEnum):
    # Of every request:
    HANGS_UP = "hangs up unanswered"
    SILENT = "takes the request and says nothing"
    DRIPS = "answers a byte at a time"
    FAILS = "answers 500"
    IS_DOWN = "answers 503, as a balancer does"
    IS_BUSY = "answers 429"
    FORBIDS = "answers 403"
    HAS_FORGOTTEN = "answers 401, as for a credential that has expired"
    REDIRECTS = "points to another address"
    GARBAGE = "answers 200 with no JSON"
    A_LIST = "answers 200 with a JSON list"
    ANOTHER_API = "answers 200 with JSON of another kind"
    EMPTY = "answers 200 with nothing"
    NO_HTTP = "does not speak HTTP"
    ENDLESS = "never stops answering"
    CUT = "closes in the middle of the answer"
    # Of writes alone:
    WRITE_FAILS = "answers 500 to a write that it has not done"
    FAILS_AFTER = "does the write and answers 500"
    LOSES_ANSWER = "does the write and closes the connection"
    STORES_ELSEWHERE = "accepts the write and does not store it there"
    STORES_ANOTHER = "stores another value"
    SOMEBODY_FIRST = "lets somebody else write right before"
    # Of reads alone:
    OLD_VALUE = "answers every read as the first"


FAULTS = {
    Lie.HANGS_UP: FaultKind.UNREACHABLE,
    Lie.SILENT: FaultKind.TIMED_OUT,
    Lie.DRIPS: FaultKind.TIMED_OUT,
    Lie.FAILS: FaultKind.BROKEN,
    Lie.IS_DOWN: FaultKind.BROKEN,
    Lie.IS_BUSY: FaultKind.BROKEN,
    Lie.FORBIDS: FaultKind.DENIED,
    Lie.HAS_FORGOTTEN: FaultKind.DENIED,
    Lie.REDIRECTS: FaultKind.NOT_UNDERSTOOD,
    Lie.GARBAGE: FaultKind.NOT_UNDERSTOOD,
    Lie.A_LIST: FaultKind.NOT_UNDERSTOOD,
    Lie.ANOTHER_API: FaultKind.NOT_UNDERSTOOD,
    Lie.EMPTY: FaultKind.NOT_UNDERSTOOD,
    Lie.NO_HTTP: FaultKind.NOT_UNDERSTOOD,
    Lie.ENDLESS: FaultKind.NOT_UNDERSTOOD,
    Lie.CUT: FaultKind.UNREACHABLE,
}
"""What both a read and a write tell of the lies that concern every request."""

_ERROR = b'{"errors": ["words-of-the-other-side"], "message": "words-of-the-other-side"}'
_SAYS = {
    Lie.HANGS_UP: b"",
    Lie.FAILS: http(500, _ERROR),
    Lie.IS_DOWN: http(503, _ERROR),
    Lie.IS_BUSY: http(429, _ERROR, "Retry-After: 1"),
    Lie.FORBIDS: http(403, _ERROR),
    Lie.HAS_FORGOTTEN: http(401, _ERROR),
    Lie.REDIRECTS: http(307, b"", "Location: http://127.0.0.1:1/words-of-the-other-side"),
    Lie.GARBAGE: http(200, b"<html>words-of-the-other-side</html>"),
    Lie.A_LIST: http(200, b'["words-of-the-other-side"]'),
    Lie.ANOTHER_API: http(200, b'{"data": {"words-of-the-other-side": 1}, "kind": "Other"}'),
    Lie.EMPTY: http(200),
    Lie.NO_HTTP: b"words-of-the-other-side\r\n\r\n",
    Lie.CUT: http(200, b"{}")[:-1],
    Lie.WRITE_FAILS: http(500, _ERROR),
    Lie.FAILS_AFTER: http(500, _ERROR),
    Lie.LOSES_ANSWER: b"",
}
_OF_WRITES = (
    Lie.WRITE_FAILS,
    Lie.FAILS_AFTER,
    Lie.LOSES_ANSWER,
    Lie.STORES_ELSEWHERE,
    Lie.STORES_ANOTHER,
    Lie.SOMEBODY_FIRST,
)


class LyingServer:
    """Passes everything on while `lie` is None. A login is no write."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._raw = RawServer(self._answer, context)
        self.lie: Lie | None = None
        self.swapped = (b"", b"")  # for STORES_*: what stands in a request, what is made of it
        self.happens: Callable[[], object] = bool  # for SOMEBODY_FIRST
        self._first_read: bytes | None = None

    @property
    def port(self) -> int:
        return self._raw.port

    def __enter__(self) -> Self:
        self._raw.__enter__()
        return self

    def __exit__(self, *ending: object) -> None:
        self._raw.__exit__(None, None, None)

    def _answer(self, connection: socket.socket) -> None:
        request = read_request(connection)
        first = request.partition(b"\r\n")[0]
        is_read, is_login = first.startswith(b"GET "), b"/login" in first
        lie = self.lie
        if lie in _OF_WRITES and (is_read or is_login):
            lie = None
        if lie is Lie.OLD_VALUE and not is_read:
            lie = None
        self._tell(lie, request, connection)

    def _tell(self, lie: Lie | None, request: bytes, connection: socket.socket) -> None:
        match lie:
            case Lie.SILENT:
                self._raw.wait(30)
            case Lie.DRIPS | Lie.ENDLESS:
                self._go_on(connection, is_slow=lie is Lie.DRIPS)
            case Lie.OLD_VALUE:
                self._first_read = self._first_read or self._pass_on(request)
                connection.sendall(self._first_read)
            case Lie.STORES_ELSEWHERE | Lie.STORES_ANOTHER:
                connection.sendall(self._pass_on(request.replace(*self.swapped)))
            case Lie.SOMEBODY_FIRST:
                self.happens()
                connection.sendall(self._pass_on(request))
            case None:
                connection.sendall(self._pass_on(request))
            case _:
                if lie in (Lie.FAILS_AFTER, Lie.LOSES_ANSWER):
                    self._pass_on(request)
                connection.sendall(_SAYS[lie])

    def _go_on(self, connection: socket.socket, *, is_slow: bool) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        piece = b" " if is_slow else b" " * 65_536
        while not (is_slow and self._raw.wait(0.02)):
            connection.sendall(piece)

    def _pass_on(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port), 10) as far:
            far.sendall(request)
            answer = b""
            while piece := far.recv(65_536):  # our calls ask that it be closed
                answer += piece
        return answer
