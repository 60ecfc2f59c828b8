"""What may be asked of the way out.

1. Whoever names an address may be hostile: each connection goes to an address that was checked at
   that moment, whatever a name resolved to before (SSRF, DNS rebinding).
2. No redirect is followed, and no proxy of the environment is used.
3. A call ends by its deadline, however slowly the other side drips, and reads no more than it was
   told to.
4. What the other side says is never repeated to anybody: faults carry sentences of our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

MOST_BYTES = 1_048_576
DEFAULT_SECONDS = 10.0


class OutboundFault(Exception):
    """A call that has no answer. `kind` tells them apart; the text is one plain sentence without
    anything secret. `was_sent` is False where nothing has left for the other side."""

    def __init__(self, kind: "OutboundFaultKind", detail: str, *, was_sent: bool = False) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.was_sent = was_sent


class OutboundFaultKind(StrEnum):
    REFUSED = "refused"  # our own guard: the address may not be reached
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    NOT_UNDERSTOOD = "not_understood"  # what answered does not speak HTTP, or says too much


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundAnswer:
    """Header names are in lowercase. The content may hold a secret and does not show itself."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class Outbound(Protocol):
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
        """One call, whole. `ca_certificate` (PEM) is trusted in the place of the system's. Raises
        `OutboundFault`."""
        ...
