"""The chronicle of an incident: everything that happened around its keys, in one order of time.

Told is what the asker may read: of the activity and the findings each has its own permission. What
there is no room for is said: a thief who does a thing a thousand times must not hide another so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from keyturn.domain.activity import Entry
from keyturn.domain.base62 import encode_uuid
from keyturn.domain.blast_radius import NOT_OURS, BlastRadius
from keyturn.domain.delivery import DeliveryState
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.finding import Finding
from keyturn.domain.incident import CallerStanding, Incident
from keyturn.domain.permission import Permission, covers_slot
from keyturn.services.identify import Caller
from keyturn.services.judge import JudgedIncident, JudgedKey
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.findings import FindingFilter
from keyturn.storage.transaction import Reading

# Of so many keys, and so many events of one kind, everything is told.
MOST_KEYS = 100
MOST_OF_ONE = 100
MOST_EVENTS = 2_000
MOST_GAPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `what` is a word of ours or the action of an activity entry."""

    at: int
    what: str
    detail: str
    key_id: UUID | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chronicle:
    """The timeline, oldest first; the findings in it by themselves; and a sentence for each sort of
    thing that there is more of than is told."""

    events: Sequence[Event]
    findings: Sequence[Finding]
    gaps: Sequence[str]


def chronicle(
    transaction: Reading, asker: Caller, judged: JudgedIncident, radius: BlastRadius
) -> Chronicle:
    gaps: list[str] = []
    keys = judged.keys[:MOST_KEYS]
    findings = list(_findings(transaction, asker, judged, keys))
    events = [
        *_of_incident(judged.incident),
        *(one for key in keys for one in _of_key(key)),
        *_of_callers(radius),
        *map(_found, findings),
        *_deliveries(transaction, asker, keys),
        *_activity(transaction, asker, judged, keys, gaps),
    ]
    events.sort(key=lambda one: one.at)
    if len(events) > MOST_EVENTS:
        gaps.append(f"The timeline has the latest {MOST_EVENTS:,} of {len(events):,} events.")
    return Chronicle(events=events[-MOST_EVENTS:], findings=findings, gaps=gaps)


def _of_incident(incident: Incident) -> Iterable[Event]:
    told = f": {incident.detail}" if incident.detail else ""
    where = f", found at {incident.found_url}" if incident.found_url else ""
    yield Event(
        at=incident.opened_at,
        what="incident.opened",
        detail=f"{incident.opened_by} opened the incident ({incident.reason}{where}){told}",
    )
    if incident.counted_at is not None:
        yield Event(
            at=incident.counted_at,
            what="incident.counted",
            detail="Every request from before the containment was known.",
        )
    for one in incident.placements:
        place = "anywhere" if one.network is None else f"at {one.network}"
        is_ours = one.standing is CallerStanding.OURS
        yield Event(
            at=one.at,
            what="caller.placed",
            detail=f"{one.by} said that {one.runtime} {place} is "
            f"{'ours' if is_ours else 'an intruder'}.",
        )
    if incident.closed_at is not None:
        yield Event(
            at=incident.closed_at,
            what="incident.closed",
            detail=f"{incident.closed_by} closed the incident ({incident.outcome}).",
        )


def _of_key(one: JudgedKey) -> Iterable[Event]:
    key = one.contained
    if one.key is not None:
        yield Event(
            at=one.key.created_at,
            what="key.made",
            detail=f"{key.name} was made.",
            key_id=key.key_id,
        )
    yield Event(
        at=key.contained_at,
        what="key.contained",
        detail=f"{key.name} was contained.",
        key_id=key.key_id,
    )
    if key.replaced_at is not None and key.replacement_key_id is not None:
        yield Event(
            at=key.replaced_at,
            what="key.replaced",
            detail=f"{key.name} got a replacement, {encode_uuid(key.replacement_key_id)}.",
            key_id=key.key_id,
        )
    if key.recovered_at is not None:
        yield Event(
            at=key.recovered_at,
            what="key.recovered",
            detail=f"What {key.name} did for us is done without it.",
            key_id=key.key_id,
        )
    if key.waiver is not None:
        yield Event(
            at=key.waiver.at,
            what="key.waived",
            detail=f"{key.waiver.by} waived {key.name}: {key.waiver.reason}",
            key_id=key.key_id,
        )


def _of_callers(radius: BlastRadius) -> Iterable[Event]:
    for entry in radius.runtimes[:MOST_OF_ONE]:
        if entry.standing in NOT_OURS:
            where = "" if entry.caller.network is None else f" at {entry.caller.network}"
            yield Event(
                at=entry.first_at,
                what="caller.first_seen",
                detail=f"{entry.caller.runtime}{where}, {entry.standing}, came for the first time.",
                key_id=entry.key_ids[0] if len(entry.key_ids) == 1 else None,
            )
    for attempt in radius.attempts_after[:MOST_OF_ONE]:
        where = "" if attempt.caller.network is None else f" at {attempt.caller.network}"
        yield Event(
            at=attempt.first_at,
            what="caller.after_containment",
            detail=f"{attempt.caller.runtime}{where}, {attempt.standing}, tried after the "
            f"containment; {attempt.denied:,} of its requests refused.",
        )


def _findings(
    transaction: Reading, asker: Caller, judged: JudgedIncident, keys: Sequence[JudgedKey]
) -> Iterable[Finding]:
    patterns = asker.rights.slots(Permission.KEYS_READ)
    if not patterns:
        return
    place = judged.incident.workspace_id
    for subject in (str(judged.incident.id), *(str(one.contained.key_id) for one in keys)):
        wanted = FindingFilter(slots=patterns, subject_id=subject)
        yield from transaction.findings.list(place, wanted, limit=MOST_OF_ONE, before=None)


def _found(finding: Finding) -> Event:
    is_of_key = finding.subject_type.value == "api_key"
    return Event(
        at=finding.since,
        what=f"finding.{finding.kind}",
        detail=f"{finding.severity}, {finding.state}: {finding.kind} in {finding.slot}",
        key_id=UUID(finding.subject_id) if is_of_key else None,
    )


def _deliveries(transaction: Reading, asker: Caller, keys: Sequence[JudgedKey]) -> Iterable[Event]:
    patterns = asker.rights.slots(Permission.KEYS_READ)
    for one in keys:
        key = one.contained
        if key.replacement_key_id is None or not covers_slot(patterns, str(key.slot)):
            continue
        try:
            found = transaction.deliveries.of_key(key.replacement_key_id)
        except IntegrityFailed:
            continue
        for delivery in found:
            yield Event(
                at=delivery.created_at,
                what="delivery.begun",
                detail=f"The replacement of {key.name} was sent to {delivery.destination}.",
                key_id=key.replacement_key_id,
            )
            if delivery.state is DeliveryState.DELIVERED and delivery.delivered_at is not None:
                yield Event(
                    at=delivery.delivered_at,
                    what="delivery.delivered",
                    detail=f"The replacement of {key.name} arrived at {delivery.destination}.",
                    key_id=key.replacement_key_id,
                )


# What is told from the records themselves.
_TOLD_ALREADY = ("incident.", "finding.", "delivery.")


def _activity(
    transaction: Reading,
    asker: Caller,
    judged: JudgedIncident,
    keys: Sequence[JudgedKey],
    gaps: list[str],
) -> Iterable[Event]:
    """What was done to the keys; and what was done with them to Keyturn itself. Adds to `gaps` of
    which there was more."""
    if not asker.rights.slots(Permission.ACTIVITY_READ):
        return
    place = judged.incident.workspace_id
    for one in keys:
        id_ = one.contained.key_id
        is_cut = False
        for wanted in (
            ActivityFilter(
                resource_type="api_key", resource_id=str(id_), since=one.contained.exposed_since
            ),
            ActivityFilter(actor_id=str(id_), since=one.contained.exposed_since),
        ):
            found = transaction.activity.list(place, wanted, limit=MOST_OF_ONE + 1, before=None)
            is_cut |= len(found) > MOST_OF_ONE
            for _, entry in islice(found, MOST_OF_ONE):
                if not entry.action.startswith(_TOLD_ALREADY):
                    yield _acted(entry, id_)
        if is_cut and len(gaps) < MOST_GAPS:
            gaps.append(
                f"More was done to {one.contained.name}, or with it to Keyturn, than the latest "
                f"{MOST_OF_ONE} entries that the timeline tells: `keyturn activity list --actor "
                f"{id_}` has all."
            )


def _acted(entry: Entry, key_id: UUID) -> Event:
    failed = "" if entry.status.value == "success" else f" ({entry.status})"
    return Event(
        at=entry.created_at,
        what=f"activity.{entry.action}",
        detail=f"{entry.actor.label}: {entry.message}{failed}",
        key_id=key_id,
        request_id=entry.request_id,
    )
