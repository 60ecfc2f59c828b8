"""What the API answers of incidents: where they stand, and what came of each call.

The same holds here as in `resources.py`.
"""

from datetime import datetime

import msgspec

from keyturn.client.delivery_records import Delivery
from keyturn.client.given_token import given_token
from keyturn.client.record import Instant, Record
from keyturn.domain.token import Token


class Waived(Record, frozen=True, kw_only=True):
    """Why, and until when, the incident may close without a key."""

    reason: str
    until: Instant
    by: str
    at: Instant


class IncidentRuntime(Record, frozen=True, kw_only=True):
    """Who used a contained key. `standing` is ours, claimed, suspect or intruder; `recovered` says
    that it was let in with the replacement, and not denied since (`denied_since`)."""

    runtime: str
    declared: bool
    network: str | None = None
    standing: str
    last_seen_at: Instant | None = None
    recovered: bool
    new_last_seen_at: Instant | None = None
    denied_since: Instant | None = None


class IncidentKey(Record, frozen=True, kw_only=True):
    """A key of an incident. `because` is named, or made_by_contained: a contained key had made it
    while it was exposed. `status_before` is what it was when it was contained; `needs_replacement`
    says whether the incident waits for one."""

    key_id: str
    name: str
    service: str
    environment: str
    because: str
    status: str
    status_before: str | None = None
    exposed_since: Instant
    contained_at: Instant
    needs_replacement: bool = True
    replacement_key_id: str | None = None
    replaced_at: Instant | None = None
    recovered_at: Instant | None = None
    waived: Waived | None = None
    runtimes: list[IncidentRuntime] = msgspec.field(default_factory=list)

    @property
    def slot(self) -> str:
        return f"{self.service}-{self.environment}"

    def is_settled(self, moment: datetime) -> bool:
        """Whether the incident may close over it at this moment."""
        waived = self.waived is not None and moment < self.waived.until
        return waived or self.recovered_at is not None


class Placement(Record, frozen=True, kw_only=True):
    """A person's word on a caller: `standing` is ours or intruder. Without a network it holds
    everywhere."""

    runtime: str
    network: str | None = None
    standing: str
    by: str
    at: Instant


class UnreachedKey(Record, frozen=True, kw_only=True):
    """A key that was left alone; its name where the caller may know it."""

    key_id: str
    name: str | None = None


class ElsewhereKey(Record, frozen=True, kw_only=True):
    """A key that was left in the open incident that it is in."""

    key_id: str
    incident_id: str


class IncidentSeconds(Record, frozen=True, kw_only=True):
    """How long it took, from when it was opened: until every key was dead, had a replacement, was
    recovered. None is not yet."""

    contain: float | None = None
    replace: float | None = None
    recover: float | None = None


class ListedIncident(Record, frozen=True, kw_only=True):
    """An incident as it stands in a list: its keys are counted. `state` is contained,
    investigating, replacing, recovering or closed; `next_step` is the one thing to do."""

    id: str
    workspace_id: str
    state: str
    reason: str
    detail: str | None = None
    found_url: str | None = None
    exposed_since: Instant | None = None
    containment: str
    opened_at: Instant
    opened_by: str
    contained_at: Instant
    counted_at: Instant | None = None
    replaced_at: Instant | None = None
    recovered_at: Instant | None = None
    closed_at: Instant | None = None
    closed_by: str | None = None
    outcome: str | None = None
    next_step: str
    seconds: IncidentSeconds
    keys_total: int
    keys_open: int
    report_url: str
    version: int

    @property
    def is_open(self) -> bool:
        return self.state != "closed"


class Incident(ListedIncident, frozen=True, kw_only=True):
    """An incident with its keys, and who used them. `unreached` are keys that a contained one made
    before it was exposed, or changed meanwhile, or out of the caller's reach: left alone."""

    keys: list[IncidentKey]
    placements: list[Placement] = msgspec.field(default_factory=list)
    unreached: list[UnreachedKey] = msgspec.field(default_factory=list)


class OpenedIncident(Incident, frozen=True, kw_only=True):
    """An incident as it was opened: its keys are dead on every verifier, or at `effective_by` at
    the latest where that is told. Where it `is_joined`, it was open before. `unmatched` has the
    places of what was given and names no key."""

    unmatched: list[int] = msgspec.field(default_factory=list)
    elsewhere: list[ElsewhereKey] = msgspec.field(default_factory=list)
    is_joined: bool = False
    propagation: str | None = None
    effective_by: Instant | None = None


class SelectedKey(Record, frozen=True, kw_only=True):
    """A key that a selection holds."""

    key_id: str
    name: str
    service: str
    environment: str
    status: str
    owner: str | None = None

    @property
    def slot(self) -> str:
        return f"{self.service}-{self.environment}"


class Selection(Record, frozen=True, kw_only=True):
    """What a selection holds now. Nothing was contained. `made_by_contained` are keys that these
    made while they were exposed, and that would be contained with them; `unreached` what would be
    left alone."""

    count: int
    keys: list[SelectedKey]
    made_by_contained: list[SelectedKey] = msgspec.field(default_factory=list)
    unreached: list[UnreachedKey] = msgspec.field(default_factory=list)


class KeySelection(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Keys to contain, by what they have in common: all that is given must hold. `since` and
    `until` are when they were made; `created_by` may be a key's id."""

    slot: str | None = None
    owner: str | None = None
    created_by: str | None = None
    destination: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class KeyWaiver(Record, frozen=True, kw_only=True):
    """A key that an incident is to close without, why, and until when."""

    key_id: str
    reason: str
    until: datetime


class Replacement(Record, frozen=True, kw_only=True):
    """A new key in the place of a contained one (`replaces`) and, this once, its token, unless that
    is delivered."""

    replaces: str
    id: str
    name: str
    api_key: Token | None = None
    deliveries: list[Delivery] = msgspec.field(default_factory=list)

    @property
    def token(self) -> Token:
        """The new token; `.reveal()` gives the string. Where there is none, raises
        `TokenDelivered`, or else `TokenLost`."""
        return given_token(self.api_key, self.id, self.deliveries)


class Replacements(Record, frozen=True, kw_only=True):
    """The keys that were made, none where each contained one had its replacement before; and where
    the incident stands then."""

    replacements: list[Replacement]
    incident: Incident
