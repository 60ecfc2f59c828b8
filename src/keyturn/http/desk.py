"""What the resources share: the context, the meter, this node, and who is in front of it."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.http.metrics import Metrics
from keyturn.services.context import Context
from keyturn.services.meter import Meter
from keyturn.storage.contract import CredentialReading, Reference

LOOKUP_THREADS = 8


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
    metrics: Metrics
    node_id: UUID
    version: str
    environment: str
    proxies: int
    check: Callable[[], Readiness]
    running: Running = field(default_factory=Running)
    lookups: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
    )

    async def look_up(self, references: Iterable[Reference]) -> CredentialReading:
        """Reads credentials: at once where the engine can, else in a thread."""
        reader = self.context.store.credentials
        if reader.is_instant:
            return reader.read(references)
        return await asyncio.get_running_loop().run_in_executor(
            self.lookups, reader.read, list(references)
        )
