"""What the API answers of destinations and of deliveries. No token and no credential is in them.

The same holds here as in `resources.py`.
"""

from keyturn.client.record import Instant, Record


class Destination(Record, frozen=True, kw_only=True):
    """A place outside where new tokens are delivered. `state` is proven, or unproven; then `fault`
    says why, where it was tried. Its credential is never answered."""

    id: str
    workspace_id: str
    name: str
    kind: str
    config: dict[str, object]
    state: str
    proven_at: Instant | None = None
    fault: str | None = None
    created_at: Instant
    created_by: str
    updated_at: Instant
    version: int

    @property
    def is_proven(self) -> bool:
        return self.state == "proven"


class DeliveryFault(Record, frozen=True, kw_only=True):
    """Why the last attempt of a delivery failed; `kind` is a word for programs, like denied."""

    kind: str | None = None
    detail: str


class Delivery(Record, frozen=True, kw_only=True):
    """A new token on its way to a destination. `state` is waiting, delivered, restoring, restored,
    superseded or cancelled; `location` is where it goes there."""

    id: str
    workspace_id: str
    slot: str
    key_id: str
    rotation_id: str | None = None
    destination: str
    destination_id: str
    state: str
    location: str | None = None
    receipt: str | None = None
    attempts: int
    failures: int
    fault: DeliveryFault | None = None
    next_attempt_at: Instant | None = None
    delivered_at: Instant | None = None
    checked_at: Instant | None = None
    ended_at: Instant | None = None
    created_at: Instant
    created_by: str

    @property
    def is_open(self) -> bool:
        """Whether there is something to do: it is tried again by itself."""
        return self.state in ("waiting", "restoring")
