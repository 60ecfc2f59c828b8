"""Keeping what was waived of the checklist. A damaged waiver is left out: it waives nothing."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true

from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.storage.records import (
    POSTURE_WAIVERS,
    id_of,
    posture_waiver_of,
    posture_waiver_row,
)
from keyturn.storage.schema import posture_waivers
from keyturn.storage.session import Session
from keyturn.storage.slots import name_matches


class PostureWaivers:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, waiver: PostureWaiver) -> None:
        POSTURE_WAIVERS.insert(
            self._session.connection, self._session.sealer, posture_waiver_row(waiver)
        )

    def replace(self, waiver: PostureWaiver, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        POSTURE_WAIVERS.replace(
            self._session.connection, self._session.sealer, posture_waiver_row(waiver), expected
        )

    def find(self, workspace_id: UUID, id: UUID) -> PostureWaiver | None:  # noqa: A002
        """The waiver, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            _selected(workspace_id).where(posture_waivers.c.id == str(id))
        ).first()
        if row is None:
            return None
        return self._session.require(POSTURE_WAIVERS, tuple(row), posture_waiver_of, str(id))

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a waiver says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(posture_waivers.c.workspace_id).where(posture_waivers.c.id == str(id))
        ).scalar()
        return id_of(found)

    def holding(
        self, workspace_id: UUID, now: int, slots: tuple[str, ...] = ("*",)
    ) -> Sequence[PostureWaiver]:
        """Those that hold at `now`, newest first. One that was made a moment later by another clock
        holds too. Damaged rows are left out."""
        query = _selected(workspace_id).where(
            posture_waivers.c.until > now,
            posture_waivers.c.ended_at.is_(None),
            _in_slots(slots),
        )
        rows = self._session.connection.execute(query.order_by(posture_waivers.c.id.desc())).all()
        return [one for row in rows if (one := self._opened(row)) is not None]

    def held(
        self, workspace_id: UUID, since: int, until: int, slots: tuple[str, ...] = ("*",)
    ) -> Sequence[PostureWaiver]:
        """Those that held at any moment from `since` on and up to `until`, newest first. Damaged
        rows are left out."""
        query = _selected(workspace_id).where(
            posture_waivers.c.created_at <= until,
            posture_waivers.c.until > since,
            or_(posture_waivers.c.ended_at.is_(None), posture_waivers.c.ended_at > since),
            _in_slots(slots),
        )
        rows = self._session.connection.execute(query.order_by(posture_waivers.c.id.desc())).all()
        return [one for row in rows if (one := self._opened(row)) is not None]

    def list(
        self, workspace_id: UUID, *, slots: tuple[str, ...], limit: int, before: UUID | None
    ) -> Sequence[PostureWaiver]:
        """At most `limit` waivers, newest first, from `before` on, those that are over too. Damaged
        rows are left out."""
        query = (
            _selected(workspace_id).where(_in_slots(slots)).order_by(posture_waivers.c.id.desc())
        )
        if before is not None:
            query = query.where(posture_waivers.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID, *, slots: tuple[str, ...]) -> int:
        query = (
            select(func.count())
            .select_from(posture_waivers)
            .where(posture_waivers.c.workspace_id == str(workspace_id), _in_slots(slots))
        )
        return int(self._session.connection.execute(query).scalar_one())

    def count_holding(self, workspace_id: UUID, now: int) -> int:
        """How many hold at `now`, damaged ones among them."""
        query = (
            select(func.count())
            .select_from(posture_waivers)
            .where(
                posture_waivers.c.workspace_id == str(workspace_id),
                posture_waivers.c.until > now,
                posture_waivers.c.ended_at.is_(None),
            )
        )
        return int(self._session.connection.execute(query).scalar_one())

    def _opened(self, row: Sequence[Any]) -> PostureWaiver | None:
        return self._session.open(POSTURE_WAIVERS, tuple(row), posture_waiver_of, str(row[0]))


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*POSTURE_WAIVERS.selection()).where(
        posture_waivers.c.workspace_id == str(workspace_id)
    )


def _in_slots(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    """Those of these slots, and those of the whole check, which speak of every slot."""
    if "*" in patterns:
        return true()
    names = (posture_waivers.c.service, posture_waivers.c.environment)
    return or_(
        posture_waivers.c.service.is_(None),
        false(),
        *(and_(names[0].is_not(None), name_matches(*names, one)) for one in patterns),
    )
