"""Sealed tables: rows whose every column is under a MAC, and whose version must be the last logged.

A row that fails is *damage*: it is reported, denied alone, and never repaired silently. Damage is
one of three: a seal that does not fit (edited, swapped, forged); a last change whose own seal does
not fit, or which is of another version (an old genuine row put back); a version below one that this
process has seen (`memory.py`: an old row put back, and the changes after it taken out).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from keyturn.domain.error import VersionMoved
from keyturn.domain.seal import Cell, Sealer
from keyturn.storage.memory import Seen
from keyturn.storage.schema import changes

MAC = "mac"

_SEPARATOR = "|"


class _Hex(GenericFunction[str]):
    """Bytes as hexadecimal digits, in the spelling of either engine."""

    type = Text()
    name = "keyturn_hex"
    inherit_cache = True


@compiles(_Hex, "sqlite")
def _hex_sqlite(element: _Hex, compiler: SQLCompiler, **options: Any) -> str:
    return f"hex({compiler.process(element.clauses, **options)})"


@compiles(_Hex, "postgresql")
def _hex_postgresql(element: _Hex, compiler: SQLCompiler, **options: Any) -> str:
    return f"encode({compiler.process(element.clauses, **options)}, 'hex')"


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that cannot be trusted: the kind of object, and what was used to find it."""

    kind: str
    ref: str


class SealedTable:
    """What one sealed table needs to be read and written safely.

    `late` are nullable columns that the table was given after there were rows in it. While such a
    column is NULL it is left out of the seal, so the seals of the rows from before still fit. That
    lets no edit through: a seal spells the name of each column that it is over, so that of a row
    with the column is none of a row without it, nor the other way round, and of one row NULL and
    left out mean the same. A column that was there from the beginning must never become late.

    A table that is not `is_logged` has no rows in the log of changes: which of its versions is the
    last stands in another sealed row, and is asked by who reads it.
    """

    def __init__(
        self,
        table: Table,
        kind: str,
        ref: ColumnElement[str],
        *,
        spell_ref: Callable[[Mapping[str, Cell]], str],
        remedy: str,
        late: Sequence[str] = (),
        is_logged: bool = True,
    ) -> None:
        self.table = table
        self.kind = kind
        self.ref = ref
        self.spell_ref = spell_ref
        self.remedy = remedy
        self.late = frozenset(late)
        self.is_logged = is_logged
        self.columns = tuple(c.name for c in table.columns if c.name != MAC)
        self.identity = tuple(c.name for c in table.primary_key.columns)
        self._selection = (
            *(table.c[name] for name in self.columns),
            table.c[MAC],
            self._last_change() if is_logged else null().label("unlogged"),
        )

    def _last_change(self) -> ScalarSelect[str]:
        """The row's last change in one text, its seal included, as a subquery.

        One text, since a join would let an engine plan a walk over all changes, and a subquery
        gives one value. It may spell a cell of another type alike; that is for the attestation.
        """
        kind: ColumnElement[str] = literal_column(f"'{self.kind}'")
        mine = changes.alias()
        last = (
            select(func.max(mine.c.position))
            .where(mine.c.kind == kind, mine.c.ref == self.ref)
            .correlate(self.table)
        )
        bar: ColumnElement[str] = literal_column(f"'{_SEPARATOR}'")
        packed: ColumnElement[str] = (
            changes.c.position.cast(Text)
            + bar
            + changes.c.version.cast(Text)
            + bar
            + changes.c.at.cast(Text)
            + bar
            + _Hex(changes.c.mac)
            + bar
            + func.coalesce(changes.c.workspace_id, literal_column("''"))
        )
        return (
            select(packed)
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
        if not sealer.holds(self.table.name, self._under_seal(row), cells[-2]):
            return None
        if not self.is_logged:
            return row
        last = _change(self.kind, self.spell_ref(row), cells[-1])
        if last is None or last["version"] != row["version"]:
            return None
        seal = last.pop(MAC)
        return row if sealer.holds(changes.name, last, seal) else None

    def seen(self, row: Mapping[str, Cell]) -> Seen:
        """What is to be remembered of a row that was found good."""
        return Seen(self.kind, self.spell_ref(row), cast(int, row["version"]))

    def insert(self, connection: Connection, sealer: Sealer, row: Mapping[str, Cell]) -> None:
        connection.execute(insert(self.table), self._sealed(sealer, row))

    def insert_all(
        self, connection: Connection, sealer: Sealer, rows: Sequence[Mapping[str, Cell]]
    ) -> None:
        if rows:
            connection.execute(insert(self.table), [self._sealed(sealer, row) for row in rows])

    def replace_all(
        self, connection: Connection, sealer: Sealer, rows: Sequence[tuple[Mapping[str, Cell], int]]
    ) -> None:
        """As `replace`, for many rows, each with the version that it is to be written over."""
        if not rows:
            return
        columns = (*self.columns, MAC)
        where = and_(
            *(self.table.c[name] == bindparam(f"where_{name}") for name in self.identity),
            self.table.c.version == bindparam("where_version"),
        )
        done = connection.execute(
            update(self.table)
            .where(where)
            .values({name: bindparam(f"set_{name}") for name in columns}),
            [
                {
                    **{f"set_{name}": cell for name, cell in self._sealed(sealer, row).items()},
                    **{f"where_{name}": row[name] for name in self.identity},
                    "where_version": expected,
                }
                for row, expected in rows
            ],
        )
        if done.rowcount != len(rows):
            raise VersionMoved("This was changed by somebody else; read it again and repeat.")

    def replace(
        self, connection: Connection, sealer: Sealer, row: Mapping[str, Cell], expected: int
    ) -> None:
        """Compare-and-swap: writes `row` where version `expected` stands, else `VersionMoved`."""
        where = and_(
            *(self.table.c[name] == literal(row[name]) for name in self.identity),
            self.table.c.version == expected,
        )
        done = connection.execute(
            update(self.table).where(where).values(**self._sealed(sealer, row))
        )
        if done.rowcount != 1:
            raise VersionMoved("This was changed by somebody else; read it again and repeat.")

    def overwrite(self, connection: Connection, sealer: Sealer, row: Mapping[str, Cell]) -> None:
        """Puts `row` in the place of whatever has its identity, for the repair of damage."""
        identity = (self.table.c[name] == literal(row[name]) for name in self.identity)
        connection.execute(delete(self.table).where(*identity))
        self.insert(connection, sealer, row)

    def _sealed(self, sealer: Sealer, row: Mapping[str, Cell]) -> dict[str, Cell]:
        return {**row, MAC: sealer.seal(self.table.name, self._under_seal(row))}

    def _under_seal(self, row: Mapping[str, Cell]) -> Mapping[str, Cell]:
        """What of a row is under its seal."""
        if not self.late:
            return row
        return {
            name: cell for name, cell in row.items() if cell is not None or name not in self.late
        }


def _change(kind: str, ref: str, packed: Cell) -> dict[str, Cell] | None:
    """The row of the change log in a packed text, its seal included; None where it is none."""
    parts = packed.split(_SEPARATOR, 4) if isinstance(packed, str) else ()
    if len(parts) != 5:
        return None
    try:
        position, version, at = map(int, parts[:3])
        seal = bytes.fromhex(parts[3])
    except ValueError:
        return None
    return {
        "position": position,
        "kind": kind,
        "ref": ref,
        "version": version,
        "workspace_id": parts[4] or None,
        "at": at,
        MAC: seal,
    }


def cells_of(row: Sequence[Any], start: int, width: int) -> tuple[Cell, ...]:
    """A slice of a joined row."""
    return tuple(row[start : start + width])
