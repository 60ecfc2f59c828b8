"""Weighing: the evidence of a rotation, read and judged in the transaction that acts on it."""

import json
from dataclasses import asdict, dataclass
from uuid import UUID

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.evidence import Evidence, Observation, judge_rotation
from keyturn.domain.key import Key
from keyturn.domain.rotation import Rotation
from keyturn.storage.transaction import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A rotation with its two keys and what is known of it."""

    rotation: Rotation
    old: Key
    new: Key
    evidence: Evidence


def weigh(transaction: Reading, rotation: Rotation, observation: Observation) -> Weighed:
    """Judges an open rotation. Raises `IntegrityFailed` where a record that it rests on was changed
    from outside: nothing is decided on such."""
    old = _key(transaction, rotation.workspace_id, rotation.old_key_id)
    new = _key(transaction, rotation.workspace_id, rotation.new_key_id)
    slot = transaction.slots.find(rotation.workspace_id, rotation.slot)
    evidence = judge_rotation(
        rotation,
        old,
        new,
        transaction.uses.of((old.id, new.id)),
        () if slot is None else slot.notes.runtimes or (),
        observation,
        now=max(observation.until, observation.borne_out),
    )
    return Weighed(rotation=rotation, old=old, new=new, evidence=evidence)


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
