"""The prober: every so often the node that leads makes a change that changes nothing, and waits
until it is effective on every node.

So it is known how long a revocation takes before one is needed, and an alert can be set on it:
`keyturn_revocation_propagation_seconds`. Revocations themselves are measured there, too.
"""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from keyturn.domain.error import KeyturnError
from keyturn.server.barrier import Barrier
from keyturn.services.context import Context
from keyturn.services.probe import probe

WITHIN_SECONDS = 60.0

_log = logging.getLogger("keyturn.prober")


class Prober:
    """One node's. `leads` says whether this node is the one that probes."""

    def __init__(
        self,
        *,
        context: Context,
        node_id: UUID,
        barrier: Barrier,
        leads: Callable[[], bool],
        every_seconds: float,
    ) -> None:
        self._context = context
        self._node_id = node_id
        self._barrier = barrier
        self._leads = leads
        self._every_seconds = every_seconds
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """To be called on the event loop that verifies. Without an interval it probes never."""
        if self._every_seconds:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            try:
                await self.once()
            except KeyturnError as error:
                _log.warning("not probed: %s", error.detail)
            except Exception:  # noqa: BLE001  (a task that dies would measure nothing any more)
                _log.exception("probing failed")

    async def once(self) -> bool:
        """One probe; whether one was made. Raises `StorageUnavailable`, `IntegrityFailed`."""
        position = await asyncio.to_thread(self._probe)
        if position is None:
            return False
        propagation = await self._barrier.wait(position, 0, WITHIN_SECONDS)
        if propagation.state != "complete":
            _log.error("a probe is not effective everywhere after %.0f s", WITHIN_SECONDS)
        return True

    def _probe(self) -> int | None:
        if not self._leads():
            return None
        self._number += 1
        return probe(self._context, self._node_id, self._number)
