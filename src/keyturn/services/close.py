"""Closing incidents: only over keys that are recovered, or waived by name until a stated time.

1. Confirmed, what was suspended is revoked for good. Of a false alarm what this incident had
   suspended works again, to whoever may give it back; what it had revoked stays so, and must have
   recovered, or be waived, as after any other.
2. An incident that is closed stays so. What is done with its keys after that is a finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import IncidentClosed, RequestInvalid
from keyturn.domain.incident import (
    LONGEST_WAIVER_SECONDS,
    ContainedKey,
    Containment,
    Incident,
    Outcome,
    Waiver,
)
from keyturn.domain.instant import SECOND, format_instant
from keyturn.domain.key import Key, KeyState
from keyturn.domain.permission import Permission
from keyturn.domain.text import TEXT_LENGTH, check_text
from keyturn.services.context import Context
from keyturn.services.identify import reaffirm
from keyturn.services.issue import key_subject
from keyturn.services.journal import Act, Author, Note, Subject, note_all
from keyturn.services.judge import (
    JudgedIncident,
    Step,
    judge_incident,
    judge_keys,
    keep_incident,
    next_of,
)
from keyturn.services.respond import REVOKED_AS, RememberJudged, found_incident
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenWaiver:
    """A key that an incident is to be closed without, why, and until when."""

    key_id: UUID
    reason: str
    until: int


def close_incident(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    outcome: Outcome,
    waivers: Sequence[GivenWaiver] = (),
    remember: RememberJudged | None = None,
) -> JudgedIncident:
    """Closes an incident. Once more, with the same outcome, it stays as it is. Raises
    `IncidentKeysOpen`, `IncidentUnknown`, `IncidentClosed`, `RequestInvalid`, `PermissionMissing`,
    or `GrantExceeded` where a key would be given back that is wider than the caller's own."""
    reasons = [
        check_text(one.reason, f"/waive/{index}/reason", longest=TEXT_LENGTH)
        for index, one in enumerate(waivers)
    ]
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        author = Author.of(act)
        incident = found_incident(transaction, workspace_id, id)
        keys = transaction.incidents.keys_within(incident)
        for one in keys:
            rights.require(Permission.INCIDENTS_WRITE, one.slot)
        if not incident.is_open and incident.outcome is not outcome:
            raise IncidentClosed(f"This incident was closed as {incident.outcome}.")
        after, after_keys = incident, tuple(keys)
        if incident.is_open:
            waived = _waived(author, keys, waivers, reasons, now)
            step = _closed(transaction, author, incident, keys, waived, outcome, now)
            _settle_keys(context, transaction, author, rights, incident, keys, outcome, now)
            told = {"outcome": outcome.value}
            after = keep_incident(
                context, transaction, author, incident, step, now, verb="closed", told=told
            )
            after_keys = step.keys
            _note_waived(context, transaction, author, waived, keys, now)
        judged = judge_incident(transaction, after, after_keys)
        if remember is not None:
            remember(transaction, judged)
    return judged


def _waived(
    author: Author,
    keys: Sequence[ContainedKey],
    waivers: Sequence[GivenWaiver],
    reasons: Sequence[str],
    now: int,
) -> tuple[ContainedKey, ...]:
    by_id = {one.key_id: one for one in keys}
    for index, (given, reason) in enumerate(zip(waivers, reasons, strict=True)):
        if given.key_id not in by_id:
            raise RequestInvalid.at(f"/waive/{index}/key_id", "This key is not in the incident.")
        if not now < given.until <= now + LONGEST_WAIVER_SECONDS * SECOND:
            raise RequestInvalid.at(
                f"/waive/{index}/until", "This lies in the future, and within a year."
            )
        waiver = Waiver(reason=reason, until=given.until, by=author.actor.label, at=now)
        by_id[given.key_id] = by_id[given.key_id].waived(waiver, now)
    return tuple(by_id[one.key_id] for one in keys)


def _closed(
    transaction: Writing,
    author: Author,
    incident: Incident,
    keys: Sequence[ContainedKey],
    waived: Sequence[ContainedKey],
    outcome: Outcome,
    now: int,
) -> Step:
    """The last step, on what is known in this transaction."""
    recoveries = judge_keys(transaction, incident, waived)
    step = next_of(incident, recoveries, None, now, keys)
    closed = step.incident.closed(step.keys, outcome, author.actor.label, now)
    return Step(incident=closed, keys=step.keys, changed=step.changed, verb="closed")


def _settle_keys(
    context: Context,
    transaction: Writing,
    author: Author,
    rights: Rights,
    incident: Incident,
    keys: Sequence[ContainedKey],
    outcome: Outcome,
    now: int,
) -> None:
    """What the end means for keys that were suspended by this incident."""
    if incident.containment is not Containment.SUSPEND:
        return
    records, _ = transaction.keys.among(incident.workspace_id, [one.key_id for one in keys])
    changed: list[tuple[Key, int]] = []
    for one in keys:
        key = records.get(one.key_id)
        if key is None or key.state is not KeyState.SUSPENDED:
            continue
        if outcome is Outcome.CONFIRMED:
            changed.append((key.revoked(REVOKED_AS[incident.reason], now), key.version))
        elif one.state_before is KeyState.ACTIVE:
            rights.require_covering(Rights.of(key))
            changed.append((key.freed(now), key.version))
    transaction.keys.replace_all(changed)
    verb = "revoked" if outcome is Outcome.CONFIRMED else "resumed"
    note_all(
        context,
        transaction,
        author,
        Category.SECURITY,
        [
            Note(
                action=f"api_key.{verb}",
                subject=key_subject(key),
                message=f"Key {key.name} was {verb}: its incident was closed as {outcome}.",
                metadata={"incident_id": str(incident.id), "slot": str(key.slot)},
            )
            for key, _ in changed
        ],
        now,
    )


def _note_waived(
    context: Context,
    transaction: Writing,
    author: Author,
    waived: Sequence[ContainedKey],
    keys: Sequence[ContainedKey],
    now: int,
) -> None:
    before = {one.key_id: one.waiver for one in keys}
    note_all(
        context,
        transaction,
        author,
        Category.SECURITY,
        [
            Note(
                action="incident.waived",
                subject=Subject(workspace_id=one.workspace_id, type="api_key", id=str(one.key_id)),
                message=f"The incident is closed over key {one.name}, which is not recovered.",
                metadata={
                    "incident_id": str(one.incident_id),
                    "slot": str(one.slot),
                    "reason": one.waiver.reason,
                    "until": format_instant(one.waiver.until),
                },
            )
            for one in waived
            if one.waiver is not None and one.waiver is not before[one.key_id]
        ],
        now,
    )
