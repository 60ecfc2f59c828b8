"""Launching: a planned rotation starts by itself in its window, where its token can be delivered.

1. The plan is `domain/schedule.py`'s. In the transaction that starts, key and slot are asked anew:
   of a slot at most one rotation is open, whoever else starts one at the same moment.
2. It starts only where the slot has destinations and each is proven. Else a person starts it, as
   the announcement says.
3. Who starts it is Keyturn: nobody is shown the token.
4. Where somebody has rolled back in this window, he is not to find it started again: it waits for
   the next one.
5. A workspace in which nothing may start now is looked at again when something in it was changed,
   or when one of its windows opens or closes: without either, the plan stays as it is. All are
   looked at once in a while, since what was damaged may be mended without a change.
"""

import logging
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.error import KeyturnError, StorageUnavailable
from keyturn.domain.key import Key, KeyStatus
from keyturn.domain.policy import read_policy
from keyturn.domain.rotation import OPEN_STATES
from keyturn.domain.schedule import next_turn
from keyturn.services.context import Context
from keyturn.services.journal import WORKER
from keyturn.services.rotate import open_rotation, start_by_itself
from keyturn.services.schedule import destinations_of, planned_now
from keyturn.services.trail import Trail
from keyturn.services.witness import Witness
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.transaction import Reading, Writing

PAGE = 500
RESTS = 10.0
MOST_REST_SECONDS = 60.0
FULL_SECONDS = 600.0

# All that `planned_now` reads.
_TOUCHING = frozenset({"key", "slot", "workspace", "rotation", "destination"})

_log = logging.getLogger("keyturn.rotations")


@dataclass(frozen=True, slots=True)
class _Rest:
    """In which time nothing starts in a workspace, unless something is changed: `since` it was
    looked at, and before `until`."""

    since: int
    until: int

    def lasts(self, now: int) -> bool:
        return self.since <= now < self.until


class Launcher:
    """One process's hand on planned rotations; `step` is one look."""

    def __init__(self, context: Context, witness: Witness) -> None:
        self._context = context
        self._witness = witness
        self._trail = Trail(_TOUCHING)
        self._free_at = 0.0
        self._full_at: float | None = None
        self._touched: set[UUID] = set()
        # Of each workspace with a policy; None where something may start, or nobody has looked.
        self._rests: dict[UUID, _Rest | None] = {}

    def step(self) -> int:
        """Starts what is due, and says how many; a look that took long is taken more rarely. Raises
        `StorageUnavailable`."""
        began = self._context.clock.elapsed()
        if began < self._free_at:
            return 0
        started = self._look(began)
        ended = self._context.clock.elapsed()
        self._free_at = ended + min((ended - began) * RESTS, MOST_REST_SECONDS)
        return started

    def _look(self, began: float) -> int:
        with self._context.store.read() as reading:
            self._touched |= self._trail.touched(reading)
            if self._full_at is None or began - self._full_at >= FULL_SECONDS:
                self._rests = dict.fromkeys(_with_policy(reading))
                self._full_at = began
        now = self._witness.time.borne_out()
        waiting = {id_ for id_, rest in self._rests.items() if rest is None or not rest.lasts(now)}
        started = 0
        for workspace_id in sorted(waiting | self._touched):
            try:
                started += self._launch(workspace_id)
            except StorageUnavailable:
                raise
            except KeyturnError as error:
                _log.error("planned rotations of %s rest: %s", workspace_id, error.detail)
                self._rests[workspace_id] = None
            self._touched.discard(workspace_id)
        return started

    def _launch(self, workspace_id: UUID) -> int:
        # A clock that is ahead for a moment starts nothing.
        now = self._witness.time.borne_out()
        with self._context.store.read() as reading:
            policy = reading.workspaces.policy_of(workspace_id)
            workspace = None if policy is None else reading.workspaces.find(workspace_id)
            if policy is None or workspace is None or workspace.is_suspended:
                self._rests.pop(workspace_id, None)
                return 0
            due = planned_now(reading, workspace, now)
        self._rests[workspace_id] = None if due else _Rest(now, next_turn(policy, now))
        return sum(self._start(view.key) for view, _ in due)

    def _start(self, key: Key) -> bool:
        """Starts one; what keeps it from that keeps no other."""
        context = self._context
        try:
            with context.store.change() as transaction:
                return _start(context, transaction, key)
        except StorageUnavailable:
            raise
        except KeyturnError as error:
            _log.error("the planned rotation of %s rests: %s", key.slot, error.detail)
        return False


def _with_policy(reading: Reading) -> list[UUID]:
    found: list[UUID] = []
    before: UUID | None = None
    while page := reading.workspaces.list(limit=PAGE, before=before):
        found += [one.id for one in page if one.policy and not one.is_suspended]
        before = page[-1].id
    return found


def _start(context: Context, transaction: Writing, key: Key) -> bool:
    now = context.clock.now()
    workspace = transaction.workspaces.find(key.workspace_id)
    view = transaction.keys.view(key.workspace_id, key.id)
    if workspace is None or workspace.is_suspended or view is None or view.slot is None:
        return False
    policy = read_policy(workspace.policy)
    wanted = RotationFilter(states=tuple(sorted(OPEN_STATES)))
    open_count = transaction.rotations.count(workspace.id, wanted)
    if policy is None or open_count >= policy.most_at_once:
        return False
    destinations = destinations_of(transaction, view.slot)
    if not destinations or view.key.status(now) is not KeyStatus.ACTIVE:
        return False
    if open_rotation(context, transaction, WORKER, view.key, now):
        return False
    start_by_itself(context, transaction, WORKER, view.key, view.slot, destinations, now)
    return True
