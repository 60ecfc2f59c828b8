"""Reading the activity log, blanking what has outlived its retention, and walking the chain."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, RowMapping, and_, func, or_, select, update

from keyturn.domain.activity import (
    ActivityStatus,
    Actor,
    ActorType,
    Category,
    Entry,
    LoggedChange,
)
from keyturn.domain.instant import is_instant
from keyturn.domain.seal import Cell
from keyturn.storage.schema import activity, changes
from keyturn.storage.sealed import Damage
from keyturn.storage.session import Session

_CONTENT = (
    "actor_type",
    "actor_id",
    "actor_label",
    "action",
    "category",
    "resource_type",
    "resource_id",
    "resource_version",
    "status",
    "message",
    "metadata",
    "request_id",
)

_CHANGE = tuple(changes.c[name] for name in LoggedChange.__slots__)
_TEXTS = ("actor_label", "action", "resource_type", "resource_id", "message")
_NUMBERS = ("retention_days", "created_at", "expires_at")
_AT_ONCE = 500  # objects in one question


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityFilter:
    """Which entries to list; None asks for any. `actor` is an id or a label, `actor_id` an id: it
    is found by an index, however much others have done."""

    category: Category | None = None
    action: str | None = None
    status: ActivityStatus | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    request_id: str | None = None
    actor: str | None = None
    actor_id: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One entry as it stands in the chain. `entry` is None once its content has been blanked, and
    where what stands there is no entry.

    Where `is_broken`, what stands there is no link at all, and its cells may be of any type.
    """

    number: int
    entry: Entry | None
    is_unreadable: bool
    is_broken: bool
    expires_at: int
    position: int | None
    content_hash: bytes
    hash: bytes


class Activity:
    def __init__(self, session: Session) -> None:
        self._session = session

    def list(
        self, workspace_id: UUID, wanted: ActivityFilter, *, limit: int, before: int | None
    ) -> Sequence[tuple[int, Entry]]:
        """At most `limit` entries with their numbers, newest first, below number `before`.

        What cannot be read any more was edited: it is left out and reported.
        """
        query = (
            select(activity)
            .where(_wanted(workspace_id, wanted), activity.c.action.is_not(None))
            .order_by(activity.c.number.desc())
        )
        if before is not None:
            query = query.where(activity.c.number < before)
        return self._session.gather(query, limit, self._opened)

    def done_to(
        self, workspace_id: UUID, type_: str, ids: Collection[str], actions: Collection[str]
    ) -> Sequence[Entry]:
        """What was done of this to any of these things. What cannot be read any more is left out
        and reported."""
        found: list[Entry] = []
        spelled = sorted(ids)
        for first in range(0, len(spelled), _AT_ONCE):
            query = select(activity).where(
                activity.c.workspace_id == str(workspace_id),
                activity.c.resource_type == type_,
                activity.c.resource_id.in_(spelled[first : first + _AT_ONCE]),
                activity.c.action.in_(sorted(actions)),
                activity.c.status == ActivityStatus.SUCCESS.value,
            )
            for row in self._session.connection.execute(query):
                one = self._opened(row)
                found += [] if one is None else [one[1]]
        return found

    def done_by(
        self,
        workspace_id: UUID,
        actor_ids: Collection[UUID],
        actions: Collection[str],
        since: int,
        *,
        limit: int,
    ) -> Sequence[Entry]:
        """What any of these did of this, at most `limit` entries for each 500 of them."""
        found: list[Entry] = []
        spelled = sorted(map(str, actor_ids))
        for first in range(0, len(spelled), _AT_ONCE):
            query = (
                select(activity)
                .where(
                    activity.c.workspace_id == str(workspace_id),
                    activity.c.actor_id.in_(spelled[first : first + _AT_ONCE]),
                    activity.c.action.in_(sorted(actions)),
                    activity.c.status == ActivityStatus.SUCCESS.value,
                    activity.c.created_at >= since,
                )
                .order_by(activity.c.actor_id, activity.c.number)
            )
            found += [one for _, one in self._session.gather(query, limit, self._opened)]
        return found

    def last_of_installation(self, type_: str, id_: str, action: str) -> Entry | None:
        """The newest entry that tells of this act on a thing of the installation's own."""
        found = self.latest_of_installation(type_, id_, action, limit=1)
        return found[0] if found else None

    def latest_of_installation(
        self, type_: str, id_: str, action: str, *, limit: int
    ) -> Sequence[Entry]:
        """As many entries as `limit`, the newest first. Damaged rows are left out."""
        query = (
            select(activity)
            .where(
                activity.c.workspace_id.is_(None),
                activity.c.resource_type == type_,
                activity.c.resource_id == id_,
                activity.c.action == action,
            )
            .order_by(activity.c.number.desc())
            .limit(limit)
        )
        rows = self._session.connection.execute(query).mappings()
        return [entry for row in rows if (entry := entry_of(row)) is not None]

    def _opened(self, row: Row[*tuple[Any, ...]]) -> tuple[int, Entry] | None:
        cells = row._mapping
        entry = entry_of(cells)
        if entry is None or not isinstance(cells["number"], int):
            self._session.damage.append(Damage("activity", str(cells["number"])))
            return None
        return cells["number"], entry

    def links(self, *, after: int | None, limit: int) -> Sequence[Link]:
        """The next `limit` links of the chain, in order; from the first one on without `after`."""
        query = select(activity).order_by(activity.c.number).limit(limit)
        if after is not None:
            query = query.where(activity.c.number > after)
        return [_link_of(row) for row in self._session.connection.execute(query).mappings()]

    def changes(self, *, after: int | None, limit: int) -> Sequence[LoggedChange]:
        """The next `limit` rows of the change log, in order; from the first one on without
        `after`. Whether their seals hold is not asked (`sealed_changes`)."""
        return [change for change, _ in self.sealed_changes(after=after, limit=limit)]

    def sealed_changes(
        self, *, after: int | None, limit: int
    ) -> Sequence[tuple[LoggedChange, bool]]:
        """As `changes`, each with whether its seal holds."""
        query = select(*_CHANGE, changes.c.mac).order_by(changes.c.position).limit(limit)
        if after is not None:
            query = query.where(changes.c.position > after)
        return [self._sealed(row) for row in self._session.connection.execute(query)]

    def _sealed(self, row: Sequence[Any]) -> tuple[LoggedChange, bool]:
        *cells, seal = row
        change = LoggedChange(*cells)
        is_genuine = self._session.sealer.holds(changes.name, change_row(change), seal)
        return change, is_genuine

    def last_genuine_change(self, kind: str, ref: str) -> LoggedChange | None:
        """An object's last change whose seal holds, whatever was put after it."""
        return self.last_genuine_changes(kind, [ref]).get(ref)

    def last_genuine_changes(self, kind: str, refs: Collection[str]) -> dict[str, LoggedChange]:
        """As `last_genuine_change`, of each of these objects that has one."""
        found: dict[str, LoggedChange] = {}
        spelled = sorted(refs)
        for first in range(0, len(spelled), _AT_ONCE):
            query = (
                select(*_CHANGE, changes.c.mac)
                .where(changes.c.kind == kind, changes.c.ref.in_(spelled[first : first + _AT_ONCE]))
                .order_by(changes.c.ref, changes.c.position.desc())
            )
            for row in self._session.connection.execute(query):
                if row.ref in found:
                    continue
                change, is_genuine = self._sealed(row)
                if is_genuine:
                    found[change.ref] = change
        return found

    def next_version(self, kind: str, ref: str) -> int:
        """The version that a record must have to stand above every genuine one of this object."""
        change = self.last_genuine_change(kind, ref)
        logged = 0 if change is None else change.version
        return max(logged, self._session.memory.version(kind, ref)) + 1

    def span(self) -> tuple[int, object, object]:
        """How many changes there are, and the first and the last position."""
        position = changes.c.position
        row = self._session.connection.execute(
            select(func.count(), func.min(position), func.max(position)).select_from(changes)
        ).one()
        return int(row[0]), row[1], row[2]

    def last_change(self, kind: str, ref: str) -> tuple[int, int] | None:
        """The position and the time of an object's last change."""
        row = self._session.connection.execute(
            select(changes.c.position, changes.c.at)
            .where(changes.c.kind == kind, changes.c.ref == ref)
            .order_by(changes.c.position.desc())
            .limit(1)
        ).first()
        return None if row is None else (row[0], row[1])

    def newest_at(self) -> int | None:
        """When the newest entry was made."""
        return self._session.connection.execute(
            select(activity.c.created_at).order_by(activity.c.number.desc()).limit(1)
        ).scalar()

    def hash_of(self, number: int) -> bytes | None:
        """The hash of the entry with this number, None where there is none."""
        found = self._session.connection.execute(
            select(activity.c.hash).where(activity.c.number == number)
        ).scalar()
        return found if isinstance(found, bytes) else None

    def blank_expired(self, now: int, *, limit: int) -> int:
        """Takes the content out of at most `limit` entries that have expired; says of how many."""
        numbers = (
            select(activity.c.number)
            .where(activity.c.expires_at <= now, activity.c.action.is_not(None))
            .order_by(activity.c.expires_at)
            .limit(limit)
        )
        return self._session.connection.execute(
            update(activity)
            .where(activity.c.number.in_(numbers.scalar_subquery()))
            .values(dict.fromkeys(_CONTENT))
        ).rowcount

    def count(self) -> int:
        query = select(func.count()).select_from(activity)
        return int(self._session.connection.execute(query).scalar_one())

    def count_changes(self) -> int:
        query = select(func.count()).select_from(changes)
        return int(self._session.connection.execute(query).scalar_one())


def entry_of(row: RowMapping) -> Entry | None:
    """The entry in a row, None where it is not to the letter one that we wrote."""
    try:
        entry = Entry(
            id=UUID(row["id"]),
            workspace_id=None if row["workspace_id"] is None else UUID(row["workspace_id"]),
            actor=Actor(
                type=ActorType(row["actor_type"]),
                id=None if row["actor_id"] is None else UUID(row["actor_id"]),
                label=row["actor_label"],
            ),
            action=row["action"],
            category=Category(row["category"]),
            resource_type=row["resource_type"],
            resource_id=row["resource_id"],
            resource_version=row["resource_version"],
            status=ActivityStatus(row["status"]),
            message=row["message"],
            metadata=json.loads(row["metadata"]),
            request_id=row["request_id"],
            retention_days=row["retention_days"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            position=row["position"],
        )
        is_ours = all(_is_alike(row[name], cell) for name, cell in entry_row(entry).items())
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    has_times = is_instant(entry.created_at) and is_instant(entry.expires_at)
    return entry if is_ours and has_times and _has_types(row) else None


def _is_alike(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _has_types(row: RowMapping) -> bool:
    return (
        all(isinstance(row[name], str) for name in _TEXTS)
        and all(isinstance(row[name], int) for name in _NUMBERS)
        and row["metadata"].startswith("{")
        and isinstance(row["request_id"], str | None)
        and isinstance(row["resource_version"], int | None)
        and isinstance(row["position"], int | None)
    )


def place_of(change: LoggedChange) -> int | None:
    """The position of a change as it stands, None where what stands there is none."""
    position: object = change.position
    return position if isinstance(position, int) else None


def change_row(change: LoggedChange) -> dict[str, Cell]:
    """The columns of a change that are sealed."""
    return {name: getattr(change, name) for name in LoggedChange.__slots__}


def entry_row(entry: Entry) -> dict[str, Cell]:
    """The entry's columns; its content can be rebuilt from them to the letter."""
    return {
        "id": str(entry.id),
        "workspace_id": None if entry.workspace_id is None else str(entry.workspace_id),
        "actor_type": entry.actor.type.value,
        "actor_id": None if entry.actor.id is None else str(entry.actor.id),
        "actor_label": entry.actor.label,
        "action": entry.action,
        "category": entry.category.value,
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "resource_version": entry.resource_version,
        "status": entry.status.value,
        "message": entry.message,
        "metadata": json.dumps(entry.metadata, sort_keys=True, separators=(",", ":")),
        "request_id": entry.request_id,
        "retention_days": entry.retention_days,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "position": entry.position,
    }


def _link_of(row: RowMapping) -> Link:
    is_blank = all(row[name] is None for name in _CONTENT)
    entry = None if is_blank else entry_of(row)
    return Link(
        number=row["number"],
        entry=entry,
        is_unreadable=entry is None and not is_blank,
        is_broken=not (
            all(isinstance(row[name], int) and row[name] >= 0 for name in ("number", "expires_at"))
            and all(isinstance(row[name], bytes) for name in ("content_hash", "hash"))
            and isinstance(row["position"], int | None)
        ),
        expires_at=row["expires_at"],
        position=row["position"],
        content_hash=row["content_hash"],
        hash=row["hash"],
    )


def _wanted(workspace_id: UUID, wanted: ActivityFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [activity.c.workspace_id == str(workspace_id)]
    exact = {
        "category": wanted.category,
        "action": wanted.action,
        "status": wanted.status,
        "resource_type": wanted.resource_type,
        "resource_id": wanted.resource_id,
        "request_id": wanted.request_id,
        "actor_id": wanted.actor_id,
    }
    terms += [activity.c[name] == str(word) for name, word in exact.items() if word is not None]
    if wanted.actor is not None:
        terms.append(
            or_(activity.c.actor_id == wanted.actor, activity.c.actor_label == wanted.actor)
        )
    if wanted.since is not None:
        terms.append(activity.c.created_at >= wanted.since)
    if wanted.until is not None:
        terms.append(activity.c.created_at < wanted.until)
    return and_(*terms)
