"""The barrier: a change that takes something away is answered once it is effective on every node.

1. Whoever waits holds neither a thread nor a connection; one look at the nodes serves all of them.
2. A look counts for those who waited before it began: only then does it see every lease that may
   have been granted before their change was committed.
3. Whose confirmation is waited for, and for how long, is the verifier's to say (`Waiting`).
4. By the database's clock a lease is over only where that clock may be believed
   (`database_clock.py`).
5. Hints hasten a look; without any there is one every `LOOK_SECONDS` while somebody waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from keyturn.domain.ambience import Clock
from keyturn.domain.error import StorageUnavailable
from keyturn.domain.instant import SECOND
from keyturn.http.sight import NodeStanding, Propagation
from keyturn.server.database_clock import DatabaseClock
from keyturn.server.settings import MOST_FRESHNESS_SECONDS
from keyturn.storage.contract import NodeRow, NodesSeen
from keyturn.verifier import Through, Waiting, how_through, over_at, reckoned_micros

LOOK_SECONDS = 0.05
FIRST_LOOK_SECONDS = 0.002
ONE_LOOK_SECONDS = 1.0
# For so long a node that vanished is told of, unless another one has taken its name.
TOLD_SECONDS = 600

_log = logging.getLogger("keyturn.barrier")

Look = Callable[[], Awaitable[NodesSeen]]
# Is told a node's name, and after how many seconds it was known to have confirmed.
Observe = Callable[[str, float], None]


class _Wait:
    """One who waits."""

    def __init__(self, position: int, grace_seconds: int, began: float) -> None:
        self.began = began
        self.on = Waiting(position, grace_seconds)
        self.is_over = False
        self.looked = asyncio.Event()
        self.grace_seconds = grace_seconds
        # For how long a node that is not heard of may go on yet, as far as that is known.
        self._longest_seconds: float = MOST_FRESHNESS_SECONDS + grace_seconds
        self._is_believed = False
        self._has_seen = False

    @property
    def nodes(self) -> int:
        return self.on.confirmed + self.on.expired + len(self.on.waiting)

    def see(self, seen: NodesSeen, longest_seconds: float) -> list[str]:
        """Takes what a look has shown; gives the names of the nodes that have confirmed by it."""
        self._longest_seconds, self._is_believed = longest_seconds, seen.clock > 0
        rows = seen.rows if self._has_seen else told_of(seen, self.grace_seconds)
        waiting = {*self.on.waiting} if self._has_seen else {row.id for row in rows}
        self._has_seen = True
        self.is_over = self.on.see(rows, seen.clock)
        self.looked.set()
        through = waiting - {*self.on.waiting}
        position = self.on.position
        return [row.name for row in rows if row.id in through and row.applied >= position]

    def effective_by(self, clock: Clock) -> int:
        """The latest moment at which it is over."""
        latest = self.on.effective_by
        if latest is not None and self._is_believed:
            return latest
        return max(latest or 0, clock.now() + reckoned_micros(self._longest_seconds))


class Barrier:
    """Waits for the nodes of one database. `look` reads them, without stopping the event loop."""

    def __init__(
        self,
        look: Look,
        clock: Clock,
        lease_seconds: float,
        observe: Observe,
        database_clock: DatabaseClock,
    ) -> None:
        self._observe = observe
        self._database_clock = database_clock
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
        """Waits so many seconds until everything up to `position` is effective everywhere; none is
        one look, to know when it will be."""
        one = _Wait(position, grace_seconds, self._clock.elapsed())
        self._waits.append(one)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        self._hinted.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within or ONE_LOOK_SECONDS):
                    while not one.is_over:
                        one.looked.clear()
                        await one.looked.wait()
                        if not within:
                            break
        finally:
            self._waits.remove(one)
        return self._told(one)

    async def standings(self, position: int, grace_seconds: int) -> tuple[NodeStanding, ...]:
        """Where the change at `position` stands at each node now. Raises `StorageUnavailable`."""
        seen = self.reckoned(await self._seen(), grace_seconds)
        return tuple(
            _standing(row, position, grace_seconds, seen.clock)
            for row in told_of(seen, grace_seconds)
        )

    def reckoned(self, seen: NodesSeen, grace_seconds: int) -> NodesSeen:
        """What was seen, at the time that leases are to be held against."""
        longest = longest_lease(seen, self._lease_seconds) + grace_seconds
        clock = self._database_clock.reckon(seen.clock, self._clock.boot(), longest)
        return NodesSeen(clock, seen.rows)

    def reckoned_now(self, look: Callable[[], NodesSeen], grace_seconds: int) -> NodesSeen:
        """As `reckoned`, of a look that is taken here and now."""
        asked_at = self._clock.boot()
        seen = look()
        self._database_clock.note(seen.clock, asked_at, self._clock.boot())
        return self.reckoned(seen, grace_seconds)

    async def _seen(self) -> NodesSeen:
        asked_at = self._clock.boot()
        seen = await self._look()
        self._database_clock.note(seen.clock, asked_at, self._clock.boot())
        return seen

    def _told(self, one: _Wait) -> Propagation:
        return Propagation(
            state="complete" if one.is_over else "pending",
            nodes=one.nodes,
            confirmed=one.on.confirmed,
            expired=one.on.expired,
            took_ms=round((self._clock.elapsed() - one.began) * 1_000),
            effective_by=None if one.is_over else one.effective_by(self._clock),
        )

    async def _watch(self) -> None:
        """Looks for as long as somebody waits."""
        pause = FIRST_LOOK_SECONDS
        try:
            while self._waits:
                self._hinted.clear()
                present = list(self._waits)
                try:
                    seen = await self._seen()
                except StorageUnavailable as error:
                    _log.warning("the nodes cannot be seen: %s", error.detail)
                    pause = LOOK_SECONDS
                except Exception:  # noqa: BLE001  (whoever waits would wait for nothing)
                    _log.exception("looking at the nodes failed")
                    pause = LOOK_SECONDS
                else:
                    for one in present:
                        longest = longest_lease(seen, self._lease_seconds) + one.grace_seconds
                        for name in one.see(self.reckoned(seen, one.grace_seconds), longest):
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


def longest_lease(seen: NodesSeen, own_seconds: float) -> float:
    """The longest lease of any of the nodes: a row tells its own, where that was granted by its
    last report, and is bounded where the clock was set in between."""
    told = ((row.lease_until - row.seen_at) / SECOND for row in seen.rows)
    return min(max((own_seconds, *told)), max(own_seconds, MOST_FRESHNESS_SECONDS))


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
