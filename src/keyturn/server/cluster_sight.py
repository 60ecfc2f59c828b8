"""The sight of one of several nodes: the verifier's records, filled from the database, and the
barrier."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from keyturn.domain.ambience import Clock
from keyturn.domain.error import FreshnessLost, StorageUnavailable
from keyturn.http.metrics import VerifierFigures
from keyturn.http.sight import NodeStanding, Propagation
from keyturn.server.barrier import Barrier, Observe
from keyturn.server.database_clock import DatabaseClock
from keyturn.server.follower import Follower, point_of
from keyturn.storage.contract import (
    Cluster,
    Credential,
    CredentialReader,
    CredentialReading,
    KeyCredential,
    Reference,
    Store,
)
from keyturn.storage.records import KEYS, OPERATORS, slot_ref
from keyturn.verifier import Admission, Fill, Id, Kept, Standing, Verifier, id_of

FILL_THREADS = 8
FILL_SECONDS = 5.0
# Of the threads that read records, the others are for those whom somebody waits for.
MOST_READ_AGAIN = 3

Result = TypeVar("Result")
FillTask = asyncio.Task[Fill[Credential]]


class ClusterSight:
    """A node's sight. To be used on the event loop that its follower was started on."""

    def __init__(
        self,
        *,
        store: Store,
        cluster: Cluster,
        verifier: Verifier[Credential],
        follower: Follower,
        clock: Clock,
        lease_seconds: float,
        observe: Observe,
        database_clock: DatabaseClock,
    ) -> None:
        self._store = store
        self._credentials: CredentialReader = store.credentials
        self._verifier = verifier
        self._follower = follower
        self._clock = clock
        self._fills = ThreadPoolExecutor(FILL_THREADS, thread_name_prefix="fill")
        self._looks = ThreadPoolExecutor(1, thread_name_prefix="nodes")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept = self._filled = self._reading_again = 0
        self._filling: dict[Id, FillTask] = {}
        # Up to here this node has taken away itself: whoever did that here finds it done here, also
        # where he was answered before the others have confirmed it.
        self._taken_away = 0
        self.barrier = Barrier(
            lambda: self._elsewhere(self._looks, cluster.nodes),
            clock,
            lease_seconds,
            observe,
            database_clock,
        )

    def begin(self) -> None:
        """To be called on the event loop that it is used on."""
        self._loop = asyncio.get_running_loop()

    def hint(self) -> None:
        """A node has confirmed something. May be called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                self._loop.call_soon_threadsafe(self.barrier.hint)

    # --- verifying -------------------------------------------------------------------------------

    async def look(self, references: Iterable[Reference], at_least: int) -> CredentialReading:
        at_least = max(at_least, self._taken_away)
        wanted = {_id(one): one for one in references}
        fills: dict[Id, Fill[Credential]] = {}
        began = self._clock.boot()
        while self._clock.boot() < began + FILL_SECONDS:
            reading, missing = self._judged(wanted, fills, at_least)
            if reading is not None:
                return reading
            # Nothing of before a wait is used after it without being looked at again.
            filled = await asyncio.gather(*(self._fill(wanted[id_]) for id_ in missing))
            fills |= {fill.id: fill for fill in filled}
            # What was asked for since then has all that was committed before, and no more of it
            # will be there for being asked again.
            if any(one.asked_at >= began and one.point.position < at_least for one in filled):
                raise FreshnessLost("The log has not come to this position; try again.")
        raise FreshnessLost("This node is behind what it reads; try again, or another node.")

    def _judged(
        self, wanted: dict[Id, Reference], fills: dict[Id, Fill[Credential]], at_least: int
    ) -> tuple[CredentialReading | None, list[Id]]:
        """The reading, or the ids that are to be filled for it. Waits for nothing."""
        now = self._clock.boot()
        standing, applied = self._verifier.standing(now), self._verifier.applied
        if applied is None or standing in (Standing.NEW, Standing.FORKED):
            raise self._lost()
        found: dict[Id, Credential | None] = {}
        missing, positions = [], []
        for id_, reference in wanted.items():
            kept = self._verifier.find(id_, now) if applied.position >= at_least else None
            if kept is not None:
                self._kept += id_ not in fills
                found[id_] = kept.record
                if self._verifier.is_old(kept, now):
                    self._read_again(id_, reference, kept, now)
                positions.append(applied.position)
                continue
            fill = fills.get(id_)
            if fill is None or not self._may_use(fill, at_least, now):
                missing.append(id_)
                continue
            found[id_] = fill.record
            positions.append(fill.point.position)
        if missing:
            if standing is Standing.LATE:
                raise self._lost()  # in a time of grace too: what is kept is all that there is
            return None, missing
        credentials = {
            one.id: credential
            for id_, one in wanted.items()
            if (credential := found[id_]) is not None
        }
        position = min(positions, default=applied.position)
        return CredentialReading(found=credentials, position=position), missing

    def _may_use(self, fill: Fill[Credential], at_least: int, now: float) -> bool:
        """Whether a record is new enough that was read before the last wait."""
        match self._verifier.admit(fill, now):
            case Admission.KEPT:
                pass
            case Admission.USABLE:
                self._follower.hurry()
            case Admission.TOO_OLD:
                return False
            case Admission.FORKED:
                raise self._lost()
        return fill.point.position >= at_least

    async def _fill(self, reference: Reference) -> Fill[Credential]:
        """A record from the database; who asks for one that is being read already, waits for that:
        whether it is new enough is asked of the verifier afterwards."""
        id_ = _id(reference)
        task = self._filling.get(id_)
        if task is None:
            task = self._begin(id_, self._read(id_, reference))
        return await asyncio.shield(task)

    def _read_again(
        self, id_: Id, reference: Reference, kept: Kept[Credential], now: float
    ) -> None:
        """Nobody waits for it: what was kept is good for this answer."""
        if id_ in self._filling or self._reading_again >= MOST_READ_AGAIN:
            return
        # One that comes to nothing is not tried again at each use.
        self._verifier.put_off(kept, now)
        self._reading_again += 1

        async def read() -> Fill[Credential]:
            try:
                fill = await self._read(id_, reference)
                self._verifier.admit(fill, self._clock.boot())
                return fill
            finally:
                self._reading_again -= 1

        self._begin(id_, read())

    def _begin(self, id_: Id, work: Coroutine[None, None, Fill[Credential]]) -> FillTask:
        task = asyncio.create_task(work)
        self._filling[id_] = task
        task.add_done_callback(lambda ended: self._end(id_, ended))
        return task

    def _end(self, id_: Id, task: FillTask) -> None:
        self._filling.pop(id_, None)
        if not task.cancelled():
            task.exception()  # whoever waited may have gone

    async def _read(self, id_: Id, reference: Reference) -> Fill[Credential]:
        self._filled += 1
        asked_at = self._clock.boot()
        filled = await self._elsewhere(self._fills, self._credentials.fill, reference)
        workspace = slot = None
        if isinstance(filled.credential, KeyCredential):
            key = filled.credential.key
            workspace, slot = str(key.workspace_id), slot_ref(key.workspace_id, key.slot)
        return Fill(
            id=id_,
            record=filled.credential,
            workspace=workspace,
            slot=slot,
            point=point_of(filled.point),
            asked_at=asked_at,
            is_keepable=not filled.is_damaged,
        )

    def require_fresh(self, grace_seconds: int) -> int | None:
        now = self._clock.boot()
        match self._verifier.standing(now):
            case Standing.FRESH:
                return None
            case Standing.LATE:
                late_seconds = self._verifier.late_seconds(now)
                if late_seconds < grace_seconds:
                    return math.ceil(late_seconds)
            case Standing.NEW | Standing.FORKED:
                pass
        raise self._lost()

    def _lost(self) -> FreshnessLost:
        return FreshnessLost(
            "This node cannot tell whether anything was revoked meanwhile, and answers nothing; "
            "try again, or another node."
        )

    # --- changes ---------------------------------------------------------------------------------

    async def effective(self, grace_seconds: int, within: float) -> Propagation:
        newest = self._store.memory.newest()
        position = 0 if newest is None else newest.position
        self._taken_away = max(self._taken_away, position)
        self._follower.hurry()
        reached = await self.barrier.wait(position, grace_seconds, within)
        is_forked = self._verifier.standing(self._clock.boot()) is Standing.FORKED
        if is_forked or not self._follower.is_of_one_history:
            # The change may be one that was lost, and its position another one's by now.
            raise self._lost()
        return reached

    async def nodes(self, position: int, grace_seconds: int) -> tuple[NodeStanding, ...]:
        return await self.barrier.standings(position, grace_seconds)

    def fault(self) -> str | None:
        match self._verifier.standing(self._clock.boot()):
            case Standing.FRESH:
                return None
            case Standing.LATE | Standing.NEW | Standing.FORKED:
                return self._follower.fault or "It is behind the log."

    def figures(self) -> VerifierFigures:
        """For the metrics. May be called from any thread."""
        applied = self._verifier.applied
        return VerifierFigures(
            lease_seconds=self._verifier.lease_seconds_left(self._clock.boot()),
            applied_position=0 if applied is None else applied.position,
            kept=self._kept,
            filled=self._filled,
        )

    def close(self) -> None:
        for one in (self._fills, self._looks):
            one.shutdown(wait=False, cancel_futures=True)

    async def _elsewhere(
        self, threads: ThreadPoolExecutor, verb: Callable[..., Result], *arguments: object
    ) -> Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(FILL_SECONDS):
                return await loop.run_in_executor(threads, verb, *arguments)
        except TimeoutError as error:
            raise StorageUnavailable("The database does not answer in time; try again.") from error


def _id(reference: Reference) -> Id:
    return id_of(OPERATORS.kind if reference.is_operators else KEYS.kind, reference.id)
