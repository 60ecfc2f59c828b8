"""What this process knows of the database and the database could be made to forget.

Seals and the change log show an edit, but not that *everything* was set back to an earlier genuine
state. Who has seen the later state can tell: here is kept which version of an object was seen last,
and how far the log had come.

1. Only what was committed is remembered, and only by this process: after a start nothing is known
   but what the file of signed heads says (`expect`).
2. A transaction that began before something was remembered may still see what stood before it, and
   rightly so: each reader takes a `mark` before it reads, and is held to what was known then.
3. At most `MOST_VERSIONS` objects are remembered, the latest to change. Of the others an old row
   with the changes after it taken out shows by the gap in the change log alone (`services.scrub`).
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.storage.traffic_values import TrafficValues

MOST_VERSIONS = 100_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An object in a version that was seen."""

    kind: str
    ref: str
    version: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far the log had come: its last entry, that entry's hash, and the changes so far."""

    number: int
    hash: bytes
    position: int


class Memory:
    """One process's memory of one database. `fault` says why it takes no changes, if so."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], tuple[int, int]] = {}
        self._newest: tuple[Place, int] | None = None
        self._mark = 0
        self._lock = threading.Lock()
        self.fault: str | None = None
        self.traffic = TrafficValues()

    def mark(self) -> int:
        """To be taken before a transaction or a statement begins."""
        return self._mark

    def is_older(self, seen: Seen, mark: int) -> bool:
        """Whether a later version was known before `mark`."""
        known = self._versions.get((seen.kind, seen.ref))
        return known is not None and known[0] > seen.version and known[1] <= mark

    def version(self, kind: str, ref: str) -> int:
        """The highest version seen, 0 for none."""
        return self._versions.get((kind, ref), (0, 0))[0]

    def remember(self, seen: Iterable[Seen]) -> None:
        """To be called once what was seen, or made, is known to be committed."""
        for one in seen:
            identity = (one.kind, one.ref)
            if self._versions.get(identity, (-1, 0))[0] >= one.version:
                continue
            with self._lock:
                if self._versions.get(identity, (-1, 0))[0] >= one.version:
                    continue
                self._versions.pop(identity, None)
                while len(self._versions) >= MOST_VERSIONS:
                    self._versions.pop(next(iter(self._versions)))
                self._versions[identity] = (one.version, self._mark + 1)
                self._mark += 1

    def newest(self, mark: int | None = None) -> Place | None:
        """The furthest that the log is known to have come, before `mark` if one is given."""
        newest = self._newest
        if newest is None or (mark is not None and newest[1] > mark):
            return None
        return newest[0]

    def expect(self, place: Place) -> None:
        """Remembers how far the log has come. A lower place than the one known changes nothing."""
        with self._lock:
            if self._newest is None or self._newest[0].number < place.number:
                self._newest = (place, self._mark + 1)
                self._mark += 1
