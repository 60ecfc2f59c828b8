"""Keeping incidents and their keys.

The record of an incident says which versions of its keys are the last: keys that are not exactly
those are damage, whoever of them was taken away, put back or edited. A damaged incident decides
nothing; what it contained stays contained, since that stands in the keys' own records.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select, text, true

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.incident import (
    ContainedKey,
    Containment,
    Incident,
    IncidentReason,
    IncidentState,
    Outcome,
    hash_keys,
)
from keyturn.domain.instant import is_instant
from keyturn.storage.keys import chunks
from keyturn.storage.records import (
    INCIDENT_KEYS,
    INCIDENTS,
    contained_of,
    contained_row,
    id_of,
    incident_of,
    incident_row,
)
from keyturn.storage.schema import (
    IS_ENDED,
    IS_OPEN_INCIDENT,
    IS_WAIVED,
    incident_keys,
    incidents,
    uses,
)
from keyturn.storage.sealed import Damage
from keyturn.storage.session import Session
from keyturn.storage.slots import name_matches

_is_waived = text(f"incident_keys.{IS_WAIVED}")
_is_open = text(f"incidents.{IS_OPEN_INCIDENT}")
_is_ended = text(f"incidents.{IS_ENDED}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFilter:
    """Which incidents to list; None asks for any. `slots` are patterns, `("*",)` for all, of which
    a key of the incident must be in one; `since` and `until` are of its opening."""

    states: tuple[IncidentState, ...] | None = None
    slots: tuple[str, ...] = ("*",)
    key_id: UUID | None = None
    reason: IncidentReason | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LateUse:
    """A contained key was tried after its incident had been closed, at the latest at `last_at`.
    `was_allowed` where that let it in, which must not be."""

    incident_id: UUID
    workspace_id: UUID
    key_id: UUID
    last_at: int
    was_allowed: bool


class Incidents:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, incident: Incident) -> None:
        INCIDENTS.insert(self._session.connection, self._session.sealer, incident_row(incident))

    def replace(self, incident: Incident, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        INCIDENTS.replace(
            self._session.connection, self._session.sealer, incident_row(incident), expected
        )

    def add_keys(self, keys: Sequence[ContainedKey]) -> None:
        """Keeps the keys of a new incident, whose `keys_hash` is theirs."""
        INCIDENT_KEYS.insert_all(
            self._session.connection, self._session.sealer, [contained_row(one) for one in keys]
        )

    def replace_key(self, key: ContainedKey, expected: int) -> None:
        """Writes over version `expected`; the incident's `keys_hash` has to follow. Raises
        `VersionMoved` where another stands."""
        self.replace_keys([(key, expected)])

    def replace_keys(self, changed: Sequence[tuple[ContainedKey, int]]) -> None:
        """As `replace_key`, for many, each over the version beside it."""
        INCIDENT_KEYS.replace_all(
            self._session.connection,
            self._session.sealer,
            [(contained_row(key), expected) for key, expected in changed],
        )

    def find(self, workspace_id: UUID, id: UUID) -> Incident | None:  # noqa: A002
        """The incident, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            _selected(workspace_id).where(incidents.c.id == str(id))
        ).first()
        if row is None:
            return None
        return self._session.require(INCIDENTS, tuple(row), incident_of, str(row[0]))

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that an incident says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(incidents.c.workspace_id).where(incidents.c.id == str(id))
        ).scalar()
        return id_of(found)

    def keys_of(self, workspace_id: UUID, incident_id: UUID) -> Sequence[ContainedKey]:
        """The keys of an incident, by id. Raises `IntegrityFailed` where one of them, or the
        incident, is not as we wrote it."""
        incident = self.find(workspace_id, incident_id)
        return () if incident is None else self.keys_within(incident)

    def keys_within(self, incident: Incident) -> Sequence[ContainedKey]:
        """As `keys_of`, for an incident that has been read."""
        found = self._keys([incident])[incident.id]
        if found is None:
            raise IntegrityFailed(
                f"The keys of this incident were changed from outside; {INCIDENT_KEYS.remedy}"
            )
        return found

    def keys_of_each(
        self, several: Sequence[Incident]
    ) -> dict[UUID, Sequence[ContainedKey] | None]:
        """The keys of each incident, None for one whose keys are not as we wrote them."""
        return self._keys(several)

    def open(self, *, after: UUID | None, limit: int) -> Sequence[Incident]:
        """The next `limit` open incidents of any workspace, by id. Damaged rows are left out."""
        query = select(*INCIDENTS.selection()).where(_is_open).order_by(incidents.c.id)
        if after is not None:
            query = query.where(incidents.c.id > str(after))
        return self._session.gather(query, limit, self._opened)

    def list(
        self, workspace_id: UUID, wanted: IncidentFilter, *, limit: int, before: UUID | None
    ) -> Sequence[Incident]:
        """At most `limit` incidents, newest first, from `before` on. Damaged rows are left out."""
        query = _selected(workspace_id).where(_wanted(wanted)).order_by(incidents.c.id.desc())
        if before is not None:
            query = query.where(incidents.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID, wanted: IncidentFilter) -> int:
        query = (
            select(func.count())
            .select_from(incidents)
            .where(incidents.c.workspace_id == str(workspace_id), _wanted(wanted))
        )
        return int(self._session.connection.execute(query).scalar_one())

    def open_of_key(self, workspace_id: UUID, key_id: UUID) -> Incident | None:
        """The open incident that contains a key, or None. Raises `IntegrityFailed` where one that
        does is damaged: what it contained, it contains."""
        known = len(self._session.damage)
        found = self.open_of_keys(workspace_id, [key_id]).get(key_id)
        if found is None and len(self._session.damage) > known:
            raise IntegrityFailed(
                f"The record of an incident with this key was changed from outside; "
                f"{INCIDENTS.remedy}"
            )
        return found

    def open_of_keys(self, workspace_id: UUID, key_ids: Collection[UUID]) -> dict[UUID, Incident]:
        """The open incident of each of these keys that has one. Damaged ones are left out."""
        found: dict[UUID, Incident] = {}
        for chunk in chunks(key_ids):
            query = (
                select(incident_keys.c.key_id, *INCIDENTS.selection())
                .select_from(
                    incident_keys.join(incidents, incidents.c.id == incident_keys.c.incident_id)
                )
                .where(
                    incident_keys.c.key_id.in_(chunk),
                    incidents.c.workspace_id == str(workspace_id),
                    _is_open,
                )
                .order_by(incidents.c.id)
            )
            for key_id, *cells in self._session.connection.execute(query):
                incident = self._opened(cells)
                if incident is not None:
                    found.setdefault(UUID(key_id), incident)
        return found

    def of_period(
        self, workspace_id: UUID, key_ids: Collection[UUID], since: int, until: int
    ) -> dict[UUID, Sequence[Incident]]:
        """The incidents of each of these keys that were open at any moment from `since` on and
        before `until`. Damaged ones are left out."""
        found: dict[UUID, Sequence[Incident]] = {}
        for chunk in chunks(key_ids):
            query = (
                select(incident_keys.c.key_id, *INCIDENTS.selection())
                .select_from(
                    incident_keys.join(incidents, incidents.c.id == incident_keys.c.incident_id)
                )
                .where(
                    incident_keys.c.key_id.in_(chunk),
                    incidents.c.workspace_id == str(workspace_id),
                    incidents.c.opened_at < until,
                    or_(incidents.c.closed_at.is_(None), incidents.c.closed_at >= since),
                )
                .order_by(incidents.c.id)
            )
            for key_id, *cells in self._session.connection.execute(query):
                incident = self._opened(cells)
                if incident is not None:
                    found[UUID(key_id)] = (*found.get(UUID(key_id), ()), incident)
        return found

    def of_key(self, workspace_id: UUID, key_id: UUID) -> Sequence[Incident]:
        """Every incident that a key was in, newest first. Damaged rows are left out."""
        query = _selected(workspace_id).where(_holds(key_id)).order_by(incidents.c.id.desc())
        rows = self._session.connection.execute(query).all()
        return [one for row in rows if (one := self._opened(row)) is not None]

    def successors(self, workspace_id: UUID, key_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
        """Which keys incidents have put in the place of each of these. Read without the seals."""
        found: dict[UUID, set[UUID]] = {}
        for chunk in chunks(key_ids):
            query = select(incident_keys.c.key_id, incident_keys.c.replacement_key_id).where(
                incident_keys.c.workspace_id == str(workspace_id),
                incident_keys.c.key_id.in_(chunk),
                incident_keys.c.replacement_key_id.is_not(None),
            )
            for old, new in self._session.connection.execute(query):
                old_id, new_id = id_of(old), id_of(new)
                if old_id is not None and new_id is not None:
                    found.setdefault(old_id, set()).add(new_id)
        return found

    def ended(self, *, after: UUID | None, limit: int) -> Sequence[UUID]:
        """The ids of the next `limit` incidents of any workspace that were closed and no false
        alarm. Read without the seals."""
        query = select(incidents.c.id).where(_is_ended).order_by(incidents.c.id).limit(limit)
        if after is not None:
            query = query.where(incidents.c.id > str(after))
        found = map(id_of, self._session.connection.execute(query).scalars())
        return [one for one in found if one is not None]

    def late_uses(
        self,
        *,
        incident_ids: Collection[UUID] | None = None,
        key_ids: Collection[UUID] | None = None,
    ) -> Sequence[LateUse]:
        """Which keys of these ended incidents, or which of these keys of any, were used after its
        closing, or tried. Read without the seals: it only tells a person to look."""
        column = incident_keys.c.incident_id if key_ids is None else incident_keys.c.key_id
        last = func.max(uses.c.last_denied_at), func.max(uses.c.last_seen_at)
        closed_at = incidents.c.closed_at
        found = []
        for chunk in chunks((incident_ids if key_ids is None else key_ids) or ()):
            query = (
                select(
                    incidents.c.id,
                    incidents.c.workspace_id,
                    incident_keys.c.key_id,
                    closed_at,
                    *last,
                )
                .select_from(
                    incident_keys.join(
                        incidents, incident_keys.c.incident_id == incidents.c.id
                    ).join(uses, uses.c.key_id == incident_keys.c.key_id)
                )
                .where(
                    column.in_(chunk),
                    _is_ended,
                    or_(uses.c.last_denied_at > closed_at, uses.c.last_seen_at > closed_at),
                )
                .group_by(
                    incidents.c.id, incidents.c.workspace_id, incident_keys.c.key_id, closed_at
                )
                .order_by(incidents.c.id, incident_keys.c.key_id)
            )
            rows = self._session.connection.execute(query)
            found += [one for row in rows if (one := _late_use(tuple(row))) is not None]
        return found

    def run_out(self, now: int, *, limit: int) -> Sequence[ContainedKey]:
        """At most `limit` keys that an incident was, or is to be, closed without, that have not
        recovered, and whose waiver has run out; of those that a false alarm gave back none. Damaged
        rows are left out."""
        # A subquery, not a join: that may be planned as a walk over all incidents there ever were.
        end = (
            select(func.coalesce(incidents.c.outcome, "").concat(incidents.c.containment))
            .where(incidents.c.id == incident_keys.c.incident_id)
            .scalar_subquery()
        )
        query = (
            select(*INCIDENT_KEYS.selection())
            .where(
                _is_waived,
                incident_keys.c.recovered_at.is_(None),
                end != Outcome.FALSE_ALARM.value + Containment.SUSPEND.value,
            )
            .order_by(incident_keys.c.incident_id, incident_keys.c.key_id)
        )
        found = []
        for row in self._session.connection.execute(query):
            ref = f"{row[0]}/{row[1]}"
            key = self._session.open(INCIDENT_KEYS, tuple(row), contained_of, ref)
            if key is not None and key.waiver is not None and not key.waiver.holds(now):
                found.append(key)
        return found[:limit]

    def _keys(self, several: Iterable[Incident]) -> dict[UUID, Sequence[ContainedKey] | None]:
        by_id = {one.id: one for one in several}
        found: dict[UUID, list[ContainedKey]] = defaultdict(list)
        for chunk in chunks(by_id):
            query = (
                select(*INCIDENT_KEYS.selection())
                .where(incident_keys.c.incident_id.in_(chunk))
                .order_by(incident_keys.c.incident_id, incident_keys.c.key_id)
            )
            for row in self._session.connection.execute(query):
                ref = f"{row[0]}/{row[1]}"
                key = self._session.open(INCIDENT_KEYS, tuple(row), contained_of, ref)
                if key is not None:
                    found[key.incident_id].append(key)
        return {id_: self._whole(one, found[id_]) for id_, one in by_id.items()}

    def _whole(
        self, incident: Incident, keys: Sequence[ContainedKey]
    ) -> Sequence[ContainedKey] | None:
        if hash_keys(keys) == incident.keys_hash:
            return keys
        self._session.damage.append(Damage(INCIDENTS.kind, str(incident.id)))
        return None

    def _opened(self, row: Sequence[Any]) -> Incident | None:
        return self._session.open(INCIDENTS, tuple(row), incident_of, str(row[0]))


def _late_use(cells: tuple[Any, ...]) -> LateUse | None:
    """None where a cell is none of ours."""
    incident_id, workspace_id, key_id = map(id_of, cells[:3])
    closed_at, denied_at, seen_at = cells[3:]
    is_known = None not in (incident_id, workspace_id, key_id) and is_instant(closed_at)
    late = [one for one in (denied_at, seen_at) if is_known and is_instant(one) and one > closed_at]
    if incident_id is None or workspace_id is None or key_id is None or not late:
        return None
    return LateUse(
        incident_id=incident_id,
        workspace_id=workspace_id,
        key_id=key_id,
        last_at=max(late),
        was_allowed=seen_at in late,
    )


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*INCIDENTS.selection()).where(incidents.c.workspace_id == str(workspace_id))


def _holds(key_id: UUID) -> ColumnElement[bool]:
    return exists().where(
        incident_keys.c.key_id == str(key_id), incident_keys.c.incident_id == incidents.c.id
    )


def _wanted(wanted: IncidentFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [_in_slots(wanted.slots)]
    if wanted.states is not None:
        terms.append(incidents.c.state.in_([one.value for one in wanted.states]))
    if wanted.key_id is not None:
        terms.append(_holds(wanted.key_id))
    if wanted.reason is not None:
        terms.append(incidents.c.reason == wanted.reason.value)
    if wanted.since is not None:
        terms.append(incidents.c.opened_at >= wanted.since)
    if wanted.until is not None:
        terms.append(incidents.c.opened_at < wanted.until)
    return and_(*terms)


def _in_slots(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    if "*" in patterns:
        return true()
    names = (incident_keys.c.service, incident_keys.c.environment)
    return exists().where(
        incident_keys.c.incident_id == incidents.c.id,
        or_(false(), *(name_matches(*names, one) for one in patterns)),
    )
