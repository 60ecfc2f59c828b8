"""The real way out, to servers on this machine under the names of the vendors' own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.ambient import SystemClock
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.guard import AddressGuard, parse_allowed
from tests.servers.authority import Authority
from tests.servers.raw import RawServer, http, respond

# Who is waited for in vain is given little time; who answers has plenty, however slow the machine.
SILENT_SECONDS = 2.0
PATIENT_SECONDS = 10.0


def guarded_outbound(allowed: str = "127.0.0.0/8") -> GuardedOutbound:
    guard = AddressGuard(parse_allowed(allowed))
    return GuardedOutbound(guard, SystemClock(), _here)


def _here(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The ports of servers that are none of the vendor's, and of no server."""

    garbage: int
    failing: int
    silent: int
    closed: int


@contextmanager
def run_trouble(folder: Path, authority: Authority | None, *hosts: str) -> Iterator[Trouble]:
    context = authority.context(folder, *hosts) if authority is not None else None
    with (
        RawServer(respond(http(200, b"<html>SECRET</html>")), context) as garbage,
        RawServer(respond(http(503, b"SECRET")), context) as failing,
        RawServer(lambda connection: _say_nothing(silent, connection), context) as silent,
        socket.socket() as closed,
    ):
        # Held and not listened at: a port that is given back may be another's a moment later.
        closed.bind(("127.0.0.1", 0))
        yield Trouble(
            garbage=garbage.port,
            failing=failing.port,
            silent=silent.port,
            closed=int(closed.getsockname()[1]),
        )


def _say_nothing(server: RawServer, connection: socket.socket) -> None:
    server.wait(60)
