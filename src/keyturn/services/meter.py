"""Metering: every request is recorded, in batches off the hot path.

1. `note` never waits and never drops. `has_room` says when the buffer is full; who answers requests
   asks it first and refuses to answer rather than answer unrecorded.
2. `flush` keeps everything noted so far, in order; what it could not keep stays for the next time.
3. A batch carries its ids from its first attempt on, so that a repeated one is not counted twice.
"""

import threading
from collections import deque

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.request import Request
from keyturn.services.context import Context

BATCH = 1_000
ROOM = 100_000


class Meter:
    """The buffer between the hot path and the request log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._noted: deque[Request] = deque()
        self._failed: list[tuple[str, Request]] = []
        self._turn = threading.Lock()

    def note(self, request: Request) -> None:
        self._noted.append(request)

    @property
    def waiting(self) -> int:
        """How many requests are not kept yet."""
        return len(self._noted) + len(self._failed)

    @property
    def has_room(self) -> bool:
        return self.waiting < ROOM

    def flush(self) -> int:
        """Keeps what was noted and says how many requests that were. Raises `StorageUnavailable`
        where the database did not take a batch; that batch is tried again the next time."""
        kept = 0
        with self._turn:
            while batch := self._failed or self._take():
                self._failed = batch
                with self._context.store.record() as transaction:
                    transaction.requests.record(batch)
                self._failed = []
                kept += len(batch)
        return kept

    def flush_finally(self, attempts: int) -> int:
        """Flushes before the end, several times if need be; says how many requests were lost."""
        for _ in range(attempts):
            try:
                self.flush()
            except StorageUnavailable:
                continue
            return 0
        return self.waiting

    def _take(self) -> list[tuple[str, Request]]:
        batch: list[tuple[str, Request]] = []
        while self._noted and len(batch) < BATCH:
            request = self._noted.popleft()
            batch.append((str(self._context.new_id(request.at)), request))
        return batch
