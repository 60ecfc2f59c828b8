"""Whole tables, read and written as they stand: for backups, which know no noun.

1. Every table of the schema is carried, by its own list of tables: none can be forgotten. But for
   that of the nodes: it is of processes that run, and none runs on what is restored.
2. Into the file goes each cell as it is. A hostile hand may have left cells in SQLite that are none
   of ours and that PostgreSQL cannot hold: text that is no text, a text for a number. On the way
   back these are *mended* to what any engine holds, alike on both, and the row loses its seal: it
   was damage, and stays damage.
3. A row that the tables' own constraints refuse was damage too. It is *left out*, and named.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Integer, LargeBinary, column, func, insert, inspect, select, table, text
from sqlalchemy.exc import DataError, IntegrityError

from keyturn.domain.error import InstallationFault
from keyturn.domain.seal import Cell
from keyturn.storage.archive import Section
from keyturn.storage.migrate import migrate_within, newest_revision, present_within
from keyturn.storage.schema import metadata, nodes
from keyturn.storage.sealed import MAC
from keyturn.storage.session import Session

_PAGE = 500
_MOST_NAMED = 100
_REVISION_TABLE = "alembic_version"
_LOST = "�"
_SMALL, _LARGE = 2**31, 2**63

_NUMBER, _BIG_NUMBER, _TEXT, _BYTES = "number", "big number", "text", "bytes"


def sections() -> list[Section]:
    """Every table of this version that is carried, in the order of its name."""
    return [
        Section(name, tuple(metadata.tables[name].columns.keys()))
        for name in sorted(metadata.tables)
        if name != nodes.name
    ]


def count_rows(session: Session, section: Section) -> int:
    query = select(func.count()).select_from(metadata.tables[section.table])
    return int(session.connection.execute(query).scalar_one())


def read_rows(session: Session, section: Section) -> Generator[Sequence[Cell], None, None]:
    """The table's rows in the order of their key, a page of them in memory at a time. To be closed
    before the transaction ends."""
    one = metadata.tables[section.table]
    query = select(one).order_by(*one.primary_key.columns).execution_options(yield_per=_PAGE)
    with session.connection.execute(query) as result:
        for page in result.partitions():
            for row in page:
                yield tuple(row)


@dataclass(slots=True)
class Carried:
    """What became of the rows: how many there are now, how many of them had to be mended, and how
    many were left out, the first of these named."""

    rows: int = 0
    mended: int = 0
    left_out: int = 0
    named: list[str] = field(default_factory=list)


class BareDatabase:
    """A database without an installation, given its tables and their rows in one transaction."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection
        self._shapes: dict[str, dict[str, str]] = {}
        self.carried = Carried()

    def prepare(self, revision: str) -> None:
        """Makes the tables of a revision. Raises `InstallationFault` where those of another stand,
        or where they are not empty."""
        present = present_within(self._connection)
        if present is None:
            migrate_within(self._connection, revision)
        elif present != revision:
            raise InstallationFault(
                f"The database is at revision {present}, the backup at {revision}.",
                remedy="Name an empty database; it is brought to this version after that.",
            )
        for name in self._names():
            if self._connection.execute(
                select(text("1")).select_from(table(name)).limit(1)
            ).first():
                raise InstallationFault(
                    "The database has no installation, but it is not empty.",
                    remedy="Name an empty database.",
                )

    def fill(self, section: Section, rows: Sequence[Sequence[Cell]]) -> None:
        """Writes rows. Raises `InstallationFault` where the table is none of ours."""
        shape = self._shape(section.table)
        if set(shape) != set(section.columns):
            raise InstallationFault(
                f"The backup's table {section.table} is not one of its revision.",
                remedy="Take another backup.",
            )
        mended = [self._mended(section, row, shape) for row in rows]
        statement = insert(table(section.table, *map(column, section.columns)))
        try:
            with self._connection.begin_nested():
                self._connection.execute(statement, mended)
            self.carried.rows += len(mended)
        except (IntegrityError, DataError):
            for row in mended:
                try:
                    with self._connection.begin_nested():
                        self._connection.execute(statement, row)
                    self.carried.rows += 1
                except (IntegrityError, DataError):
                    self._leave_out(section, row)

    def finish(self) -> None:
        """Brings what was filled to the revision of this version, and lets the engine know it."""
        if present_within(self._connection) != newest_revision():
            migrate_within(self._connection)
        if self._connection.dialect.name == "postgresql":
            for name in sorted(metadata.tables):  # else it plans as for empty tables
                self._connection.execute(text(f"ANALYZE {name}"))

    def _names(self) -> list[str]:
        """Every table that is there, those that this version knows no more among them."""
        return sorted(set(inspect(self._connection).get_table_names()) - {_REVISION_TABLE})

    def _shape(self, name: str) -> dict[str, str]:
        if name not in self._shapes:
            inspector = inspect(self._connection)
            columns = inspector.get_columns(name) if inspector.has_table(name) else []
            self._shapes[name] = {one["name"]: _kind(one["type"]) for one in columns}
        return self._shapes[name]

    def _mended(
        self, section: Section, cells: Sequence[Cell], shape: dict[str, str]
    ) -> dict[str, Cell]:
        row = dict(zip(section.columns, cells, strict=True))
        fitting = {name: _fitting(cell, shape[name]) for name, cell in row.items()}
        if any(fitting[name] is not row[name] for name in row):
            self.carried.mended += 1
            if MAC in fitting:
                fitting[MAC] = b""
        return fitting

    def _leave_out(self, section: Section, row: dict[str, Cell]) -> None:
        self.carried.left_out += 1
        if len(self.carried.named) < _MOST_NAMED:
            identity = str(row[section.columns[0]])[:80]
            self.carried.named.append(f"{section.table} {identity!r}")


def _kind(type_: object) -> str:
    if isinstance(type_, Integer):
        return _NUMBER if type_.__class__.__name__ == "INTEGER" else _BIG_NUMBER
    return _BYTES if isinstance(type_, LargeBinary) else _TEXT


def _fitting(cell: Cell, kind: str) -> Cell:
    """The cell, itself where every engine can hold it in a column of this kind."""
    if cell is None:
        return None
    if kind in (_NUMBER, _BIG_NUMBER):
        bound = _SMALL if kind == _NUMBER else _LARGE
        return cell if isinstance(cell, int) and -bound <= cell < bound else 0
    if kind == _BYTES:
        return cell if isinstance(cell, bytes) else str(cell).encode("utf-8", "replace")
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if not isinstance(cell, str):
        return str(cell)
    if cell.isascii() and "\x00" not in cell:
        return cell
    if "\x00" not in cell and not any("\ud800" <= one <= "\udfff" for one in cell):
        return cell
    return "".join(_LOST if one == "\x00" or "\ud800" <= one <= "\udfff" else one for one in cell)
