"""The trail: the change log read on, to learn where something was changed since the last look.

It is one statement a look, however many workspaces there are: who looks after all of them looks at
those alone that were touched, and at those whose time has come.
"""

from uuid import UUID

from keyturn.domain.identity import parse_id
from keyturn.storage.transaction import Reading

PAGE = 1_000


class Trail:
    """One reader's place in the change log. `kinds` are those that he has to know of."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self._kinds = kinds
        self._position: int | None = None

    def touched(self, reading: Reading) -> set[UUID]:
        """The workspaces in which such a thing was changed since this was asked last; none the
        first time. Raises `IntegrityFailed` where the end of the log was tampered with then."""
        found: set[UUID] = set()
        if self._position is None:
            self._position = reading.head().position
            return found
        while page := reading.activity.changes(after=self._position, limit=PAGE):
            for change in page:
                id_ = parse_id(str(change.workspace_id))
                if change.kind in self._kinds and id_ is not None:
                    found.add(id_)
            self._position = max(self._position, page[-1].position)
        return found
