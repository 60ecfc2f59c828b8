"""What comes before a body has its bounds: headers neither too late nor too long."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from keyturn.server.protocol import HEADERS_TIMEOUT_SECONDS, LARGEST_HEADERS_BYTES
from tests.cli.programs import Place, Server

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("protocol"))
    place.run("init").done()
    yield place
    place.close()


@pytest.fixture(scope="module")
def server(place: Place) -> Server:
    return place.serve(KEYTURN_BODY_TIMEOUT_SECONDS="1")


@pytest.fixture
def dial(server: Server) -> Iterator[Callable[[], socket.socket]]:
    lines: list[socket.socket] = []

    def connect() -> socket.socket:
        lines.append(socket.create_connection((server.host, server.port), timeout=20))
        return lines[-1]

    yield connect
    for line in lines:
        line.close()


def heard(line: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    text = b""
    try:
        while part := line.recv(65_536):
            text += part
    except ConnectionError:
        pass
    return text


def answer(line: socket.socket) -> bytes:
    """One answer to `/healthz`, with its body."""
    text = b""
    while not text.endswith(b"}}"):
        part = line.recv(65_536)
        assert part, text
        text += part
    return text


def test_headers_that_do_not_come_in_time_end_the_connection(
    dial: Callable[[], socket.socket], server: Server
) -> None:
    began = time.monotonic()
    silent, half, slow, second = (dial() for _ in range(4))
    half.sendall(REQUEST)
    slow.sendall(REQUEST)
    second.sendall(REQUEST + b"\r\n")
    assert answer(second).startswith(b"HTTP/1.1 200")
    second.sendall(REQUEST)
    while time.monotonic() - began < HEADERS_TIMEOUT_SECONDS - 1:
        slow.sendall(b"X-Slow: 1\r\n")
        assert server.call("GET", "/healthz")[0] == 200
        time.sleep(1)
    for line in (silent, half, slow, second):
        assert heard(line) == b""
    assert HEADERS_TIMEOUT_SECONDS - 1 < time.monotonic() - began < HEADERS_TIMEOUT_SECONDS + 5


@pytest.mark.parametrize("filler", [b"X-Long: " + b"a" * 4_000 + b"\r\n", b"a" * 4_000])
def test_headers_without_end_end_the_connection(
    filler: bytes, dial: Callable[[], socket.socket], server: Server
) -> None:
    line = dial()
    line.sendall(REQUEST)
    sent = 0
    try:
        while sent < 64 * LARGEST_HEADERS_BYTES:
            line.sendall(filler)
            sent += len(filler)
            time.sleep(0.001)
    except ConnectionError:
        pass
    assert sent < 64 * LARGEST_HEADERS_BYTES
    assert b"200 OK" not in heard(line)
    assert server.call("GET", "/healthz")[0] == 200


def test_large_headers_within_the_bound_are_read(dial: Callable[[], socket.socket]) -> None:
    line = dial()
    filler = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1_000) for number in range(50))
    line.sendall(REQUEST + filler + b"Connection: close\r\n\r\n")
    assert heard(line).startswith(b"HTTP/1.1 200")


def test_the_bound_begins_anew_with_each_request(dial: Callable[[], socket.socket]) -> None:
    line = dial()
    filler = b"X-Filler: " + b"a" * 30_000 + b"\r\n"
    for _ in range(6):
        line.sendall(REQUEST + filler + b"\r\n")
        assert answer(line).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,  # the hello of TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo\x00st: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_harms_nobody(
    garbage: bytes, dial: Callable[[], socket.socket], server: Server
) -> None:
    line = dial()
    line.sendall(garbage)
    line.shutdown(socket.SHUT_WR)
    said = heard(line)
    assert said == b"" or said.startswith(b"HTTP/1.1 400"), said
    assert b"Traceback" not in said
    assert server.call("GET", "/healthz")[0] == 200


def test_many_connections_that_say_nothing_keep_nobody_out(
    dial: Callable[[], socket.socket], server: Server
) -> None:
    for _ in range(200):
        dial().sendall(b"GET /healthz HTTP/1.1\r\n")
    began = time.monotonic()
    assert server.call("GET", "/healthz")[0] == 200
    assert time.monotonic() - began < 5


def test_a_body_that_does_not_come_in_time_is_408(
    server: Server, place: Place, dial: Callable[[], socket.socket]
) -> None:
    line = dial()
    line.sendall(
        b"POST /v1/verify HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + place.token.encode() + b"\r\nContent-Length: 100\r\n\r\n{"
    )
    assert heard(line).startswith(b"HTTP/1.1 408")
