"""Keeping slots, by workspace and name."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true, tuple_

from keyturn.domain.slot import Slot, SlotName
from keyturn.storage.records import SLOTS, slot_of, slot_ref, slot_row
from keyturn.storage.schema import slots
from keyturn.storage.session import Session


class Slots:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, slot: Slot) -> None:
        SLOTS.insert(self._session.connection, self._session.sealer, slot_row(slot))

    def replace(self, slot: Slot, expected: int) -> None:
        """Writes `slot` over version `expected`. Raises `VersionMoved` where another stands."""
        SLOTS.replace(self._session.connection, self._session.sealer, slot_row(slot), expected)

    def repair(self, slot: Slot) -> None:
        """Puts a good record in the place of a damaged one."""
        SLOTS.overwrite(self._session.connection, self._session.sealer, slot_row(slot))

    def find(self, workspace_id: UUID, name: SlotName) -> Slot | None:
        """The slot, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            _selected(workspace_id).where(
                slots.c.service == name.service, slots.c.environment == name.environment
            )
        ).first()
        if row is None:
            return None
        return self._session.require(SLOTS, tuple(row), slot_of, slot_ref(workspace_id, name))

    def among(self, workspace_id: UUID, names: Collection[SlotName]) -> dict[SlotName, Slot]:
        """Those of the slots that there are. Damaged rows are left out."""
        found: dict[SlotName, Slot] = {}
        spelled = sorted((one.service, one.environment) for one in set(names))
        for start in range(0, len(spelled), _CHUNK):
            query = _selected(workspace_id).where(
                tuple_(slots.c.service, slots.c.environment).in_(spelled[start : start + _CHUNK])
            )
            for row in self._session.connection.execute(query):
                slot = self._opened(row)
                if slot is not None:
                    found[slot.name] = slot
        return found

    def list(
        self,
        workspace_id: UUID,
        *,
        patterns: tuple[str, ...],
        service: str | None,
        environment: str | None,
        owner: str | None,
        limit: int,
        before: tuple[int, str, str] | None,
    ) -> Sequence[Slot]:
        """At most `limit` slots, newest first, after the (created, service, environment) given."""
        query = (
            _selected(workspace_id)
            .where(_filtered(patterns, service, environment, owner))
            .order_by(*(column.desc() for column in _ORDER))
        )
        if before is not None:
            query = query.where(tuple_(*_ORDER) < tuple_(*before))
        return self._session.gather(query, limit, self._opened)

    def _opened(self, row: Sequence[Any]) -> Slot | None:
        ref = f"{row[0]}/{row[1]}-{row[2]}"
        return self._session.open(SLOTS, tuple(row), slot_of, ref)

    def count(
        self,
        workspace_id: UUID,
        *,
        patterns: tuple[str, ...],
        service: str | None,
        environment: str | None,
        owner: str | None,
    ) -> int:
        query = (
            select(func.count())
            .select_from(slots)
            .where(
                slots.c.workspace_id == str(workspace_id),
                _filtered(patterns, service, environment, owner),
            )
        )
        return int(self._session.connection.execute(query).scalar_one())


_CHUNK = 200
_ORDER = (slots.c.created_at, slots.c.service, slots.c.environment)


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*SLOTS.selection()).where(slots.c.workspace_id == str(workspace_id))


def _filtered(
    patterns: tuple[str, ...], service: str | None, environment: str | None, owner: str | None
) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [_covered(patterns)]
    if service is not None:
        terms.append(slots.c.service == service)
    if environment is not None:
        terms.append(slots.c.environment == environment)
    if owner is not None:
        terms.append(slots.c.owner == owner)
    return and_(*terms)


def _covered(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    return (
        true()
        if "*" in patterns
        else or_(
            false(), *(name_matches(slots.c.service, slots.c.environment, one) for one in patterns)
        )
    )


def name_matches(
    service: ColumnElement[str], environment: ColumnElement[str], pattern: str
) -> ColumnElement[bool]:
    """Whether a slot's name is the pattern, or begins with it where it ends in `*`."""
    name = service + "-" + environment
    if pattern.endswith("*"):
        return func.substr(name, 1, len(pattern) - 1) == pattern[:-1]
    return name == pattern
