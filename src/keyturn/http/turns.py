"""Turns: work that takes its time is done for a few at once, so that it holds up nobody else."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from keyturn.domain.error import DestinationBusy


class Turns:
    """So many at once in all, and so many of one workspace."""

    def __init__(self, *, most: int, of_one: int) -> None:
        self._most = most
        self._of_one = of_one
        self._taken: Counter[UUID] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, workspace_id: UUID) -> Iterator[None]:
        """A turn, which ends with the block. Raises `DestinationBusy` where there is none: nobody
        waits for one, since that would hold up others too."""
        with self._lock:
            if self._taken.total() >= self._most or self._taken[workspace_id] >= self._of_one:
                raise DestinationBusy(
                    "Destinations are being proven, as many as may be at once; repeat this in a "
                    "while."
                )
            self._taken[workspace_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[workspace_id] -= 1
                self._taken += Counter()  # what is at zero is forgotten
