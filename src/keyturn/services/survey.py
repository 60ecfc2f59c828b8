"""Surveying rotations and findings: read for people, with nothing changed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.delivery import Delivery
from keyturn.domain.error import (
    DeliveryUnknown,
    FindingUnknown,
    IntegrityFailed,
    KeyUnknown,
    RotationUnknown,
)
from keyturn.domain.evidence import Observation
from keyturn.domain.finding import Finding
from keyturn.domain.impact import Impact, assess_impact
from keyturn.domain.key import KeyStatus
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import Rotation
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.services.weigh import Weighed, weigh
from keyturn.services.witness import Witness
from keyturn.storage.deliveries import DeliveryFilter
from keyturn.storage.findings import FindingFilter
from keyturn.storage.keys import KeyFilter
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.transaction import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedRotation:
    """A rotation, what is known of it (None once it has ended), and how its new token is on its
    way."""

    rotation: Rotation
    weighed: Weighed | None
    deliveries: Sequence[Delivery] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedImpact:
    key_id: UUID
    impact: Impact
    is_only_live_key: bool
    as_of: int
    rotation_id: UUID | None


def view_rotation(
    context: Context,
    witness: Witness,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> SurveyedRotation:
    """One rotation. Raises `RotationUnknown` or `PermissionMissing`."""
    observation = witness.observe()
    with context.store.read() as transaction:
        rotation = transaction.rotations.find(workspace_id, id)
        if rotation is None:
            raise RotationUnknown("There is no rotation with this id.")
        caller.rights.require(Permission.KEYS_READ, rotation.slot)
        weighed = weigh(transaction, rotation, observation) if rotation.is_open else None
        deliveries = deliveries_of(transaction, rotation)
    return SurveyedRotation(rotation=rotation, weighed=weighed, deliveries=deliveries)


def list_rotations(
    context: Context,
    witness: Witness,
    caller: Caller,
    workspace_id: UUID,
    wanted: RotationFilter,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[SurveyedRotation], int | None]:
    """Rotations of the slots that the caller may read, newest first, and how many where asked."""
    wanted = replace(wanted, slots=caller.rights.slots(Permission.KEYS_READ))
    observation = witness.observe()
    with context.store.read() as transaction:
        found = transaction.rotations.list(workspace_id, wanted, limit=limit, before=before)
        surveyed = [_surveyed(transaction, one, observation) for one in found]
        return surveyed, transaction.rotations.count(workspace_id, wanted) if count else None


def _surveyed(
    transaction: Reading, rotation: Rotation, observation: Observation
) -> SurveyedRotation:
    """One of a list. One that cannot be judged, since a record was changed from outside, is told
    without its evidence."""
    weighed = None
    if rotation.is_open:
        with suppress(IntegrityFailed):
            weighed = weigh(transaction, rotation, observation)
    deliveries = deliveries_of(transaction, rotation)
    return SurveyedRotation(rotation=rotation, weighed=weighed, deliveries=deliveries)


def deliveries_of(transaction: Reading, rotation: Rotation) -> Sequence[Delivery]:
    """The deliveries of a rotation's new token. Where one is damaged, none is told of."""
    with suppress(IntegrityFailed):
        return transaction.deliveries.of_key(rotation.new_key_id)
    return ()


def view_delivery(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> Delivery:
    """One delivery. Raises `DeliveryUnknown` or `PermissionMissing`."""
    with context.store.read() as transaction:
        delivery = transaction.deliveries.find(workspace_id, id)
    if delivery is None:
        raise DeliveryUnknown("There is no delivery with this id.")
    caller.rights.require(Permission.KEYS_READ, delivery.slot)
    return delivery


def list_deliveries(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: DeliveryFilter,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[Delivery], int | None]:
    """Deliveries of the slots that the caller may read, newest first, and how many where asked."""
    wanted = replace(wanted, slots=caller.rights.slots(Permission.KEYS_READ))
    with context.store.read() as transaction:
        found = transaction.deliveries.list(workspace_id, wanted, limit=limit, before=before)
        return found, transaction.deliveries.count(workspace_id, wanted) if count else None


def survey_impact(
    context: Context,
    witness: Witness,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> SurveyedImpact:
    """What would break if a key were revoked now. Raises `KeyUnknown` or `PermissionMissing`."""
    observation = witness.observe()
    now = context.clock.now()
    with context.store.read() as transaction:
        key = transaction.keys.find(workspace_id, id)
        if key is None:
            raise KeyUnknown("There is no key with this id.")
        caller.rights.require(Permission.REQUESTS_READ, key.slot)
        slot = transaction.slots.find(workspace_id, key.slot)
        rotation = transaction.rotations.open_of_key(workspace_id, id)
        evidence = None
        if rotation is not None and rotation.old_key_id == id:
            evidence = weigh(transaction, rotation, observation).evidence
        impact = assess_impact(
            key,
            transaction.uses.of((id,)),
            () if slot is None else slot.notes.runtimes or (),
            evidence,
            observation,
            now,
        )
        live = _live_keys(transaction, workspace_id, key.slot.service, key.slot.environment, now)
    return SurveyedImpact(
        key_id=id,
        impact=impact,
        is_only_live_key=live == {id},
        as_of=observation.until,
        rotation_id=None if rotation is None else rotation.id,
    )


def _live_keys(
    transaction: Reading, workspace_id: UUID, service: str, environment: str, now: int
) -> set[UUID]:
    wanted = KeyFilter(status=KeyStatus.ACTIVE, now=now, service=service, environment=environment)
    views = transaction.keys.list(workspace_id, wanted, limit=2, before=None)
    return {view.key.id for view in views}


def view_finding(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> Finding:
    """One finding. Raises `FindingUnknown` or `PermissionMissing`."""
    with context.store.read() as transaction:
        finding = transaction.findings.find(workspace_id, id)
    if finding is None:
        raise FindingUnknown("There is no finding with this id.")
    caller.rights.require(Permission.KEYS_READ, finding.slot)
    return finding


def list_findings(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: FindingFilter,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[Finding], int | None]:
    """Findings on the slots that the caller may read, newest first, and how many where asked."""
    wanted = replace(wanted, slots=caller.rights.slots(Permission.KEYS_READ))
    with context.store.read() as transaction:
        findings = transaction.findings.list(workspace_id, wanted, limit=limit, before=before)
        return findings, transaction.findings.count(workspace_id, wanted) if count else None
