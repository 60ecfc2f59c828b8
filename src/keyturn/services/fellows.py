"""The fellows of a node: what the others on one database have kept of the uses that they saw.

A node that says goodbye has kept everything first. One whose lease has ended without that may have
let somebody in whom nobody will ever know of; it has vanished, and is told of once.
"""

import threading
from dataclasses import dataclass

from keyturn.storage.contract import Cluster, NodeRow, NodesSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class FellowsSeen:
    """Up to when all fellows have kept every use (None where there are none), and those that have
    vanished since the last look. `late_micros` is how long the lease is over of the one of them
    that vanished last, of whenever, since it may go on in a time of grace."""

    settled_until: int | None
    vanished: tuple[str, ...]
    late_micros: int | None = None


class Fellows:
    """The other nodes, as this one sees them. Whoever had vanished before the first look is none
    of them."""

    def __init__(self, cluster: Cluster, own_id: str) -> None:
        self._cluster = cluster
        self._own_id = own_id
        self._lock = threading.Lock()
        self._living: dict[str, str] = {}
        self._gone: set[str] | None = None

    def look(self) -> FellowsSeen:
        """Raises `StorageUnavailable`."""
        with self._lock:
            return self._see(self._cluster.nodes())

    def _see(self, seen: NodesSeen) -> FellowsSeen:
        rows = {row.id: row for row in seen.rows if row.id != self._own_id}
        over = {id_ for id_, row in rows.items() if not _lives(row, seen.clock)}
        if self._gone is None:
            self._gone = set(over)
        left = {id_ for id_, row in rows.items() if row.left_at is not None}
        names = self._living | {id_: row.name for id_, row in rows.items()}
        # One that came and vanished between two looks was never seen alive.
        vanished = (over | (self._living.keys() - rows.keys())) - self._gone - left
        self._gone = over
        self._living = {id_: row.name for id_, row in rows.items() if id_ not in over}
        return FellowsSeen(
            settled_until=min((rows[id_].settled_until for id_ in self._living), default=None),
            vanished=tuple(sorted(names[id_] for id_ in vanished)),
            late_micros=min(
                (seen.clock - rows[id_].lease_until for id_ in over - left), default=None
            ),
        )


def _lives(row: NodeRow, clock: int) -> bool:
    return row.left_at is None and row.lease_until >= clock
