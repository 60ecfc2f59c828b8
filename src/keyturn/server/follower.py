"""Following the log: the one thread that keeps a node's verifier as new as its promise.

1. A round asks in this order: the moment by the clock of leases; the report, by which the database
   grants a lease; the look at the log. What comes back is taken on the event loop, where the
   verifier lives.
2. What was applied is confirmed by a round at once: somebody may wait for it.
3. A hint that something was changed brings a look before the round, so that the round's report
   confirms it already.
4. Where the database is away, or what it says cannot be used, the lease ends by itself; this thread
   tries again, soon at first.
5. A log that is set back behind what was signed, or that parts from what was applied, ends it all:
   nothing is reported any more, so nobody waits for this node, and it denies.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from keyturn.domain.ambience import Clock
from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.server.database_clock import DatabaseClock
from keyturn.storage.contract import Cluster, LogLook, LogPoint, NodeReport
from keyturn.verifier import (
    Answer,
    Next,
    Point,
    Question,
    Step,
    Taken,
    pause_seconds,
    poll_seconds,
    what_next,
)

_TICK_SECONDS = 0.05

Result = TypeVar("Result")

_log = logging.getLogger("keyturn.follower")


class Following(Protocol):
    """The part of a verifier that follows."""

    def ask(self, now: float) -> Question: ...

    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """This node, as it tells the others of itself."""

    id: str
    name: str
    version: str
    lease_seconds: float


class LoopEnded(Exception):
    """The event loop takes nothing any more."""


class Follower:
    """Follows the log from `start` on, until it is stopped. `check_log` raises `IntegrityFailed`
    where the log is not one to verify by; it is called before the first lease, and after each time
    that the database was away."""

    def __init__(
        self,
        *,
        member: Member,
        cluster: Cluster,
        verifier: Following,
        clock: Clock,
        settled: Callable[[], int],
        check_log: Callable[[], None],
        database_clock: DatabaseClock,
    ) -> None:
        self._member = member
        self._cluster = cluster
        self._verifier = verifier
        self._clock = clock
        self._settled = settled
        self._check_log = check_log
        self._database_clock = database_clock
        self._pause = poll_seconds(member.lease_seconds)
        self._failures = 0
        self._is_checked = self._owes_check = False
        self._fresh_until = -math.inf
        # Whether the log is the one that this node knows: else it must neither verify nor lead.
        self.is_of_one_history = True
        self._stopping = threading.Event()
        self._caught_up = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        # Why this node does not follow now, None where it does.
        self.fault: str | None = "It has not yet seen the log."

    def start(self) -> None:
        """To be called on the event loop that verifies."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def wait(self, seconds: float) -> bool:
        """Waits so long for the first lease; whether there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self._caught_up.wait()
        except TimeoutError:
            return False
        return True

    async def caught_up(self) -> None:
        """Waits for the first lease, however long."""
        await self._caught_up.wait()

    def hurry(self) -> None:
        """Has it look at the log at once."""
        self._cluster.hurry()

    def stop(self, seconds: float) -> None:
        """Waits so long until it has ended. The event loop may have ended before."""
        self._stopping.set()
        self._cluster.hurry()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        is_hinted = False
        while not self._stopping.is_set():
            began = self._clock.boot()
            try:
                following = self._step(is_hinted)
            except LoopEnded:
                return
            except IntegrityFailed as error:
                self._fail(error.detail, error)
            except StorageUnavailable as error:
                self._fail(error.detail, error)
            except Exception as error:  # noqa: BLE001  (a thread that dies would deny for good)
                _log.exception("following failed")
                self._fail("It could not follow the log.", error)
            else:
                if following is Next.NEVER:
                    return
                is_hinted = following is Next.AFTER_POLL and self._cluster.wait(self._pause)
                continue
            is_hinted = False
            self._rest(began)

    def _step(self, is_hinted: bool) -> Next:
        """A round, after a look alone where something is known to have changed; says when the next
        is due."""
        # While the lease lasts it is kept first: the check may have to wait for the database. Once
        # that has failed, nothing is reported and no lease extended before it has not.
        if self._clock.boot() >= self._fresh_until or self._owes_check:
            self._check_once()
        if is_hinted and self._look() is Taken.FORKED:
            return Next.NEVER
        question = self._ask()
        grant = self._cluster.report(
            NodeReport(
                id=self._member.id,
                name=self._member.name,
                version=self._member.version,
                applied=0 if question.after is None else question.after.position,
                settled_until=self._settled(),
                lease_seconds=self._member.lease_seconds,
            )
        )
        self._database_clock.note(grant.clock, question.asked_at, self._clock.boot())
        taken, has_moved = self._take(question, granted=grant.is_granted)
        if taken is Taken.GAP:
            raise StorageUnavailable("The log of changes has a gap; no later change is applied.")
        if taken is Taken.CAUGHT_UP and grant.is_granted:
            self._fresh_until = question.asked_at + self._member.lease_seconds
            self._check_once()
            self._succeed()
        return what_next(taken, has_moved=has_moved, is_hurried=False, has_reported=True)

    def _check_once(self) -> None:
        """Holds the log against all that this node knows of it, once after each failure: also what
        it has changed itself and not yet applied may be what a failover has lost."""
        if not self._is_checked:
            self._owes_check = True
            self._check_log()
            self._is_checked, self._owes_check = True, False

    def _look(self) -> Taken:
        taken, _ = self._take(self._ask(), granted=False)
        return taken

    def _take(self, question: Question, *, granted: bool) -> tuple[Taken, bool]:
        """What came of a look, and whether it brought anything new."""
        after = question.after
        look = self._cluster.look(None if after is None else LogPoint(after.position, after.seal))
        answer = answer_of(look)

        def take() -> Taken:
            return self._verifier.take(question, answer, granted=granted, now=self._clock.boot())

        taken = self._on_loop(take)
        if taken is Taken.FORKED:
            self.is_of_one_history = False
            self.fault = (
                "The database's log is not the one that this node has followed: it was set back, "
                "or a failover lost its end. Start the node anew once that is understood."
            )
            _log.critical("%s", self.fault)
        return taken, after is None or bool(answer.steps)

    def _ask(self) -> Question:
        return self._on_loop(lambda: self._verifier.ask(self._clock.boot()))

    def _succeed(self) -> None:
        if self.fault is not None:
            _log.info("following the log")
        self.fault = None
        self.is_of_one_history = True
        self._failures = 0
        if not self._caught_up.is_set():
            self._on_loop(self._caught_up.set)

    def _fail(self, reason: str, error: Exception) -> None:
        if reason != self.fault:
            level = logging.CRITICAL if isinstance(error, IntegrityFailed) else logging.WARNING
            _log.log(level, "not following the log: %s", reason, exc_info=error.__cause__)
        self.fault = reason
        self._is_checked = False
        if isinstance(error, IntegrityFailed):
            self.is_of_one_history = False

    def _rest(self, began: float) -> None:
        self._failures += 1
        self._stopping.wait(pause_seconds(self._failures, self._clock.boot() - began))

    def _on_loop(self, work: Callable[[], Result]) -> Result:
        """What `work` gives on the event loop. Raises `LoopEnded`."""
        loop = self._loop
        if loop is None:
            raise LoopEnded
        done = threading.Event()
        outcome: list[Result] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:  # noqa: BLE001  (it is raised where it is waited for)
                failure.append(error)
            done.set()

        try:
            loop.call_soon_threadsafe(run)
        except RuntimeError as error:
            raise LoopEnded from error
        while not done.wait(_TICK_SECONDS):
            if self._stopping.is_set() or loop.is_closed():
                raise LoopEnded
        if failure:
            raise failure[0]
        return outcome[0]


def answer_of(look: LogLook) -> Answer:
    """A look as the verifier takes it."""
    return Answer(
        anchor=None if look.anchor is None else point_of(look.anchor),
        steps=tuple(Step(one.position, one.seal, one.touched) for one in look.steps),
        is_all=look.is_all,
    )


def point_of(point: LogPoint) -> Point:
    return Point(point.position, point.seal)
