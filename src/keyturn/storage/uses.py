"""Counting who uses a key: by runtime, by the environment that it says, by the place of the call.

1. An identity is (runtime, declared, environment, place); in the table an unknown one is ''.
2. A key has at most `MOST_RUNTIMES_OF_A_KEY` runtimes, the rest are counted together as `other`; a
   runtime has at most `MOST_ROWS_OF_A_RUNTIME` rows, the rest are counted as at the place `other`.
3. The longest gap is between two allowed uses of the *runtime*, over all its rows, and stands on
   the row of the later one. Where two nodes count one runtime at once it may come out too long.
4. A check-in that was allowed is no use: it moves `checked_in_at` alone.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row, and_, func, select, text

from keyturn.domain.evidence import Use, is_registered
from keyturn.domain.instant import is_instant
from keyturn.domain.request import LONGEST_ENVIRONMENT, LONGEST_PLACE, Request, recordable
from keyturn.domain.runtime import MOST_RUNTIMES_OF_A_KEY, OTHER, Runtime
from keyturn.domain.seal import Cell
from keyturn.storage.keys import chunks
from keyturn.storage.schema import IS_OVERFLOW, key_usage, keys, slots, uses
from keyturn.storage.sealed import Damage
from keyturn.storage.session import Session

MOST_ROWS_OF_A_RUNTIME = 64
UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerUse:
    """Allowed uses of a key of which there is no request: `allowed` of them, the first and the last
    at these times."""

    key_id: UUID
    runtime: Runtime
    environment: str | None
    place: str | None
    first_at: int
    last_at: int
    allowed: int


# key, runtime, declared; and with the environment and the place.
_Name = tuple[str, str, int]
_Identity = tuple[str, str, int, str, str]
_Stretch = tuple[int, int, int]  # first, last, how many


@dataclass(slots=True)
class _Count:
    """What is to be added to a row."""

    first: int | None = None
    last: int | None = None
    denied_at: int | None = None
    checked_in_at: int | None = None
    gap: int | None = None
    allowed: int = 0
    denied: int = 0
    stretches: list[_Stretch] = field(default_factory=list)

    def add(self, request: Request, *, is_use: bool = True) -> None:
        if not request.is_valid:
            self.denied += 1
            self.denied_at = _later(self.denied_at, request.at)
        elif request.is_check_in and is_use:
            self.checked_in_at = _later(self.checked_in_at, request.at)
        else:
            self.stretch(request.at, request.at, 1)

    def stretch(self, first: int, last: int, allowed: int) -> None:
        self.allowed += allowed
        self.first = first if self.first is None else min(self.first, first)
        self.last = _later(self.last, last)
        self.stretches.append((first, last, allowed))

    def merge(self, other: "_Count") -> None:
        self.denied += other.denied
        self.denied_at = _later(self.denied_at, other.denied_at)
        self.checked_in_at = _later(self.checked_in_at, other.checked_in_at)
        for one in other.stretches:
            self.stretch(*one)

    def cells(self) -> dict[str, Cell]:
        return {
            "first": self.first,
            "last": self.last,
            "denied_at": self.denied_at,
            "checked_in_at": self.checked_in_at,
            "gap": self.gap,
            "allowed": self.allowed,
            "denied": self.denied,
        }


def _later(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


_COUNT_KEY = text(
    "INSERT INTO key_usage (key_id, last_used_at, allowed, denied)"
    " VALUES (:key_id, :last, :allowed, :denied)"
    " ON CONFLICT (key_id) DO UPDATE SET"
    " last_used_at = CASE WHEN excluded.last_used_at > coalesce(key_usage.last_used_at, 0)"
    " THEN excluded.last_used_at ELSE key_usage.last_used_at END,"
    " allowed = key_usage.allowed + excluded.allowed,"
    " denied = key_usage.denied + excluded.denied"
)


_COUNT_USE = text(
    "INSERT INTO uses (key_id, runtime, declared, environment, place, first_seen_at, last_seen_at,"
    " last_denied_at, checked_in_at, longest_gap, allowed, denied)"
    " VALUES (:key_id, :runtime, :declared, :environment, :place, :first, :last,"
    " :denied_at, :checked_in_at, :gap, :allowed, :denied)"
    " ON CONFLICT (key_id, runtime, declared, environment, place) DO UPDATE SET"
    " first_seen_at = CASE WHEN uses.first_seen_at IS NULL"
    " OR excluded.first_seen_at < uses.first_seen_at"
    " THEN coalesce(excluded.first_seen_at, uses.first_seen_at)"
    " ELSE uses.first_seen_at END,"
    " last_seen_at = CASE WHEN excluded.last_seen_at > coalesce(uses.last_seen_at, 0)"
    " THEN excluded.last_seen_at ELSE uses.last_seen_at END,"
    " last_denied_at = CASE WHEN excluded.last_denied_at > coalesce(uses.last_denied_at, 0)"
    " THEN excluded.last_denied_at ELSE uses.last_denied_at END,"
    " checked_in_at = CASE WHEN excluded.checked_in_at > coalesce(uses.checked_in_at, 0)"
    " THEN excluded.checked_in_at ELSE uses.checked_in_at END,"
    " longest_gap = CASE WHEN excluded.longest_gap > coalesce(uses.longest_gap, 0)"
    " THEN excluded.longest_gap ELSE uses.longest_gap END,"
    " allowed = uses.allowed + excluded.allowed,"
    " denied = uses.denied + excluded.denied"
)


class Uses:
    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, batch: Iterable[Request]) -> None:
        """Raises the counts of a batch of requests; those without a key count nowhere."""
        of_keys: dict[str, _Count] = defaultdict(_Count)
        found: dict[_Identity, _Count] = defaultdict(_Count)
        for request in batch:
            if request.key_id is not None:
                key_id = str(request.key_id)
                of_keys[key_id].add(request, is_use=False)
                found[_identity(key_id, request)].add(request)
        self._write(of_keys, found)

    def note(self, noted: Sequence[CallerUse]) -> None:
        """Raises the counts of uses of which there is no request."""
        of_keys: dict[str, _Count] = defaultdict(_Count)
        found: dict[_Identity, _Count] = defaultdict(_Count)
        for one in noted:
            key_id = str(one.key_id)
            for count in (of_keys[key_id], found[_identity(key_id, one)]):
                count.stretch(one.first_at, one.last_at, one.allowed)
        self._write(of_keys, found)

    def of(self, key_ids: Collection[UUID]) -> list[Use]:
        """How these keys were used, by whom and from where. A row that is none is left out."""
        if not key_ids:
            return []
        query = select(uses).where(uses.c.key_id.in_(sorted(map(str, key_ids))))
        rows = self._session.connection.execute(query)
        return [use for row in rows if (use := self._opened(row)) is not None]

    def of_since(self, key_ids: Collection[UUID], since: int) -> list[Use]:
        """As `of`, of the uses that were allowed since then, for any number of keys."""
        found: list[Use] = []
        for chunk in chunks(key_ids):
            query = select(uses).where(uses.c.key_id.in_(chunk), uses.c.last_seen_at >= since)
            rows = self._session.connection.execute(query)
            found += [use for row in rows if (use := self._opened(row)) is not None]
        return found

    def tally(self, key_ids: Collection[UUID]) -> int:
        """How often these keys were used, allowed or denied: a number that every use changes."""
        query = select(func.coalesce(func.sum(uses.c.allowed + uses.c.denied), 0)).where(
            uses.c.key_id.in_(sorted(map(str, key_ids)))
        )
        return int(self._session.connection.execute(query).scalar_one())

    def marks(self, key_ids: Collection[UUID]) -> dict[UUID, str]:
        """Of each of these keys that was ever used, what every use and check-in changes."""
        query = select(key_usage).where(key_usage.c.key_id.in_(sorted(map(str, key_ids))))
        rows = self._session.connection.execute(query)
        return {UUID(id_): f"{last}/{allowed}/{denied}" for id_, last, allowed, denied in rows}

    def overflowing(self, limit: int) -> list[str]:
        """The ids of at most `limit` keys with more runtimes than are told apart."""
        query = (
            select(uses.c.key_id)
            .where(text(IS_OVERFLOW), uses.c.declared == 0)
            .distinct()
            .order_by(uses.c.key_id)
            .limit(limit)
        )
        return [str(one) for one in self._session.connection.execute(query).scalars()]

    def _opened(self, row: Row[*tuple[Any, ...]]) -> Use | None:
        """The use in a row. Uses are not sealed; what is none at all is left out."""
        cells = row._mapping
        try:
            return Use(
                key_id=UUID(cells["key_id"]),
                runtime=_text(cells["runtime"]),
                declared=bool(cells["declared"]),
                environment=_text(cells["environment"]) or None,
                place=_text(cells["place"]) or None,
                first_seen_at=_instant(cells["first_seen_at"]),
                last_seen_at=_instant(cells["last_seen_at"]),
                last_denied_at=_instant(cells["last_denied_at"]),
                checked_in_at=_instant(cells["checked_in_at"]),
                longest_gap=_instant(cells["longest_gap"]),
                allowed=_number(cells["allowed"]),
                denied=_number(cells["denied"]),
            )
        except (ValueError, TypeError, AttributeError):
            self._session.damage.append(Damage("use", str(cells["key_id"])))
            return None

    def _write(self, of_keys: dict[str, _Count], found: dict[_Identity, _Count]) -> None:
        """Raises all counts, in one order always, so that two nodes counting at once cannot wait
        for each other."""
        if not of_keys:
            return
        self._session.connection.execute(
            _COUNT_KEY,
            [
                {
                    "key_id": key_id,
                    "last": count.last,
                    "allowed": count.allowed,
                    "denied": count.denied,
                }
                for key_id, count in sorted(of_keys.items())
            ],
        )
        bounds = _Bounds(self._session, found)
        merged: dict[_Identity, _Count] = defaultdict(_Count)
        for identity, count in sorted(found.items()):
            merged[bounds.within(identity)].merge(count)
        _measure_gaps(merged, bounds.last_seen)
        self._session.connection.execute(
            _COUNT_USE,
            [
                {
                    "key_id": identity[0],
                    "runtime": identity[1],
                    "declared": identity[2],
                    "environment": identity[3],
                    "place": identity[4],
                    **count.cells(),
                }
                for identity, count in sorted(merged.items())
            ],
        )


class _Bounds:
    """What the table has of the runtimes in a batch, and so which rows it may get."""

    def __init__(self, session: Session, wanted: Iterable[_Identity]) -> None:
        self._connection = session.connection
        self.last_seen: dict[_Name, int] = {}
        self._rows: dict[_Name, set[tuple[str, str]]] = defaultdict(set)
        self._runtimes: dict[str, set[tuple[str, int]]] = {}
        self._registered: dict[str, dict[str, None]] = {}
        wanted = list(wanted)
        rows = self._connection.execute(
            select(
                uses.c.key_id,
                uses.c.runtime,
                uses.c.declared,
                uses.c.environment,
                uses.c.place,
                uses.c.last_seen_at,
            ).where(
                uses.c.key_id.in_(sorted({one[0] for one in wanted})),
                uses.c.runtime.in_(sorted({OTHER, *(one[1] for one in wanted)})),
            )
        )
        for key_id, runtime, declared, environment, place, last in rows:
            name = (key_id, runtime, declared)
            self._rows[name].add((environment, place))
            if is_instant(last):
                self.last_seen[name] = max(self.last_seen.get(name, 0), last)
        unknown = {one[0] for one in wanted if one[:3] not in self._rows}
        self._count_runtimes(unknown)

    def within(self, identity: _Identity) -> _Identity:
        """The row that an identity is counted in."""
        name, spot = identity[:3], identity[3:]
        if name not in self._rows:
            mine = self._runtimes[name[0]]
            if len(mine) >= MOST_RUNTIMES_OF_A_KEY and not self._is_registered(name):
                return (name[0], OTHER, 0, UNKNOWN, UNKNOWN)
            mine.add(name[1:])
        rows = self._rows[name]
        if spot not in rows and len(rows - {_ELSEWHERE}) >= MOST_ROWS_OF_A_RUNTIME:
            spot = _ELSEWHERE
        rows.add(spot)
        return (*name, *spot)

    def _is_registered(self, name: _Name) -> bool:
        """Whether the key's slot names this runtime: whoever fills the table with made-up names
        must not hide it. Read as it stands; it only gives a row of its own."""
        key_id, runtime, declared = name
        if key_id not in self._registered:
            query = (
                select(slots.c.runtimes)
                .select_from(
                    keys.join(
                        slots,
                        and_(
                            slots.c.workspace_id == keys.c.workspace_id,
                            slots.c.service == keys.c.service,
                            slots.c.environment == keys.c.environment,
                        ),
                    )
                )
                .where(keys.c.id == key_id)
            )
            self._registered[key_id] = _names_in(self._connection.execute(query).scalar())
        return is_registered((runtime, bool(declared)), self._registered[key_id])

    def _count_runtimes(self, key_ids: set[str]) -> None:
        """Reads the runtimes of the keys that have met a new one; `other` is none."""
        self._runtimes = {key_id: set() for key_id in key_ids}
        if not key_ids:
            return
        found = self._connection.execute(
            select(uses.c.key_id, uses.c.runtime, uses.c.declared)
            .where(uses.c.key_id.in_(sorted(key_ids)), uses.c.runtime != OTHER)
            .distinct()
        )
        for key_id, runtime, declared in found:
            self._runtimes[key_id].add((runtime, declared))


_ELSEWHERE = (UNKNOWN, OTHER)


def _names_in(cell: object) -> dict[str, None]:
    """The names of the runtimes in a slot's cell, none where what stands there is no such list."""
    try:
        return {name: None for name, _ in json.loads(cell)} if isinstance(cell, str) else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _measure_gaps(counts: dict[_Identity, _Count], last_seen: dict[_Name, int]) -> None:
    """Sets the longest gap of each row. Within a stretch of n uses it is at least the (n-1)th part
    of the stretch, and no more is known."""
    runs: dict[_Name, list[tuple[_Stretch, _Count]]] = defaultdict(list)
    for identity, count in counts.items():
        runs[identity[:3]] += [(one, count) for one in count.stretches]
    for name, run in runs.items():
        before = last_seen.get(name)
        for (first, last, allowed), count in sorted(run, key=lambda one: one[0]):
            if before is not None and first > before:
                count.gap = _later(count.gap, first - before)
            if allowed > 1 and last > first:
                count.gap = _later(count.gap, (last - first) // (allowed - 1))
            before = _later(before, last)


def _identity(key_id: str, one: Request | CallerUse) -> _Identity:
    return (
        key_id,
        one.runtime.name,
        int(one.runtime.declared),
        recordable(one.environment, LONGEST_ENVIRONMENT) or UNKNOWN,
        recordable(one.place, LONGEST_PLACE) or UNKNOWN,
    )


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise TypeError("no text")
    return cell


def _instant(cell: object) -> int | None:
    if cell is not None and not is_instant(cell):
        raise ValueError("no time")
    return cast("int | None", cell)


def _number(cell: object) -> int:
    if type(cell) is not int or cell < 0:
        raise ValueError("no count")
    return cell
