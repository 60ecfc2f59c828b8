"""Overseeing: findings on keys and slots, kept up with what changes, and looked over in full.

The change log tells which workspaces were touched since the last look; these are looked at soon.
Every workspace is looked at once in a while, since reminders come due while nobody changes
anything. A look that takes long is taken more rarely, so that it never fills a node's time.
"""

from uuid import UUID

from keyturn.services.context import Context
from keyturn.services.find import reconcile
from keyturn.services.lapse import LAPSE_KINDS, lapse_causes
from keyturn.services.schedule import SCHEDULE_KINDS, schedule_causes
from keyturn.services.trail import Trail
from keyturn.services.witness import Witness
from keyturn.storage.transaction import Reading

FULL_SECONDS = 600.0
PAGE = 1_000
RESTS = 5.0
MOST_REST_SECONDS = 5.0

_TOUCHING = frozenset({"key", "slot", "workspace", "rotation", "posture_waiver"})


class Overseer:
    """One process's eye on keys and slots; `step` is one look."""

    def __init__(self, context: Context, witness: Witness) -> None:
        self._context = context
        self._witness = witness
        self._trail = Trail(_TOUCHING)
        self._full_at: float | None = None
        self._free_at = 0.0
        self._touched: set[UUID] = set()

    def step(self) -> int:
        """Looks at what was touched, or at everything when it is time. Says how many findings were
        written. Raises `StorageUnavailable`."""
        began = self._context.clock.elapsed()
        with self._context.store.read() as reading:
            self._touched |= self._trail.touched(reading)
            is_full = self._full_at is None or began - self._full_at >= FULL_SECONDS
            if is_full:
                self._touched |= _everywhere(reading)
        if not self._touched or (began < self._free_at and not is_full):
            return 0
        if is_full:
            self._full_at = began
        written, failure = 0, None
        for id_ in sorted(self._touched):
            try:
                written += self._look(id_)
            except Exception as error:  # noqa: BLE001  (one workspace must not hold up the others)
                failure = error
                continue
            self._touched.discard(id_)
        ended = self._context.clock.elapsed()
        self._free_at = ended + min((ended - began) * RESTS, MOST_REST_SECONDS)
        if failure is not None:
            raise failure
        return written

    def _look(self, workspace_id: UUID) -> int:
        with self._context.store.read() as reading:
            workspace = reading.workspaces.find(workspace_id)
            if workspace is None:
                return 0
            now = self._witness.time.borne_out()
            causes = schedule_causes(reading, workspace, now)
            causes += lapse_causes(reading, workspace_id, now)
        return reconcile(self._context, workspace_id, causes, (*SCHEDULE_KINDS, *LAPSE_KINDS))


def _everywhere(reading: Reading) -> set[UUID]:
    found: set[UUID] = set()
    before: UUID | None = None
    while page := reading.workspaces.list(limit=PAGE, before=before):
        found |= {one.id for one in page}
        before = page[-1].id
    return found
