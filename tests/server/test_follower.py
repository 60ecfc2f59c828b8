"""The follower, on a real PostgreSQL: its verifier is as new as promised, or has no lease."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from keyturn.ambient import SystemClock
from keyturn.domain.error import IntegrityFailed, KeyturnError, StorageUnavailable
from keyturn.server.database_clock import DatabaseClock
from keyturn.server.follower import Follower, Member
from keyturn.storage.contract import Cluster, Credential, Grant, NodeReport
from keyturn.storage.postgresql import PostgresStore
from keyturn.verifier import Standing, Verifier
from tests.houses import SEALER, House
from tests.servers.postgres import Postgres
from tests.servers.silence import SilentProxy

LEASE_SECONDS = 1.0
PATIENCE_SECONDS = 20.0


@dataclass(kw_only=True)
class Scene:
    """A follower with its verifier. Leases are of real seconds: the database counts them too."""

    cluster: Cluster
    verifier: Verifier[Credential]
    follower: Follower
    clock: SystemClock

    @property
    def standing(self) -> Standing:
        return self.verifier.standing(self.clock.boot())

    @property
    def position(self) -> int:
        return -1 if self.verifier.applied is None else self.verifier.applied.position


async def until(true: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not true():  # noqa: ASYNC110  (what it waits for happens in a database)
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), PATIENCE_SECONDS)


@asynccontextmanager
async def following(
    cluster: Cluster, *, check_log: Callable[[], None] = lambda: None, name: str = "one"
) -> AsyncIterator[Scene]:
    clock = SystemClock()
    verifier: Verifier[Credential] = Verifier(lease_seconds=LEASE_SECONDS)
    follower = Follower(
        member=Member(id=name, name=name, version="1", lease_seconds=LEASE_SECONDS),
        cluster=cluster,
        verifier=verifier,
        clock=clock,
        settled=lambda: 7,
        check_log=check_log,
        database_clock=DatabaseClock(clock.boot()),
    )
    follower.start()
    try:
        yield Scene(cluster=cluster, verifier=verifier, follower=follower, clock=clock)
    finally:
        await asyncio.to_thread(follower.stop, 5.0)


@pytest.fixture
def house(build_house: Callable[[str], House]) -> House:
    return build_house("postgresql")


def cluster_of(house: House) -> Cluster:
    assert house.store.cluster is not None
    return house.store.cluster


def position_of(house: House) -> int:
    with house.store.read() as transaction:
        return transaction.head().position


async def in_thread(verb: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(verb, *arguments)


async def test_each_change_is_applied_and_confirmed(house: House) -> None:
    cluster = cluster_of(house)
    async with following(cluster) as scene:
        assert await scene.follower.wait(PATIENCE_SECONDS)
        assert scene.standing is Standing.FRESH
        for _ in range(5):
            await in_thread(house.issue)
            position = await in_thread(position_of, house)
            await until(lambda position=position: scene.position == position)  # type: ignore[misc]
            seen: list[int] = []

            def is_confirmed(seen: list[int] = seen, position: int = position) -> bool:
                return seen[-1:] == [position]

            while not is_confirmed():
                rows = (await in_thread(cluster.nodes)).rows
                seen.append(rows[0].applied)
        rows = (await in_thread(cluster.nodes)).rows
        assert [(row.id, row.settled_until) for row in rows] == [("one", 7)]
        assert scene.follower.fault is None


async def test_a_long_log_is_caught_up_with(house: House) -> None:
    async with following(cluster_of(house)) as scene:
        assert await scene.follower.wait(PATIENCE_SECONDS)
        for _ in range(20):
            await in_thread(house.issue)
        position = await in_thread(position_of, house)
        await until(lambda: scene.position == position)
        assert scene.standing is Standing.FRESH


async def test_a_log_that_must_not_be_verified_by_gives_no_lease(house: House) -> None:
    is_bad = [True]

    def check_log() -> None:
        if is_bad:
            raise IntegrityFailed("The log was set back.")

    async with following(cluster_of(house), check_log=check_log) as scene:
        assert not await scene.follower.wait(0.5)
        assert scene.standing is Standing.NEW
        assert scene.follower.fault == "The log was set back."
        assert (await in_thread(cluster_of(house).nodes)).rows == ()
        is_bad.clear()  # somebody has mended it
        assert await scene.follower.wait(PATIENCE_SECONDS)


async def test_a_log_that_is_set_back_ends_the_leases_for_good(house: House) -> None:
    await in_thread(house.issue)
    async with following(cluster_of(house)) as scene:
        assert await scene.follower.wait(PATIENCE_SECONDS)

        def set_back() -> None:
            with house.ground.raw() as raw:
                raw.run("DELETE FROM changes WHERE position = (SELECT max(position) FROM changes)")

        await in_thread(set_back)
        await until(lambda: scene.standing is Standing.FORKED)
        await in_thread(house.issue)
        assert scene.standing is Standing.FORKED
        assert "Start the node anew" in (scene.follower.fault or "")


class Failing:
    """A cluster whose next reports fail, as where a link is cut for a moment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def report(self, node: NodeReport) -> Grant:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("The link is cut.")
        return self._cluster.report(node)


@pytest.mark.parametrize("fault", [IntegrityFailed, StorageUnavailable])
async def test_after_a_failure_the_log_is_checked_also_where_the_lease_outlasts_it(
    fault: type[KeyturnError], house: House
) -> None:
    """What this node changed itself, and has not yet applied, no anchor tells of. Until it could be
    checked, nothing is reported and no lease extended."""
    is_bad: list[bool] = []

    def check_log() -> None:
        if is_bad:
            raise fault("The log does not go on.")

    failing = Failing(cluster_of(house))
    async with following(failing, check_log=check_log) as scene:
        assert await scene.follower.wait(PATIENCE_SECONDS)
        is_bad.append(True)
        failing.failures = 1
        await until(lambda: scene.follower.fault == "The log does not go on.")
        assert scene.follower.is_of_one_history is (fault is StorageUnavailable)
        await until(lambda: scene.standing is Standing.LATE)
        is_bad.clear()
        await until(lambda: scene.standing is Standing.FRESH)
        await until(lambda: scene.follower.is_of_one_history)


async def over(
    house: House, postgres: Postgres, act: Callable[[Scene, SilentProxy], Awaitable[None]]
) -> None:
    """Has a follower follow through a proxy."""
    with SilentProxy(postgres.port) as proxy:
        store = PostgresStore(proxy.url(house.ground.place), SEALER, lambda _: None)
        try:
            async with following(store.cluster) as scene:
                assert await scene.follower.wait(PATIENCE_SECONDS)
                await act(scene, proxy)
        finally:
            proxy.speak_again()
            await in_thread(store.close)


async def test_what_comes_back_late_extends_nothing(house: House, postgres: Postgres) -> None:
    """A link that is silent for longer than a lease, and then gives all answers at once."""

    async def act(scene: Scene, proxy: SilentProxy) -> None:
        proxy.fall_silent()
        began = scene.clock.boot()
        await until(lambda: scene.standing is Standing.LATE)
        assert scene.clock.boot() - began <= LEASE_SECONDS + 0.5
        await in_thread(house.issue)
        position = await in_thread(position_of, house)
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert scene.standing is Standing.LATE
        assert scene.follower.fault is not None
        proxy.speak_again()
        healed = scene.clock.boot()
        await until(lambda: scene.standing is Standing.FRESH)
        # Whatever is fresh has seen what was changed meanwhile.
        assert scene.position >= position
        assert scene.clock.boot() - healed < 4.0
        await until(lambda: scene.follower.fault is None)

    await over(house, postgres, act)


async def test_an_event_loop_that_stood_still_finds_its_lease_over(house: House) -> None:
    async with following(cluster_of(house)) as scene:
        assert await scene.follower.wait(PATIENCE_SECONDS)
        scene.clock.sleep(LEASE_SECONDS * 1.5)  # on the loop: nothing of this process goes on
        assert scene.standing is Standing.LATE
        await until(lambda: scene.standing is Standing.FRESH)
