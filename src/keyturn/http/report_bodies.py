"""The report on an incident as JSON."""

from collections.abc import Sequence

from pydantic import Field

from keyturn.domain.blast_radius import (
    Attempt,
    CallerEntry,
    Count,
    Oddity,
    Unlike,
    ValueEntry,
    tell_indistinguishable,
)
from keyturn.domain.incident import CallerStanding
from keyturn.domain.traffic import Facet
from keyturn.http.findings import FindingBody
from keyturn.http.incident_bodies import IncidentRowBody
from keyturn.http.requests import RequestBody
from keyturn.http.schema import Shown, ShownInstant
from keyturn.services.chronicle import Event
from keyturn.services.report import Report

MOST_UNLIKE = 500
MOST_VALUES = 1_000
MOST_KEYS = 100


class ShownWindow(Shown):
    """From the beginning of the exposure to the containment."""

    since: ShownInstant
    until: ShownInstant


class ShownTotals(Shown):
    """Of the window and all after it; what came after the containment is in the other two too."""

    allowed: int
    denied: int
    after_containment: int

    @classmethod
    def members(cls, count: Count) -> dict[str, int]:
        return {
            "allowed": count.allowed,
            "denied": count.denied,
            "after_containment": count.after_containment,
        }


class ShownReportCaller(ShownTotals):
    runtime: str
    declared: bool
    network: str | None = Field(description="The name of the network, else the address.")
    standing: CallerStanding
    first_seen_at: ShownInstant
    last_seen_at: ShownInstant
    unlike: list[Oddity] = Field(description="In what it is unlike those who came before.")
    keys_total: int
    key_ids: list[str] = Field(description=f"The keys that it used, at most {MOST_KEYS} of them.")

    @classmethod
    def of(cls, one: CallerEntry) -> "ShownReportCaller":
        return cls(
            **cls.members(one.count),
            runtime=one.caller.runtime,
            declared=one.caller.declared,
            network=one.caller.network,
            standing=one.standing,
            first_seen_at=one.first_at,
            last_seen_at=one.last_at,
            unlike=list(one.unlike),
            keys_total=len(one.key_ids),
            key_ids=[str(id_) for id_ in one.key_ids[:MOST_KEYS]],
        )


class ShownValue(ShownTotals):
    value: str
    first_seen_at: ShownInstant
    last_seen_at: ShownInstant

    @classmethod
    def all_of(cls, found: Sequence[ValueEntry]) -> "list[ShownValue]":
        return [
            cls(
                **cls.members(one.count),
                value=one.value,
                first_seen_at=one.first_at,
                last_seen_at=one.last_at,
            )
            for one in found[:MOST_VALUES]
        ]


class ShownNetwork(ShownTotals):
    network: str
    standings: list[CallerStanding] = Field(description="Those of the callers from there.")
    first_seen_at: ShownInstant
    last_seen_at: ShownInstant

    @classmethod
    def of(cls, one: ValueEntry) -> "ShownNetwork":
        return cls(
            **cls.members(one.count),
            network=one.value,
            standings=list(one.standings),
            first_seen_at=one.first_at,
            last_seen_at=one.last_at,
        )


class ShownPath(ShownTotals):
    path: str = Field(description="The method and the path.")
    first_seen_at: ShownInstant
    last_seen_at: ShownInstant

    @classmethod
    def of(cls, one: ValueEntry) -> "ShownPath":
        return cls(
            **cls.members(one.count),
            path=one.value,
            first_seen_at=one.first_at,
            last_seen_at=one.last_at,
        )


class ShownUnlike(Shown):
    """Something that is unlike a key's usual life."""

    key_id: str
    what: Oddity
    value: str
    standing: CallerStanding | None = Field(description="Of a caller; null for anything else.")
    requests: int
    first_seen_at: ShownInstant
    last_seen_at: ShownInstant
    reason: str

    @classmethod
    def of(cls, one: Unlike) -> "ShownUnlike":
        return cls(
            key_id=str(one.key_id),
            what=one.what,
            value=one.value,
            standing=one.standing,
            requests=one.requests,
            first_seen_at=one.first_at,
            last_seen_at=one.last_at,
            reason=one.reason,
        )


class ShownLookalike(Shown):
    runtime: str
    declared: bool
    network: str | None
    standing: CallerStanding
    requests: int


class ShownIndistinguishable(Shown):
    """How much of the window a thief could hide in, behind our address and with our name."""

    requests: int
    detail: str
    callers: list[ShownLookalike]

    @classmethod
    def of(cls, found: Sequence[CallerEntry]) -> "ShownIndistinguishable":
        return cls(
            requests=sum(one.count.requests for one in found),
            detail=tell_indistinguishable(found),
            callers=[
                ShownLookalike(
                    runtime=one.caller.runtime,
                    declared=one.caller.declared,
                    network=one.caller.network,
                    standing=one.standing,
                    requests=one.count.requests,
                )
                for one in found[:MOST_VALUES]
            ],
        )


class ShownAttempt(Shown):
    """One caller after the containment."""

    runtime: str
    declared: bool
    network: str | None
    standing: CallerStanding
    allowed: int
    denied: int
    first_seen_at: ShownInstant
    last_seen_at: ShownInstant

    @classmethod
    def of(cls, one: Attempt) -> "ShownAttempt":
        return cls(
            runtime=one.caller.runtime,
            declared=one.caller.declared,
            network=one.caller.network,
            standing=one.standing,
            allowed=one.allowed,
            denied=one.denied,
            first_seen_at=one.first_at,
            last_seen_at=one.last_at,
        )


class ShownEvent(Shown):
    at: ShownInstant
    what: str
    detail: str
    key_id: str | None
    request_id: str | None

    @classmethod
    def of(cls, one: Event) -> "ShownEvent":
        return cls(
            at=one.at,
            what=one.what,
            detail=one.detail,
            key_id=None if one.key_id is None else str(one.key_id),
            request_id=one.request_id,
        )


class ReportBody(Shown):
    incident: IncidentRowBody
    made_at: ShownInstant
    window: ShownWindow
    complete: bool = Field(description="False where records do not reach back: see `gaps`.")
    gaps: list[str] = Field(description="What is not known, a sentence each.")
    knows_countries: bool = Field(description="Whether the extra `geo` is installed.")
    totals: ShownTotals
    runtimes: list[ShownReportCaller]
    networks: list[ShownNetwork]
    paths: list[ShownPath]
    scopes: list[ShownValue]
    agents: list[ShownValue]
    countries: list[ShownValue]
    environments: list[ShownValue]
    browsers: list[ShownValue]
    unlike: list[ShownUnlike]
    compared_keys: int = Field(
        description="How many keys had a life before, which theirs was compared with."
    )
    indistinguishable: ShownIndistinguishable
    attempts_after: list[ShownAttempt]
    requests: list[RequestBody] = Field(
        description="The newest requests by callers that are not ours."
    )
    requests_total: int
    findings: list[FindingBody]
    timeline: list[ShownEvent]

    @classmethod
    def of(cls, report: Report) -> "ReportBody":
        radius = report.radius
        return cls(
            incident=IncidentRowBody.of(report.judged, report.made_at),
            made_at=report.made_at,
            window=ShownWindow(since=report.since, until=report.incident.contained_at),
            complete=report.is_complete,
            gaps=list(report.gaps),
            knows_countries=report.knows_countries,
            totals=ShownTotals(**ShownTotals.members(radius.totals)),
            runtimes=[ShownReportCaller.of(one) for one in radius.runtimes],
            networks=[ShownNetwork.of(one) for one in radius.networks],
            paths=[ShownPath.of(one) for one in radius.values[Facet.PATH][:MOST_VALUES]],
            scopes=ShownValue.all_of(radius.values[Facet.SCOPE]),
            agents=ShownValue.all_of(radius.values[Facet.AGENT]),
            countries=ShownValue.all_of(radius.values[Facet.COUNTRY]),
            environments=ShownValue.all_of(radius.values[Facet.ENVIRONMENT]),
            browsers=ShownValue.all_of(radius.values[Facet.BROWSER]),
            unlike=[ShownUnlike.of(one) for one in radius.unlike[:MOST_UNLIKE]],
            compared_keys=radius.compared,
            indistinguishable=ShownIndistinguishable.of(radius.indistinguishable),
            attempts_after=[ShownAttempt.of(one) for one in radius.attempts_after],
            requests=[RequestBody.of(one) for one in report.requests],
            requests_total=report.requests_total,
            findings=[FindingBody.of(one) for one in report.findings],
            timeline=[ShownEvent.of(one) for one in report.timeline],
        )
