"""Keeping traffic: the counts by hour, raised in the transaction that keeps the requests.

A batch has few different requests: they are told apart first, and a value is worked out once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, case, delete, func, literal, or_, select, tuple_

from keyturn.domain.instant import is_instant
from keyturn.domain.request import Request
from keyturn.domain.traffic import (
    HOUR,
    MOST_VALUES,
    REST,
    Caller,
    Facet,
    Rhythm,
    Tally,
    TrafficRow,
    facets_of,
    hour_of,
)
from keyturn.storage.keys import chunks
from keyturn.storage.records import id_of
from keyturn.storage.schema import traffic
from keyturn.storage.sealed import Damage
from keyturn.storage.session import Session
from keyturn.storage.traffic_values import Spot

_AT_ONCE = 500  # ids in one question

_COUNT = (
    "INSERT INTO traffic (key_id, hour, facet, value, allowed, denied, first_at, last_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key_id, hour, facet, value) DO UPDATE SET"
    " allowed = traffic.allowed + excluded.allowed,"
    " denied = traffic.denied + excluded.denied,"
    " first_at = CASE WHEN excluded.first_at < traffic.first_at"
    " THEN excluded.first_at ELSE traffic.first_at END,"
    " last_at = CASE WHEN excluded.last_at > traffic.last_at"
    " THEN excluded.last_at ELSE traffic.last_at END"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When some callers used some keys within an hour. Where `times` is not None, their requests
    were at these times and at no other."""

    hour: int
    first_at: int
    last_at: int
    times: frozenset[int] | None


_Name = tuple[str, int, str, str]  # key, hour, facet, value


@dataclass(slots=True)
class _Count:
    """What is to be added to a row."""

    first: int
    last: int
    allowed: int = 0
    denied: int = 0

    def add(self, at: int, is_valid: bool) -> None:
        if at < self.first:
            self.first = at
        elif at > self.last:
            self.last = at
        if is_valid:
            self.allowed += 1
        else:
            self.denied += 1

    def merge(self, other: "_Count") -> None:
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.allowed += other.allowed
        self.denied += other.denied


class Traffic:
    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, batch: Iterable[Request]) -> None:
        """Raises the counts of a batch of requests; those without a key count nowhere."""
        alike = _told_apart(batch)
        if not alike:
            return
        self._learn({spot for spot, _, _ in alike})
        rows: dict[_Name, _Count] = {}
        for spot, request, count in alike:
            for facet, value in facets_of(request):
                name = (*spot, facet.value, self._within(spot, facet.value, value))
                row = rows.get(name)
                if row is None:
                    row = rows[name] = _Count(count.first, count.last)
                row.merge(count)
        # In one order always, so that two nodes counting at once cannot wait for each other.
        connection = self._session.connection
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql(
            _COUNT if is_sqlite else _COUNT.replace("?", "%s"),
            [
                (*name, one.allowed, one.denied, one.first, one.last)
                for name, one in sorted(rows.items())
            ],
        )

    def of_keys(self, key_ids: Collection[UUID], since: int, until: int) -> Sequence[TrafficRow]:
        """The rows of these keys whose hours begin from `since` on and before `until`."""
        found: list[TrafficRow] = []
        for chunk in chunks(key_ids):
            query = (
                select(traffic)
                .where(
                    traffic.c.key_id.in_(chunk),
                    traffic.c.hour >= since,
                    traffic.c.hour < until,
                )
                .order_by(traffic.c.key_id, traffic.c.hour, traffic.c.facet, traffic.c.value)
            )
            rows = self._session.connection.execute(query)
            found += [one for row in rows if (one := self._opened(row)) is not None]
        return found

    def hours(self, key_id: UUID, since: int, until: int) -> Sequence[TrafficRow]:
        """The rows of one key by caller, in the order of their hours: they add up to everything."""
        query = (
            select(traffic)
            .where(
                traffic.c.key_id == str(key_id),
                traffic.c.hour >= since,
                traffic.c.hour < until,
                traffic.c.facet == Facet.CALLER.value,
            )
            .order_by(traffic.c.hour, traffic.c.value)
        )
        rows = self._session.connection.execute(query)
        return [one for row in rows if (one := self._opened(row)) is not None]

    def used_for(self, key_ids: Collection[UUID], since: int) -> list[Tally]:
        """What keys were used for since then: the scopes that were asked for, the signs of
        browsers, the calls to Keyturn itself, and with an empty value all requests that came with a
        user agent."""
        is_agent = traffic.c.facet == Facet.AGENT.value
        names = (
            traffic.c.key_id,
            traffic.c.facet,
            case((is_agent, literal("")), else_=traffic.c.value),
        )
        is_own_path = or_(traffic.c.value.like("% /v1/%"), traffic.c.value == REST)
        found: list[Tally] = []
        for chunk in chunks(key_ids):
            query = (
                select(
                    *names,
                    func.sum(traffic.c.allowed),
                    func.sum(traffic.c.denied),
                    func.min(traffic.c.first_at),
                    func.max(traffic.c.last_at),
                )
                .where(
                    traffic.c.key_id.in_(chunk),
                    traffic.c.hour >= since,
                    or_(
                        traffic.c.facet.in_((Facet.SCOPE.value, Facet.BROWSER.value)),
                        is_agent,
                        and_(traffic.c.facet == Facet.PATH.value, is_own_path),
                    ),
                )
                .group_by(*names)
            )
            rows = self._session.connection.execute(query)
            found += [one for row in rows if (one := self._tallied(tuple(row))) is not None]
        return found

    def sums(
        self, key_ids: Collection[UUID], since: int, until: int, without: Collection[int] = ()
    ) -> list[Tally]:
        """The counts of each key by facet and value, over the hours that begin from `since` on and
        before `until`, without some."""
        found: list[Tally] = []
        for chunk in chunks(key_ids):
            query = (
                select(
                    traffic.c.key_id,
                    traffic.c.facet,
                    traffic.c.value,
                    func.sum(traffic.c.allowed),
                    func.sum(traffic.c.denied),
                    func.min(traffic.c.first_at),
                    func.max(traffic.c.last_at),
                )
                .where(traffic.c.key_id.in_(chunk), traffic.c.hour >= since, traffic.c.hour < until)
                .group_by(traffic.c.key_id, traffic.c.facet, traffic.c.value)
            )
            if without:
                query = query.where(traffic.c.hour.not_in(sorted(without)))
            rows = self._session.connection.execute(query)
            found += [one for row in rows if (one := self._tallied(tuple(row))) is not None]
        return found

    def _tallied(self, cells: tuple[Any, ...]) -> Tally | None:
        try:
            numbers = [int(one) for one in cells[3:]]
            if not all(map(is_instant, numbers)):
                raise ValueError("no number")
            return Tally(
                key_id=UUID(cells[0]),
                facet=Facet(cells[1]),
                value=_text(cells[2]),
                allowed=numbers[0],
                denied=numbers[1],
                first_at=numbers[2],
                last_at=numbers[3],
            )
        except (ValueError, TypeError, AttributeError):
            self._session.damage.append(Damage("traffic", str(cells[0])))
            return None

    def totals(
        self, key_ids: Collection[UUID], hours: Collection[int]
    ) -> dict[tuple[UUID, int], int]:
        """How many requests each key has in each of these hours."""
        found: dict[tuple[UUID, int], int] = {}
        for chunk in chunks(key_ids):
            rows = self._session.connection.execute(
                select(
                    traffic.c.key_id,
                    traffic.c.hour,
                    func.sum(traffic.c.allowed + traffic.c.denied),
                )
                .where(
                    traffic.c.key_id.in_(chunk),
                    traffic.c.hour.in_(sorted(hours)),
                    traffic.c.facet == Facet.CALLER.value,
                )
                .group_by(traffic.c.key_id, traffic.c.hour)
            )
            found |= {(UUID(key_id), hour): int(count) for key_id, hour, count in rows}
        return found

    def cut_hours(self, key_ids: Collection[UUID], since: int, until: int) -> dict[UUID, set[int]]:
        """The hours of each key in which there were more callers than are told apart."""
        found: dict[UUID, set[int]] = {}
        for chunk in chunks(key_ids):
            rows = self._session.connection.execute(
                select(traffic.c.key_id, traffic.c.hour).where(
                    traffic.c.key_id.in_(chunk),
                    traffic.c.hour >= since,
                    traffic.c.hour < until,
                    traffic.c.facet == Facet.CALLER.value,
                    traffic.c.value == REST,
                )
            )
            for key_id, hour in rows:
                found.setdefault(UUID(key_id), set()).add(hour)
        return found

    def spans(
        self, key_ids: Collection[UUID], callers: Collection[Caller], since: int, until: int
    ) -> list[Span]:
        """The hours in which these callers used these keys, newest first."""
        found: dict[int, list[TrafficRow]] = {}
        names = sorted(one.spelled for one in callers)
        for chunk in chunks(key_ids):
            for first in range(0, len(names), _AT_ONCE):
                rows = self._session.connection.execute(
                    select(traffic).where(
                        traffic.c.key_id.in_(chunk),
                        traffic.c.hour >= since,
                        traffic.c.hour < until,
                        traffic.c.facet == Facet.CALLER.value,
                        traffic.c.value.in_([*names[first : first + _AT_ONCE], REST]),
                    )
                )
                for row in rows:
                    one = self._opened(row)
                    if one is not None:
                        found.setdefault(one.hour, []).append(one)
        return [_span(hour, found[hour]) for hour in sorted(found, reverse=True)]

    def rhythm(self, key_ids: Collection[UUID], since: int, until: int) -> list[Rhythm]:
        """How each key was used over the hours of the day."""
        found: list[Rhythm] = []
        for chunk in chunks(key_ids):
            total = func.sum(traffic.c.allowed + traffic.c.denied).label("total")
            hourly = (
                select(traffic.c.key_id, traffic.c.hour, total)
                .where(
                    traffic.c.key_id.in_(chunk),
                    traffic.c.hour >= since,
                    traffic.c.hour < until,
                    traffic.c.facet == Facet.CALLER.value,
                )
                .group_by(traffic.c.key_id, traffic.c.hour)
                .subquery()
            )
            hour_of_day = (hourly.c.hour.op("/")(HOUR).op("%")(24)).label("hour_of_day")
            rows = self._session.connection.execute(
                select(
                    hourly.c.key_id,
                    hour_of_day,
                    func.sum(hourly.c.total),
                    func.max(hourly.c.total),
                    func.count(),
                ).group_by(hourly.c.key_id, "hour_of_day")
            )
            found += [
                Rhythm(
                    key_id=UUID(key_id),
                    hour_of_day=int(hour),
                    requests=int(requests),
                    busiest=int(busiest),
                    hours=int(hours),
                )
                for key_id, hour, requests, busiest, hours in rows
            ]
        return found

    def begins_at(self, key_id: UUID) -> int | None:
        """The first hour of a key that there is anything of."""
        query = select(func.min(traffic.c.hour)).where(traffic.c.key_id == str(key_id))
        found = self._session.connection.execute(query).scalar()
        return found if is_instant(found) else None

    def earliest(self) -> int | None:
        """The first hour that there is anything of, of any key."""
        found = self._session.connection.execute(select(func.min(traffic.c.hour))).scalar()
        return found if is_instant(found) else None

    def keys_since(self, hour: int, *, limit: int) -> Sequence[UUID]:
        """At most `limit` keys of which there is anything from this hour on."""
        query = select(traffic.c.key_id).where(traffic.c.hour >= hour).distinct().limit(limit)
        found = map(id_of, self._session.connection.execute(query).scalars())
        return [one for one in found if one is not None]

    def purge(self, before: int, *, limit: int) -> int:
        """Deletes at most `limit` rows of hours that began before `before`; says how many."""
        names = (traffic.c.key_id, traffic.c.hour, traffic.c.facet, traffic.c.value)
        old = select(*names).where(traffic.c.hour < before).order_by(traffic.c.hour).limit(limit)
        return self._session.connection.execute(
            delete(traffic).where(tuple_(*names).in_(old))
        ).rowcount

    def _opened(self, row: Row[*tuple[Any, ...]]) -> TrafficRow | None:
        """The row, None where it is none: traffic is not sealed."""
        cells = row._mapping
        try:
            numbers = [cells[name] for name in ("hour", "first_at", "last_at")]
            counts = [cells[name] for name in ("allowed", "denied")]
            if not all(map(is_instant, numbers)) or not all(map(is_instant, counts)):
                raise ValueError("no number")
            return TrafficRow(
                key_id=UUID(cells["key_id"]),
                hour=numbers[0],
                facet=Facet(cells["facet"]),
                value=_text(cells["value"]),
                allowed=counts[0],
                denied=counts[1],
                first_at=numbers[1],
                last_at=numbers[2],
            )
        except (ValueError, TypeError, AttributeError):
            self._session.damage.append(Damage("traffic", str(cells["key_id"])))
            return None

    def _within(self, spot: Spot, facet: str, value: str) -> str:
        """The value that one is counted as: itself, or the rest where there are too many."""
        values = self._session.memory.traffic
        known = values.begin(spot).get(facet, ())
        if hash(value) not in known:
            if len(known) >= MOST_VALUES:
                return REST
            values.learn(spot, facet, value)
        return value

    def _learn(self, spots: set[Spot]) -> None:
        """Reads which values there are of the hours that this process has not written to."""
        values = self._session.memory.traffic
        values.make_room(len(spots))
        unknown = sorted(spot for spot in spots if values.of(spot) is None)
        for first in range(0, len(unknown), _AT_ONCE):
            some = set(unknown[first : first + _AT_ONCE])
            for spot in some:
                values.begin(spot)
            query = select(
                traffic.c.key_id, traffic.c.hour, traffic.c.facet, traffic.c.value
            ).where(
                traffic.c.key_id.in_(sorted({one[0] for one in some})),
                traffic.c.hour.in_(sorted({one[1] for one in some})),
            )
            for key_id, hour, facet, value in self._session.connection.execute(query):
                if (key_id, hour) in some:
                    values.learn((key_id, hour), facet, value)


def _span(hour: int, rows: list[TrafficRow]) -> Span:
    are_ends = all(row.requests <= 2 and not row.is_rest for row in rows)
    ends = frozenset(at for row in rows for at in (row.first_at, row.last_at))
    return Span(hour=hour, first_at=min(ends), last_at=max(ends), times=ends if are_ends else None)


def _told_apart(batch: Iterable[Request]) -> list[tuple[Spot, Request, _Count]]:
    """A batch's requests of keys, one of each that differs in what is counted."""
    found: dict[tuple[object, ...], tuple[Spot, Request, _Count]] = {}
    for request in batch:
        if request.key_id is None:
            continue
        at = request.at
        hour = hour_of(at)
        name = (
            request.key_id,
            hour,
            request.runtime.name,
            request.runtime.declared,
            request.address if request.named_network is None else request.named_network,
            request.method,
            request.path,
            request.scopes,
            request.user_agent,
            request.environment,
            request.country,
            request.browser,
        )
        one = found.get(name)
        if one is None:
            one = found[name] = ((str(request.key_id), hour), request, _Count(at, at))
        one[2].add(at, request.is_valid)
    return list(found.values())


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise TypeError("no text")
    return cell
