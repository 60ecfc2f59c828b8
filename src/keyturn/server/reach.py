"""Where a change has got that a command made, beside the nodes that serve: it is waited for as a
call waits for it, without an event loop."""

import threading
from dataclasses import dataclass

from keyturn.domain.ambience import Clock
from keyturn.domain.error import StorageUnavailable
from keyturn.server.barrier import longest_lease, told_of
from keyturn.server.database_clock import DatabaseClock
from keyturn.storage.contract import Cluster, NodesSeen, Store
from keyturn.verifier import Waiting, reckoned_micros

WITHIN_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_SLACK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """On how many nodes a change is effective. `effective_by` is when it will be on all of them
    (microseconds), None where it is, or where that is not known."""

    nodes: int
    is_complete: bool
    effective_by: int | None = None


def await_nodes(store: Store, clock: Clock, lease_seconds: float) -> Reach | None:
    """Waits a while until what was committed last is effective on every node. None where every
    verification asks the database."""
    newest = store.memory.newest()
    if store.cluster is None or newest is None:
        return None
    try:
        with store.read() as transaction:
            # Whoever calls may do so for any workspace.
            grace_seconds = transaction.workspaces.longest_grace()
        return _Way(store.cluster, clock, lease_seconds, grace_seconds).go(newest.position)
    except StorageUnavailable:
        return Reach(nodes=0, is_complete=False)


class _Way:
    """The way of one change to the nodes."""

    def __init__(
        self, cluster: Cluster, clock: Clock, lease_seconds: float, grace_seconds: int
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._began, self._now = clock.elapsed(), clock.now()
        # What was known of the database's clock before is not: so no lease is believed to be over
        # before the longest has gone by here.
        self._database_clock = DatabaseClock(clock.boot())
        seen = self._look()
        self._lease_seconds = longest_lease(seen, lease_seconds)
        self._first = seen
        self._nodes = len(told_of(seen, grace_seconds))

    def go(self, position: int) -> Reach:
        waiting = Waiting(position, self._grace_seconds)
        within = max(WITHIN_SECONDS, self._lease_seconds + _SLACK_SECONDS)
        longest = self._lease_seconds + self._grace_seconds
        seen = self._first
        while True:
            now = self._database_clock.reckon(seen.clock, self._clock.boot(), longest)
            if waiting.see(seen.rows, now):
                return Reach(nodes=self._nodes, is_complete=True)
            if self._clock.elapsed() - self._began >= within:
                latest = max(waiting.effective_by or 0, self._now + reckoned_micros(longest))
                return Reach(nodes=self._nodes, is_complete=False, effective_by=latest)
            threading.Event().wait(_LOOK_SECONDS)
            seen = self._look()

    def _look(self) -> NodesSeen:
        asked_at = self._clock.boot()
        seen = self._cluster.nodes()
        self._database_clock.note(seen.clock, asked_at, self._clock.boot())
        return seen
