"""Destinations that go out by the real way out, to loopback alone."""

import socket
from collections.abc import Mapping
from uuid import UUID

from keyturn.ambient import SystemClock
from keyturn.destinations.contract import Destination, DestinationKind, Opening
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.guard import AddressGuard, parse_allowed

WORKSPACE_ID = UUID("0190a5c1-0000-7000-8000-000000000001")
DESTINATION_ID = UUID("0190a5c1-0000-7000-8000-000000000002")
CLOCK = SystemClock()


def way_out(allowed: str = "127.0.0.0/8") -> GuardedOutbound:
    return GuardedOutbound(AddressGuard(parse_allowed(allowed)), CLOCK)


def open_kind(
    kind: DestinationKind,
    config: Mapping[str, object],
    credential: Mapping[str, str],
    workspace_id: UUID = WORKSPACE_ID,
) -> Destination:
    """Opened as the product does it: with the configuration in its one spelling."""
    return kind.open(
        Opening(
            workspace_id=workspace_id,
            destination_id=DESTINATION_ID,
            config=kind.check(config, credential),
            credential=credential,
        )
    )


def closed_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
