"""Reading the activity log, blanking what has outlived its retention, and walking the chain."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, func, or_, select, update

from keyturn.domain.activity import ActivityStatus, Actor, ActorType, Category, Entry
from keyturn.storage.schema import activity, changes
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityFilter:
    """Which entries to list; None asks for any. `actor` is an id or a label."""

    category: Category | None = None
    action: str | None = None
    status: ActivityStatus | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    request_id: str | None = None
    actor: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One entry as it stands in the chain. `entry` is None once its content has been blanked, and
    where what stands there is no entry."""

    number: int
    entry: Entry | None
    is_unreadable: bool
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
        """At most `limit` entries with their numbers, newest first, below number `before`."""
        query = (
            select(activity)
            .where(_wanted(workspace_id, wanted), activity.c.action.is_not(None))
            .order_by(activity.c.number.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(activity.c.number < before)
        rows = self._session.connection.execute(query).mappings()
        return [(row["number"], entry_of(row)) for row in rows]

    def links(self, *, after: int, limit: int) -> Sequence[Link]:
        """The next `limit` links of the chain, in order."""
        rows = self._session.connection.execute(
            select(activity)
            .where(activity.c.number > after)
            .order_by(activity.c.number)
            .limit(limit)
        ).mappings()
        return [_link_of(row) for row in rows]

    def changes(self, *, after: int, limit: int) -> Iterator[tuple[int, str, str, int]]:
        """The next `limit` rows of the change log: position, kind, reference, version."""
        rows = self._session.connection.execute(
            select(changes.c.position, changes.c.kind, changes.c.ref, changes.c.version)
            .where(changes.c.position > after)
            .order_by(changes.c.position)
            .limit(limit)
        )
        for row in rows:
            yield row[0], row[1], row[2], row[3]

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

    def blank_expired(self, now: int, *, limit: int) -> int:
        """Takes the content out of at most `limit` entries that have expired; says of how many."""
        numbers = (
            select(activity.c.number)
            .where(activity.c.expires_at <= now, activity.c.action.is_not(None))
            .order_by(activity.c.number)
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


def entry_of(row: RowMapping) -> Entry:
    """The entry in a row. Raises `ValueError`, `KeyError` or `TypeError` where it is no entry."""
    return Entry(
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


def _link_of(row: RowMapping) -> Link:
    is_blank = all(row[name] is None for name in _CONTENT)
    entry = None
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        entry = None if is_blank else entry_of(row)
    return Link(
        number=row["number"],
        entry=entry,
        is_unreadable=entry is None and not is_blank,
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
