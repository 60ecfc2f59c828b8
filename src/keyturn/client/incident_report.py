"""The blast radius of an incident, as the API answers it.

The same holds here as in `resources.py`.
"""

import msgspec

from keyturn.client.record import Instant, Record
from keyturn.client.resources import RecordedRequest


class ReportWindow(Record, frozen=True, kw_only=True):
    """The time that the report looks at, to the containment of the last key."""

    since: Instant
    until: Instant | None = None


class ReportTotals(Record, frozen=True, kw_only=True):
    """How many requests there were, in the window and since. A use after containment is in `denied`
    and in `after_containment`."""

    allowed: int
    denied: int
    after_containment: int


class ReportRuntime(Record, frozen=True, kw_only=True):
    """A caller, by name and place. `standing` is ours, claimed, suspect or intruder."""

    runtime: str
    declared: bool
    network: str | None = None
    standing: str
    first_seen_at: Instant | None = None
    last_seen_at: Instant | None = None
    allowed: int
    denied: int
    after_containment: int = 0


class ReportIndistinguishable(Record, frozen=True, kw_only=True):
    """How many requests a thief could hide in, who shares an address of yours and copies a name;
    `detail` says it in a sentence."""

    requests: int
    detail: str


class IncidentReport(Record, frozen=True, kw_only=True):
    """Who used the keys of an incident, for what, and what of that is unlike their usual life. It
    is not `complete` where the records do not reach back to the start of the window. `requests` are
    the newest of callers that are not ours, of `requests_total`."""

    window: ReportWindow
    complete: bool
    totals: ReportTotals
    runtimes: list[ReportRuntime]
    networks: list[dict[str, object]] = msgspec.field(default_factory=list)
    paths: list[dict[str, object]] = msgspec.field(default_factory=list)
    findings: list[dict[str, object]] = msgspec.field(default_factory=list)
    timeline: list[dict[str, object]] = msgspec.field(default_factory=list)
    unlike: list[dict[str, object]] = msgspec.field(default_factory=list)
    indistinguishable: ReportIndistinguishable | None = None
    requests: list[RecordedRequest] = msgspec.field(default_factory=list)
    requests_total: int = 0
