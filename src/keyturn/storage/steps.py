"""Following the log: what a look at it asks for, and the steps in the rows that come.

A row that its seal does not fit is a step all the same, of which nothing is known but that it is
there: whoever follows has to forget what it knows, since the change may have been of anything.
"""

from collections.abc import Sequence
from typing import Any

from keyturn.domain.seal import Cell, Sealer
from keyturn.storage.cluster import MOST_STEPS, START, LogLook, LogPoint, LogStep
from keyturn.storage.memory import Seen
from keyturn.storage.records import KEYS, ROTATIONS
from keyturn.storage.schema import changes

# Spelled so that either engine takes it from the end of the index.
LAST = "SELECT position, mac FROM changes WHERE position = (SELECT max(position) FROM changes)"

# The change asked from, as many as may be given, and one more, to know whether these are all. Which
# keys a rotation is of stands in its row alone.
LOOK = f"""
SELECT changes.position, changes.kind, changes.ref, changes.version, changes.workspace_id,
  changes.at, changes.mac, CASE WHEN changes.kind = '{ROTATIONS.kind}' THEN (
    SELECT rotations.old_key_id || ' ' || rotations.new_key_id FROM rotations
    WHERE rotations.id = changes.ref) END
FROM changes WHERE changes.position >= %(after)s::bigint
ORDER BY changes.position LIMIT {MOST_STEPS + 2}
"""  # noqa: S608

_COLUMNS = ("position", "kind", "ref", "version", "workspace_id", "at")


def point_of(position: object, seal: object) -> LogPoint:
    """The point that a row of the log stands for, the empty log's where there is none. What stands
    there may be of any type, since nothing was checked yet."""
    if not isinstance(position, int) or position < 1:
        return START
    return LogPoint(position, seal if isinstance(seal, bytes) else b"")


def look_of(
    sealer: Sealer, after: LogPoint, rows: Sequence[Sequence[Any]]
) -> tuple[LogLook, list[Seen]]:
    """The look in the rows of `LOOK`, and the versions that genuine changes in it tell of."""
    anchor: LogPoint | None = START if after.position < 1 else None
    following: list[Sequence[Any]] = []
    for row in rows:
        if row[0] == after.position or row[0] < 1:
            anchor = anchor or point_of(row[0], row[6])
        else:
            following.append(row)
    seen: list[Seen] = []
    steps = tuple(_step(sealer, row, seen) for row in following[:MOST_STEPS])
    return LogLook(anchor, steps, is_all=len(following) <= MOST_STEPS), seen


def _step(sealer: Sealer, row: Sequence[Any], seen: list[Seen]) -> LogStep:
    cells: dict[str, Cell] = dict(zip(_COLUMNS, row, strict=False))
    point = point_of(row[0], row[6])
    kind, ref, version = cells["kind"], cells["ref"], cells["version"]
    touched: tuple[tuple[str, str], ...] | None = None
    is_genuine = sealer.holds(changes.name, cells, row[6])
    if is_genuine and isinstance(kind, str) and isinstance(ref, str) and isinstance(version, int):
        seen.append(Seen(kind, ref, version))
        touched = _touched(kind, ref, row[7])
    return LogStep(point.position, point.seal, touched)


def _touched(kind: str, ref: str, replaced: object) -> tuple[tuple[str, str], ...] | None:
    if kind != ROTATIONS.kind:
        return ((kind, ref),)
    ids = replaced.split(" ") if isinstance(replaced, str) else []
    if len(ids) != 2:
        return None  # its row is gone, or is none
    return ((kind, ref), *((KEYS.kind, one) for one in ids))
