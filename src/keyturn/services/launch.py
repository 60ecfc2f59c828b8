"""Launching: a planned rotation starts by itself in its window, where its token can be delivered.

1. The plan is `domain/schedule.py`'s. In the transaction that starts, key and slot are asked anew:
   of a slot at most one rotation is open, whoever else starts one at the same moment.
2. It starts only where the slot has destinations and each is proven. Else a person starts it, as
   the announcement says.
3. Who starts it is Keyturn: nobody is shown the token.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from keyturn.domain.destination import Destination
from keyturn.domain.error import IntegrityFailed, KeyturnError, StorageUnavailable
from keyturn.domain.key import KeyStatus
from keyturn.domain.slot import Slot
from keyturn.services.context import Context
from keyturn.services.journal import WORKER
from keyturn.services.rotate import open_rotation, start_by_itself
from keyturn.services.schedule import planned_now
from keyturn.services.witness import Witness
from keyturn.storage.transaction import Reading

PAGE = 500
RESTS = 10.0
MOST_REST_SECONDS = 60.0

_log = logging.getLogger("keyturn.rotations")


class Launcher:
    """One process's hand on planned rotations; `step` is one look."""

    def __init__(self, context: Context, witness: Witness) -> None:
        self._context = context
        self._witness = witness
        self._free_at = 0.0

    def step(self) -> int:
        """Starts what is due, and says how many; a look that took long is taken more rarely. Raises
        `StorageUnavailable`."""
        began = self._context.clock.elapsed()
        if began < self._free_at:
            return 0
        started = self._look()
        ended = self._context.clock.elapsed()
        self._free_at = ended + min((ended - began) * RESTS, MOST_REST_SECONDS)
        return started

    def _look(self) -> int:
        started = 0
        for workspace_id in self._with_policy():
            try:
                started += self._launch(workspace_id)
            except StorageUnavailable:
                raise
            except KeyturnError as error:
                _log.error("planned rotations of %s rest: %s", workspace_id, error.detail)
        return started

    def _with_policy(self) -> list[UUID]:
        found: list[UUID] = []
        before: UUID | None = None
        with self._context.store.read() as reading:
            while page := reading.workspaces.list(limit=PAGE, before=before):
                found += [one.id for one in page if one.policy and not one.is_suspended]
                before = page[-1].id
        return found

    def _launch(self, workspace_id: UUID) -> int:
        # A clock that is ahead for a moment starts nothing.
        now = self._witness.time.borne_out()
        with self._context.store.read() as reading:
            workspace = reading.workspaces.find(workspace_id)
            if workspace is None:
                return 0
            ready = planned_now(
                reading,
                workspace,
                now,
                lambda one: one.slot is not None and bool(destinations_of(reading, one.slot)),
            )
        return sum(self._start(workspace_id, one.key.id) for one in ready)

    def _start(self, workspace_id: UUID, key_id: UUID) -> bool:
        context = self._context
        with context.store.change() as transaction:
            now = context.clock.now()
            view = transaction.keys.view(workspace_id, key_id)
            if view is None or view.slot is None or view.key.status(now) is not KeyStatus.ACTIVE:
                return False
            destinations = destinations_of(transaction, view.slot)
            if not destinations or open_rotation(context, transaction, WORKER, view.key, now):
                return False
            start_by_itself(context, transaction, WORKER, view.key, view.slot, destinations, now)
        return True


def destinations_of(reading: Reading, slot: Slot) -> Sequence[Destination]:
    """The destinations of a slot, where each is there and proven; else none."""
    found = []
    for name in slot.notes.destinations or ():
        try:
            destination = reading.destinations.named(slot.workspace_id, name)
        except IntegrityFailed:
            return ()
        if destination is None or not destination.is_proven:
            return ()
        found.append(destination)
    return found
