"""A node's part among several on one database, from its first lease to its goodbye."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.instant import SECOND
from keyturn.domain.workspace import MOST_GRACE_SECONDS
from keyturn.server.barrier import Observe
from keyturn.server.cluster_sight import ClusterSight
from keyturn.server.database_clock import DatabaseClock
from keyturn.server.follower import Follower, Member
from keyturn.server.predecessor import succeed
from keyturn.services.context import Context
from keyturn.services.meter import Meter
from keyturn.storage.contract import Cluster, Credential
from keyturn.verifier import Verifier

# A node whose database is away begins all the same, and denies until it is back.
FIRST_LEASE_SECONDS = 5.0
STOP_SECONDS = 1.0
GOODBYE_SECONDS = 2.5
_ATTEMPTS = 3
# Whatever lease or grace it had is over by then.
FORGOTTEN_AFTER = 3_600 * SECOND

_log = logging.getLogger("keyturn.membership")


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One node's. `end` is called when nothing is answered any more."""

    member: Member
    cluster: Cluster
    follower: Follower
    sight: ClusterSight
    meter: Meter
    home: Path
    waiting: list[asyncio.Task[None]] = field(default_factory=list)

    async def begin(self) -> bool:
        """Follows the log, and waits a while for the first lease; whether there was one."""
        await asyncio.to_thread(succeed, self.home, self.member.id, self.cluster)
        self.cluster.heed(self.sight.hint)
        self.sight.begin()
        self.follower.start()
        has_lease = await self.follower.wait(FIRST_LEASE_SECONDS)
        if not has_lease:
            _log.warning("verifying nothing yet: %s", self.follower.fault)
        return has_lease

    def at_first_lease(self, check_in: Callable[[], Awaitable[None]]) -> None:
        """Has it done once there is a lease, whenever that is."""

        async def wait() -> None:
            await self.follower.caught_up()
            await check_in()

        self.waiting.append(asyncio.create_task(wait()))

    def forget(self) -> None:
        """Removes the rows of nodes that vanished long ago. Raises `StorageUnavailable`."""
        seen = self.sight.barrier.reckoned_now(self.cluster.nodes, MOST_GRACE_SECONDS)
        self.cluster.forget(seen.clock - FORGOTTEN_AFTER)

    def end(self) -> None:
        """Says goodbye, so that nobody waits for this node's lease to end. Whoever has not kept
        every use goes without a word: what it saw is not known, and its fellows must reckon with
        that."""
        self.follower.stop(STOP_SECONDS)
        self.sight.close()
        goodbye = threading.Thread(target=self._leave, name="goodbye", daemon=True)
        goodbye.start()
        goodbye.join(GOODBYE_SECONDS)

    def _leave(self) -> None:
        try:
            if self.meter.flush_finally(_ATTEMPTS) == 0:
                self.cluster.leave(self.member.id)
        except StorageUnavailable as error:
            _log.warning("gone without a goodbye: %s", error.detail)


def join(
    context: Context, meter: Meter, member: Member, home: Path, observe: Observe
) -> Membership | None:
    """A node's part, not yet begun; None where it is the only one that a database can have.
    `home` is its data folder, whose lock it has; `observe` is told how soon each node goes by a
    change."""
    cluster = context.store.cluster
    if cluster is None:
        return None
    verifier: Verifier[Credential] = Verifier(lease_seconds=member.lease_seconds)

    def check_log() -> None:
        with context.store.read() as transaction:
            transaction.head()

    database_clock = DatabaseClock(context.clock.boot())
    follower = Follower(
        member=member,
        cluster=cluster,
        verifier=verifier,
        clock=context.clock,
        settled=lambda: meter.settled,
        check_log=check_log,
        database_clock=database_clock,
    )
    sight = ClusterSight(
        store=context.store,
        cluster=cluster,
        verifier=verifier,
        follower=follower,
        clock=context.clock,
        lease_seconds=member.lease_seconds,
        observe=observe,
        database_clock=database_clock,
    )
    return Membership(
        member=member, cluster=cluster, follower=follower, sight=sight, meter=meter, home=home
    )
