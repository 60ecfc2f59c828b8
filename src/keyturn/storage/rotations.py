"""Keeping rotations. Of a slot at most one is open, which the database holds as well.

A damaged rotation decides nothing: it is left out of lists, and where one is asked for by name or
for a slot, that is refused until it is buried.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, false, func, or_, select, text, true

from keyturn.domain.rotation import OPEN_STATES, Ending, Rotation, RotationState, RotationTerms
from keyturn.domain.slot import SlotName
from keyturn.storage.activity import Activity
from keyturn.storage.keys import chunks
from keyturn.storage.records import ROTATIONS, id_of, rotation_of, rotation_row
from keyturn.storage.schema import IS_OPEN, rotations
from keyturn.storage.session import Session
from keyturn.storage.slots import name_matches

_REPLACING = (*sorted(OPEN_STATES), RotationState.COMPLETED)
_NOBODY = UUID(int=0)
_SYSTEM = "system"
_is_open = text(IS_OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationFilter:
    """Which rotations to list; None asks for any. `slots` are patterns, `("*",)` for all; `key_id`
    is of the old key or the new one."""

    states: tuple[RotationState, ...] | None = None
    slots: tuple[str, ...] = ("*",)
    slot: SlotName | None = None
    key_id: UUID | None = None


class Rotations:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, rotation: Rotation) -> None:
        """Raises `StorageUnavailable` where another of the slot is open: ask `open_of_slot`."""
        ROTATIONS.insert(self._session.connection, self._session.sealer, rotation_row(rotation))

    def replace(self, rotation: Rotation, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        ROTATIONS.replace(
            self._session.connection, self._session.sealer, rotation_row(rotation), expected
        )

    def find(self, workspace_id: UUID, id: UUID) -> Rotation | None:  # noqa: A002
        """The rotation, or None. Raises `IntegrityFailed` where its row is damaged."""
        return self._first(_selected(workspace_id).where(rotations.c.id == str(id)))

    def open_of_slot(self, workspace_id: UUID, slot: SlotName) -> Rotation | None:
        """The open rotation of a slot, or None. Raises `IntegrityFailed` where it is damaged."""
        return self._first(_selected(workspace_id).where(_of_slot(slot), _is_open))

    def open_of_key(self, workspace_id: UUID, key_id: UUID) -> Rotation | None:
        """The open rotation that a key is the old or the new one of, or None. Raises
        `IntegrityFailed` where it is damaged."""
        for column in (rotations.c.old_key_id, rotations.c.new_key_id):
            found = self._first(_selected(workspace_id).where(column == str(key_id), _is_open))
            if found is not None:
                return found
        return None

    def open_of_keys(self, workspace_id: UUID, key_ids: Collection[UUID]) -> Sequence[Rotation]:
        """The open rotations that any of these keys is in. Damaged rows are left out."""
        found: dict[UUID, Rotation] = {}
        for chunk in chunks(key_ids):
            for column in (rotations.c.old_key_id, rotations.c.new_key_id):
                query = _selected(workspace_id).where(column.in_(chunk), _is_open)
                for row in self._session.connection.execute(query).all():
                    rotation = self._opened(row)
                    if rotation is not None:
                        found[rotation.id] = rotation
        return [found[id_] for id_ in sorted(found)]

    def successors(self, workspace_id: UUID, key_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
        """Which keys took, or are taking, the place of each of these. Read without the seals."""
        found: dict[UUID, set[UUID]] = {}
        for chunk in chunks(key_ids):
            query = select(rotations.c.old_key_id, rotations.c.new_key_id).where(
                rotations.c.workspace_id == str(workspace_id),
                rotations.c.old_key_id.in_(chunk),
                rotations.c.state.in_([one.value for one in _REPLACING]),
            )
            for old, new in self._session.connection.execute(query):
                old_id, new_id = id_of(old), id_of(new)
                if old_id is not None and new_id is not None:
                    found.setdefault(old_id, set()).add(new_id)
        return found

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a rotation says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(rotations.c.workspace_id).where(rotations.c.id == str(id))
        ).scalar()
        return id_of(found)

    def open(self, *, after: UUID | None, limit: int) -> Sequence[Rotation]:
        """The next `limit` open rotations of any workspace, by id. Damaged rows are left out."""
        query = select(*ROTATIONS.selection()).where(_is_open).order_by(rotations.c.id)
        if after is not None:
            query = query.where(rotations.c.id > str(after))
        return self._session.gather(query, limit, self._opened)

    def list(
        self, workspace_id: UUID, wanted: RotationFilter, *, limit: int, before: UUID | None
    ) -> Sequence[Rotation]:
        """At most `limit` rotations, newest first, from `before` on. Damaged rows are left out."""
        query = _selected(workspace_id).where(_wanted(wanted)).order_by(rotations.c.id.desc())
        if before is not None:
            query = query.where(rotations.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def telling(
        self, workspace_id: UUID, slots: tuple[str, ...], environment: str, since: int
    ) -> Sequence[Rotation]:
        """The open ones, and of those that ended since then the ones that were forced or rolled
        back or are of this environment. Damaged rows are left out."""
        ended = and_(
            rotations.c.ended_at >= since,
            or_(
                rotations.c.forced == 1,
                rotations.c.state == RotationState.ROLLED_BACK.value,
                rotations.c.environment == environment,
            ),
        )
        query = _selected(workspace_id).where(_in_slots(slots), or_(_is_open, ended))
        return self._all(query)

    def of_period(
        self, workspace_id: UUID, key_ids: Collection[UUID], since: int, until: int
    ) -> Sequence[Rotation]:
        """Those that these keys had a part in and that were open at any moment from `since` on and
        before `until`. Damaged rows are left out."""
        ids = sorted(map(str, key_ids))
        query = _selected(workspace_id).where(
            or_(rotations.c.old_key_id.in_(ids), rotations.c.new_key_id.in_(ids)),
            rotations.c.started_at < until,
            or_(rotations.c.ended_at.is_(None), rotations.c.ended_at >= since),
        )
        return self._all(query)

    def _all(self, query: Select[*tuple[Any, ...]]) -> Sequence[Rotation]:
        rows = self._session.connection.execute(query.order_by(rotations.c.id)).all()
        return [one for row in rows if (one := self._opened(row)) is not None]

    def count(self, workspace_id: UUID, wanted: RotationFilter) -> int:
        query = (
            select(func.count())
            .select_from(rotations)
            .where(rotations.c.workspace_id == str(workspace_id), _wanted(wanted))
        )
        return int(self._session.connection.execute(query).scalar_one())

    def bury_open(self, workspace_id: UUID, slot: SlotName, now: int) -> Sequence[tuple[UUID, int]]:
        """Puts a cancelled record in the place of each damaged row that holds the slot open, and
        gives the id and the version of each, which the log is to tell of.

        A row whose id is none cannot have been one of ours, and is taken away.
        """
        buried = []
        query = _selected(workspace_id).where(_of_slot(slot), _is_open)
        for row in self._session.connection.execute(query).all():
            if self._opened(row) is not None:
                continue
            id_ = id_of(row[0])
            if id_ is None or str(id_) != row[0]:
                self._session.connection.execute(delete(rotations).where(rotations.c.id == row[0]))
                continue
            version = Activity(self._session).next_version(ROTATIONS.kind, str(id_))
            tombstone = _tombstone(id_, workspace_id, slot, version, now)
            ROTATIONS.overwrite(
                self._session.connection, self._session.sealer, rotation_row(tombstone)
            )
            buried.append((id_, version))
        return buried

    def _first(self, query: Select[*tuple[Any, ...]]) -> Rotation | None:
        row = self._session.connection.execute(query).first()
        if row is None:
            return None
        return self._session.require(ROTATIONS, tuple(row), rotation_of, str(row[0]))

    def _opened(self, row: Sequence[Any]) -> Rotation | None:
        return self._session.open(ROTATIONS, tuple(row), rotation_of, str(row[0]))


def _tombstone(id_: UUID, workspace_id: UUID, slot: SlotName, version: int, now: int) -> Rotation:
    """The record of a rotation of which nothing is known but its slot, and that it is no more."""
    return Rotation(
        id=id_,
        workspace_id=workspace_id,
        slot=slot,
        old_key_id=_NOBODY,
        new_key_id=_NOBODY,
        state=RotationState.CANCELLED,
        terms=RotationTerms(
            quiet_seconds=0, brownout_seconds=0, lookback_seconds=0, auto_complete=False
        ),
        started_at=now,
        started_by=_SYSTEM,
        deadline=now,
        brownout=None,
        lifts=0,
        lifted_at=None,
        met=(),
        decisions=(),
        ending=Ending(
            at=now,
            by=_SYSTEM,
            reason="Its record was changed from outside.",
            is_forced=True,
            evidence=None,
            evidence_until=None,
        ),
        updated_at=now,
        version=version,
    )


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*ROTATIONS.selection()).where(rotations.c.workspace_id == str(workspace_id))


def _of_slot(slot: SlotName) -> ColumnElement[bool]:
    return and_(rotations.c.service == slot.service, rotations.c.environment == slot.environment)


def _wanted(wanted: RotationFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [_in_slots(wanted.slots)]
    if wanted.states is not None:
        terms.append(rotations.c.state.in_([one.value for one in wanted.states]))
    if wanted.slot is not None:
        terms.append(_of_slot(wanted.slot))
    if wanted.key_id is not None:
        key_id = str(wanted.key_id)
        terms.append(or_(rotations.c.old_key_id == key_id, rotations.c.new_key_id == key_id))
    return and_(*terms)


def _in_slots(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    if "*" in patterns:
        return true()
    names = (rotations.c.service, rotations.c.environment)
    return or_(false(), *(name_matches(*names, one) for one in patterns))
