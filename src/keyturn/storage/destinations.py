"""Keeping destinations. Of those that were not removed, a workspace has at most one of a name."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text

from keyturn.domain.destination import Destination
from keyturn.storage.records import DESTINATIONS, destination_of, destination_row, id_of
from keyturn.storage.schema import IS_PRESENT, destinations
from keyturn.storage.session import Session

_is_present = text(IS_PRESENT)


class Destinations:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, destination: Destination) -> None:
        """Raises `StorageUnavailable` where another has the name: ask `named` first."""
        DESTINATIONS.insert(
            self._session.connection, self._session.sealer, destination_row(destination)
        )

    def replace(self, destination: Destination, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        DESTINATIONS.replace(
            self._session.connection, self._session.sealer, destination_row(destination), expected
        )

    def find(self, workspace_id: UUID, id: UUID) -> Destination | None:  # noqa: A002
        """The destination, removed or not, or None. Raises `IntegrityFailed` where its row is
        damaged."""
        return self._first(_selected(workspace_id).where(destinations.c.id == str(id)))

    def named(self, workspace_id: UUID, name: str) -> Destination | None:
        """The one that has the name now, or None. Raises `IntegrityFailed` where its row is
        damaged."""
        return self._first(_selected(workspace_id).where(destinations.c.name == name, _is_present))

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a destination says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(destinations.c.workspace_id).where(destinations.c.id == str(id))
        ).scalar()
        return id_of(found)

    def list(
        self, workspace_id: UUID, kind: str | None, *, limit: int, before: UUID | None
    ) -> Sequence[Destination]:
        """At most `limit` that were not removed, newest first, from `before` on. Damaged rows are
        left out."""
        query = _present(_selected(workspace_id), kind).order_by(destinations.c.id.desc())
        if before is not None:
            query = query.where(destinations.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID, kind: str | None) -> int:
        query = (
            select(func.count())
            .select_from(destinations)
            .where(destinations.c.workspace_id == str(workspace_id))
        )
        return int(self._session.connection.execute(_present(query, kind)).scalar_one())

    def _first(self, query: Select[*tuple[Any, ...]]) -> Destination | None:
        row = self._session.connection.execute(query).first()
        if row is None:
            return None
        return self._session.require(DESTINATIONS, tuple(row), destination_of, str(row[0]))

    def _opened(self, row: Sequence[Any]) -> Destination | None:
        return self._session.open(DESTINATIONS, tuple(row), destination_of, str(row[0]))


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*DESTINATIONS.selection()).where(destinations.c.workspace_id == str(workspace_id))


def _present(query: Select[*tuple[Any, ...]], kind: str | None) -> Select[*tuple[Any, ...]]:
    query = query.where(_is_present)
    return query if kind is None else query.where(destinations.c.kind == kind)
