"""The guarded way out over HTTP/1.1: a connection of its own for each call, closed behind it.

A connection that is kept would carry a later call past the guard; so none is.
"""

import contextlib
import ssl
from collections.abc import Iterator, Mapping

import httpcore2
import httpx2

from keyturn.domain.ambience import Clock
from keyturn.outbound.contract import (
    DEFAULT_SECONDS,
    MOST_BYTES,
    OutboundAnswer,
    OutboundFault,
    OutboundFaultKind,
)
from keyturn.outbound.dialing import Deadline, Dialer, Resolve, resolve_by_system
from keyturn.outbound.guard import AddressGuard
from keyturn.outbound.stream import GuardedBackend, Traffic
from keyturn.outbound.url import CallUrl, UrlRefused, parse_call_url

# What the way out writes itself; a second one would have two readers read two requests.
_OWN_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class GuardedOutbound:
    """`Outbound` for addresses that anybody may have named. Safe to share between threads."""

    def __init__(
        self, guard: AddressGuard, clock: Clock, resolve: Resolve = resolve_by_system
    ) -> None:
        self._dialer = Dialer(guard, clock, resolve)
        self._clock = clock

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        seconds: float = DEFAULT_SECONDS,
        most_bytes: int = MOST_BYTES,
        ca_certificate: str | None = None,
    ) -> OutboundAnswer:
        deadline = Deadline(self._clock, seconds)
        try:
            parts = parse_call_url(url)
        except UrlRefused as refusal:
            raise OutboundFault(OutboundFaultKind.REFUSED, str(refusal)) from None
        traffic = Traffic()
        backend = GuardedBackend(self._dialer, deadline, traffic, is_plain=parts.is_plain)
        with (
            _told(traffic),
            httpcore2.ConnectionPool(
                ssl_context=None if parts.is_plain else trust(ca_certificate),
                max_connections=1,
                max_keepalive_connections=0,
                retries=0,
                network_backend=backend,
            ) as pool,
            pool.stream(
                method, _address(parts), headers=_headers(headers), content=content
            ) as answer,
        ):
            return OutboundAnswer(
                status=answer.status,
                headers=_read_headers(answer.headers),
                content=_read_whole(answer, most_bytes, deadline),
            )


def trust(ca_certificate: str | None) -> ssl.SSLContext:
    """Whom a connection trusts: the system's authorities, or the given one (PEM) in their place."""
    if ca_certificate is None:
        return httpx2.create_ssl_context(trust_env=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLError, ValueError):
        context.load_verify_locations(cadata=ca_certificate)
    if not context.cert_store_stats()["x509"]:
        raise OutboundFault(
            OutboundFaultKind.REFUSED, "The certificate of its authority is no PEM certificate."
        )
    return context


def _address(parts: CallUrl) -> httpcore2.URL:
    return httpcore2.URL(
        scheme=parts.scheme.encode(),
        host=parts.host.encode(),
        port=parts.port,
        target=parts.target.encode(),
    )


def _headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    if not _OWN_HEADERS.isdisjoint(name.lower() for name in headers):
        raise OutboundFault(OutboundFaultKind.REFUSED, "These headers are written by Keyturn.")
    try:
        written = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    except UnicodeEncodeError:
        raise OutboundFault(OutboundFaultKind.REFUSED, "A header is of ASCII.") from None
    return [*written, (b"Connection", b"close")]


def _read_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _read_whole(answer: httpcore2.Response, most_bytes: int, deadline: Deadline) -> bytes:
    content = bytearray()
    for piece in answer.iter_stream():
        content += piece
        if len(content) > most_bytes:
            raise OutboundFault(
                OutboundFaultKind.NOT_UNDERSTOOD, "It answered too much.", was_sent=True
            )
        deadline.left()
    return bytes(content)


@contextlib.contextmanager
def _told(traffic: Traffic) -> Iterator[None]:
    """Turns what goes wrong below into sentences of our own; what the other side said stays out."""
    try:
        yield
    except OutboundFault as fault:
        fault.was_sent = fault.was_sent or traffic.was_sent
        raise
    except httpcore2.LocalProtocolError:
        kind, detail = OutboundFaultKind.REFUSED, "The request cannot be written as HTTP."
    except httpcore2.ProtocolError:
        kind, detail = OutboundFaultKind.NOT_UNDERSTOOD, "What answers there does not speak HTTP."
        if traffic.has_ended and b"HTTP/".startswith(traffic.first):
            kind, detail = OutboundFaultKind.UNREACHABLE, "It closed the connection unanswered."
    except httpcore2.NetworkError:
        kind, detail = OutboundFaultKind.UNREACHABLE, "The connection broke."
    except httpcore2.TimeoutException:
        kind, detail = OutboundFaultKind.TIMED_OUT, "It did not answer in time."
    else:
        return
    raise OutboundFault(kind, detail, was_sent=traffic.was_sent) from None
