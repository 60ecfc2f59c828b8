"""Keeping channels. One that was deleted is found no more; a damaged one is left out of lists.

Whether one was deleted is asked of its record, once that was found good: else whoever writes the
word in its row would have taken it away unseen.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from keyturn.domain.channel import Channel, ChannelState
from keyturn.storage.records import CHANNELS, channel_of, channel_row, id_of
from keyturn.storage.schema import channels
from keyturn.storage.session import Session

_is_kept = channels.c.state != ChannelState.DELETED.value


class Channels:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, channel: Channel) -> None:
        CHANNELS.insert(self._session.connection, self._session.sealer, channel_row(channel))

    def replace(self, channel: Channel, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        CHANNELS.replace(
            self._session.connection, self._session.sealer, channel_row(channel), expected
        )

    def repair(self, channel: Channel) -> None:
        """Puts a good record in the place of a damaged one."""
        CHANNELS.overwrite(self._session.connection, self._session.sealer, channel_row(channel))

    def find(self, workspace_id: UUID, id: UUID) -> Channel | None:  # noqa: A002
        """The channel, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            _selected(workspace_id).where(channels.c.id == str(id))
        ).first()
        if row is None:
            return None
        found = self._session.require(CHANNELS, tuple(row), channel_of, str(id))
        return None if found.state is ChannelState.DELETED else found

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a channel says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(channels.c.workspace_id).where(channels.c.id == str(id))
        ).scalar()
        return id_of(found)

    def of_workspace(self, workspace_id: UUID) -> Sequence[Channel]:
        """All of a workspace. Damaged rows are left out."""
        rows = self._session.connection.execute(_selected(workspace_id)).all()
        return [one for row in rows if (one := self._opened(row)) is not None]

    def list(self, workspace_id: UUID, *, limit: int, before: UUID | None) -> Sequence[Channel]:
        """At most `limit` channels, newest first, from `before` on. Damaged rows are left out."""
        query = _selected(workspace_id).order_by(channels.c.id.desc())
        if before is not None:
            query = query.where(channels.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID) -> int:
        query = (
            select(func.count())
            .select_from(channels)
            .where(channels.c.workspace_id == str(workspace_id), _is_kept)
        )
        return int(self._session.connection.execute(query).scalar_one())

    def earliest(self) -> int | None:
        """The first number that any channel is told of, None where there is no channel."""
        found = self._session.connection.execute(
            select(func.min(channels.c.since)).where(_is_kept)
        ).scalar()
        return found if isinstance(found, int) else None

    def _opened(self, row: Sequence[Any]) -> Channel | None:
        found = self._session.open(CHANNELS, tuple(row), channel_of, str(row[0]))
        return None if found is None or found.state is ChannelState.DELETED else found


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*CHANNELS.selection()).where(channels.c.workspace_id == str(workspace_id))
