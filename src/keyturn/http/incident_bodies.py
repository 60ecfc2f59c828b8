"""The bodies of incidents: what a client may send and ask, and what an incident looks like."""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.domain.error import RequestInvalid
from keyturn.domain.incident import (
    MOST_KEYS,
    Because,
    CallerStanding,
    Containment,
    Incident,
    IncidentReason,
    IncidentState,
    Outcome,
)
from keyturn.domain.instant import SECOND
from keyturn.domain.key import KeyState, KeyStatus
from keyturn.domain.recovery import CallerRecovery
from keyturn.domain.token import parse_token
from keyturn.http.delivery_bodies import DeliveryBody
from keyturn.http.given import given_id, given_slot
from keyturn.http.key_bodies import DELIVER_TO
from keyturn.http.schema import Given, GivenInstant, Paged, Shown, ShownInstant
from keyturn.http.spelling import (
    DestinationName,
    DestinationNames,
    Id,
    Name,
    RuntimeName,
    SlotSpelling,
    Text,
    Url,
)
from keyturn.services.close import GivenWaiver as Waived
from keyturn.services.foresee import Foreseen
from keyturn.services.judge import JudgedIncident, JudgedKey
from keyturn.services.respond import Exposure, OpenedIncident
from keyturn.services.select import Exposed, Named, Selection
from keyturn.storage.keys import KeyView

MOST_NAMED = 10_000


class GivenSelection(Given):
    """Which keys, by what they have in common; revoked ones are left out. At least one member."""

    slot: SlotSpelling | None = None
    owner: Name | None = Field(default=None, description="The owner of their slot.")
    created_by: Id | None = Field(
        default=None, description="The key or the operator that made them."
    )
    destination: DestinationName | None = Field(
        default=None, description="They were delivered there, or their slot names it."
    )
    since: GivenInstant | None = Field(default=None, description="They were made then or later.")
    until: GivenInstant | None = Field(default=None, description="They were made before that.")


class GivenIncident(Given):
    """Exactly one of `key_ids`, `tokens` and `select`."""

    key_ids: list[Id] | None = Field(default=None, min_length=1, max_length=MOST_NAMED)
    tokens: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_NAMED,
        repr=False,
        description="The exposed tokens themselves. They are not kept.",
    )
    select: GivenSelection | None = None
    dry_run: bool | None = Field(
        default=None, description="With `select`: tells which keys it holds, and does nothing."
    )
    expected_count: Annotated[int, Field(ge=0, le=MOST_KEYS)] | None = Field(
        default=None, description="With `select`: 409 where it holds another number of keys."
    )
    reason: Annotated[IncidentReason, Field(strict=False)] | None = Field(
        default=None, description="`leaked` by default."
    )
    detail: Text | None = None
    found_url: Url | None = Field(default=None, description="Where it was found.")
    exposed_since: GivenInstant | None = Field(
        default=None, description="Since each key was made, by default."
    )
    containment: Annotated[Containment, Field(strict=False)] | None = Field(
        default=None,
        description="`revoke` by default; what is suspended a false alarm gives back.",
    )

    def exposure(self) -> Exposure:
        return Exposure(
            reason=self.reason or IncidentReason.LEAKED,
            detail=self.detail,
            found_url=self.found_url,
            exposed_since=self.exposed_since,
            containment=self.containment or Containment.REVOKE,
        )

    def exposed(self, brand: str) -> Exposed:
        """What is exposed. Raises `RequestInvalid` unless it is told in exactly one way."""
        ways = [one for one in (self.key_ids, self.tokens, self.select) if one is not None]
        if len(ways) != 1:
            raise RequestInvalid.at("", "Give exactly one of `key_ids`, `tokens` and `select`.")
        if self.select is not None:
            return self._selection(self.select)
        for name in ("dry_run", "expected_count"):
            if getattr(self, name) is not None:
                raise RequestInvalid.at(f"/{name}", "This goes with `select` alone.")
        if self.tokens is not None:
            tokens = tuple(parse_token(one.strip(), brand=brand) for one in self.tokens)
            ids = tuple(None if one is None or one.is_operators else one.id for one in tokens)
            return Named(ids=ids, tokens=tokens)
        return Named(
            ids=tuple(
                given_id(one, f"/key_ids/{index}") for index, one in enumerate(self.key_ids or ())
            )
        )

    def _selection(self, select: GivenSelection) -> Selection:
        return Selection(
            slot=given_slot(select.slot, "/select/slot"),
            owner=select.owner,
            created_by=given_id(select.created_by, "/select/created_by"),
            destination=select.destination,
            since=select.since,
            until=select.until,
            expected_count=self.expected_count,
        )


class GivenPlacement(Given):
    """A person's word on one caller."""

    runtime: RuntimeName
    network: Name | None = Field(
        default=None, description="Where it calls from, as it is shown; null for anywhere."
    )
    standing: Literal["ours", "intruder"]


class GivenReplacements(Given):
    key_ids: list[Id] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_NAMED,
        description="Which keys; each that needs a replacement, by default.",
    )
    deliver_to: DestinationNames | None = Field(default=None, description=DELIVER_TO)


class GivenKeyWaiver(Given):
    key_id: Id
    reason: Text
    until: GivenInstant


class GivenClosing(Given):
    outcome: Annotated[Outcome, Field(strict=False)] | None = Field(
        default=None, description="`confirmed` by default."
    )
    waive: list[GivenKeyWaiver] | None = Field(default=None, max_length=MOST_NAMED)

    def waived(self) -> tuple[Waived, ...]:
        found = []
        for index, one in enumerate(self.waive or ()):
            id_ = given_id(one.key_id, f"/waive/{index}/key_id")
            if id_ is not None:
                found.append(Waived(key_id=id_, reason=one.reason, until=one.until))
        return tuple(found)


class IncidentsAsked(Paged):
    state: Literal[
        "open", "contained", "investigating", "replacing", "recovering", "closed", "all"
    ] = "open"
    key_id: Id | None = None
    reason: IncidentReason | None = None
    since: GivenInstant | None = Field(default=None, description="Opened then or later.")
    until: GivenInstant | None = Field(default=None, description="Opened before that.")


class UnreachedKey(Shown):
    key_id: str
    name: str | None


class SelectedKeyBody(Shown):
    key_id: str
    name: str
    service: str
    environment: str
    status: KeyStatus
    owner: str | None


class SelectionBody(Shown):
    """What a dry run tells."""

    count: int = Field(description="How many keys are selected: the `expected_count`.")
    keys: list[SelectedKeyBody]
    made_by_contained: list[SelectedKeyBody] = Field(
        description="What these made while they were exposed, by `exposed_since`. It would be "
        "contained with them, and is not counted."
    )
    unreached: list[UnreachedKey] = Field(
        description="What they made before that, or out of the caller's reach: left alone."
    )

    @classmethod
    def of(cls, foreseen: Foreseen, now: int) -> "SelectionBody":
        return cls(
            count=len(foreseen.selected),
            keys=[_selected(one, now) for one in foreseen.selected],
            made_by_contained=[_selected(one, now) for one in foreseen.made],
            unreached=[
                UnreachedKey(key_id=str(id_), name=name) for id_, name in foreseen.unreached
            ],
        )


def _selected(view: KeyView, now: int) -> SelectedKeyBody:
    return SelectedKeyBody(
        key_id=str(view.key.id),
        name=view.key.name,
        service=view.key.slot.service,
        environment=view.key.slot.environment,
        status=view.key.status(now),
        owner=None if view.slot is None else view.slot.notes.owner,
    )


class ShownSeconds(Shown):
    """From the arrival of the call that opened it: until the keys were refused, until all were
    replaced, until all were recovered or waived."""

    contain: float
    replace: float | None
    recover: float | None


class ShownCaller(Shown):
    runtime: str
    declared: bool
    network: str | None
    standing: CallerStanding
    last_seen_at: ShownInstant | None
    recovered: bool
    new_last_seen_at: ShownInstant | None
    denied_since: ShownInstant | None


class ShownWaiver(Shown):
    reason: str
    until: ShownInstant
    by: str
    at: ShownInstant


class ContainedKeyBody(Shown):
    key_id: str
    name: str
    service: str
    environment: str
    because: Because
    status: KeyStatus
    status_before: KeyState = Field(
        description="What it was when it was contained: `revoked` where it was dead already."
    )
    exposed_since: ShownInstant
    contained_at: ShownInstant
    needs_replacement: bool = Field(
        description="Whether the incident waits for one: not for a key that was revoked before, or "
        "that a contained key had made, where nobody of ours was seen using it."
    )
    replacement_key_id: str | None
    replaced_at: ShownInstant | None
    recovered_at: ShownInstant | None
    waived: ShownWaiver | None
    runtimes: list[ShownCaller] = Field(
        description="Who used the key in its last weeks, and what has become of that."
    )


class ShownPlacement(Shown):
    runtime: str
    network: str | None
    standing: CallerStanding
    by: str
    at: ShownInstant


class ElsewhereKey(Shown):
    key_id: str
    incident_id: str


class IncidentRowBody(Shown):
    """An incident as lists have it: its keys are only counted."""

    id: str
    workspace_id: str
    state: IncidentState
    reason: IncidentReason
    detail: str | None
    found_url: str | None
    exposed_since: ShownInstant | None
    containment: Containment
    opened_at: ShownInstant
    opened_by: str
    contained_at: ShownInstant
    counted_at: ShownInstant | None = Field(
        description="When every request from before the containment was known."
    )
    replaced_at: ShownInstant | None
    recovered_at: ShownInstant | None
    closed_at: ShownInstant | None
    closed_by: str | None
    outcome: Outcome | None
    next_step: str
    seconds: ShownSeconds
    keys_total: int
    keys_open: int = Field(description="How many are neither recovered nor waived.")
    report_url: str
    version: int

    @classmethod
    def of(cls, judged: JudgedIncident, now: int) -> "IncidentRowBody":
        return cls(**incident_members(judged, now))


class IncidentBody(IncidentRowBody):
    keys: list[ContainedKeyBody]
    placements: list[ShownPlacement]
    unreached: list[UnreachedKey] = Field(
        description="What a contained key had made before it was exposed, what lies in slots that "
        "the caller may not reach, and keys of others that it changed meanwhile: left alone."
    )

    @classmethod
    def of(cls, judged: JudgedIncident, now: int) -> "IncidentBody":
        return cls(**whole_members(judged, now))


class OpenedIncidentBody(IncidentBody):
    unmatched: list[int] = Field(
        description="The places, from 0 on, of what was given and is no key of this workspace."
    )
    elsewhere: list[ElsewhereKey] = Field(
        description="Keys that were given and that another open incident contains."
    )

    @classmethod
    def of_opened(cls, opened: OpenedIncident, now: int) -> "OpenedIncidentBody":
        return cls(
            **whole_members(opened.judged, now),
            unmatched=list(opened.unmatched),
            elsewhere=[
                ElsewhereKey(key_id=str(key_id), incident_id=str(incident_id))
                for key_id, incident_id in opened.elsewhere
            ],
        )


class ReplacementBody(Shown):
    replaces: str
    id: str
    name: str
    api_key: str | None = Field(description="The token, shown once; null where it is delivered.")
    deliveries: list[DeliveryBody]


class ReplacementsBody(Shown):
    replacements: list[ReplacementBody]
    incident: IncidentBody


def incident_members(judged: JudgedIncident, now: int) -> dict[str, object]:
    """The members that every body of an incident has."""
    incident = judged.incident
    replaced_at, recovered_at = judged.replaced_at(), judged.recovered_at(now)
    return {
        "id": str(incident.id),
        "workspace_id": str(incident.workspace_id),
        "state": incident.state,
        "reason": incident.reason,
        "detail": incident.detail,
        "found_url": incident.found_url,
        "exposed_since": incident.exposed_since,
        "containment": incident.containment,
        "opened_at": incident.opened_at,
        "opened_by": incident.opened_by,
        "contained_at": incident.contained_at,
        "counted_at": incident.counted_at,
        "replaced_at": replaced_at,
        "recovered_at": recovered_at,
        "closed_at": incident.closed_at,
        "closed_by": incident.closed_by,
        "outcome": incident.outcome,
        "next_step": judged.next_step(now),
        "seconds": {
            "contain": _seconds(incident, incident.contained_at),
            "replace": _seconds(incident, replaced_at),
            "recover": _seconds(incident, recovered_at),
        },
        "keys_total": len(judged.keys),
        "keys_open": sum(not one.is_settled(now) for one in judged.contained),
        "report_url": f"/v1/incidents/{incident.id}/report",
        "version": incident.version,
    }


def whole_members(judged: JudgedIncident, now: int) -> dict[str, object]:
    """As `incident_members`, with its keys."""
    return {
        **incident_members(judged, now),
        "keys": [_key(one, now) for one in judged.keys],
        "placements": [
            {
                "runtime": one.runtime,
                "network": one.network,
                "standing": one.standing,
                "by": one.by,
                "at": one.at,
            }
            for one in judged.incident.placements
        ],
        "unreached": [{"key_id": str(id_), "name": name} for id_, name in judged.unreached],
    }


def _seconds(incident: Incident, at: int | None) -> float | None:
    return None if at is None else max(0, at - incident.opened_at) / SECOND


def _key(one: JudgedKey, now: int) -> dict[str, object]:
    key = one.contained
    waiver = key.waiver
    return {
        "key_id": str(key.key_id),
        "name": key.name,
        "service": key.slot.service,
        "environment": key.slot.environment,
        "because": key.because,
        "status": one.status(now),
        "status_before": key.state_before,
        "exposed_since": key.exposed_since,
        "contained_at": key.contained_at,
        "needs_replacement": one.recovery.needs_replacement,
        "replacement_key_id": None
        if key.replacement_key_id is None
        else str(key.replacement_key_id),
        "replaced_at": key.replaced_at,
        "recovered_at": key.recovered_at,
        "waived": None
        if waiver is None
        else {
            "reason": waiver.reason,
            "until": waiver.until,
            "by": waiver.by,
            "at": waiver.at,
        },
        "runtimes": [_caller(caller) for caller in one.recovery.callers],
    }


def _caller(one: CallerRecovery) -> dict[str, object]:
    return {
        "runtime": one.runtime,
        "declared": one.declared,
        "network": one.network,
        "standing": one.standing,
        "last_seen_at": one.last_seen_at,
        "recovered": one.recovered,
        "new_last_seen_at": one.new_last_seen_at,
        "denied_since": one.denied_since,
    }
