"""What each module that keeps a noun works with: a connection, the sealer, what was damaged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.seal import Cell, Sealer
from keyturn.storage.memory import Memory, Place, Seen
from keyturn.storage.sealed import Damage, SealedTable

Record = TypeVar("Record")


@dataclass(slots=True)
class Session:
    """One transaction's tools.

    `damage` gathers what was found, for the store to report; `seen` what is to be remembered once
    the transaction has ended well. `mark` is the memory's from before it began.
    """

    connection: Connection
    sealer: Sealer
    memory: Memory = field(default_factory=Memory)
    mark: int = 0
    damage: list[Damage] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    reached: Place | None = None

    def remember(self) -> None:
        """To be called once the transaction has ended well."""
        self.memory.remember(self.seen)
        if self.reached is not None:
            self.memory.expect(self.reached)

    def open(
        self,
        table: SealedTable,
        cells: Sequence[Cell],
        decode: Callable[[Mapping[str, Any]], Record],
        ref: str,
    ) -> Record | None:
        """The record in a row, or None (and a report) where the row is damaged."""
        row = table.open(self.sealer, cells)
        if row is not None:
            seen = table.seen(row)
            if not self.memory.is_older(seen, self.mark):
                self.seen.append(seen)
                return decode(row)
        self.damage.append(Damage(table.kind, ref))
        return None

    def gather(
        self,
        query: Select[*tuple[Any, ...]],
        limit: int,
        opened: Callable[[Row[*tuple[Any, ...]]], Record | None],
    ) -> list[Record]:
        """The first `limit` records of an ordered query whose rows are no damage.

        A damaged row does not take a place in the page: who pages on until a short one comes must
        not be kept from what lies behind it.
        """
        records: list[Record] = []
        seen = 0
        while wanting := limit - len(records):
            rows = self.connection.execute(query.limit(wanting).offset(seen)).all()
            records += [record for row in rows if (record := opened(row)) is not None]
            seen += len(rows)
            if len(rows) < wanting:
                break
        return records

    def require(
        self,
        table: SealedTable,
        cells: Sequence[Cell],
        decode: Callable[[Mapping[str, Any]], Record],
        ref: str,
    ) -> Record:
        """As `open`, but raises `IntegrityFailed` where the row is damaged."""
        record = self.open(table, cells, decode, ref)
        if record is None:
            raise IntegrityFailed(
                f"The stored record of this {table.kind} was changed from outside; {table.remedy}"
            )
        return record
