"""The records that a node keeps, bounded, and let go of as the log says.

A record is kept with the position that it was read at and with what it leans on: a key's verdict
rests on its workspace too, and tells its slot's owner. A change of the key itself deletes the
entry. A change of a workspace is noted in one place, and each entry that leans on it finds that at
its next use: a workspace may have a hundred thousand keys.
"""

import math
from collections import OrderedDict
from typing import Generic, TypeVar
from uuid import UUID

from keyturn.verifier.feed import Touched

Record = TypeVar("Record")

# What a token names: the kind as in `changes`, and the number of its UUID. The kind is part of it:
# a made-up operator's token with the id of a key must not find the key, nor make it unknown. The
# number and not the UUID, since that is hashed and compared in Python: ten times as slow.
Id = tuple[str, int]

LEANED_ON = frozenset(("workspace", "slot"))
_MOST_TOUCHED = 10_000
_ABSENT_SHARE = 8


def id_of(kind: str, id: UUID) -> Id:  # noqa: A002
    return (kind, id.int)


class Kept(Generic[Record]):
    """A record that is kept. None: it is known that there is no such row."""

    __slots__ = ("kept_until", "leans_on", "position", "record", "reread_at")

    def __init__(
        self,
        record: Record | None,
        *,
        position: int = 0,
        reread_at: float = math.inf,
        kept_until: float = 0.0,
        leans_on: tuple[Touched, ...] = (),
    ) -> None:
        self.record = record
        # Up to where it was held against what has been touched.
        self.position = position
        self.reread_at = reread_at
        self.kept_until = kept_until
        self.leans_on = leans_on

    def __repr__(self) -> str:
        return f"<Kept at {self.position}>"  # the record has a digest


class Cache(Generic[Record]):
    """Kept records by id."""

    __slots__ = ("_absent", "_entries", "_last_touch", "_most", "_most_touched", "_touched_at")

    def __init__(self, most: int, *, most_touched: int = _MOST_TOUCHED) -> None:
        self._most = most
        self._most_touched = most_touched
        # Ordered: first in, first out. A plain dict finds its first entry slowly once many before
        # it have gone.
        self._entries: OrderedDict[Id, Kept[Record]] = OrderedDict()
        # Ids that are nowhere, apart: whoever makes up ids pushes out only other made-up ones.
        self._absent: OrderedDict[Id, Kept[Record]] = OrderedDict()
        self._touched_at: dict[Touched, int] = {}
        self._last_touch = 0

    def __len__(self) -> int:
        return len(self._entries) + len(self._absent)

    def get(self, id: Id, old_at: float) -> Kept[Record] | None:  # noqa: A002
        """The entry of `id`, unless it was to be kept until before `old_at`, or what it leans on
        has changed."""
        entry = self._entries.get(id)
        if entry is None:
            entry = self._absent.get(id)
            if entry is None:
                return None
        if entry.kept_until <= old_at:
            return None
        if entry.position < self._last_touch and not self._still_stands(id, entry):
            return None
        return entry

    def _still_stands(self, id: Id, entry: Kept[Record]) -> bool:  # noqa: A002
        for one in entry.leans_on:
            if self._touched_at.get(one, 0) > entry.position:
                self.drop(id)
                return False
        entry.position = self._last_touch  # so that the next use compares two numbers
        return True

    def put(self, id: Id, entry: Kept[Record]) -> None:  # noqa: A002
        self.drop(id)
        if entry.record is None:
            part, most = self._absent, max(1, self._most // _ABSENT_SHARE)
        else:
            part, most = self._entries, self._most
        while len(part) >= most:
            part.popitem(last=False)
        part[id] = entry

    def touch(self, touched: tuple[Touched, ...] | None, position: int) -> None:
        """A change at `position` touched these; None: it may have touched anything."""
        if touched is None:
            self.clear()
            return
        for one in touched:
            kind, ref = one
            if kind in LEANED_ON:
                self._note(one, position)
                continue
            try:
                self.drop((kind, UUID(ref).int))
            except ValueError:
                continue  # no token names anything of a kind whose refs are no ids

    def clear(self) -> None:
        self._entries.clear()
        self._absent.clear()
        self._touched_at.clear()
        self._last_touch = 0

    def _note(self, one: Touched, position: int) -> None:
        if len(self._touched_at) >= self._most_touched and one not in self._touched_at:
            self.clear()
        self._touched_at[one] = position
        self._last_touch = position

    def drop(self, id: Id) -> None:  # noqa: A002
        self._entries.pop(id, None)
        self._absent.pop(id, None)
