"""The way out as one call of a destination has it: its time is shared by all the requests it takes.

What cannot be sent is told as a destination's fault. An answer that points elsewhere is none: a
destination follows nothing that is not its own.
"""

from collections.abc import Collection, Mapping

from keyturn.destinations.contract import SECONDS, DestinationFault, FaultKind
from keyturn.domain.ambience import Clock
from keyturn.outbound.contract import (
    Outbound,
    OutboundAnswer,
    OutboundFault,
    OutboundFaultKind,
)
from keyturn.outbound.url import UrlRefused, parse_call_url

# Of the connection and not of the request, or made anew by who sends.
_NOT_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "transfer-encoding"}
)
_KINDS = {
    OutboundFaultKind.REFUSED: FaultKind.ADDRESS_REFUSED,
    OutboundFaultKind.UNREACHABLE: FaultKind.UNREACHABLE,
    OutboundFaultKind.TIMED_OUT: FaultKind.TIMED_OUT,
    OutboundFaultKind.NOT_UNDERSTOOD: FaultKind.NOT_UNDERSTOOD,
}


class AllottedOutbound:
    """Used by one thread at a time, as a destination is."""

    def __init__(
        self,
        outbound: Outbound,
        clock: Clock,
        *,
        ca_certificate: str | None = None,
        servers: Collection[str] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """`servers` are the addresses that anything is sent to; None for all."""
        self._outbound = outbound
        self._clock = clock
        self._ca_certificate = ca_certificate
        self._servers = None if servers is None else {_server(one) for one in servers}
        self._seconds = seconds
        self._ends = clock.elapsed() + seconds
        self.last_status = 0  # of the latest answer

    def begin(self) -> None:
        """A call of the destination begins: it has its whole time."""
        self._ends = self._clock.elapsed() + self._seconds

    @property
    def remaining_seconds(self) -> float:
        """Raises `DestinationFault` where nothing is left."""
        remaining = self._ends - self._clock.elapsed()
        if remaining <= 0:
            raise DestinationFault(FaultKind.TIMED_OUT, "The place took too long to answer.")
        return remaining

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b""
    ) -> OutboundAnswer:
        """One request. Raises `DestinationFault`."""
        if self._servers is not None and _server(url) not in self._servers:
            raise DestinationFault(
                FaultKind.ADDRESS_REFUSED, "The place points to another address; none is followed."
            )
        kept = {name: text for name, text in headers.items() if name.lower() not in _NOT_OURS}
        try:
            answer = self._outbound.send(
                method,
                url,
                headers=kept | {"accept-encoding": "identity"},
                content=content,
                seconds=self.remaining_seconds,
                ca_certificate=self._ca_certificate,
            )
        except OutboundFault as fault:
            raise DestinationFault(_KINDS[fault.kind], fault.detail) from None
        self.last_status = answer.status
        if 300 <= answer.status < 400:
            raise DestinationFault(
                FaultKind.NOT_UNDERSTOOD, "The place points to another address; none is followed."
            )
        return answer


def _server(url: str) -> tuple[str, int] | None:
    try:
        parts = parse_call_url(url)
    except UrlRefused:
        return None
    return parts.host, parts.port
