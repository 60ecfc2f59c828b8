"""Weighing: the evidence of a rotation, read and judged in the transaction that acts on it."""

import json
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from keyturn.domain.delivery import Delivery, DeliveryState
from keyturn.domain.error import Blocker, IntegrityFailed
from keyturn.domain.evidence import (
    DAMAGED,
    UNDELIVERED,
    Evidence,
    Observation,
    judge_rotation,
)
from keyturn.domain.key import Key
from keyturn.domain.rotation import Rotation
from keyturn.domain.slot import ExpectedRuntime
from keyturn.storage.transaction import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A rotation with its two keys, what is known of it, and what that was judged on; and how its
    new token is on its way."""

    rotation: Rotation
    old: Key
    new: Key
    evidence: Evidence
    observation: Observation
    deliveries: tuple[Delivery, ...] = ()


def weigh(transaction: Reading, rotation: Rotation, observation: Observation) -> Weighed:
    """Judges an open rotation. Raises `IntegrityFailed` where one of its keys, or the workspace,
    was changed from outside: nothing is decided on such."""
    old = _key(transaction, rotation.workspace_id, rotation.old_key_id)
    new = _key(transaction, rotation.workspace_id, rotation.new_key_id)
    workspace = transaction.workspaces.find(rotation.workspace_id)
    if workspace is not None and workspace.resumed_at is not None:
        # It was suspended until then, and a silence that is forced tells nothing.
        since = min(workspace.resumed_at, observation.now)
        observation = replace(
            observation,
            watched_since=max(observation.watched_since, since),
            unbroken_since=max(observation.unbroken_since, since),
        )
    # The names of networks stand in places and in inferred runtimes.
    is_named_anew = workspace is not None and workspace.updated_at > rotation.started_at
    evidence = judge_rotation(
        rotation,
        old,
        new,
        transaction.uses.of((old.id, new.id)),
        _expected(transaction, rotation),
        observation,
        () if workspace is None else workspace.networks,
        is_named_anew=is_named_anew,
    )
    deliveries, undelivered = _delivered(transaction, rotation, observation.now)
    evidence = replace(evidence, blocked_by=(*undelivered, *evidence.blocked_by))
    return Weighed(
        rotation=rotation,
        old=old,
        new=new,
        evidence=evidence,
        observation=observation,
        deliveries=deliveries,
    )


def _delivered(
    transaction: Reading, rotation: Rotation, now: int
) -> tuple[tuple[Delivery, ...], tuple[Blocker, ...]]:
    """The deliveries of the new key, and those that stand in the way: a destination where the token
    is not, not any more, or not to be seen, is one from which somebody may take the old one."""
    try:
        deliveries = tuple(transaction.deliveries.of_key(rotation.new_key_id))
    except IntegrityFailed as error:
        return (), (Blocker(code=DAMAGED, runtime=None, detail=error.detail),)
    return deliveries, tuple(
        Blocker(code=UNDELIVERED, runtime=None, detail=_tell_missing(one, fault))
        for one in deliveries
        if (fault := one.fault_at(now)) is not None
    )


def _tell_missing(delivery: Delivery, fault: str) -> str:
    if delivery.state is DeliveryState.DELIVERED:
        return f"Whether the new token is still in {delivery.destination} is not known: {fault}"
    return f"The new token is not in {delivery.destination} yet: {fault}"


def _expected(transaction: Reading, rotation: Rotation) -> tuple[ExpectedRuntime, ...] | None:
    """Who is registered on the slot; None where its record was changed from outside."""
    try:
        slot = transaction.slots.find(rotation.workspace_id, rotation.slot)
    except IntegrityFailed:
        return None
    return () if slot is None else slot.notes.runtimes or ()


def _key(transaction: Reading, workspace_id: UUID, id_: UUID) -> Key:
    key = transaction.keys.find(workspace_id, id_)
    if key is None:
        raise IntegrityFailed("The record of a key in this rotation was taken away from outside.")
    return key


def spell_evidence(evidence: Evidence) -> str:
    """The evidence as it is kept with the end that it allowed."""
    kept = {
        "runtimes": [asdict(one) for one in evidence.runtimes],
        "blocked_by": [asdict(one) for one in evidence.blocked_by],
    }
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))
