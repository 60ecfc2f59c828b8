"""What the resources share: the context, the meter, this node, and who is in front of it."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from keyturn.domain.error import RecordingSaturated, StorageUnavailable
from keyturn.http.metrics import Metrics
from keyturn.http.sight import Sight
from keyturn.http.trickle import Trickle
from keyturn.http.turns import Turns
from keyturn.services.context import Context
from keyturn.services.locate import sole_workspace
from keyturn.services.meter import Meter
from keyturn.services.witness import Witness
from keyturn.storage.contract import CredentialReading, Reference

LOOKUP_THREADS = 8
LOOKUP_SECONDS = 5.0
KEEP_SECONDS = 1.0
# Proofs wait on the network, in threads that every call shares.
PROOFS = 8
PROOFS_OF_ONE = 2

_ROOM_TRIES = 100
_ROOM_WAIT_SECONDS = 0.02
_SOLE_SECONDS = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether this node can serve: each check's outcome in a word or a sentence."""

    is_ready: bool
    checks: dict[str, str]


class Running:
    """What is being carried out at this moment."""

    def __init__(self) -> None:
        self._members: set[object] = set()
        self._lock = threading.Lock()

    def add_if_absent(self, member: object) -> bool:
        """Whether `member` was absent until now."""
        with self._lock:
            if member in self._members:
                return False
            self._members.add(member)
            return True

    def remove(self, member: object) -> None:
        with self._lock:
            self._members.discard(member)


@dataclass(slots=True, kw_only=True)
class Desk:
    """One node's front desk. `proxies` is how many trusted hops stand in front of it."""

    context: Context
    meter: Meter
    witness: Witness
    metrics: Metrics
    node_id: UUID
    version: str
    environment: str
    proxies: int
    check: Callable[[], Readiness]
    sight: Sight
    running: Running = field(default_factory=Running)
    proofs: Turns = field(default_factory=lambda: Turns(most=PROOFS, of_one=PROOFS_OF_ONE))
    strangers: Trickle = field(default_factory=lambda: Trickle(burst=100, per_second=10.0))
    refusals: Trickle = field(default_factory=lambda: Trickle(burst=20, per_second=0.5))
    _sole: tuple[UUID | None, float] | None = None
    lookups: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
    )

    async def wait_for_room(self) -> None:
        """Waits a moment until one more request can be noted. Raises `RecordingSaturated`: no call
        is answered unrecorded."""
        for _ in range(_ROOM_TRIES):
            if self.meter.has_room:
                return
            await asyncio.sleep(_ROOM_WAIT_SECONDS)
        raise RecordingSaturated("Requests cannot be recorded as fast as they arrive; try again.")

    async def keep(self) -> None:
        """Waits a moment until everything noted so far is kept, or is known not to be: an answer
        is late then, and not refused."""
        loop = asyncio.get_running_loop()
        kept = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(kept.set)

        self.meter.when_kept(tell)
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_SECONDS):
                await kept.wait()

    async def sole_workspace(self) -> UUID | None:
        """The installation's one workspace, None where it has several; up to a second old.

        It only says in whose log a token that nobody knows is recorded.
        """
        elapsed = self.context.clock.elapsed()
        if self._sole is None or elapsed - self._sole[1] > _SOLE_SECONDS:
            self._sole = (await self.elsewhere(sole_workspace, self.context), elapsed)
        return self._sole[0]

    async def elsewhere(self, verb: Callable[..., Result], *arguments: object) -> Result:
        """What a verb that reads the database gives, without stopping the event loop. Raises
        `StorageUnavailable` where that takes too long."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await loop.run_in_executor(self.lookups, verb, *arguments)
        except TimeoutError as error:
            raise StorageUnavailable("The database does not answer in time; try again.") from error

    async def look_up(self, references: Iterable[Reference]) -> CredentialReading:
        """Reads credentials: at once where the engine can, else in a thread."""
        reader = self.context.store.credentials
        if reader.is_instant:
            return reader.read(references)
        return await self.elsewhere(reader.read, list(references))
