"""Counting a key's use: totals and a series from the requests, and its runtimes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Integer, cast, func, select

from keyturn.domain.instant import is_instant
from keyturn.domain.runtime import OTHER
from keyturn.storage.schema import requests, uses
from keyturn.storage.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Allowed and denied requests in the stretch of time that begins at `at`."""

    at: int
    allowed: int
    denied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeUse:
    """One runtime of a key: counts in the window asked for, first and last sight in its life."""

    runtime: str
    declared: bool
    first_seen_at: int | None
    last_seen_at: int | None
    allowed: int
    denied: int


class Usage:
    def __init__(self, session: Session) -> None:
        self._session = session

    def series(self, key_id: UUID, *, since: int, until: int, bucket: int) -> Sequence[Bucket]:
        """The buckets (of `bucket` microseconds) in which there was any request, in order."""
        slot = requests.c.at - requests.c.at % bucket
        allowed = func.sum(requests.c.valid)
        query = (
            select(slot.label("slot"), allowed, func.count() - allowed)
            .where(requests.c.key_id == str(key_id), requests.c.at >= since, requests.c.at < until)
            .group_by("slot")
            .order_by("slot")
        )
        return [
            Bucket(at=int(at), allowed=int(yes), denied=int(no))
            for at, yes, no in self._session.connection.execute(query)
        ]

    def runtimes(self, key_id: UUID, *, since: int, until: int) -> Sequence[RuntimeUse]:
        """The runtimes that used the key in the window, busiest first; those past the bound on
        runtimes are counted together as `other`."""
        allowed = func.sum(requests.c.valid)
        counted = self._session.connection.execute(
            select(
                requests.c.runtime,
                cast(requests.c.declared, Integer),
                allowed,
                func.count() - allowed,
            )
            .where(requests.c.key_id == str(key_id), requests.c.at >= since, requests.c.at < until)
            .group_by(requests.c.runtime, requests.c.declared)
        )
        known = self._life(key_id)
        window: dict[tuple[str, int], tuple[int, int]] = {}
        for name, declared, yes, no in counted:
            identity = (name, declared) if (name, declared) in known else (OTHER, 0)
            before = window.get(identity, (0, 0))
            window[identity] = (before[0] + int(yes), before[1] + int(no))
        uses = [
            RuntimeUse(
                runtime=identity[0],
                declared=bool(identity[1]),
                first_seen_at=known.get(identity, (None, None))[0],
                last_seen_at=known.get(identity, (None, None))[1],
                allowed=yes,
                denied=no,
            )
            for identity, (yes, no) in window.items()
        ]
        return sorted(uses, key=lambda use: (-use.allowed - use.denied, use.runtime))

    def _life(self, key_id: UUID) -> dict[tuple[str, int], tuple[int | None, int | None]]:
        """When each runtime was first and last seen, wherever it was."""
        rows = self._session.connection.execute(
            select(
                uses.c.runtime, uses.c.declared, uses.c.first_seen_at, uses.c.last_seen_at
            ).where(uses.c.key_id == str(key_id))
        )
        seen: dict[tuple[str, int], tuple[list[int], list[int]]] = {}
        for name, declared, first, last in rows:
            firsts, lasts = seen.setdefault((name, declared), ([], []))
            firsts += [first] if is_instant(first) else []
            lasts += [last] if is_instant(last) else []
        return {
            identity: (min(firsts, default=None), max(lasts, default=None))
            for identity, (firsts, lasts) in seen.items()
        }
