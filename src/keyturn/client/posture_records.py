"""What the API answers of posture.

The same holds here as in `resources.py`.
"""

import msgspec

from keyturn.client.record import Instant, Record


class PostureWaiver(Record, frozen=True, kw_only=True):
    """What somebody has waived of a check: of a key, of a slot, or altogether. It is `active` until
    `until`, or until it was ended."""

    id: str
    workspace_id: str
    check: str
    key_id: str | None = None
    slot: str | None = None
    reason: str
    until: Instant
    active: bool
    created_at: Instant
    created_by: str
    ended_at: Instant | None = None
    ended_by: str | None = None
    version: int


class WaivedBy(Record, frozen=True, kw_only=True):
    """By whom something is waived, why, and until when."""

    id: str
    by: str
    reason: str
    until: Instant


class Concerned(Record, frozen=True, kw_only=True):
    """What did not pass a check: `type` is api_key, slot, rotation, incident or workspace, `result`
    fail, unknown or waived."""

    type: str
    id: str
    name: str
    slot: str | None = None
    result: str
    why: str
    since: Instant | None = None
    remedy: str | None = None
    waived: WaivedBy | None = None


class CheckEvidence(Record, frozen=True, kw_only=True):
    """How many were judged, and what came of them; `terms` are the numbers they were judged by."""

    checked: int
    passed: int
    failed: int
    unknown: int
    waived: int
    terms: dict[str, int] = msgspec.field(default_factory=dict)


class Check(Record, frozen=True, kw_only=True):
    """One line of the guide. `result` is pass, fail, unknown or waived; `known` is how that is
    known: measured, declared or unknown. `concerned` has the first of what did not pass, which are
    `total`."""

    id: str
    line: str
    result: str
    known: str
    since: Instant | None = None
    evidence: CheckEvidence
    concerned: list[Concerned] = msgspec.field(default_factory=list)
    total: int
    remedy: str | None = None


class PostureTotals(Record, frozen=True, kw_only=True):
    """How many checks came to what."""

    passed: int
    failed: int
    unknown: int
    waived: int


class Posture(Record, frozen=True, kw_only=True):
    """Whether the workspace keeps to the guide. Where it is not of the `whole_workspace`, the token
    reads some slots alone."""

    workspace_id: str
    as_of: Instant
    whole_workspace: bool
    totals: PostureTotals
    checks: list[Check]


class EvidenceRotation(Record, frozen=True, kw_only=True):
    """A rotation that a key had a part in; `role` is old or new."""

    id: str
    role: str
    state: str
    started_at: Instant
    started_by: str
    ended_at: Instant | None = None
    ended_by: str | None = None
    forced: bool
    reason: str | None = None


class EvidenceIncident(Record, frozen=True, kw_only=True):
    """An incident that a key was in."""

    id: str
    state: str
    reason: str
    opened_at: Instant
    closed_at: Instant | None = None
    outcome: str | None = None


class KeyEvidence(Record, frozen=True, kw_only=True):
    """A key that lived in a period. `ended_by` is expired, or the reason of its revocation.
    `incidents` is None for who may not read requests."""

    key_id: str
    name: str
    slot: str
    owner: str | None = None
    runbook_url: str | None = None
    scopes: list[str]
    permissions: list[str]
    created_at: Instant
    created_by: str | None = None
    last_used_at: Instant | None = None
    ended_at: Instant | None = None
    ended_by: str | None = None
    greatest_age_seconds: int
    rotation_period_days: int | None = None
    was_overdue: bool | None = None
    rotations: list[EvidenceRotation] = msgspec.field(default_factory=list)
    incidents: list[EvidenceIncident] | None = None
    waivers: list[PostureWaiver] = msgspec.field(default_factory=list)
