"""The barrier: a change that takes something away is answered once it is effective on every node.

1. Whoever waits holds neither a thread nor a connection; one look at the nodes serves all of them.
2. A look counts for those who waited before it began: only then does it see every lease that may
   have been granted before their change was committed.
3. Of a node only the lease counts that the first look shows. A later one was granted after the
   change was committed, so its holder looks at the log after that, and goes by the change.
4. Hints hasten a look; without any there is one every `LOOK_SECONDS` while somebody waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from keyturn.domain.ambience import Clock
from keyturn.domain.error import StorageUnavailable
from keyturn.domain.instant import SECOND
from keyturn.http.sight import NodeStanding, Propagation
from keyturn.storage.contract import NodeRow, NodesSeen
from keyturn.verifier import Through, how_through, over_at, reckoned_micros

LOOK_SECONDS = 0.05
FIRST_LOOK_SECONDS = 0.002
# For so long a node that vanished is told of, unless another one has taken its name.
TOLD_SECONDS = 600

_log = logging.getLogger("keyturn.barrier")

Look = Callable[[], Awaitable[NodesSeen]]
# Is told a node's name, and after how many seconds it was known to have confirmed.
Observe = Callable[[str, float], None]


@dataclass(slots=True, kw_only=True)
class _Wait:
    """One who waits. `rows` are the nodes that the first look showed."""

    position: int
    grace_seconds: int
    began: float
    rows: dict[str, NodeRow] | None = None
    waiting: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        return self.rows is not None and not self.waiting

    def see(self, seen: NodesSeen) -> list[str]:
        """Takes what a look has shown; gives the names of the nodes that have confirmed by it."""
        confirmed = []
        now = {row.id: row for row in seen.rows}
        if self.rows is None:
            self.rows = {row.id: row for row in told_of(seen, self.grace_seconds)}
            self.waiting = set(self.rows)
        for id_ in list(self.waiting):
            first = self.rows[id_]
            row = replace(now.get(id_, first), lease_until=first.lease_until)
            match how_through(row, self.position, self.grace_seconds, seen.clock):
                case Through.WAITING:
                    continue
                case Through.EXPIRED:
                    self.expired.add(id_)
                case Through.LEFT:
                    del self.rows[id_]
                case Through.CONFIRMED:
                    confirmed.append(row.name)
            self.waiting.discard(id_)
        self.looked.set()
        return confirmed

    def ends_at(self) -> int | None:
        """When the last lease that is waited for is over, by the database's clock."""
        if self.rows is None:
            return None
        return max(
            (over_at(self.rows[id_], self.grace_seconds) for id_ in self.waiting), default=None
        )


class Barrier:
    """Waits for the nodes of one database. `look` reads them, without stopping the event loop."""

    def __init__(self, look: Look, clock: Clock, lease_seconds: float, observe: Observe) -> None:
        self._observe = observe
        self._look = look
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._waits: list[_Wait] = []
        self._hinted = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def hint(self) -> None:
        """A node may have confirmed something. To be called on the event loop."""
        self._hinted.set()

    async def wait(self, position: int, grace_seconds: int, within: float) -> Propagation:
        """Waits so many seconds until everything up to `position` is effective everywhere."""
        began = self._clock.elapsed()
        one = _Wait(position=position, grace_seconds=grace_seconds, began=began)
        self._waits.append(one)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        self._hinted.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    while not one.is_over:
                        one.looked.clear()
                        await one.looked.wait()
        finally:
            self._waits.remove(one)
        return self._told(one)

    async def standings(self, position: int, grace_seconds: int) -> tuple[NodeStanding, ...]:
        """Where the change at `position` stands at each node now. Raises `StorageUnavailable`."""
        seen = await self._look()
        return tuple(
            _standing(row, position, grace_seconds, seen.clock)
            for row in told_of(seen, grace_seconds)
        )

    def _told(self, one: _Wait) -> Propagation:
        effective_by = None
        if not one.is_over:
            effective_by = one.ends_at()
            if effective_by is None:  # nothing could be seen: no lease is longer than this
                longest = reckoned_micros(self._lease_seconds + one.grace_seconds)
                effective_by = self._clock.now() + longest
        nodes = len(one.rows or ())
        return Propagation(
            state="complete" if one.is_over else "pending",
            nodes=nodes,
            confirmed=nodes - len(one.waiting) - len(one.expired),
            expired=len(one.expired),
            took_ms=round((self._clock.elapsed() - one.began) * 1_000),
            effective_by=effective_by,
        )

    async def _watch(self) -> None:
        """Looks for as long as somebody waits."""
        pause = FIRST_LOOK_SECONDS
        try:
            while self._waits:
                self._hinted.clear()
                present = list(self._waits)
                try:
                    seen = await self._look()
                except StorageUnavailable as error:
                    _log.warning("the nodes cannot be seen: %s", error.detail)
                    pause = LOOK_SECONDS
                else:
                    for one in present:
                        for name in one.see(seen):
                            self._observe(name, self._clock.elapsed() - one.began)
                # So that those who are through have gone before it is asked who waits.
                await asyncio.sleep(0)
                if any(not one.is_over for one in self._waits):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._hinted.wait()
                    pause = min(pause * 2, LOOK_SECONDS)
        finally:
            self._watching = None


def told_of(seen: NodesSeen, grace_seconds: int) -> tuple[NodeRow, ...]:
    """The nodes that count: those that may still answer by what they have, and those that vanished
    a short while ago, with no other one in their place."""
    newest: dict[str, int] = {}
    for row in seen.rows:
        newest[row.name] = max(newest.get(row.name, 0), row.started_at)

    def is_told(row: NodeRow) -> bool:
        if row.left_at is not None:
            return False
        if over_at(row, grace_seconds) >= seen.clock:
            return True
        is_last = row.started_at == newest[row.name]
        return is_last and row.lease_until + TOLD_SECONDS * SECOND >= seen.clock

    return tuple(filter(is_told, seen.rows))


def _standing(row: NodeRow, position: int, grace_seconds: int, clock: int) -> NodeStanding:
    state = _WORDS[how_through(row, position, grace_seconds, clock)]
    return NodeStanding(id=row.id, name=row.name, state=state, position=row.applied)


_WORDS: dict[Through, Literal["confirmed", "waiting", "expired"]] = {
    Through.CONFIRMED: "confirmed",
    Through.WAITING: "waiting",
    Through.EXPIRED: "expired",
    Through.LEFT: "expired",
}
