"""Metering: every request is recorded, in batches off the hot path.

1. `note` never waits and never drops. `has_room` says when the buffer is full; who answers requests
   asks it first and refuses to answer rather than answer unrecorded.
2. `flush` keeps everything noted so far, in order; what it could not keep stays for the next time.
3. A batch carries its ids from its first attempt on, so that a repeated one is not counted twice.
4. A use begins with `arrive`, which gives its time, and ends with `depart`, once it is noted. So it
   is known up to which time every use is kept (`settle`): no later use is of an earlier time.
5. A use by a runtime whose last kept use is older than a minute is kept before it is answered
   (`must_keep`, `when_kept`): whoever was let in with a key is never unknown after a crash.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.evidence import KEPT_WITHIN
from keyturn.domain.request import Request
from keyturn.domain.runtime import Runtime
from keyturn.services.context import Context
from keyturn.storage.uses import CallerUse

BATCH = 1_000
ROOM = 100_000
MOST_KNOWN = 200_000

# A key, a runtime and whether it said so itself, an environment, a place.
User = tuple[UUID, str, bool, str | None, str | None]


@dataclass(slots=True)
class _Calls:
    """Calls by one user that are counted and not listed: those that verify others."""

    first: int
    last: int
    count: int


class Meter:
    """The buffer between the hot path and the request log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._noted: deque[Request] = deque()
        self._failed: list[tuple[str, Request]] = []
        self._calls: dict[User, _Calls] = {}
        self._kept_at: dict[User, int] = {}
        self._touched: set[UUID] = set()
        self._refused: set[UUID] = set()
        self._waiters: list[Callable[[], None]] = []
        self._present: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._is_failing = False
        self._settled = 0
        self.hurry: Callable[[], None] = lambda: None

    def arrive(self) -> int:
        """The time of a use that is noted before `depart` is told the same time."""
        with self._lock:
            now = self._context.clock.now()
            self._present[now] += 1
            return now

    def depart(self, arrived: int) -> None:
        with self._lock:
            self._present[arrived] -= 1
            if self._present[arrived] <= 0:
                del self._present[arrived]

    def note(self, request: Request) -> None:
        self._noted.append(request)

    def note_call(self, user: User, at: int) -> None:
        """Counts a call by a key that is recorded as no request of its own."""
        with self._lock:
            calls = self._calls.get(user)
            if calls is None:
                self._calls[user] = _Calls(at, at, 1)
            else:
                calls.last = max(calls.last, at)
                calls.count += 1

    def must_keep(self, user: User, at: int) -> bool:
        """Whether a use must be kept before it is answered. While nothing can be kept, none must:
        answers do not wait for a database that takes nothing."""
        kept_at = self._kept_at.get(user)
        return (kept_at is None or at - kept_at > KEPT_WITHIN) and not self._is_failing

    def when_kept(self, tell: Callable[[], None]) -> None:
        """Has `tell` called, from any thread, once everything noted so far is kept or cannot be."""
        with self._lock:
            self._waiters.append(tell)
        self.hurry()

    def take_touched(self) -> set[UUID]:
        """The keys of which requests were kept since this was asked last, allowed or not."""
        with self._lock:
            touched, self._touched = self._touched, set()
            return touched

    def take_refused(self) -> set[UUID]:
        """The keys of which requests were kept since this was asked last that were not allowed."""
        with self._lock:
            refused, self._refused = self._refused, set()
            return refused

    @property
    def waiting(self) -> int:
        """How many requests are not kept yet."""
        return len(self._noted) + len(self._failed)

    @property
    def has_room(self) -> bool:
        return self.waiting < ROOM

    def settle(self) -> int:
        """Keeps what was noted, and gives the time up to which every use is kept. Raises
        `StorageUnavailable`."""
        mark = self._mark()
        self.flush()
        return mark

    @property
    def settled(self) -> int:
        """The time up to which every use is kept, as of the last flush."""
        return self._settled

    def _mark(self) -> int:
        with self._lock:
            return min(self._present, default=self._context.clock.now() + 1) - 1

    def flush(self) -> int:
        """Keeps what was noted and says how many requests that were. Raises `StorageUnavailable`
        where the database did not take a batch; that batch is tried again the next time."""
        with self._turn:
            waiters, mark = self._take_waiters(), self._mark()
            try:
                kept = self._flush()
                self._settled = max(self._settled, mark)
                return kept
            finally:
                for tell in waiters:
                    tell()

    def _take_waiters(self) -> list[Callable[[], None]]:
        with self._lock:
            waiters, self._waiters = self._waiters, []
            return waiters

    def _flush(self) -> int:
        # What is noted from here on is for the next time: else a steady stream would never end it.
        kept, wanted = 0, self.waiting
        while True:
            batch = self._failed or (self._take() if kept < wanted else [])
            calls = self._take_calls() if kept == 0 else {}
            if not batch and not calls:
                return kept
            self._failed = batch
            try:
                with self._context.store.record() as transaction:
                    transaction.requests.record(batch)
                    transaction.uses.note([_caller_use(*one) for one in calls.items()])
            except BaseException:
                self._is_failing = True
                self._put_back(calls)
                raise
            self._is_failing = False
            self._failed = []
            self._remember(batch, calls)
            kept += len(batch)

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

    def _take_calls(self) -> dict[User, _Calls]:
        with self._lock:
            calls, self._calls = self._calls, {}
            return calls

    def _put_back(self, calls: dict[User, _Calls]) -> None:
        with self._lock:
            for user, one in calls.items():
                later = self._calls.get(user)
                if later is not None:
                    one.last, one.count = max(one.last, later.last), one.count + later.count
                self._calls[user] = one

    def _remember(self, batch: list[tuple[str, Request]], calls: dict[User, _Calls]) -> None:
        if len(self._kept_at) > MOST_KNOWN:
            self._kept_at = {}
        for _, request in batch:
            user = user_of(request)
            if user is not None and request.is_valid and not request.is_check_in:
                self._kept_at[user] = max(request.at, self._kept_at.get(user, 0))
        for user, one in calls.items():
            self._kept_at[user] = max(one.last, self._kept_at.get(user, 0))
        touched = {request.key_id for _, request in batch if request.key_id is not None}
        refused = {
            request.key_id
            for _, request in batch
            if request.key_id is not None and not request.is_valid
        }
        with self._lock:
            self._touched |= touched
            self._refused |= refused


def user_of(request: Request) -> User | None:
    """Who made a request, None where its secret was wrong."""
    if request.key_id is None:
        return None
    runtime = request.runtime
    return (request.key_id, runtime.name, runtime.declared, request.environment, request.place)


def _caller_use(user: User, calls: _Calls) -> CallerUse:
    key_id, name, declared, environment, place = user
    return CallerUse(
        key_id=key_id,
        runtime=Runtime(name, declared=declared),
        environment=environment,
        place=place,
        first_at=calls.first,
        last_at=calls.last,
        allowed=calls.count,
    )
