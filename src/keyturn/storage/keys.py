"""Keeping keys. Every look-up is by workspace and id: a foreign id behaves as one that is none."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Join, Select, and_, exists, false, func, or_, select, true

from keyturn.domain.instant import is_instant
from keyturn.domain.key import Key, KeyState, KeyStatus
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.slot import Slot
from keyturn.storage.records import KEYS, SLOTS, id_of, key_of, key_row, slot_of
from keyturn.storage.schema import deliveries, key_usage, keys, slots
from keyturn.storage.sealed import cells_of
from keyturn.storage.session import Session
from keyturn.storage.slots import name_matches
from keyturn.storage.workspaces import Workspaces

CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key with what stands beside it: its slot, when it was last used, and the policy of its
    workspace."""

    key: Key
    slot: Slot | None
    last_used_at: int | None
    policy: RotationPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFilter:
    """Which keys to list. None asks for any; `slots` are patterns, `("*",)` for all. `destination`
    is of keys that were delivered there, or whose slot names it; `since` and `until` are of when
    they were made."""

    status: KeyStatus | None
    now: int
    slots: tuple[str, ...] = ("*",)
    service: str | None = None
    environment: str | None = None
    owner: str | None = None
    created_by: UUID | None = None
    destination: str | None = None
    since: int | None = None
    until: int | None = None
    is_revoked: bool | None = None


class Keys:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: Key) -> None:
        KEYS.insert(self._session.connection, self._session.sealer, key_row(key))

    def replace(self, key: Key, expected: int) -> None:
        """Writes `key` over version `expected`. Raises `VersionMoved` where another stands."""
        KEYS.replace(self._session.connection, self._session.sealer, key_row(key), expected)

    def replace_all(self, changed: Sequence[tuple[Key, int]]) -> None:
        """As `replace`, for many, each over the version beside it."""
        rows = [(key_row(key), expected) for key, expected in changed]
        KEYS.replace_all(self._session.connection, self._session.sealer, rows)

    def among(
        self, workspace_id: UUID, ids: Collection[UUID]
    ) -> tuple[dict[UUID, Key], frozenset[UUID]]:
        """Those of the keys that there are, by id, and the ids of those whose row is damaged."""
        found: dict[UUID, Key] = {}
        damaged = set()
        for chunk in chunks(ids):
            query = select(*KEYS.selection()).where(
                keys.c.workspace_id == str(workspace_id), keys.c.id.in_(chunk)
            )
            for row in self._session.connection.execute(query):
                key = self._session.open(KEYS, tuple(row), key_of, str(row[0]))
                if key is None:
                    damaged.add(UUID(row[0]))
                else:
                    found[key.id] = key
        return found, frozenset(damaged)

    def made_by(self, workspace_id: UUID, makers: Collection[UUID]) -> Sequence[Key]:
        """The keys that any of these keys or operators has made. Damaged rows are left out."""
        found = []
        for chunk in chunks(makers):
            query = (
                select(*KEYS.selection())
                .where(keys.c.workspace_id == str(workspace_id), keys.c.created_by.in_(chunk))
                .order_by(keys.c.id)
            )
            for row in self._session.connection.execute(query):
                key = self._session.open(KEYS, tuple(row), key_of, str(row[0]))
                found += [] if key is None else [key]
        return found

    def find(self, workspace_id: UUID, id: UUID) -> Key | None:  # noqa: A002
        """The key, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            select(*KEYS.selection()).where(
                keys.c.workspace_id == str(workspace_id), keys.c.id == str(id)
            )
        ).first()
        return None if row is None else self._session.require(KEYS, tuple(row), key_of, str(id))

    def view(self, workspace_id: UUID, id: UUID) -> KeyView | None:  # noqa: A002
        """The key with its slot and last use, or None. Raises `IntegrityFailed` as `find`."""
        row = self._session.connection.execute(
            _views().where(keys.c.workspace_id == str(workspace_id), keys.c.id == str(id))
        ).first()
        if row is None:
            return None
        key = self._session.require(KEYS, cells_of(row, 0, KEYS.width), key_of, str(id))
        return self._viewed(key, row, Workspaces(self._session).policy_of(workspace_id))

    def bury(self, key: Key) -> None:
        """Puts a revoked record in the place of a damaged one."""
        KEYS.overwrite(self._session.connection, self._session.sealer, key_row(key))

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a key says it is in, for an operator who names a key alone."""
        found = self._session.connection.execute(
            select(keys.c.workspace_id).where(keys.c.id == str(id))
        ).scalar()
        return id_of(found)

    def list(
        self, workspace_id: UUID, wanted: KeyFilter, *, limit: int, before: UUID | None
    ) -> Sequence[KeyView]:
        """At most `limit` keys, newest first, from `before` on. Damaged rows are left out."""
        query = _views().where(_wanted(workspace_id, wanted)).order_by(keys.c.id.desc())
        if before is not None:
            query = query.where(keys.c.id < str(before))
        policy = Workspaces(self._session).policy_of(workspace_id)
        return self._session.gather(query, limit, lambda row: self._opened(row, policy))

    def lived(
        self,
        workspace_id: UUID,
        slots: tuple[str, ...],
        since: int,
        until: int,
        *,
        limit: int,
        before: UUID | None,
    ) -> Sequence[KeyView]:
        """At most `limit` keys, newest first, from `before` on, that were neither revoked nor
        expired at some moment from `since` on and before `until`. Damaged rows are left out."""
        query = (
            _views()
            .where(
                keys.c.workspace_id == str(workspace_id),
                in_slots(slots),
                keys.c.created_at < until,
                or_(keys.c.revoked_at.is_(None), keys.c.revoked_at >= since),
                or_(keys.c.expires_at.is_(None), keys.c.expires_at >= since),
            )
            .order_by(keys.c.id.desc())
        )
        if before is not None:
            query = query.where(keys.c.id < str(before))
        policy = Workspaces(self._session).policy_of(workspace_id)
        return self._session.gather(query, limit, lambda row: self._opened(row, policy))

    def active(self, *, after: UUID | None, limit: int) -> Sequence[Key]:
        """The next `limit` keys of any workspace that are stored as active, in the order of their
        id. Damaged rows are left out."""
        query = (
            select(*KEYS.selection())
            .where(keys.c.status == KeyState.ACTIVE.value)
            .order_by(keys.c.id)
        )
        if after is not None:
            query = query.where(keys.c.id > str(after))
        return self._session.gather(
            query, limit, lambda row: self._session.open(KEYS, tuple(row), key_of, str(row[0]))
        )

    def count(self, workspace_id: UUID, wanted: KeyFilter) -> int:
        query = select(func.count()).select_from(_joined()).where(_wanted(workspace_id, wanted))
        return int(self._session.connection.execute(query).scalar_one())

    def _opened(self, row: Sequence[Any], policy: RotationPolicy | None) -> KeyView | None:
        cells = cells_of(row, 0, KEYS.width)
        key = self._session.open(KEYS, cells, key_of, str(cells[0]))
        return None if key is None else self._viewed(key, row, policy)

    def _viewed(self, key: Key, row: Sequence[Any], policy: RotationPolicy | None) -> KeyView:
        slot = None
        if row[KEYS.width] is not None:
            cells = tuple(row[KEYS.width : KEYS.width + SLOTS.width])
            ref = f"{key.workspace_id}/{key.slot}"
            slot = self._session.open(SLOTS, cells, slot_of, ref)
        last_used_at = row[-1]
        return KeyView(
            key=key,
            slot=slot,
            last_used_at=last_used_at if is_instant(last_used_at) else None,
            policy=policy,
        )


def chunks(ids: Collection[UUID]) -> Iterable[Sequence[str]]:
    """The ids as texts, in order, a few hundred at a time: an engine takes so many parameters."""
    spelled = sorted(map(str, ids))
    for start in range(0, len(spelled), CHUNK):
        yield spelled[start : start + CHUNK]


def _joined() -> Join:
    return keys.outerjoin(
        slots,
        and_(
            slots.c.workspace_id == keys.c.workspace_id,
            slots.c.service == keys.c.service,
            slots.c.environment == keys.c.environment,
        ),
    )


def _views() -> Select[*tuple[Any, ...]]:
    # A subquery, not a join: for a page of keys a join may be planned as a walk over all of them.
    last_used_at = (
        select(key_usage.c.last_used_at).where(key_usage.c.key_id == keys.c.id).scalar_subquery()
    )
    return select(*KEYS.selection(), *SLOTS.selection(), last_used_at).select_from(_joined())


def _wanted(workspace_id: UUID, wanted: KeyFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [
        keys.c.workspace_id == str(workspace_id),
        _in_status(wanted.status, wanted.now),
        in_slots(wanted.slots),
    ]
    if wanted.service is not None:
        terms.append(keys.c.service == wanted.service)
    if wanted.environment is not None:
        terms.append(keys.c.environment == wanted.environment)
    if wanted.owner is not None:
        terms.append(slots.c.owner == wanted.owner)
    if wanted.created_by is not None:
        terms.append(keys.c.created_by == str(wanted.created_by))
    if wanted.is_revoked is not None:
        is_revoked = keys.c.status == KeyState.REVOKED.value
        terms.append(is_revoked if wanted.is_revoked else ~is_revoked)
    if wanted.since is not None:
        terms.append(keys.c.created_at >= wanted.since)
    if wanted.until is not None:
        terms.append(keys.c.created_at < wanted.until)
    if wanted.destination is not None:
        terms.append(_reaches(wanted.destination))
    return and_(*terms)


def _reaches(destination: str) -> ColumnElement[bool]:
    """Whether a key was delivered to a destination, or its slot names it, so that it may stand
    there. The cell is canonical JSON of names that have no quote in them."""
    was_sent = exists().where(
        deliveries.c.key_id == keys.c.id,
        deliveries.c.workspace_id == keys.c.workspace_id,
        deliveries.c.destination == destination,
    )
    is_named = slots.c.destinations.contains(f'"{destination}"', autoescape=True)
    return or_(was_sent, is_named)


def _in_status(status: KeyStatus | None, now: int) -> ColumnElement[bool]:
    expired = and_(keys.c.expires_at.is_not(None), keys.c.expires_at <= now)
    match status:
        case None:
            return true()
        case KeyStatus.REVOKED:
            return keys.c.status == KeyState.REVOKED.value
        case KeyStatus.EXPIRED:
            return and_(keys.c.status != KeyState.REVOKED.value, expired)
        case KeyStatus.ACTIVE | KeyStatus.SUSPENDED:
            return and_(
                keys.c.status == status.value,
                or_(keys.c.expires_at.is_(None), keys.c.expires_at > now),
            )


def in_slots(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    """Whether a key's slot is among the patterns that a narrowed permission reaches."""
    if "*" in patterns:
        return true()
    return or_(
        false(), *(name_matches(keys.c.service, keys.c.environment, one) for one in patterns)
    )
