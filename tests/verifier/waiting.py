"""Whoever made a change and waits until it is in effect on every node."""

from typing import TYPE_CHECKING

from keyturn.verifier import Waiting, is_through
from keyturn.verifier.lease import STRETCH
from tests.verifier.database import Row
from tests.verifier.history import Broken, State

if TYPE_CHECKING:
    from tests.verifier.world import World

BREATH_SECONDS = 0.15
# What looks may take beside the leases that are waited for.
SLACK_SECONDS = 1.0


class Waiter:
    """Waits for one change, by what the nodes have told the database.

    It goes on looking beyond its answer until each node was seen through by its row alone, as who
    asks for the propagation of a change without having waited for it sees them.
    """

    def __init__(
        self, world: "World", position: int, ended: tuple[State, ...], grace_seconds: float
    ) -> None:
        self.is_answered = False
        self.is_over = False
        self.position = position
        self.grace_seconds = grace_seconds
        self.waiting = Waiting(position, grace_seconds)
        self._world = world
        self._ended = ended
        self._since = world.loop.now
        self._step = world.database.log[position - 1]
        self._to_be_seen: set[str] | None = None

    def begin(self) -> None:
        self._world.loop.at(self._world.loop.now + self._breath(), self._look)

    def _breath(self) -> float:
        return 0.002 + BREATH_SECONDS * self._world.chance.random()

    def _look(self) -> None:
        """At the database. The answer is on its way for a while."""
        world = self._world
        if self._is_lost():
            self.is_over = True
            return
        if world.database.down_until > world.loop.now:
            self.begin()
            return
        clock, rows = world.database.nodes()
        self._note(rows, clock)
        is_done = self.see(rows, clock)
        world.loop.at(world.loop.now + self._breath(), self._looked, is_done)

    def _is_lost(self) -> bool:
        """A failover has lost the change, and whoever waits for it waits for nothing."""
        log = self._world.database.log
        return len(log) < self.position or log[self.position - 1] is not self._step

    def see(self, rows: tuple[Row, ...], clock: int) -> bool:
        return self.waiting.see(rows, clock)

    def _note(self, rows: tuple[Row, ...], clock: int) -> None:
        """Keeps those that are not yet seen through; a row may be lost in a failover."""
        waiting = {
            row.id for row in rows if not is_through(row, self.position, self.grace_seconds, clock)
        }
        seen = self._to_be_seen
        self._to_be_seen = waiting if seen is None else seen & waiting

    def _looked(self, is_done: bool) -> None:
        now = self._world.loop.now
        if is_done and not self.is_answered and not self._is_lost():
            self.is_answered = True
            for state in self._ended:
                state.answered_at = min(state.answered_at, now)
            self._world.try_everywhere(self._ended, 0.0)
        if self.is_answered and not self._to_be_seen:
            self.is_over = True
            return
        if not self.is_answered and now > self._due(1):
            raise Broken(f"barrier: it waits since {now - self._since:.1f} s")
        # By its row alone a node may be seen in a second lease that was granted after the change.
        if now > self._due(2):
            raise Broken("barrier: a node neither confirms nor expires")
        self._world.loop.at(now + BREATH_SECONDS, self._look)

    def _due(self, leases: int) -> float:
        since = max(self._since, self._world.failed_over_at)
        lease = self._world.lease_seconds + self.grace_seconds
        return since + leases * lease * STRETCH + SLACK_SECONDS
