"""Places: who of those that something waits for is served next, where places are few.

1. Whoever has the fewest places is next: of the workspaces, then of the channels in one. Of two
   that have as many it is the one that was served longest ago. So who has none has the next that
   is free, after at most one of each that has none either.
2. A workspace has half of the places at most and a channel a quarter, however willing its receiver
   is to be sent more. One that is failing has one, and all that are failing have half together.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from heapq import heappop, heappush
from uuid import UUID

from keyturn.domain.channel import Channel

PLACES = 16
MOST_OF_A_WORKSPACE = 8
MOST_OF_A_CHANNEL = 4
MOST_FAILING = 8

_Rank = tuple[int, int, int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One that is taken."""

    workspace_id: UUID
    channel_id: UUID
    subject: str


class Turns:
    """When whom was served last, counted in messages."""

    def __init__(self) -> None:
        self._count = 0
        self._served: dict[UUID, int] = {}

    def take(self, channel: Channel) -> None:
        self._count += 1
        self._served[channel.workspace_id] = self._served[channel.id] = self._count

    def of(self, id: UUID) -> int:  # noqa: A002
        return self._served.get(id, 0)


class Round:
    """Gives away the places that are free at one moment."""

    def __init__(self, turns: Turns, taken: Collection[Place], failing: Collection[UUID]) -> None:
        self._turns = turns
        self._failing = failing
        self._had = Counter(one.workspace_id for one in taken)
        self._had.update(one.channel_id for one in taken)
        self._free = PLACES - len(taken)
        self._all_failing = sum(one.channel_id in failing for one in taken)
        self._queue: list[tuple[_Rank, Channel]] = []

    def join(self, channel: Channel) -> None:
        """Has a channel wait for its turn."""
        heappush(self._queue, (self._rank(channel), channel))

    def next(self) -> Channel | None:
        """Whose turn it is, None where nobody can be given one. It waits no more, until it joins
        again."""
        while self._queue:
            rank, channel = heappop(self._queue)
            if self.room(channel) <= 0:
                continue  # nor later: in a round places are only taken
            if rank == self._rank(channel):
                return channel
            self.join(channel)  # others of its workspace were served meanwhile
        return None

    def room(self, channel: Channel) -> int:
        """How many places a channel may be given now."""
        free = min(self._free, MOST_OF_A_WORKSPACE - self._had[channel.workspace_id])
        if channel.id in self._failing:
            return min(free, 1 - self._had[channel.id], MOST_FAILING - self._all_failing)
        return min(free, MOST_OF_A_CHANNEL - self._had[channel.id])

    def take(self, channel: Channel) -> None:
        """Gives a channel a place."""
        self._turns.take(channel)
        self._had[channel.workspace_id] += 1
        self._had[channel.id] += 1
        self._all_failing += channel.id in self._failing
        self._free -= 1

    def _rank(self, channel: Channel) -> _Rank:
        place = channel.workspace_id
        of_workspace = (self._had[place], self._turns.of(place))
        return (*of_workspace, self._had[channel.id], self._turns.of(channel.id), str(channel.id))
