"""The blast radius of an incident, as the API answers it.

The same holds here as in `resources.py`.
"""

import msgspec

from keyturn.client.incident_records import ListedIncident
from keyturn.client.record import Instant, Record
from keyturn.client.resources import RecordedRequest
from keyturn.client.rotation_records import Finding


class ReportWindow(Record, frozen=True, kw_only=True):
    """The time of exposure: to the containment."""

    since: Instant
    until: Instant


class ReportTotals(Record, frozen=True, kw_only=True):
    """How many requests there were, in the window and since. A use after containment is in
    `after_containment` and in one of the other two."""

    allowed: int
    denied: int
    after_containment: int


class ReportRuntime(ReportTotals, frozen=True, kw_only=True):
    """A caller, by name and place. `standing` is ours, claimed, suspect or intruder; `unlike` are
    words for what is unlike those who came before."""

    runtime: str
    declared: bool
    network: str | None = None
    standing: str
    first_seen_at: Instant
    last_seen_at: Instant
    unlike: list[str] = msgspec.field(default_factory=list)
    keys_total: int
    key_ids: list[str]


class ReportNetwork(ReportTotals, frozen=True, kw_only=True):
    """Where requests came from, and the standings of the callers there."""

    network: str
    standings: list[str]
    first_seen_at: Instant
    last_seen_at: Instant


class ReportPath(ReportTotals, frozen=True, kw_only=True):
    """What was called: a method and a path."""

    path: str
    first_seen_at: Instant
    last_seen_at: Instant


class ReportValue(ReportTotals, frozen=True, kw_only=True):
    """A scope, a user agent, a country, an environment or a sign of a browser."""

    value: str
    first_seen_at: Instant
    last_seen_at: Instant


class ReportUnlike(Record, frozen=True, kw_only=True):
    """Something that is unlike a key's usual life, and why."""

    key_id: str
    what: str
    value: str
    standing: str | None = None
    requests: int
    first_seen_at: Instant
    last_seen_at: Instant
    reason: str


class ReportLookalike(Record, frozen=True, kw_only=True):
    """A caller of yours that a thief could pass for."""

    runtime: str
    declared: bool
    network: str | None = None
    standing: str
    requests: int


class ReportIndistinguishable(Record, frozen=True, kw_only=True):
    """How many requests a thief could hide among, who shares your address and copies your name."""

    requests: int
    detail: str
    callers: list[ReportLookalike]


class ReportAttempt(Record, frozen=True, kw_only=True):
    """A caller that came after the containment."""

    runtime: str
    declared: bool
    network: str | None = None
    standing: str
    allowed: int
    denied: int
    first_seen_at: Instant
    last_seen_at: Instant


class ReportEvent(Record, frozen=True, kw_only=True):
    """One thing that happened."""

    at: Instant
    what: str
    detail: str
    key_id: str | None = None
    request_id: str | None = None


class IncidentReport(Record, frozen=True, kw_only=True):
    """Who used the keys of an incident, for what, and what of that is unlike their usual life. It
    is not `complete` where the records do not reach back to the start of the window: `gaps` says
    what is not known. `requests` are the newest of callers that are not yours."""

    incident: ListedIncident
    made_at: Instant
    window: ReportWindow
    complete: bool
    gaps: list[str] = msgspec.field(default_factory=list)
    knows_countries: bool = False
    totals: ReportTotals
    runtimes: list[ReportRuntime]
    networks: list[ReportNetwork] = msgspec.field(default_factory=list)
    paths: list[ReportPath] = msgspec.field(default_factory=list)
    scopes: list[ReportValue] = msgspec.field(default_factory=list)
    agents: list[ReportValue] = msgspec.field(default_factory=list)
    countries: list[ReportValue] = msgspec.field(default_factory=list)
    environments: list[ReportValue] = msgspec.field(default_factory=list)
    browsers: list[ReportValue] = msgspec.field(default_factory=list)
    unlike: list[ReportUnlike] = msgspec.field(default_factory=list)
    compared_keys: int = 0
    indistinguishable: ReportIndistinguishable
    attempts_after: list[ReportAttempt] = msgspec.field(default_factory=list)
    requests: list[RecordedRequest] = msgspec.field(default_factory=list)
    requests_total: int
    findings: list[Finding] = msgspec.field(default_factory=list)
    timeline: list[ReportEvent] = msgspec.field(default_factory=list)
