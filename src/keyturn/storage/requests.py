"""Keeping requests. The counts that follow from them stand in `uses.py`."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, delete, func, select, true, tuple_

from keyturn.domain.instant import is_instant
from keyturn.domain.network import Network, sort_key, sort_range
from keyturn.domain.request import (
    LONGEST_ENVIRONMENT,
    LONGEST_METHOD,
    LONGEST_USER_AGENT,
    Request,
    recordable,
    recordable_path,
)
from keyturn.domain.seal import Cell
from keyturn.domain.traffic import Caller, Facet, Tally, facets
from keyturn.storage.keys import chunks, in_slots
from keyturn.storage.schema import keys, requests
from keyturn.storage.sealed import Damage
from keyturn.storage.session import Session
from keyturn.storage.traffic import Traffic
from keyturn.storage.uses import Uses


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as it was kept. `ip` is text, `at` microseconds."""

    id: str
    request_id: str
    at: int
    key_id: str | None
    valid: bool
    code: str
    runtime: str
    declared: bool
    ip: str | None
    user_agent: str | None
    method: str | None
    path: str | None
    scopes: tuple[str, ...]
    environment: str | None
    named_network: str | None = None
    country: str | None = None
    browser: str | None = None

    @property
    def network(self) -> str | None:
        """Where it came from: the workspace's name for the network, else the address."""
        return self.ip if self.named_network is None else self.named_network


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Which requests to list; None asks for any. `path` is a prefix, `slots` are patterns."""

    slots: tuple[str, ...] = ("*",)
    key_id: UUID | None = None
    request_id: str | None = None
    runtime: str | None = None
    network: Network | None = None
    path: str | None = None
    valid: bool | None = None
    code: str | None = None
    country: str | None = None
    browser: str | None = None
    since: int | None = None
    until: int | None = None


_NAMES_AT_ONCE = 200
_Counts = dict[tuple[str, Facet, str], list[int]]
_Found = list[RecordedRequest]
_INSERT = f"INSERT INTO requests ({', '.join(column.name for column in requests.columns)}) VALUES"


class Requests:
    def __init__(self, session: Session) -> None:
        self._session = session

    def record(self, batch: Sequence[tuple[str, Request]]) -> None:
        """Keeps a batch of requests with their ids, and raises the counts that follow from them.

        A batch whose commit was answered by a broken connection may come again: when its first id
        is there already, all of it is, and nothing is counted twice.
        """
        if not batch:
            return
        connection = self._session.connection
        if connection.execute(select(requests.c.id).where(requests.c.id == batch[0][0])).first():
            return
        # The driver's own bulk insert: composing parameters for each row would cost more than it.
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        statement = f"{_INSERT} ({', '.join([mark] * len(requests.columns))})"
        connection.exec_driver_sql(statement, [_cells(id_, request) for id_, request in batch])
        made = [request for _, request in batch]
        Uses(self._session).count(made)
        Traffic(self._session).count(made)

    def newest_at(self) -> int | None:
        """When the newest request was made."""
        return self._session.connection.execute(
            select(requests.c.at).order_by(requests.c.at.desc()).limit(1)
        ).scalar()

    def list(
        self,
        workspace_id: UUID,
        wanted: RequestFilter,
        *,
        limit: int,
        before: tuple[int, str] | None,
    ) -> Sequence[RecordedRequest]:
        """At most `limit` requests, newest first, after the (time, id) given."""
        order = (requests.c.at, requests.c.id)
        query = (
            select(requests)
            .where(_wanted(workspace_id, wanted))
            .order_by(*(column.desc() for column in order))
        )
        if before is not None:
            query = query.where(tuple_(*order) < tuple_(*before))
        return self._session.gather(query, limit, self._opened)

    def _opened(self, row: Row[*tuple[Any, ...]]) -> RecordedRequest | None:
        """The request in a row. Requests are not sealed; what is none at all is left out."""
        cells = row._mapping
        try:
            return RecordedRequest(
                id=str(UUID(cells["id"])),
                request_id=cells["request_id"],
                at=_instant(cells["at"]),
                key_id=cells["key_id"],
                valid=bool(cells["valid"]),
                code=cells["code"],
                runtime=cells["runtime"],
                declared=bool(cells["declared"]),
                ip=cells["ip"],
                user_agent=cells["user_agent"],
                method=cells["method"],
                path=cells["path"],
                scopes=tuple(json.loads(cells["scopes"])),
                environment=cells["environment"],
                named_network=cells["named_network"],
                country=cells["country"],
                browser=cells["browser"],
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            self._session.damage.append(Damage("request", str(cells["id"])))
            return None

    def counts(self, key_ids: Collection[UUID], since: int, until: int) -> dict[UUID, int]:
        """How many requests there are of each of these keys, of those that have any."""
        found: dict[UUID, int] = {}
        for chunk in chunks(key_ids):
            rows = self._session.connection.execute(
                select(requests.c.key_id, func.count())
                .where(requests.c.key_id.in_(chunk), requests.c.at >= since, requests.c.at < until)
                .group_by(requests.c.key_id)
            )
            found |= {UUID(key_id): int(count) for key_id, count in rows}
        return found

    def tallies(self, key_ids: Collection[UUID], since: int, until: int) -> Sequence[Tally]:
        """Counts of these keys by facet and value, as those of the traffic, of any stretch."""
        alike = (
            requests.c.key_id,
            requests.c.runtime,
            requests.c.declared,
            func.coalesce(requests.c.named_network, requests.c.ip),
            requests.c.scopes,
            requests.c.method,
            requests.c.path,
            requests.c.user_agent,
            requests.c.environment,
            requests.c.country,
            requests.c.browser,
        )
        found: _Counts = {}
        for chunk in chunks(key_ids):
            query = (
                select(
                    *alike,
                    func.sum(requests.c.valid),
                    func.count(),
                    func.min(requests.c.at),
                    func.max(requests.c.at),
                )
                .where(requests.c.key_id.in_(chunk), requests.c.at >= since, requests.c.at < until)
                .group_by(*alike)
            )
            for row in self._session.connection.execute(query):
                self._add(found, tuple(row))
        return [
            Tally(
                key_id=UUID(key_id),
                facet=facet,
                value=value,
                allowed=one[0],
                denied=one[1],
                first_at=one[2],
                last_at=one[3],
            )
            for (key_id, facet, value), one in found.items()
        ]

    def _add(self, found: _Counts, cells: tuple[Any, ...]) -> None:
        try:
            key_id, runtime, declared, network, scopes, method, path, agent = cells[:8]
            allowed, count, first, last = (int(one) for one in cells[11:])
            counted = facets(
                Caller(runtime, bool(declared), network),
                json.loads(scopes),
                method=method,
                path=path,
                agent=agent,
                environment=cells[8],
                country=cells[9],
                browser=cells[10],
            )
            for facet, value in counted:
                one = found.setdefault((key_id, facet, value), [0, 0, first, last])
                one[0] += allowed
                one[1] += count - allowed
                one[2] = min(one[2], first)
                one[3] = max(one[3], last)
        except (ValueError, TypeError, AttributeError, RecursionError):
            self._session.damage.append(Damage("request", str(cells[0])))

    def of_callers(
        self,
        key_ids: Collection[UUID],
        callers: Collection[Caller],
        since: int,
        until: int,
        *,
        limit: int,
        times: Collection[int] | None = None,
    ) -> Sequence[RecordedRequest]:
        """At most `limit` requests of these keys by these callers, newest first; of these times
        alone where any are given, which finds a few among very many."""
        who = tuple_(
            requests.c.runtime,
            requests.c.declared,
            func.coalesce(requests.c.named_network, requests.c.ip, ""),
        )
        wanted = sorted((one.runtime, int(one.declared), one.network or "") for one in callers)
        found: _Found = []
        for chunk in chunks(key_ids):
            for names in _batched(wanted, _NAMES_AT_ONCE):
                query = (
                    select(requests)
                    .where(
                        requests.c.key_id.in_(chunk),
                        requests.c.at >= since,
                        requests.c.at < until,
                        who.in_(names),
                    )
                    .order_by(requests.c.at.desc(), requests.c.id.desc())
                )
                if times is not None:
                    query = query.where(requests.c.at.in_(sorted(times)))
                found += self._session.gather(query, limit, self._opened)
        found.sort(key=lambda one: (one.at, one.id), reverse=True)
        return found[:limit]

    def count(self, workspace_id: UUID, wanted: RequestFilter) -> int:
        query = select(func.count()).select_from(requests).where(_wanted(workspace_id, wanted))
        return int(self._session.connection.execute(query).scalar_one())

    def purge(self, before: int, *, limit: int) -> int:
        """Deletes at most `limit` requests older than `before`; says how many."""
        old = select(requests.c.id).where(requests.c.at < before).limit(limit)
        return self._session.connection.execute(
            delete(requests).where(requests.c.id.in_(old.scalar_subquery()))
        ).rowcount


def _cells(id_: str, request: Request) -> tuple[Cell, ...]:
    """The row of a request, in the order of the table's columns."""
    address = request.address
    return (
        id_,
        request.request_id,
        request.at,
        None if request.workspace_id is None else str(request.workspace_id),
        None if request.key_id is None else str(request.key_id),
        int(request.is_valid),
        request.code,
        request.runtime.name,
        int(request.runtime.declared),
        None if address is None else str(address),
        None if address is None else sort_key(address),
        recordable(request.user_agent, LONGEST_USER_AGENT),
        recordable(request.method, LONGEST_METHOD),
        recordable_path(request.path),
        _spelled_scopes(request.scopes),
        recordable(request.environment, LONGEST_ENVIRONMENT),
        request.named_network,
        request.country,
        request.browser,
    )


def _batched(names: list[tuple[str, int, str]], size: int) -> Iterator[list[tuple[str, int, str]]]:
    for first in range(0, len(names), size):
        yield names[first : first + size]


def _instant(cell: object) -> int:
    if not is_instant(cell):
        raise ValueError("no time")
    return cast(int, cell)


@lru_cache(maxsize=1_024)
def _spelled_scopes(scopes: tuple[str, ...]) -> str:
    return json.dumps(scopes, separators=(",", ":"))


def _wanted(workspace_id: UUID, wanted: RequestFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [
        requests.c.workspace_id == str(workspace_id),
        _of_slots(workspace_id, wanted.slots),
    ]
    if wanted.key_id is not None:
        terms.append(requests.c.key_id == str(wanted.key_id))
    for name in ("request_id", "runtime", "code", "country", "browser"):
        word = getattr(wanted, name)
        if word is not None:
            terms.append(requests.c[name] == word)
    if wanted.network is not None:
        # Not BETWEEN: PostgreSQL's grammar lets no COLLATE stand in it.
        first, last = sort_range(wanted.network)
        terms += [requests.c.ip_order >= first, requests.c.ip_order <= last]
    if wanted.path is not None:
        terms.append(func.substr(requests.c.path, 1, len(wanted.path)) == wanted.path)
    if wanted.valid is not None:
        terms.append(requests.c.valid == int(wanted.valid))
    if wanted.since is not None:
        terms.append(requests.c.at >= wanted.since)
    if wanted.until is not None:
        terms.append(requests.c.at < wanted.until)
    return and_(*terms)


def _of_slots(workspace_id: UUID, patterns: tuple[str, ...]) -> ColumnElement[bool]:
    """Requests of keys in these slots. Who reads some slots only sees no request without a key."""
    if "*" in patterns:
        return true()
    mine = select(keys.c.id).where(keys.c.workspace_id == str(workspace_id), in_slots(patterns))
    return requests.c.key_id.in_(mine)
