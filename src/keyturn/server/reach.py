"""Where a change has got that a command made, beside the nodes that serve: it is waited for as a
call waits for it, without an event loop."""

import threading
from dataclasses import dataclass

from keyturn.domain.ambience import Clock
from keyturn.domain.error import StorageUnavailable
from keyturn.storage.contract import Store
from keyturn.verifier import Waiting

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
        waiting = Waiting(newest.position, grace_seconds)
        ends = clock.elapsed() + WITHIN_SECONDS
        while True:
            seen = store.cluster.nodes()
            if waiting.see(seen.rows, seen.clock):
                return Reach(nodes=waiting.confirmed + waiting.expired, is_complete=True)
            if clock.elapsed() >= ends:
                nodes = waiting.confirmed + waiting.expired
                return Reach(nodes=nodes, is_complete=False, effective_by=waiting.effective_by)
            threading.Event().wait(_LOOK_SECONDS)
    except StorageUnavailable:
        return Reach(nodes=0, is_complete=False)
