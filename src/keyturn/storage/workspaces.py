"""Keeping workspaces."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select

from keyturn.domain.policy import RotationPolicy, read_policy
from keyturn.domain.workspace import Workspace
from keyturn.storage.records import WORKSPACES, id_of, workspace_of, workspace_row
from keyturn.storage.schema import workspaces
from keyturn.storage.session import Session


class Workspaces:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace: Workspace) -> None:
        WORKSPACES.insert(self._session.connection, self._session.sealer, workspace_row(workspace))

    def replace(self, workspace: Workspace, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        WORKSPACES.replace(
            self._session.connection, self._session.sealer, workspace_row(workspace), expected
        )

    def find(self, id: UUID) -> Workspace | None:  # noqa: A002
        """The workspace, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._row(id)
        if row is None:
            return None
        return self._session.require(WORKSPACES, tuple(row), workspace_of, str(id))

    def policy_of(self, id: UUID) -> RotationPolicy | None:  # noqa: A002
        """The rotation policy of a workspace, None where it has none or its row is damaged."""
        row = self._row(id)
        workspace = None if row is None else self._opened(row)
        return None if workspace is None else read_policy(workspace.policy)

    def _row(self, id: UUID) -> Row[*tuple[Any, ...]] | None:  # noqa: A002
        return self._session.connection.execute(
            select(*WORKSPACES.selection()).where(workspaces.c.id == str(id))
        ).first()

    def list(self, *, limit: int, before: UUID | None) -> Sequence[Workspace]:
        """At most `limit` workspaces, newest first. Damaged rows are left out."""
        query = select(*WORKSPACES.selection()).order_by(workspaces.c.id.desc())
        if before is not None:
            query = query.where(workspaces.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def _opened(self, row: Sequence[Any]) -> Workspace | None:
        return self._session.open(WORKSPACES, tuple(row), workspace_of, str(row[0]))

    def count(self) -> int:
        query = select(func.count()).select_from(workspaces)
        return int(self._session.connection.execute(query).scalar_one())

    def longest_grace(self) -> int:
        """The most seconds of grace that a workspace has or had; unsealed, as it stands."""
        query = select(func.max(workspaces.c.grace_seconds), func.max(workspaces.c.grace_before))
        found = self._session.connection.execute(query).one()
        return max((one for one in found if isinstance(one, int)), default=0)

    def only(self) -> UUID | None:
        """The id of the one workspace, or None where there are several."""
        found = self._session.connection.execute(select(workspaces.c.id).limit(2)).scalars().all()
        return id_of(found[0]) if len(found) == 1 else None
