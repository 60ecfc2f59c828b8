"""The connection below a call of `client`: each read and write has what is left of the time."""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpcore2

from keyturn.outbound.contract import OutboundFault, OutboundFaultKind
from keyturn.outbound.dialing import Deadline, Dialer, timed_out

_SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)


@dataclass(slots=True)
class Traffic:
    """What has gone over the connection so far."""

    was_sent: bool = False
    has_ended: bool = False  # the other side has closed it
    first: bytes = field(default=b"", repr=False)  # of what it said, as far as `HTTP/` reaches


class GuardedBackend(httpcore2.NetworkBackend):
    """Opens the connection of one call through the guard."""

    def __init__(
        self, dialer: Dialer, deadline: Deadline, traffic: Traffic, *, is_plain: bool
    ) -> None:
        self._dialer = dialer
        self._deadline = deadline
        self._traffic = traffic
        self._is_plain = is_plain

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        connected = self._dialer.dial(host, port, self._deadline, is_plain=self._is_plain)
        return _Stream(connected, self._deadline, self._traffic)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, connected: socket.socket, deadline: Deadline, traffic: Traffic) -> None:
        self._socket = connected
        self._deadline = deadline
        self._traffic = traffic

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(self._deadline.left())
        try:
            data = self._socket.recv(max_bytes)
        except TimeoutError:
            raise timed_out(was_sent=True) from None
        except OSError:
            self._traffic.has_ended = True
            raise httpcore2.ReadError from None
        if not data:
            self._traffic.has_ended = True
        self._traffic.first = (self._traffic.first + data[:5])[:5]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:
            self._socket.settimeout(self._deadline.left())
            self._traffic.was_sent = True
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                raise timed_out(was_sent=True) from None
            except OSError:
                raise httpcore2.WriteError from None

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            self._socket.settimeout(self._deadline.left())
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except (OSError, ValueError) as problem:  # ValueError: a name that no certificate can have
            self._socket.close()
            raise _tls_fault(problem) from None
        return _Stream(wrapped, self._deadline, self._traffic)

    def get_extra_info(self, info: str) -> object:
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        return None


def _tls_fault(problem: Exception) -> OutboundFault:
    if isinstance(problem, TimeoutError):
        return timed_out()
    detail = "It does not speak TLS as it should."
    if isinstance(problem, ssl.SSLCertVerificationError):
        detail = "Its certificate is not trusted for this name."
    return OutboundFault(OutboundFaultKind.UNREACHABLE, detail)
