"""Keeping the first answer to a request that a client may send again. Never a token.

The rows are sealed: what was changed from outside is never answered with.
"""

import json
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, select

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.seal import Cell
from keyturn.storage.schema import idempotency
from keyturn.storage.sealed import MAC, Damage
from keyturn.storage.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyScope:
    """Whose key it is, and where: it means one thing per caller, workspace and route."""

    caller_id: UUID
    workspace_id: UUID
    route: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The first answer, its token replaced by null, and the hash of the body that it answered."""

    body_hash: bytes
    status: int
    headers: dict[str, str]
    body: str


class Idempotency:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, scope: IdempotencyScope, *, since: int) -> StoredAnswer | None:
        """The answer kept under `scope`, unless it is older than `since`. Raises `IntegrityFailed`
        where it was changed from outside."""
        row = (
            self._session.connection.execute(
                select(idempotency).where(*_within(scope), idempotency.c.created_at >= since)
            )
            .mappings()
            .first()
        )
        if row is None:
            return None
        cells = {name: cell for name, cell in row.items() if name != MAC}
        if not self._session.sealer.holds(idempotency.name, cells, row[MAC]):
            self._session.damage.append(Damage("answer", scope.idempotency_key))
            raise IntegrityFailed(
                "The answer that was kept for this idempotency key was changed from outside. See "
                "whether the call was carried out, and use a new key."
            )
        return StoredAnswer(
            body_hash=row["body_hash"],
            status=row["status"],
            headers=json.loads(row["headers"]),
            body=row["body"],
        )

    def keep(self, scope: IdempotencyScope, answer: StoredAnswer, now: int) -> None:
        """Keeps the answer, in the transaction of the change that it tells of."""
        connection = self._session.connection
        connection.execute(delete(idempotency).where(*_within(scope)))
        row: dict[str, Cell] = {
            "caller_id": str(scope.caller_id),
            "workspace_id": str(scope.workspace_id),
            "route": scope.route,
            "idempotency_key": scope.idempotency_key,
            "body_hash": answer.body_hash,
            "status": answer.status,
            "headers": json.dumps(answer.headers),
            "body": answer.body,
            "created_at": now,
        }
        seal = self._session.sealer.seal(idempotency.name, row)
        connection.execute(insert(idempotency), {**row, MAC: seal})

    def purge(self, before: int) -> int:
        """Deletes the answers older than `before`; says how many."""
        return self._session.connection.execute(
            delete(idempotency).where(idempotency.c.created_at < before)
        ).rowcount


def _within(scope: IdempotencyScope) -> tuple[ColumnElement[bool], ...]:
    return (
        idempotency.c.caller_id == str(scope.caller_id),
        idempotency.c.workspace_id == str(scope.workspace_id),
        idempotency.c.route == scope.route,
        idempotency.c.idempotency_key == scope.idempotency_key,
    )
