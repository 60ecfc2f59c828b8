"""What the API answers of rotations, of the impact of a revocation, of findings and staff changes.

The same holds here as in `resources.py`.
"""

import msgspec

from keyturn.client.delivery_records import Delivery
from keyturn.client.given_token import given_token
from keyturn.client.record import Blocker, Instant, Record
from keyturn.client.resources import Key
from keyturn.domain.token import Token


class RuntimeEvidence(Record, frozen=True, kw_only=True):
    """What is known of one workload. `standing` is ours, stranger, conflict, waived or new."""

    runtime: str
    declared: bool
    registered: bool
    standing: str
    old_last_seen_at: Instant | None = None
    old_allowed: int
    new_last_seen_at: Instant | None = None
    new_allowed: int
    new_denied: int
    checked_in_at: Instant | None = None
    moved: bool
    networks: tuple[str, ...] = ()


class RuntimeDecision(Record, frozen=True, kw_only=True):
    """A person's word on one workload: ours, intruder, waived or checked_in."""

    runtime: str
    standing: str
    network: str | None = None
    reason: str | None = None
    by: str
    at: Instant


class Rotation(Record, frozen=True, kw_only=True):
    """One key replaced by another in its slot. `state` is overlapping, brownout, completed,
    rolled_back or cancelled; `blocked_by` is empty when it may complete. `deliveries` is how the
    new token is on its way, where it goes to destinations."""

    id: str
    workspace_id: str
    service: str
    environment: str
    slot: str
    old_key_id: str
    new_key_id: str
    state: str
    started_at: Instant
    started_by: str | None = None
    deadline: Instant
    overdue: bool
    completed_at: Instant | None = None
    ended_by: str | None = None
    reason: str | None = None
    forced: bool
    auto_complete: bool
    overlap_seconds: int
    quiet_seconds: int
    brownout_seconds: int
    lookback_seconds: int
    brownout_until: Instant | None = None
    lifts: int
    decisions: list[RuntimeDecision]
    evidence_until: Instant | None = None
    evidence: list[RuntimeEvidence]
    blocked_by: list[Blocker]
    deliveries: list[Delivery] = msgspec.field(default_factory=list)
    next_step: str
    version: int

    @property
    def is_open(self) -> bool:
        return self.state in ("overlapping", "brownout")


class StartedRotation(Rotation, frozen=True, kw_only=True):
    """A rotation with its new key and, this once, the new key's token, unless that is delivered.
    Where it `is_joined`, it was open before, and there is no token."""

    api_key: Token | None
    new_key: Key
    is_joined: bool = False

    @property
    def token(self) -> Token:
        """The new token; `.reveal()` gives the string. Where there is none, raises
        `TokenDelivered`, or else `TokenLost`."""
        return given_token(self.api_key, self.new_key_id, self.deliveries)


class Waiver(Record, frozen=True, kw_only=True):
    """A workload that a rotation is not to wait for, and why not."""

    runtime: str
    reason: str


class ImpactRuntime(Record, frozen=True, kw_only=True):
    """A workload that uses a key, and whether it `breaks` where the key is revoked."""

    runtime: str
    declared: bool
    registered: bool
    last_seen_at: Instant | None = None
    allowed: int
    calls_per_hour: float | None = None
    longest_gap_seconds: int | None = None
    next_expected_at: Instant | None = None
    breaks: bool


class Impact(Record, frozen=True, kw_only=True):
    """What would break if a key were revoked now: `impact` is safe, breaks or unknown."""

    key_id: str
    impact: str
    reason: str
    is_only_live_key: bool
    as_of: Instant
    rotation_id: str | None = None
    runtimes: list[ImpactRuntime]

    @property
    def is_safe(self) -> bool:
        return self.impact == "safe"


class FindingSubject(Record, frozen=True, kw_only=True):
    """What a finding is about: `type` is api_key, slot or rotation."""

    type: str
    id: str
    slot: str | None = None


class Finding(Record, frozen=True, kw_only=True):
    """Something that a person should know. `state` is open, acknowledged or resolved, `severity`
    info, warning or critical."""

    id: str
    workspace_id: str
    kind: str
    severity: str
    state: str
    subject: FindingSubject
    since: Instant
    evidence: dict[str, object]
    acknowledged_at: Instant | None = None
    acknowledged_by: str | None = None
    reason: str | None = None
    resolved_at: Instant | None = None
    version: int


class StaffKey(Record, frozen=True, kw_only=True):
    """A key that a person owned, made or was shown (`because`), and what became of it: a rotation,
    with the new key and its token or the deliveries of that, or the code of a refusal."""

    key_id: str
    name: str
    slot: str
    status: str
    because: list[str]
    rotation_id: str | None = None
    new_key_id: str | None = None
    api_key: Token | None = None
    deliveries: list[Delivery] = msgspec.field(default_factory=list)
    refused: str | None = None


class StaffChange(Record, frozen=True, kw_only=True):
    """The keys that a person who has left may know."""

    person: str
    keys: list[StaffKey]
