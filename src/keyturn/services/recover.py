"""Recovering: incidents are followed until what their keys did for us is done with others.

1. What follows from the requests alone is written by itself: that all of them are counted, that a
   key has recovered, or has not any more, and the state that follows from these.
2. Of closed incidents a person is told where a contained key is tried again, and where a waiver has
   run out over a key that never recovered.
3. Nothing is remembered from one round to the next but what needs no second look: a process that
   begins after a crash goes on from what the database says.
4. A try of a key of a closed incident is looked for among the keys that were just refused; all
   incidents that have ended are gone through at the start, and once in a while.
"""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.error import (
    IncidentUnknown,
    IntegrityFailed,
    KeyturnError,
    StorageUnavailable,
)
from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.incident import ContainedKey, Incident
from keyturn.domain.instant import format_instant
from keyturn.domain.permission import Permission
from keyturn.services.context import Context
from keyturn.services.find import reconcile
from keyturn.services.identify import Caller
from keyturn.services.journal import RESPONDER
from keyturn.services.judge import (
    JudgedIncident,
    followed_keys,
    judge_incident,
    judge_keys,
    keep_incident,
    next_of,
)
from keyturn.services.meter import Meter
from keyturn.services.respond import found_incident
from keyturn.services.witness import Witness
from keyturn.storage.incidents import IncidentFilter, LateUse
from keyturn.storage.transaction import Reading

PAGE = 50
_CHUNK = 500
# A look that takes long is taken more rarely, so that it never fills a node's time.
RESTS = 5.0
MOST_REST_SECONDS = 5.0
FINDING_SECONDS = 1.0
FULL_SECONDS = 600.0
MOST_FOUND = 1_000
# Of one incident so many keys are told that were tried after its end. What is told stays told.
MOST_LATE = 100

_log = logging.getLogger("keyturn.incidents")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """An incident of which nothing was to be written: its version, the end of the log, and how
    often the keys that it follows had been used."""

    version: int
    position: int
    followed: frozenset[UUID]
    uses: int


class Responder:
    """One process's hand on all incidents; `step` is one round."""

    def __init__(self, context: Context, witness: Witness, meter: Meter) -> None:
        self._context = context
        self._witness = witness
        self._meter = meter
        self._refused: set[UUID] = set()
        self._gone_through_at: float | None = None
        self._free_at = 0.0
        self._found_at: float | None = None
        self._told: dict[UUID, str] = {}
        self._rests: dict[UUID, _Rest] = {}
        self._with_findings: set[UUID] = set()
        self._open = 0

    def step(self) -> int:
        """Looks at every open incident and writes what has come of it; says how many are open.
        Raises `StorageUnavailable`, once it has tried each."""
        began = self._context.clock.elapsed()
        if began < self._free_at:
            return self._open
        failure: Exception | None = None
        after: UUID | None = None
        count = 0
        seen: set[UUID] = set()
        while True:
            with self._context.store.read() as reading:
                page = reading.incidents.open(after=after, limit=PAGE)
            if not page:
                break
            count += len(page)
            seen |= {one.id for one in page}
            after = page[-1].id
            known_until = self._witness.observe().until
            for incident in page:
                failure = self._follow(incident, known_until) or failure
        self._open = count
        self._rests = {id_: rest for id_, rest in self._rests.items() if id_ in seen}
        failure = self._find(began) or failure
        ended = self._context.clock.elapsed()
        self._free_at = ended + min((ended - began) * RESTS, MOST_REST_SECONDS)
        if failure is not None:
            raise failure
        return count

    def look_for_late(self) -> None:
        """What a node does that does not lead: it alone knows at once of whom it has refused.
        Raises `StorageUnavailable`."""
        elapsed = self._context.clock.elapsed()
        if self._found_at is None or elapsed - self._found_at >= FINDING_SECONDS:
            self._found_at = elapsed
            self._find_late(elapsed)

    def _follow(self, incident: Incident, known_until: int) -> Exception | None:
        """What kept it from being followed, if it may be tried again."""
        try:
            with self._context.store.read() as reading:
                if not self._is_due(reading, incident, known_until):
                    return None
            self._carry_on(incident, known_until)
        except StorageUnavailable as error:
            return error
        except KeyturnError as error:
            self._tell(incident, error)
        except Exception as error:  # noqa: BLE001  (one incident must not hold up the others)
            return error
        return None

    def _is_due(self, reading: Reading, incident: Incident, known_until: int) -> bool:
        """Whether something is to be written. Where nothing was, that is so until something is
        changed, or one of its keys is used: thousands of keys are not judged for nothing."""
        position = reading.head().position
        rest = self._rests.get(incident.id)
        if (
            rest is not None
            and (rest.version, rest.position) == (incident.version, position)
            and rest.uses == _tally(reading, rest.followed)
        ):
            return False
        followed = frozenset(followed_keys(reading, incident))
        uses = _tally(reading, followed)
        if _moves(reading, incident, known_until, self._context.clock.now()):
            return True
        if incident.counted_at is not None:
            self._rests[incident.id] = _Rest(
                version=incident.version, position=position, followed=followed, uses=uses
            )
        return False

    def _carry_on(self, incident: Incident, known_until: int) -> None:
        with self._context.store.change() as transaction:
            present = transaction.incidents.find(incident.workspace_id, incident.id)
            if present is None or not present.is_open:
                return
            now = self._context.clock.now()
            keys = transaction.incidents.keys_within(present)
            step = next_of(present, judge_keys(transaction, present, keys), known_until, now, keys)
            keep_incident(self._context, transaction, RESPONDER, present, step, now, verb=step.verb)

    def _tell(self, incident: Incident, error: KeyturnError) -> None:
        """Says once why an incident cannot be judged."""
        if self._told.get(incident.id) != error.detail:
            self._told[incident.id] = error.detail
            _log.error("incident %s rests: %s", incident.id, error.detail)

    def _find(self, elapsed: float) -> Exception | None:
        if self._found_at is not None and elapsed - self._found_at < FINDING_SECONDS:
            return None
        self._found_at = elapsed
        try:
            self._find_run_out()
            self._find_late(elapsed)
        except Exception as error:  # noqa: BLE001  (the incidents have been followed)
            return error
        return None

    def _find_run_out(self) -> None:
        with self._context.store.read() as reading:
            causes = _run_out(reading, self._context.clock.now())
        for workspace_id in sorted({*causes, *self._with_findings}):
            found = causes.get(workspace_id, [])
            reconcile(self._context, workspace_id, found, (FindingKind.WAIVER_EXPIRED,))
        self._with_findings = set(causes)

    def _find_late(self, elapsed: float) -> None:
        # Once more in the next round: an incident may have been closed at the same moment.
        refused, self._refused = self._refused, self._meter.take_refused()
        refused = refused | self._refused
        if refused:
            with self._context.store.read() as reading:
                late = reading.incidents.late_uses(key_ids=refused)
            self._tell_late(late)
        if self._gone_through_at is None or elapsed - self._gone_through_at >= FULL_SECONDS:
            after: UUID | None = None
            while True:
                with self._context.store.read() as reading:
                    page = reading.incidents.ended(after=after, limit=PAGE)
                    late = reading.incidents.late_uses(incident_ids=page)
                self._tell_late(late)
                if len(page) < PAGE:
                    break
                after = page[-1]
            self._gone_through_at = elapsed

    def _tell_late(self, late: Sequence[LateUse]) -> None:
        """Opens a finding for each key of which there is none yet."""
        of_incidents: dict[tuple[UUID, UUID], list[LateUse]] = {}
        for one in late:
            of_incidents.setdefault((one.workspace_id, one.incident_id), []).append(one)
        for (workspace_id, incident_id), found in of_incidents.items():
            with self._context.store.read() as reading:
                causes = _late(reading, workspace_id, incident_id, found)
            if causes:
                kinds, subjects = (FindingKind.CONTAINED_KEY_USED,), [str(incident_id)]
                reconcile(self._context, workspace_id, causes, kinds, subjects)


def _tally(reading: Reading, ids: Collection[UUID]) -> int:
    spelled = sorted(ids)
    return sum(
        reading.uses.tally(spelled[start : start + _CHUNK])
        for start in range(0, len(spelled), _CHUNK)
    )


def _moves(reading: Reading, incident: Incident, known_until: int, now: int) -> bool:
    keys = reading.incidents.keys_within(incident)
    step = next_of(incident, judge_keys(reading, incident, keys), known_until, now, keys)
    return step.incident is not incident or bool(step.changed)


def _run_out(reading: Reading, now: int) -> dict[UUID, list[Cause]]:
    """The waivers that have run out, by workspace."""
    causes: dict[UUID, list[Cause]] = {}
    for key in reading.incidents.run_out(now, limit=MOST_FOUND):
        if key.waiver is not None:
            evidence: dict[str, object] = {
                "until": format_instant(key.waiver.until),
                "reason": key.waiver.reason,
                "by": key.waiver.by,
                "next_step": "See who of those that used it has no new key: `keyturn incidents "
                f"show {key.incident_id}`.",
            }
            cause = _cause(FindingKind.WAIVER_EXPIRED, Severity.WARNING, key, evidence)
            causes.setdefault(key.workspace_id, []).append(cause)
    return causes


def _late(
    reading: Reading, workspace_id: UUID, incident_id: UUID, late: Sequence[LateUse]
) -> list[Cause]:
    """All that is to be told of an incident's keys; nothing where it is told already, and of an
    incident that was changed from outside."""
    kinds, subjects = (FindingKind.CONTAINED_KEY_USED,), [str(incident_id)]
    told = {one.mark for one in reading.findings.unresolved_of(workspace_id, kinds, subjects)}
    new = [one for one in late if str(one.key_id) not in told][: max(0, MOST_LATE - len(told))]
    if not new:
        return []
    try:
        keys = reading.incidents.keys_of(workspace_id, incident_id)
    except IntegrityFailed:
        return []
    uses = {one.key_id: one for one in new}
    causes = []
    for key in keys:
        use = uses.get(key.key_id)
        evidence: dict[str, object] = {}
        if use is not None:
            evidence = {
                "last_at": format_instant(use.last_at),
                "was_allowed": use.was_allowed,
                "next_step": "Somebody still has it: "
                f"`keyturn incidents report {incident_id}` says who, from where.",
            }
        if use is not None or str(key.key_id) in told:
            cause = _cause(FindingKind.CONTAINED_KEY_USED, Severity.CRITICAL, key, evidence)
            causes.append(cause)
    return causes


def _cause(
    kind: FindingKind, severity: Severity, key: ContainedKey, evidence: dict[str, object]
) -> Cause:
    return Cause(
        kind=kind,
        subject_type=SubjectType.INCIDENT,
        subject_id=str(key.incident_id),
        slot=key.slot,
        mark=str(key.key_id),
        severity=severity,
        evidence={
            "incident_id": str(key.incident_id),
            "key_id": str(key.key_id),
            "name": key.name,
            **evidence,
        },
    )


def view_incident(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> JudgedIncident:
    """One incident, with those of its keys that the caller may read of. Raises `IncidentUnknown`
    or `PermissionMissing`."""
    with context.store.read() as transaction:
        return judged_for(transaction, caller, workspace_id, id)


def judged_for(
    transaction: Reading,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> JudgedIncident:
    """As `view_incident`, in a transaction that has begun."""
    judged = judge_incident(transaction, found_incident(transaction, workspace_id, id))
    shown = judged.within(caller.rights.slots(Permission.REQUESTS_READ))
    if not shown.keys:
        caller.rights.require(Permission.REQUESTS_READ, judged.contained[0].slot)
        raise IncidentUnknown("There is no incident with this id.")
    return shown


def list_incidents(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: IncidentFilter,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[JudgedIncident], int | None]:
    """Incidents with keys in the slots that the caller may read of, newest first, and how many
    where asked. One whose keys were changed from outside is left out."""
    patterns = caller.rights.slots(Permission.REQUESTS_READ)
    wanted = replace(wanted, slots=patterns)
    with context.store.read() as transaction:
        judged: list[JudgedIncident] = []
        while True:
            missing = limit - len(judged)
            page = transaction.incidents.list(workspace_id, wanted, limit=missing, before=before)
            for one in page:
                with suppress(IntegrityFailed):
                    judged.append(judge_incident(transaction, one).within(patterns))
            if len(page) < missing or len(judged) == limit:
                break
            before = page[-1].id
        return judged, transaction.incidents.count(workspace_id, wanted) if count else None
