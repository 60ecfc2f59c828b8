"""Rest: which open rotations need no look now, where there are many.

To judge a rotation takes some ten questions to the database. Where nothing in its workspace was
changed and nobody has used its keys since, only time can bring it on, and what that brings is seen
within `MOST_REST_SECONDS`. A few rotations never rest, nor does one in a brown-out, or one whose
token is still on its way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.rotation import Rotation
from keyturn.services.trail import Trail
from keyturn.storage.transaction import Reading

MOST_REST_SECONDS = 2.0
_FEW = 10
_REST_OF_EACH_SECONDS = 0.015
_TOUCHING = frozenset({"key", "slot", "workspace", "rotation"})


@dataclass(frozen=True, slots=True)
class _Lying:
    """A rotation that had nothing to do: its version then, how its keys had been used, and until
    when it rests."""

    version: int
    uses: tuple[str, ...]
    until: float


class Rest:
    """One process's memory of rotations that had nothing to do."""

    def __init__(self) -> None:
        self._trail = Trail(_TOUCHING)
        self._touched: set[UUID] = set()
        self._lying: dict[UUID, _Lying] = {}
        self._uses: dict[UUID, tuple[str, ...]] = {}
        self._seconds = 0.0

    def begin(self, reading: Reading) -> None:
        """A round begins. Where the log cannot be read on, none rests."""
        try:
            self._touched |= self._trail.touched(reading)
        except IntegrityFailed:
            self._lying, self._seconds = {}, 0.0

    def awake(
        self, reading: Reading, page: Sequence[Rotation], elapsed: float
    ) -> Sequence[Rotation]:
        """Those of a page that are to be looked at."""
        if not self._seconds:
            return page
        marks = reading.uses.marks({id_ for one in page for id_ in _keys(one)})
        self._uses = {one.id: tuple(marks.get(id_, "") for id_ in _keys(one)) for one in page}
        awake = [one for one in page if not self._rests(one, elapsed)]
        for one in awake:
            self._lying.pop(one.id, None)
        return awake

    def _rests(self, rotation: Rotation, elapsed: float) -> bool:
        lying = self._lying.get(rotation.id)
        return (
            lying is not None
            and elapsed < lying.until
            and (lying.version, lying.uses) == (rotation.version, self._uses[rotation.id])
            and rotation.workspace_id not in self._touched
            and rotation.brownout is None
        )

    def lie_down(self, rotation: Rotation, elapsed: float) -> None:
        """It had nothing to do, in the transaction in which it was `awake`."""
        if self._seconds:
            until = elapsed + self._seconds
            self._lying[rotation.id] = _Lying(rotation.version, self._uses[rotation.id], until)

    def end(self, seen: set[UUID]) -> None:
        """A round has seen these."""
        self._touched = set()
        self._lying = {id_: lying for id_, lying in self._lying.items() if id_ in seen}
        self._seconds = min(MOST_REST_SECONDS, max(0, len(seen) - _FEW) * _REST_OF_EACH_SECONDS)


def _keys(rotation: Rotation) -> tuple[UUID, UUID]:
    return rotation.old_key_id, rotation.new_key_id
