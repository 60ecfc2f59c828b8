"""Testifying: every key that lived in a period, for who has to show what was done with it."""

from collections.abc import Sequence
from uuid import UUID

from keyturn.domain.error import RequestInvalid
from keyturn.domain.instant import DAY
from keyturn.domain.key import Key
from keyturn.domain.permission import Permission, covers_slot
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.posture.evidence import KeyLife, life_of
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.rotation import Rotation
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.storage.transaction import Reading

USUAL_DAYS = 90


def read_evidence(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    since: int | None,
    until: int | None,
    *,
    limit: int,
    before: UUID | None,
) -> Sequence[KeyLife]:
    """At most `limit` keys on the slots that the caller may read, newest first, that lived at any
    moment from `since` on and before `until`: by default, in the last 90 days."""
    slots = caller.rights.slots(Permission.KEYS_READ)
    readable = caller.rights.slots(Permission.REQUESTS_READ)
    now = context.clock.now()
    # What was made at this very moment has lived in a period up to now.
    until = now + 1 if until is None else until
    since = until - USUAL_DAYS * DAY if since is None else since
    if since >= until:
        raise RequestInvalid.at("/to", "A period ends after it begins.")
    with context.store.read() as transaction:
        views = transaction.keys.lived(
            workspace_id, slots, since, until, limit=limit, before=before
        )
        ids = [view.key.id for view in views]
        rotations = _rotations(transaction, workspace_id, ids, since, until)
        incidents = transaction.incidents.of_period(workspace_id, ids, since, until)
        waivers = _Waivers(transaction.posture_waivers.held(workspace_id, since, until, slots))
        return [
            life_of(
                view.key,
                None if view.slot is None else view.slot.notes,
                _period(None if view.slot is None else view.slot.notes, view.policy),
                view.last_used_at,
                until=until,
                now=now,
                rotations=rotations.get(view.key.id, []),
                incidents=incidents.get(view.key.id, [])
                if covers_slot(readable, str(view.key.slot))
                else None,
                waivers=waivers.of(view.key),
            )
            for view in views
        ]


class _Waivers:
    """Those that may speak of a key, without going through all of them for each."""

    def __init__(self, waivers: Sequence[PostureWaiver]) -> None:
        self._of: dict[UUID | SlotName | None, list[PostureWaiver]] = {}
        for one in waivers:
            self._of.setdefault(one.key_id or one.slot, []).append(one)

    def of(self, key: Key) -> list[PostureWaiver]:
        """The newest first."""
        found = [one for name in (key.id, key.slot, None) for one in self._of.get(name, ())]
        return sorted(found, key=lambda one: one.id, reverse=True)


def _rotations(
    transaction: Reading, workspace_id: UUID, ids: Sequence[UUID], since: int, until: int
) -> dict[UUID, list[Rotation]]:
    found: dict[UUID, list[Rotation]] = {}
    for one in transaction.rotations.of_period(workspace_id, ids, since, until):
        for key_id in (one.old_key_id, one.new_key_id):
            found.setdefault(key_id, []).append(one)
    return found


def _period(notes: SlotNotes | None, policy: RotationPolicy | None) -> int | None:
    if notes is not None and notes.rotation_period_days is not None:
        return notes.rotation_period_days
    return None if policy is None else policy.rotation_period_days
