"""Sealed tables: rows whose every column is under a MAC, and whose version must be the last logged.

A row that fails is *damage*: it is reported, denied alone, and never repaired silently. Damage is
either a seal that does not fit (edited, swapped, forged) or a version that is not the last one the
change log has for the row (an old genuine row put back).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Table,
    and_,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql import ColumnElement

from keyturn.domain.error import VersionMoved
from keyturn.domain.seal import Cell, Sealer
from keyturn.storage.schema import changes

MAC = "mac"


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that cannot be trusted: the kind of object, and what was used to find it."""

    kind: str
    ref: str


class SealedTable:
    """What one sealed table needs to be read and written safely."""

    def __init__(self, table: Table, kind: str, ref: ColumnElement[str]) -> None:
        self.table = table
        self.kind = kind
        self.ref = ref
        self.columns = tuple(c.name for c in table.columns if c.name != MAC)
        self._identity = tuple(c.name for c in table.primary_key.columns)
        self._selection = (
            *(table.c[name] for name in self.columns),
            table.c[MAC],
            self._last_logged_version(),
        )

    def _last_logged_version(self) -> ScalarSelect[int]:
        """The version that the change log has last for the row, as a subquery."""
        kind: ColumnElement[str] = literal_column(f"'{self.kind}'")
        mine = changes.alias()
        last = (
            select(func.max(mine.c.position))
            .where(mine.c.kind == kind, mine.c.ref == self.ref)
            .correlate(self.table)
        )
        return (
            select(changes.c.version)
            .where(changes.c.position == last.scalar_subquery())
            .correlate(self.table)
            .scalar_subquery()
        )

    def selection(self) -> tuple[ColumnElement[Any], ...]:
        """The columns that `open` needs, in its order."""
        return self._selection

    @property
    def width(self) -> int:
        return len(self.columns) + 2

    def open(self, sealer: Sealer, cells: Sequence[Cell]) -> dict[str, Cell] | None:
        """The row by column name, or None where it is damaged. `cells` are those of `selection`."""
        row = dict(zip(self.columns, cells, strict=False))
        seal, logged = cells[-2], cells[-1]
        if not sealer.holds(self.table.name, row, seal) or logged != row["version"]:
            return None
        return row

    def insert(self, connection: Connection, sealer: Sealer, row: Mapping[str, Cell]) -> None:
        connection.execute(insert(self.table), self._sealed(sealer, row))

    def replace(
        self, connection: Connection, sealer: Sealer, row: Mapping[str, Cell], expected: int
    ) -> None:
        """Compare-and-swap: writes `row` where version `expected` stands, else `VersionMoved`."""
        where = and_(
            *(self.table.c[name] == literal(row[name]) for name in self._identity),
            self.table.c.version == expected,
        )
        done = connection.execute(
            update(self.table).where(where).values(**self._sealed(sealer, row))
        )
        if done.rowcount != 1:
            raise VersionMoved("This was changed by somebody else; read it again and repeat.")

    def _sealed(self, sealer: Sealer, row: Mapping[str, Cell]) -> dict[str, Cell]:
        return {**row, MAC: sealer.seal(self.table.name, row)}


def cells_of(row: Sequence[Any], start: int, width: int) -> tuple[Cell, ...]:
    """A slice of a joined row."""
    return tuple(row[start : start + width])
