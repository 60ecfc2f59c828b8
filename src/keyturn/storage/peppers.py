"""What the rows say of the peppers that their digests stand under, in keys and operators alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select

from keyturn.domain.key import Key
from keyturn.domain.operator import Operator
from keyturn.storage.records import SEALED, key_of, operator_of
from keyturn.storage.session import Session

KINDS = ("operator", "key")

_DECODERS: Mapping[str, Any] = {"operator": operator_of, "key": key_of}


@dataclass(frozen=True, slots=True)
class Standing:
    """A row that stands under older peppers alone. `record` is None where it is damaged."""

    id: str
    record: Key | Operator | None


class PepperedRows:
    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, kind: str) -> Mapping[str, int]:
        """How many rows stand under which peppers, by their own word: seals are not asked."""
        peppers = SEALED[kind].table.c.peppers
        query = select(peppers, func.count()).group_by(peppers)
        return {str(text): count for text, count in self._session.connection.execute(query)}

    def behind(
        self, kind: str, version: int, *, after: str | None, limit: int
    ) -> Sequence[Standing]:
        """The next rows, by id, whose digests do not stand under pepper `version`. Damage is
        reported."""
        table = SEALED[kind]
        id_ = table.table.c.id
        query = (
            select(*table.selection())
            .where(_is_behind(table.table.c.peppers, version))
            .order_by(id_)
            .limit(limit)
        )
        if after is not None:
            query = query.where(id_ > after)
        found = []
        for row in self._session.connection.execute(query):
            cells = tuple(row)
            ref = str(cells[0])
            record = self._session.open(table, cells, _DECODERS[kind], ref)
            found.append(Standing(ref, record))
        return found


def _is_behind(peppers: ColumnElement[str], version: int) -> ColumnElement[bool]:
    # A record without a secret (a damaged key that was revoked) stands under none.
    return and_(
        peppers != "", peppers != str(version), peppers.not_like(f"%+{version}", escape="\\")
    )
