"""The way out: only to addresses that are checked, whole answers in time, no word of the others."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from keyturn.ambient import SystemClock
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.contract import OutboundFault, OutboundFaultKind
from keyturn.outbound.dialing import MOST_LOOKUPS, Dialer
from keyturn.outbound.guard import AddressGuard, parse_allowed
from tests.servers.authority import Authority, found_authority
from tests.servers.raw import RawServer, http, read_request, respond

LOOPBACK = AddressGuard(parse_allowed("127.0.0.0/8"))
NOTHING = AddressGuard()
SECRET = "hush-hush-of-the-other-side"  # what no fault may repeat


def way_out(
    guard: AddressGuard = LOOPBACK, answers: Sequence[Sequence[str]] = (("127.0.0.1",),)
) -> GuardedOutbound:
    """A way out whose name server gives these answers, one after the other, the last for ever."""
    left = list(answers)

    def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return GuardedOutbound(guard, SystemClock(), resolve)


def fault_of(outbound: GuardedOutbound, url: str, **named: float) -> OutboundFault:
    with pytest.raises(OutboundFault) as caught:
        outbound.send("GET", url, headers={}, seconds=named.get("seconds", 5.0))
    assert SECRET not in str(caught.value) + repr(caught.value)
    return caught.value


@pytest.fixture
def canary() -> Iterator[RawServer]:
    """Something inside that nobody outside may reach; it really listens."""
    with RawServer(respond(http(200, SECRET.encode()))) as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> Authority:
    return found_authority()


def test_an_answer_comes_whole_with_its_headers_in_lowercase() -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(http(201, b"body", "X-One: two"))

    with RawServer(answer) as server:
        got = way_out().send(
            "PUT",
            f"http://inside.example:{server.port}/v1/a%2Fb?c=d",
            headers={"X-Vault-Token": "t"},
            content=b'{"a": 1}',
        )
    assert (got.status, got.content, got.headers["x-one"]) == (201, b"body", "two")
    head = seen[0].partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("PUT /v1/a%2Fb?c=d HTTP/1.1\r\n")
    assert f"Host: inside.example:{server.port}" in head
    assert "X-Vault-Token: t" in head
    assert seen[0].endswith(b'{"a": 1}')
    assert "body" not in repr(got)
    assert "two" not in repr(got)


def test_an_internal_address_that_really_listens_has_no_visitor(canary: RawServer) -> None:
    for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1", "0177.1", "127.1", "[::1]"):
        for scheme in ("http", "https"):
            outbound = GuardedOutbound(NOTHING, SystemClock())
            fault = fault_of(outbound, f"{scheme}://{host}:{canary.port}/")
            assert fault.kind in (OutboundFaultKind.REFUSED, OutboundFaultKind.UNREACHABLE)
            assert not fault.was_sent
    assert canary.connections == 0


def test_a_name_that_moves_inside_after_the_first_look_is_not_followed(canary: RawServer) -> None:
    # The first call finds the public address (which nothing answers from here), the second moves.
    outbound = way_out(NOTHING, [["198.41.0.4"], ["127.0.0.1"]])
    first = fault_of(outbound, f"https://rebinding.example:{canary.port}/", seconds=0.2)
    assert first.kind in (OutboundFaultKind.TIMED_OUT, OutboundFaultKind.UNREACHABLE)
    second = fault_of(outbound, f"https://rebinding.example:{canary.port}/")
    assert second.kind is OutboundFaultKind.REFUSED
    assert canary.connections == 0


def test_a_name_is_looked_up_once_for_each_connection() -> None:
    looks: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        looks.append(host)
        return ["127.0.0.1"] if len(looks) == 1 else ["127.0.0.2"]

    with RawServer(respond(http(200))) as server:
        GuardedOutbound(LOOPBACK, SystemClock(), resolve).send(
            "GET", f"http://once.example:{server.port}/", headers={}
        )
    assert looks == ["once.example"]


@pytest.mark.parametrize(
    "mixed",
    [
        ["198.41.0.4", "127.0.0.1"],
        ["127.0.0.1", "198.41.0.4"],
        ["2600::", "::1"],
        ["198.41.0.4", "::ffff:10.0.0.1"],
        ["198.41.0.4", "fe80::1%1"],
        ["198.41.0.4", "no address"],
    ],
)
def test_one_address_that_is_refused_refuses_all_of_a_name(
    mixed: list[str], canary: RawServer
) -> None:
    fault = fault_of(way_out(NOTHING, [mixed]), f"https://mixed.example:{canary.port}/")
    assert fault.kind is OutboundFaultKind.REFUSED
    assert canary.connections == 0


def test_a_dead_address_gives_way_to_the_next() -> None:
    with RawServer(respond(http(200))) as server:
        outbound = way_out(LOOPBACK, [["127.0.0.2", "127.0.0.1"]])
        assert outbound.send("GET", f"http://two:{server.port}/", headers={}).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int, canary: RawServer) -> None:
    location = f"Location: http://127.0.0.1:{canary.port}/"
    with RawServer(respond(http(status, b"", location))) as server:
        answer = way_out().send("GET", f"http://127.0.0.1:{server.port}/", headers={})
    assert answer.status == status
    assert canary.connections == 0


def test_no_proxy_of_the_environment_is_used(
    canary: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    with RawServer(respond(http(204))) as server:
        answer = way_out().send("GET", f"http://inside.example:{server.port}/", headers={})
    assert answer.status == 204
    assert canary.connections == 0


def test_plain_http_goes_to_allowed_networks_only() -> None:
    outbound = way_out(NOTHING, [["198.41.0.4"]])
    fault = fault_of(outbound, "http://public.example/")
    assert fault.kind is OutboundFaultKind.REFUSED
    assert "https" in fault.detail


# --- time and size -------------------------------------------------------------------------------


def dripping(head: bytes) -> RawServer:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while not server.wait(0.02):
            connection.sendall(b"x")

    server = RawServer(answer)
    return server


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_dripping_answer_ends_by_the_deadline(head: bytes) -> None:
    with dripping(head) as server:
        began = time.monotonic()
        fault = fault_of(way_out(), f"http://127.0.0.1:{server.port}/", seconds=0.5)
        assert time.monotonic() - began < 3
    if head:  # else it is no HTTP after a few bytes, or too slow to tell
        assert fault.kind is OutboundFaultKind.TIMED_OUT
    assert fault.was_sent


def test_endless_interim_answers_end_by_the_deadline() -> None:
    def answer(connection: socket.socket) -> None:
        while not server.wait(0.02):
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")

    with RawServer(answer) as server:
        fault = fault_of(way_out(), f"http://127.0.0.1:{server.port}/", seconds=0.5)
    assert fault.kind is OutboundFaultKind.TIMED_OUT


def test_a_silent_listener_ends_by_the_deadline_in_tls_too() -> None:
    def answer(connection: socket.socket) -> None:
        server.wait(20)

    with RawServer(answer) as server:
        for scheme in ("http", "https"):
            began = time.monotonic()
            fault = fault_of(way_out(), f"{scheme}://127.0.0.1:{server.port}/", seconds=0.3)
            assert time.monotonic() - began < 3
            assert fault.kind is OutboundFaultKind.TIMED_OUT
            assert fault.was_sent == (scheme == "http")


def test_a_body_that_is_not_taken_ends_by_the_deadline() -> None:
    def answer(connection: socket.socket) -> None:
        server.wait(20)

    with RawServer(answer) as server, pytest.raises(OutboundFault) as caught:
        way_out().send(
            "POST",
            f"http://127.0.0.1:{server.port}/",
            headers={},
            content=bytes(50_000_000),
            seconds=0.5,
        )
    assert caught.value.kind is OutboundFaultKind.TIMED_OUT
    assert caught.value.was_sent


def test_a_slow_name_server_costs_no_more_than_the_deadline() -> None:
    is_done = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        is_done.wait(20)
        return ["127.0.0.1"]

    outbound = GuardedOutbound(LOOPBACK, SystemClock(), resolve)
    try:
        # Three times as many as may hang. One whose time is over before it asks hangs nowhere.
        for _ in range(3 * MOST_LOOKUPS):
            fault = fault_of(outbound, "http://slow.example/", seconds=0.01)
            assert fault.kind is OutboundFaultKind.TIMED_OUT
        hanging = [one for one in threading.enumerate() if one.name == "keyturn-lookup"]
        assert len(hanging) == MOST_LOOKUPS
    finally:
        is_done.set()


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "X-Until: close"])
def test_an_endless_answer_is_read_no_further_than_it_may(framing: str) -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        piece = b"1000\r\n" + b"y" * 4096 + b"\r\n" if "chunked" in framing else b"y" * 4096
        while True:
            connection.sendall(piece)

    with RawServer(answer) as server:
        fault = fault_of(way_out(), f"http://127.0.0.1:{server.port}/", seconds=10)
    assert fault.kind is OutboundFaultKind.NOT_UNDERSTOOD
    assert "too much" in fault.detail


# --- what answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (f"SSH-2.0-OpenSSH {SECRET}\r\n".encode(), OutboundFaultKind.NOT_UNDERSTOOD),
        (f"HTTP/1.1 {SECRET}\r\n\r\n".encode(), OutboundFaultKind.NOT_UNDERSTOOD),
        (f"HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n".encode(), OutboundFaultKind.NOT_UNDERSTOOD),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", OutboundFaultKind.NOT_UNDERSTOOD),
        (b"\x00" * 200_000, OutboundFaultKind.NOT_UNDERSTOOD),
        (b"", OutboundFaultKind.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Len", OutboundFaultKind.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", OutboundFaultKind.UNREACHABLE),
    ],
)
def test_what_does_not_speak_http_is_a_fault_that_repeats_nothing(
    said: bytes, kind: OutboundFaultKind
) -> None:
    with RawServer(respond(said)) as server:
        fault = fault_of(way_out(), f"http://127.0.0.1:{server.port}/")
    assert fault.kind is kind
    assert fault.was_sent
    assert fault.__cause__ is None


def test_a_port_where_nothing_listens_is_unreachable_and_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    fault = fault_of(way_out(), f"http://127.0.0.1:{port}/")
    assert (fault.kind, fault.was_sent) == (OutboundFaultKind.UNREACHABLE, False)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Token": "a\r\nX-Other: b"},
        {"X-Token": "a\nb"},
        {"X Token": "a"},
        {"X-Token": "\u0441"},
        {"Host": "other.example"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_a_header_cannot_smuggle_another(headers: dict[str, str], canary: RawServer) -> None:
    with pytest.raises(OutboundFault) as caught:
        way_out().send("GET", f"http://127.0.0.1:{canary.port}/", headers=headers)
    assert caught.value.kind is OutboundFaultKind.REFUSED


# --- TLS -----------------------------------------------------------------------------------------


def test_tls_with_an_authority_of_ones_own(authority: Authority, tmp_path: Path) -> None:
    context = authority.context(tmp_path, "vault.example", "127.0.0.1")
    with RawServer(respond(http(200, b"safe")), context) as server:
        for host in ("vault.example", "127.0.0.1"):
            answer = way_out().send(
                "GET", f"https://{host}:{server.port}/", headers={}, ca_certificate=authority.pem
            )
            assert answer.content == b"safe"


def test_a_certificate_for_another_name_or_by_nobody_known_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    context = authority.context(tmp_path, "vault.example")
    with RawServer(respond(http(200, b"safe")), context) as server:
        for host, trusted in (
            ("other.example", authority.pem),
            ("vault.example", None),
            ("vault.example", found_authority().pem),
            ("127.0.0.1", authority.pem),
        ):
            with pytest.raises(OutboundFault) as caught:
                way_out().send(
                    "GET", f"https://{host}:{server.port}/", headers={}, ca_certificate=trusted
                )
            assert caught.value.kind is OutboundFaultKind.UNREACHABLE
            assert "certificate" in caught.value.detail
            assert not caught.value.was_sent


@pytest.mark.parametrize("pem", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_an_authority_that_is_none_is_said(pem: str) -> None:
    with pytest.raises(OutboundFault) as caught:
        way_out().send("GET", "https://vault.example/", headers={}, ca_certificate=pem)
    assert caught.value.kind is OutboundFaultKind.REFUSED


def test_many_threads_share_one_way_out() -> None:
    statuses: list[int] = []
    with RawServer(respond(http(200))) as server:
        outbound = way_out()

        def call() -> None:
            url = f"http://127.0.0.1:{server.port}/"
            statuses.append(outbound.send("GET", url, headers={}).status)

        threads = [threading.Thread(target=call) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 16


def test_the_guard_is_asked_for_the_port_that_is_dialled(canary: RawServer) -> None:
    other = AddressGuard(parse_allowed(f"127.0.0.1:{canary.port + 1}"))
    fault = fault_of(way_out(other), f"http://127.0.0.1:{canary.port}/")
    assert fault.kind is OutboundFaultKind.REFUSED
    assert "Dialer" in repr(Dialer(other, SystemClock()))
