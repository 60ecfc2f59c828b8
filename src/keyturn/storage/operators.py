"""Keeping operators."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from keyturn.domain.operator import Operator
from keyturn.storage.records import OPERATORS, operator_of, operator_row
from keyturn.storage.schema import operators
from keyturn.storage.session import Session


class Operators:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, operator: Operator) -> None:
        OPERATORS.insert(self._session.connection, self._session.sealer, operator_row(operator))

    def replace(self, operator: Operator, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        OPERATORS.replace(
            self._session.connection, self._session.sealer, operator_row(operator), expected
        )

    def find(self, id: UUID) -> Operator | None:  # noqa: A002
        """The operator, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            select(*OPERATORS.selection()).where(operators.c.id == str(id))
        ).first()
        if row is None:
            return None
        return self._session.require(OPERATORS, tuple(row), operator_of, str(id))

    def list(self) -> Sequence[Operator]:
        """All operators, newest first. Damaged rows are left out and reported."""
        query = select(*OPERATORS.selection()).order_by(operators.c.id.desc())
        found = []
        for row in self._session.connection.execute(query):
            cells = tuple(row)
            operator = self._session.open(OPERATORS, cells, operator_of, str(cells[0]))
            if operator is not None:
                found.append(operator)
        return found
