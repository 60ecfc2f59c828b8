"""Traffic by the hour; of a request the name of its network, its country, the sign of a browser.

The traffic of the requests that there are is counted here, as it would have been with each. A cell
that is none of ours (in SQLite a hostile hand can leave any) is passed over.
"""

import json
from collections.abc import Iterator
from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")

HOUR = 3_600_000_000
LATEST = 253_402_300_800_000_000
MOST_VALUES = 256
LONGEST_VALUE = 500
REST = "other"
PAGE = 2_000

_ALIKE = text(
    "SELECT key_id, at - at % 3600000000 AS hour, runtime, declared, ip, method, path, scopes,"
    " user_agent, environment, SUM(CASE WHEN valid = 1 THEN 1 ELSE 0 END), COUNT(*),"
    " MIN(at), MAX(at)"
    # A time that is none must not spoil the group of others that are like it.
    " FROM requests WHERE key_id IS NOT NULL AND at >= 0 AND at < 253402300800000000"
    " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ORDER BY 1, 2"
)
_INSERT = text(
    "INSERT INTO traffic (key_id, hour, facet, value, allowed, denied, first_at, last_at)"
    " VALUES (:key_id, :hour, :facet, :value, :allowed, :denied, :first_at, :last_at)"
)

Rows = dict[tuple[str, str], list[int]]


def upgrade() -> None:
    for name in ("named_network", "country", "browser"):
        op.add_column("requests", Column(name, TEXT, nullable=True))
    op.create_table(
        "traffic",
        Column("key_id", TEXT, nullable=False),
        Column("hour", BigInteger(), nullable=False),
        Column("facet", TEXT, nullable=False),
        Column("value", TEXT, nullable=False),
        Column("allowed", BigInteger(), nullable=False),
        Column("denied", BigInteger(), nullable=False),
        Column("first_at", BigInteger(), nullable=False),
        Column("last_at", BigInteger(), nullable=False),
        PrimaryKeyConstraint("key_id", "hour", "facet", "value", name=op.f("pk_traffic")),
        postgresql_with={"fillfactor": 70},
        sqlite_with_rowid=False,
    )
    op.create_index("ix_traffic_hour", "traffic", ["hour"])
    _fill()


def _fill() -> None:
    connection = op.get_bind()
    page: list[dict[str, object]] = []
    spot: tuple[str, int] | None = None
    rows: Rows = {}
    for cells in connection.execute(_ALIKE.execution_options(yield_per=PAGE)):
        if not _is_one(cells):
            continue
        if (cells[0], cells[1]) != spot:
            page += _spelled(spot, rows)
            spot, rows = (cells[0], cells[1]), {}
            if len(page) >= PAGE:
                connection.execute(_INSERT, page)
                page = []
        for facet, value in _facets(cells):
            _add(rows, facet, value, cells)
    page += _spelled(spot, rows)
    if page:
        connection.execute(_INSERT, page)


def _is_one(cells: Any) -> bool:
    numbers = (cells[1], cells[10], cells[11], cells[12], cells[13])
    return (
        all(type(one) is int and 0 <= one < LATEST for one in map(_whole, numbers))
        and all(_is_text(cells[one]) for one in (0, 2))
        and cells[3] in (0, 1)
    )


def _is_text(cell: Any) -> bool:
    """Half a pair of surrogates is a byte that is no UTF-8."""
    if not isinstance(cell, str) or not cell:
        return False
    return not any("\ud800" <= one <= "\udfff" for one in cell)


def _whole(cell: Any) -> Any:
    """PostgreSQL sums whole numbers into a Decimal."""
    return int(cell) if type(cell).__name__ == "Decimal" else cell


def _facets(cells: Any) -> Iterator[tuple[str, str]]:
    _, _, runtime, declared, ip, method, path, scopes, agent, environment = cells[:10]
    caller = [runtime, bool(declared), ip if _is_text(ip) else None]
    yield "caller", json.dumps(caller, separators=(",", ":"))
    called = " ".join(part for part in (method, path) if _is_text(part))
    for facet, value in (("path", called), ("agent", agent), ("environment", environment)):
        if _is_text(value):
            yield facet, value[:LONGEST_VALUE]
    for scope in _scopes(scopes):
        yield "scope", scope


def _scopes(cell: Any) -> set[str]:
    try:
        found = json.loads(cell)
        return {one[:LONGEST_VALUE] for one in found if _is_text(one)}
    except (ValueError, TypeError, RecursionError):
        return set()


def _add(rows: Rows, facet: str, value: str, cells: Any) -> None:
    if (facet, value) not in rows and sum(one == facet for one, _ in rows) >= MOST_VALUES:
        value = REST
    allowed, count, first, last = map(_whole, cells[10:14])
    row = rows.setdefault((facet, value), [0, 0, first, last])
    row[0] += allowed
    row[1] += count - allowed
    row[2] = min(row[2], first)
    row[3] = max(row[3], last)


def _spelled(spot: tuple[str, int] | None, rows: Rows) -> list[dict[str, object]]:
    if spot is None:
        return []
    return [
        {
            "key_id": spot[0],
            "hour": spot[1],
            "facet": facet,
            "value": value,
            "allowed": row[0],
            "denied": row[1],
            "first_at": row[2],
            "last_at": row[3],
        }
        for (facet, value), row in rows.items()
    ]
