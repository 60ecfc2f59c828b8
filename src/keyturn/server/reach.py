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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """On how many nodes a change is effective. `effective_by` is when it will be on all of them
    (microseconds), None where it is, or where that is not known."""

    nodes: int
    is_complete: bool
    effective_by: int | None = None


def await_nodes(store: Store, clock: Clock) -> Reach | None:
    """Waits a while until what was committed last is effective on every node. None where every
    verification asks the database."""
    newest = store.memory.newest()
    if store.cluster is None or newest is None:
        return None
    try:
        with store.read() as transaction:
            # Whoever calls may do so for any workspace.
            grace_seconds = transaction.workspaces.longest_grace()
        return _await(store.cluster, Waiting(newest.position, grace_seconds), grace_seconds, clock)
    except StorageUnavailable:
        return Reach(nodes=0, is_complete=False)


def _await(cluster: Cluster, waiting: Waiting, grace_seconds: int, clock: Clock) -> Reach:
    database_clock = DatabaseClock(clock.boot())
    ends, is_first = clock.elapsed() + WITHIN_SECONDS, True
    while True:
        asked_at = clock.boot()
        seen = cluster.nodes()
        database_clock.note(seen.clock, asked_at, clock.boot())
        longest = longest_lease(seen, 0.0) + grace_seconds
        reckoned = NodesSeen(database_clock.reckon(seen.clock, clock.boot(), longest), seen.rows)
        rows = told_of(reckoned, grace_seconds) if is_first else seen.rows
        is_first = False
        is_complete = waiting.see(rows, reckoned.clock)
        if is_complete or clock.elapsed() >= ends:
            return Reach(
                nodes=waiting.confirmed + waiting.expired,
                is_complete=is_complete,
                effective_by=_latest(waiting, clock.now() + reckoned_micros(longest)),
            )
        threading.Event().wait(_LOOK_SECONDS)


def _latest(waiting: Waiting, longest: int) -> int | None:
    latest = waiting.effective_by
    return None if latest is None else max(latest, longest)
