"""The way out for libraries that are built on `requests`: the same guard, the same bounds."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from keyturn.ambient import SystemClock
from keyturn.outbound.contract import OutboundFault, OutboundFaultKind
from keyturn.outbound.guard import AddressGuard, parse_allowed
from keyturn.outbound.sessions import guarded_requests_session
from tests.servers.authority import found_authority
from tests.servers.raw import RawServer, http, read_request, respond

LOOPBACK = AddressGuard(parse_allowed("127.0.0.0/8"))


def session_for(
    guard: AddressGuard = LOOPBACK, ip: str = "127.0.0.1", seconds: float = 5.0
) -> requests.Session:
    def resolve(host: str, port: int) -> list[str]:
        return [ip]

    return guarded_requests_session(guard, SystemClock(), resolve, seconds=seconds)


@pytest.fixture
def canary() -> Iterator[RawServer]:
    with RawServer(respond(http(200, b"inside"))) as server:
        yield server


def test_a_session_reaches_what_is_allowed_and_nothing_else(canary: RawServer) -> None:
    with session_for() as session:
        session.get(f"http://inside.example:{canary.port}/")
        assert session.get(f"http://inside.example:{canary.port}/").content == b"inside"
    assert canary.connections == 2
    with session_for(AddressGuard()) as session:
        for scheme in ("http", "https"):
            with pytest.raises(OutboundFault) as caught:
                session.get(f"{scheme}://inside.example:{canary.port}/")
            assert caught.value.kind is OutboundFaultKind.REFUSED
    assert canary.connections == 2


def test_another_adapter_does_not_lead_around_the_guard(canary: RawServer) -> None:
    with session_for(AddressGuard()) as session:
        session.mount("http://", requests.adapters.HTTPAdapter())
        with pytest.raises(OutboundFault):
            session.get(f"http://127.0.0.1:{canary.port}/")
    assert canary.connections == 0


def test_no_redirect_and_no_proxy(canary: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    location = f"Location: http://127.0.0.1:{canary.port}/"
    proxies = {"http": f"http://127.0.0.1:{canary.port}"}
    with RawServer(respond(http(302, b"", location))) as server, session_for() as session:
        for named in ({}, proxies):
            answer = session.get(f"http://moved.example:{server.port}/", proxies=named)
            assert answer.status_code == 302
    assert canary.connections == 0


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_dripping_answer_ends_by_the_deadline(head: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while not server.wait(0.02):
            connection.sendall(b"x")

    with RawServer(answer) as server, session_for(seconds=0.5) as session:
        began = time.monotonic()
        with pytest.raises(OutboundFault) as caught:
            session.get(f"http://127.0.0.1:{server.port}/", timeout=60)
        assert time.monotonic() - began < 3
    assert caught.value.kind is OutboundFaultKind.TIMED_OUT


def test_an_endless_answer_is_read_no_further_than_it_may() -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"y" * 4096)

    with (
        RawServer(answer) as server,
        session_for() as session,
        pytest.raises(OutboundFault) as caught,
    ):
        session.get(f"http://127.0.0.1:{server.port}/")
    assert caught.value.kind is OutboundFaultKind.NOT_UNDERSTOOD


def test_tls_is_verified_even_where_a_library_would_not(tmp_path: Path) -> None:
    authority = found_authority()
    trusted = tmp_path / "authority.pem"
    trusted.write_text(authority.pem)
    context = authority.context(tmp_path, "vault.example")
    with RawServer(respond(http(200, b"safe")), context) as server, session_for() as session:
        url = f"https://vault.example:{server.port}/"
        assert session.get(url, verify=str(trusted)).content == b"safe"
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"https://other.example:{server.port}/", verify=str(trusted))
        for verify in (True, False):
            with pytest.raises(requests.exceptions.SSLError):
                session.get(url, verify=verify)
