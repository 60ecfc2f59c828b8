"""Records to rows and back. A row comes here only after its seal was found good."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from sqlalchemy import literal_column

from keyturn.domain.channel import Channel, ChannelKind, ChannelState, SigningSecret
from keyturn.domain.destination import Destination, DestinationState
from keyturn.domain.finding import Finding, FindingKind, FindingState, Severity, SubjectType
from keyturn.domain.identity import parse_id
from keyturn.domain.incident import (
    Because,
    CallerStanding,
    ContainedKey,
    Containment,
    Incident,
    IncidentReason,
    IncidentState,
    Outcome,
    Placement,
    Waiver,
)
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.operator import Operator, OperatorKind
from keyturn.domain.posture.check import CheckId
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.rotation import (
    Brownout,
    Decision,
    Ending,
    Rotation,
    RotationState,
    RotationTerms,
    Standing,
)
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.seal import Cell
from keyturn.domain.slot import ExpectedRuntime, Slot, SlotName, SlotNotes
from keyturn.domain.workspace import Reveal, Workspace, WorkspaceStatus
from keyturn.storage import schema
from keyturn.storage.sealed import SealedTable


def _spelled_id(row: Mapping[str, Cell]) -> str:
    return str(row["id"])


def _spelled_slot(row: Mapping[str, Cell]) -> str:
    workspace_id, service, environment = row["workspace_id"], row["service"], row["environment"]
    return f"{workspace_id!s}/{service!s}-{environment!s}"


def _spelled_contained(row: Mapping[str, Cell]) -> str:
    return f"{row['incident_id']!s}/{row['key_id']!s}"


KEYS = SealedTable(
    schema.keys,
    "key",
    schema.keys.c.id,
    spell_ref=_spelled_id,
    remedy="it is denied everywhere and can only be revoked. Revoke it, make another key, and see "
    "the activity log.",
)
WORKSPACES = SealedTable(
    schema.workspaces,
    "workspace",
    schema.workspaces.c.id,
    spell_ref=_spelled_id,
    remedy="all its keys are denied, and it cannot be changed. Restore the database from a backup.",
    late=(
        "policy",
        "resumed_at",
        "reveal",
        "grace_seconds",
        "grace_before",
        "grace_lowered_at",
    ),
)
OPERATORS = SealedTable(
    schema.operators,
    "operator",
    schema.operators.c.id,
    spell_ref=_spelled_id,
    remedy="its token is denied, and nothing can be done to it. Make another operator.",
)
SLOTS = SealedTable(
    schema.slots,
    "slot",
    schema.slots.c.workspace_id
    + literal_column("'/'")
    + schema.slots.c.service
    + literal_column("'-'")
    + schema.slots.c.environment,
    spell_ref=_spelled_slot,
    remedy="what it says is left out and its keys work on. Say what it is to say anew: `PUT` puts "
    "a good record in its place.",
    late=("destinations",),
)
ROTATIONS = SealedTable(
    schema.rotations,
    "rotation",
    schema.rotations.c.id,
    spell_ref=_spelled_id,
    remedy="it decides nothing, and its keys work on as they are. Start another rotation of the "
    "slot: it takes the place of this one. And see the activity log.",
)
DESTINATIONS = SealedTable(
    schema.destinations,
    "destination",
    schema.destinations.c.id,
    spell_ref=_spelled_id,
    remedy="nothing is delivered there. Make another destination, name that in the slots that had "
    "this one, and see the activity log.",
)
FINDINGS = SealedTable(
    schema.findings,
    "finding",
    schema.findings.c.id,
    spell_ref=_spelled_id,
    remedy="it is left out. See the activity log.",
)
INCIDENTS = SealedTable(
    schema.incidents,
    "incident",
    schema.incidents.c.id,
    spell_ref=_spelled_id,
    remedy="its keys stay contained, and it can be neither replaced, recovered nor closed. Open "
    "another incident with its keys: it takes the place of this one. And see the activity log.",
)
INCIDENT_KEYS = SealedTable(
    schema.incident_keys,
    "incident_key",
    schema.incident_keys.c.incident_id + literal_column("'/'") + schema.incident_keys.c.key_id,
    spell_ref=_spelled_contained,
    remedy="the key stays contained, and its incident can be neither replaced, recovered nor "
    "closed. Open another incident with its keys: it takes the place of this one.",
    is_logged=False,
)
CHANNELS = SealedTable(
    schema.channels,
    "channel",
    schema.channels.c.id,
    spell_ref=_spelled_id,
    remedy="nothing is sent to it, and it can only be deleted. Make another one.",
)

POSTURE_WAIVERS = SealedTable(
    schema.posture_waivers,
    "posture_waiver",
    schema.posture_waivers.c.id,
    spell_ref=_spelled_id,
    remedy="it waives nothing. Give another one, and see the activity log.",
)

SEALED = {
    one.kind: one
    for one in (
        KEYS,
        WORKSPACES,
        OPERATORS,
        SLOTS,
        ROTATIONS,
        DESTINATIONS,
        FINDINGS,
        INCIDENTS,
        INCIDENT_KEYS,
        CHANNELS,
        POSTURE_WAIVERS,
    )
}


def part_slot_ref(ref: str) -> tuple[str, str, str] | None:
    """The identity of the slot that a reference names, None where it names none."""
    workspace_id, _, name = ref.partition("/")
    service, dash, environment = name.rpartition("-")
    return (workspace_id, service, environment) if dash else None


def slot_ref(workspace_id: UUID, name: SlotName) -> str:
    """How the change log names a slot."""
    return f"{workspace_id}/{name}"


def id_of(cell: object) -> UUID | None:
    """The id in a cell that was read without its seal, None where what stands there is none."""
    return parse_id(cell) if isinstance(cell, str) else None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _texts(cell: Cell) -> tuple[str, ...]:
    return tuple(json.loads(cast(str, cell)))


def _id(cell: Cell) -> UUID | None:
    return None if cell is None else UUID(cast(str, cell))


def key_row(key: Key) -> dict[str, Cell]:
    return {
        "id": str(key.id),
        "workspace_id": str(key.workspace_id),
        "service": key.slot.service,
        "environment": key.slot.environment,
        "brand": key.brand,
        "name": key.name,
        "scopes": _json(key.scopes),
        "permissions": _json(key.permissions),
        "allowed_cidrs": _json(key.allowed_cidrs),
        "metadata": key.metadata,
        "status": key.state.value,
        "compromised": int(key.compromised),
        "digest": key.digest,
        "peppers": key.peppers,
        "created_at": key.created_at,
        "created_by": None if key.created_by is None else str(key.created_by),
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "last_rotated_at": key.last_rotated_at,
        "updated_at": key.updated_at,
        "revoked_at": key.revoked_at,
        "revocation_reason": None if key.revocation_reason is None else key.revocation_reason.value,
        "version": key.version,
    }


def key_of(row: Mapping[str, Any]) -> Key:
    reason = row["revocation_reason"]
    return Key(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        slot=SlotName(service=row["service"], environment=row["environment"]),
        brand=row["brand"],
        name=row["name"],
        scopes=_texts(row["scopes"]),
        permissions=_texts(row["permissions"]),
        allowed_cidrs=_texts(row["allowed_cidrs"]),
        metadata=row["metadata"],
        state=KeyState(row["status"]),
        compromised=bool(row["compromised"]),
        digest=row["digest"],
        peppers=row["peppers"],
        created_at=row["created_at"],
        created_by=_id(row["created_by"]),
        not_before=row["not_before"],
        expires_at=row["expires_at"],
        last_rotated_at=row["last_rotated_at"],
        updated_at=row["updated_at"],
        revoked_at=row["revoked_at"],
        revocation_reason=None if reason is None else RevocationReason(reason),
        version=row["version"],
    )


def workspace_row(workspace: Workspace) -> dict[str, Cell]:
    return {
        "id": str(workspace.id),
        "name": workspace.name,
        "status": workspace.status.value,
        "networks": _json([[one.name, list(one.cidrs)] for one in workspace.networks]),
        "created_at": workspace.created_at,
        "updated_at": workspace.updated_at,
        "version": workspace.version,
        "policy": workspace.policy,
        "resumed_at": workspace.resumed_at,
        "reveal": None if workspace.reveal is Reveal.ALWAYS else workspace.reveal.value,
        "grace_seconds": workspace.grace_seconds or None,
        "grace_before": workspace.grace_before or None,
        "grace_lowered_at": workspace.grace_lowered_at,
    }


def workspace_of(row: Mapping[str, Any]) -> Workspace:
    return Workspace(
        id=UUID(row["id"]),
        name=row["name"],
        status=WorkspaceStatus(row["status"]),
        networks=tuple(
            NamedNetwork(name=name, cidrs=tuple(cidrs))
            for name, cidrs in json.loads(row["networks"])
        ),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
        policy=row["policy"],
        resumed_at=row["resumed_at"],
        reveal=Reveal.ALWAYS if row["reveal"] is None else Reveal(row["reveal"]),
        grace_seconds=row["grace_seconds"] or 0,
        grace_before=row["grace_before"] or 0,
        grace_lowered_at=row["grace_lowered_at"],
    )


def operator_row(operator: Operator) -> dict[str, Cell]:
    return {
        "id": str(operator.id),
        "name": operator.name,
        "kind": operator.kind.value,
        "digest": operator.digest,
        "peppers": operator.peppers,
        "created_at": operator.created_at,
        "expires_at": operator.expires_at,
        "revoked_at": operator.revoked_at,
        "updated_at": operator.updated_at,
        "version": operator.version,
    }


def operator_of(row: Mapping[str, Any]) -> Operator:
    return Operator(
        id=UUID(row["id"]),
        name=row["name"],
        kind=OperatorKind(row["kind"]),
        digest=row["digest"],
        peppers=row["peppers"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def slot_row(slot: Slot) -> dict[str, Cell]:
    notes = slot.notes
    runtimes = notes.runtimes
    return {
        "workspace_id": str(slot.workspace_id),
        "service": slot.name.service,
        "environment": slot.name.environment,
        "owner": notes.owner,
        "purpose": notes.purpose,
        "runbook_url": notes.runbook_url,
        "rotation_period_days": notes.rotation_period_days,
        "runtimes": None
        if runtimes is None
        else _json([[one.name, one.max_call_interval_seconds] for one in runtimes]),
        "destinations": None if notes.destinations is None else _json(notes.destinations),
        "created_at": slot.created_at,
        "updated_at": slot.updated_at,
        "version": slot.version,
    }


def slot_of(row: Mapping[str, Any]) -> Slot:
    runtimes = row["runtimes"]
    return Slot(
        workspace_id=UUID(row["workspace_id"]),
        name=SlotName(service=row["service"], environment=row["environment"]),
        notes=SlotNotes(
            owner=row["owner"],
            purpose=row["purpose"],
            runbook_url=row["runbook_url"],
            rotation_period_days=row["rotation_period_days"],
            runtimes=None
            if runtimes is None
            else tuple(
                ExpectedRuntime(name=name, max_call_interval_seconds=seconds)
                for name, seconds in json.loads(runtimes)
            ),
            destinations=None if row["destinations"] is None else _texts(row["destinations"]),
        ),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def destination_row(destination: Destination) -> dict[str, Cell]:
    return {
        "id": str(destination.id),
        "workspace_id": str(destination.workspace_id),
        "name": destination.name,
        "kind": destination.kind,
        "config": destination.config,
        "credential": destination.credential,
        "nonce": destination.nonce,
        "state": destination.state.value,
        "proven_at": destination.proven_at,
        "fault": destination.fault,
        "created_at": destination.created_at,
        "created_by": destination.created_by,
        "updated_at": destination.updated_at,
        "version": destination.version,
    }


def destination_of(row: Mapping[str, Any]) -> Destination:
    return Destination(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        name=row["name"],
        kind=row["kind"],
        config=row["config"],
        credential=row["credential"],
        nonce=row["nonce"],
        state=DestinationState(row["state"]),
        proven_at=row["proven_at"],
        fault=row["fault"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def rotation_row(rotation: Rotation) -> dict[str, Cell]:
    terms, brownout, ending = rotation.terms, rotation.brownout, rotation.ending
    return {
        "id": str(rotation.id),
        "workspace_id": str(rotation.workspace_id),
        "service": rotation.slot.service,
        "environment": rotation.slot.environment,
        "old_key_id": str(rotation.old_key_id),
        "new_key_id": str(rotation.new_key_id),
        "state": rotation.state.value,
        "quiet_seconds": terms.quiet_seconds,
        "brownout_seconds": terms.brownout_seconds,
        "lookback_seconds": terms.lookback_seconds,
        "auto_complete": int(terms.auto_complete),
        "started_at": rotation.started_at,
        "started_by": rotation.started_by,
        "deadline": rotation.deadline,
        "brownout": None
        if brownout is None
        else _json([brownout.began_at, brownout.seconds, brownout.is_trial, brownout.is_ours]),
        "lifts": rotation.lifts,
        "lifted_at": rotation.lifted_at,
        "met": _json(rotation.met),
        "decisions": _json(
            [
                [one.runtime, one.standing.value, one.place, one.reason, one.by, one.at]
                for one in rotation.decisions
            ]
        ),
        "ended_at": None if ending is None else ending.at,
        "ended_by": None if ending is None else ending.by,
        "end_reason": None if ending is None else ending.reason,
        "forced": int(ending is not None and ending.is_forced),
        "evidence": None if ending is None else ending.evidence,
        "evidence_until": None if ending is None else ending.evidence_until,
        "updated_at": rotation.updated_at,
        "version": rotation.version,
    }


def rotation_of(row: Mapping[str, Any]) -> Rotation:
    return Rotation(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        slot=SlotName(service=row["service"], environment=row["environment"]),
        old_key_id=UUID(row["old_key_id"]),
        new_key_id=UUID(row["new_key_id"]),
        state=RotationState(row["state"]),
        terms=RotationTerms(
            quiet_seconds=row["quiet_seconds"],
            brownout_seconds=row["brownout_seconds"],
            lookback_seconds=row["lookback_seconds"],
            auto_complete=bool(row["auto_complete"]),
        ),
        started_at=row["started_at"],
        started_by=row["started_by"],
        deadline=row["deadline"],
        brownout=_brownout(row["brownout"]),
        lifts=row["lifts"],
        lifted_at=row["lifted_at"],
        met=_texts(row["met"]),
        decisions=tuple(
            Decision(
                runtime=runtime,
                standing=Standing(standing),
                place=place,
                reason=reason,
                by=by,
                at=at,
            )
            for runtime, standing, place, reason, by, at in json.loads(row["decisions"])
        ),
        ending=_ending(row),
        updated_at=row["updated_at"],
        version=row["version"],
    )


def _brownout(cell: str | None) -> Brownout | None:
    if cell is None:
        return None
    began_at, seconds, is_trial, is_ours = json.loads(cell)
    return Brownout(began_at=began_at, seconds=seconds, is_trial=is_trial, is_ours=is_ours)


def _ending(row: Mapping[str, Any]) -> Ending | None:
    if row["ended_at"] is None:
        return None
    return Ending(
        at=row["ended_at"],
        by=row["ended_by"],
        reason=row["end_reason"],
        is_forced=bool(row["forced"]),
        evidence=row["evidence"],
        evidence_until=row["evidence_until"],
    )


def finding_row(finding: Finding) -> dict[str, Cell]:
    return {
        "id": str(finding.id),
        "workspace_id": str(finding.workspace_id),
        "kind": finding.kind.value,
        "subject_type": finding.subject_type.value,
        "subject_id": finding.subject_id,
        "service": finding.slot.service,
        "environment": finding.slot.environment,
        "mark": finding.mark,
        "severity": finding.severity.value,
        "state": finding.state.value,
        "since": finding.since,
        "evidence": finding.evidence,
        "acknowledged_at": finding.acknowledged_at,
        "acknowledged_by": finding.acknowledged_by,
        "acknowledge_reason": finding.acknowledge_reason,
        "resolved_at": finding.resolved_at,
        "updated_at": finding.updated_at,
        "version": finding.version,
    }


def finding_of(row: Mapping[str, Any]) -> Finding:
    return Finding(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        kind=FindingKind(row["kind"]),
        subject_type=SubjectType(row["subject_type"]),
        subject_id=row["subject_id"],
        slot=SlotName(service=row["service"], environment=row["environment"]),
        mark=row["mark"],
        severity=Severity(row["severity"]),
        state=FindingState(row["state"]),
        since=row["since"],
        evidence=row["evidence"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        acknowledge_reason=row["acknowledge_reason"],
        resolved_at=row["resolved_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def incident_row(incident: Incident) -> dict[str, Cell]:
    return {
        "id": str(incident.id),
        "workspace_id": str(incident.workspace_id),
        "state": incident.state.value,
        "reason": incident.reason.value,
        "detail": incident.detail,
        "found_url": incident.found_url,
        "exposed_since": incident.exposed_since,
        "containment": incident.containment.value,
        "opened_at": incident.opened_at,
        "opened_by": incident.opened_by,
        "contained_at": incident.contained_at,
        "counted_at": incident.counted_at,
        "keys_hash": incident.keys_hash,
        "placements": _json(
            [
                [one.runtime, one.network, one.standing.value, one.by, one.at]
                for one in incident.placements
            ]
        ),
        "unreached": _json([str(one) for one in incident.unreached]),
        "closed_at": incident.closed_at,
        "closed_by": incident.closed_by,
        "outcome": None if incident.outcome is None else incident.outcome.value,
        "updated_at": incident.updated_at,
        "version": incident.version,
    }


def incident_of(row: Mapping[str, Any]) -> Incident:
    return Incident(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        state=IncidentState(row["state"]),
        reason=IncidentReason(row["reason"]),
        detail=row["detail"],
        found_url=row["found_url"],
        exposed_since=row["exposed_since"],
        containment=Containment(row["containment"]),
        opened_at=row["opened_at"],
        opened_by=row["opened_by"],
        contained_at=row["contained_at"],
        counted_at=row["counted_at"],
        keys_hash=row["keys_hash"],
        placements=tuple(
            Placement(
                runtime=runtime, network=network, standing=CallerStanding(standing), by=by, at=at
            )
            for runtime, network, standing, by, at in json.loads(row["placements"])
        ),
        unreached=tuple(UUID(one) for one in json.loads(row["unreached"])),
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
        outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
        updated_at=row["updated_at"],
        version=row["version"],
    )


def contained_row(key: ContainedKey) -> dict[str, Cell]:
    waiver = key.waiver
    return {
        "incident_id": str(key.incident_id),
        "key_id": str(key.key_id),
        "workspace_id": str(key.workspace_id),
        "name": key.name,
        "service": key.slot.service,
        "environment": key.slot.environment,
        "because": key.because.value,
        "state_before": key.state_before.value,
        "exposed_since": key.exposed_since,
        "contained_at": key.contained_at,
        "replacement_key_id": None
        if key.replacement_key_id is None
        else str(key.replacement_key_id),
        "replaced_at": key.replaced_at,
        "recovered_at": key.recovered_at,
        "waiver": None
        if waiver is None
        else _json([waiver.reason, waiver.until, waiver.by, waiver.at]),
        "updated_at": key.updated_at,
        "version": key.version,
    }


def contained_of(row: Mapping[str, Any]) -> ContainedKey:
    waiver = None
    if row["waiver"] is not None:
        reason, until, by, at = json.loads(row["waiver"])
        waiver = Waiver(reason=reason, until=until, by=by, at=at)
    return ContainedKey(
        incident_id=UUID(row["incident_id"]),
        workspace_id=UUID(row["workspace_id"]),
        key_id=UUID(row["key_id"]),
        name=row["name"],
        slot=SlotName(service=row["service"], environment=row["environment"]),
        because=Because(row["because"]),
        state_before=KeyState(row["state_before"]),
        exposed_since=row["exposed_since"],
        contained_at=row["contained_at"],
        replacement_key_id=_id(row["replacement_key_id"]),
        replaced_at=row["replaced_at"],
        recovered_at=row["recovered_at"],
        waiver=waiver,
        updated_at=row["updated_at"],
        version=row["version"],
    )


def channel_row(channel: Channel) -> dict[str, Cell]:
    return {
        "id": str(channel.id),
        "workspace_id": str(channel.workspace_id),
        "kind": channel.kind.value,
        "name": channel.name,
        "url": channel.url,
        "addresses": _json(channel.addresses),
        "to_owners": int(channel.to_owners),
        "events": _json(channel.events),
        "state": channel.state.value,
        "reason": channel.reason,
        "secrets": _json(
            [
                [base64.b64encode(one.sealed).decode("ascii"), one.created_at, one.ends_at]
                for one in channel.secrets
            ]
        ),
        "since": channel.since,
        "created_at": channel.created_at,
        "created_by": channel.created_by,
        "updated_at": channel.updated_at,
        "version": channel.version,
    }


def channel_of(row: Mapping[str, Any]) -> Channel:
    return Channel(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        kind=ChannelKind(row["kind"]),
        name=row["name"],
        url=row["url"],
        addresses=_texts(row["addresses"]),
        to_owners=bool(row["to_owners"]),
        events=_texts(row["events"]),
        state=ChannelState(row["state"]),
        reason=row["reason"],
        secrets=tuple(
            SigningSecret(sealed=base64.b64decode(sealed), created_at=created_at, ends_at=ends_at)
            for sealed, created_at, ends_at in json.loads(row["secrets"])
        ),
        since=row["since"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def posture_waiver_row(waiver: PostureWaiver) -> dict[str, Cell]:
    slot = waiver.slot
    return {
        "id": str(waiver.id),
        "workspace_id": str(waiver.workspace_id),
        "check_id": waiver.check.value,
        "key_id": None if waiver.key_id is None else str(waiver.key_id),
        "service": None if slot is None else slot.service,
        "environment": None if slot is None else slot.environment,
        "reason": waiver.reason,
        "until": waiver.until,
        "created_at": waiver.created_at,
        "created_by": waiver.created_by,
        "ended_at": waiver.ended_at,
        "ended_by": waiver.ended_by,
        "updated_at": waiver.updated_at,
        "version": waiver.version,
    }


def posture_waiver_of(row: Mapping[str, Any]) -> PostureWaiver:
    return PostureWaiver(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        check=CheckId(row["check_id"]),
        key_id=_id(row["key_id"]),
        slot=None
        if row["service"] is None
        else SlotName(service=row["service"], environment=row["environment"]),
        reason=row["reason"],
        until=row["until"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        ended_at=row["ended_at"],
        ended_by=row["ended_by"],
        updated_at=row["updated_at"],
        version=row["version"],
    )
