"""The table of nodes: who verifies by this database, up to which position, and until when.

It is trusted as it is, as the heartbeat is: whoever can write here makes a revocation wait, or not
wait, for a node. None is let in by it, since each node goes by its own clock and its own looks.
"""

from collections.abc import Sequence
from typing import Any

from keyturn.storage.cluster import NodeReport, NodeRow

# How far apart two clocks may run, a part of a second each second (0.1 % is far beyond any quartz).
DRIFT = 0.001
_MARGIN = 1_000

_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

# What was promised is the end of the log; who has not come there is promised nothing more.
_MAY = "nodes.left_at IS NULL AND excluded.applied >= nodes.promised"

# A statement of a connection that was given up may be carried out late, after the next one: it
# takes nothing back, and what it grants counts from when it is written, under the row's lock.
#
# The last column tells whoever waits for this node. It is a hint, so an older row may be compared.
REPORT = f"""
WITH asked AS MATERIALIZED (
  SELECT {_CLOCK} AS clock,
    coalesce((SELECT position FROM changes ORDER BY position DESC LIMIT 1), 0) AS tip
), was AS MATERIALIZED (
  SELECT applied FROM nodes WHERE id = %(id)s
), kept AS (
  INSERT INTO nodes (id, name, version, started_at, applied, promised, lease_until, settled_until,
    left_at, seen_at)
  SELECT %(id)s, %(name)s, %(version)s, clock, %(applied)s::bigint, tip,
    clock + %(lease)s::bigint, %(settled_until)s::bigint, NULL, clock FROM asked
  ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version,
    applied = greatest(nodes.applied, excluded.applied),
    settled_until = greatest(nodes.settled_until, excluded.settled_until),
    seen_at = {_CLOCK},
    promised = CASE WHEN {_MAY} THEN excluded.promised ELSE nodes.promised END,
    lease_until = CASE WHEN {_MAY} THEN {_CLOCK} + %(lease)s::bigint ELSE nodes.lease_until END
  RETURNING left_at, lease_until
)
SELECT kept.left_at IS NULL AND kept.lease_until >= asked.clock + %(lease)s::bigint, asked.clock,
  CASE WHEN %(applied)s::bigint > coalesce((SELECT applied FROM was), -1)
    THEN pg_notify('keyturn_reports', '')::text END
FROM kept, asked
"""  # noqa: S608

# The clock is read once the rows are: a lease that is over by it was over.
NODES = f"""
SELECT clock.at, nodes.id, nodes.name, nodes.version, nodes.started_at, nodes.applied,
  nodes.promised, nodes.lease_until, nodes.settled_until, nodes.left_at, nodes.seen_at
FROM (SELECT {_CLOCK} AS at) AS clock LEFT JOIN nodes ON TRUE
ORDER BY nodes.started_at, nodes.id
"""  # noqa: S608

LEAVE = f"""
WITH gone AS (
  UPDATE nodes SET left_at = {_CLOCK}, lease_until = {_CLOCK}, seen_at = {_CLOCK}
  WHERE id = %(id)s AND left_at IS NULL RETURNING id
)
SELECT pg_notify('keyturn_reports', '')::text FROM gone
"""  # noqa: S608

BURY = """
WITH gone AS (DELETE FROM nodes WHERE id = %(id)s AND left_at IS NULL RETURNING id)
SELECT pg_notify('keyturn_reports', '')::text FROM gone
"""

FORGET = "DELETE FROM nodes WHERE lease_until < %(before)s AND seen_at < %(before)s"


def lease_microseconds(seconds: float) -> int:
    """How long a lease is kept from being counted as over, on a clock that may be as fast as the
    node's own is slow."""
    return round(seconds * 1_000_000 * (1 + DRIFT) / (1 - DRIFT)) + _MARGIN


def report_values(node: NodeReport) -> dict[str, object]:
    return {
        "id": node.id,
        "name": node.name,
        "version": node.version,
        "applied": node.applied,
        "settled_until": node.settled_until,
        "lease": lease_microseconds(node.lease_seconds),
    }


def node_of(cells: Sequence[Any]) -> NodeRow:
    """The node in a row of `NODES`, without the clock."""
    return NodeRow(
        id=cells[0],
        name=cells[1],
        version=cells[2],
        started_at=cells[3],
        applied=cells[4],
        promised=cells[5],
        lease_until=cells[6],
        settled_until=cells[7],
        left_at=cells[8],
        seen_at=cells[9],
    )
