"""Readiness: what anybody may ask for, however often."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.instant import SECOND
from keyturn.server.readiness import ReadinessCheck
from tests.houses import House


@dataclass
class Counting:
    """A store that counts who asks for its time, and may be slow, or gone."""

    store: Any
    asked: int = 0
    is_gone: bool = False
    goes_on: threading.Event | None = None

    def ping(self) -> int:
        self.asked += 1
        if self.goes_on is not None:
            self.goes_on.wait(10)
        if self.is_gone:
            raise StorageUnavailable("It is gone.")
        return int(self.store.ping())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def test_readiness_is_looked_at_once_a_second(build_house: Callable[[str], House]) -> None:
    house = build_house("sqlite")
    store = Counting(house.store)
    check = ReadinessCheck(replace(house.context, store=store))
    with ThreadPoolExecutor(20) as pool:
        assert all(one.is_ready for one in pool.map(lambda _: check(), range(200)))
    assert store.asked == 1
    house.clock.advance(2 * SECOND)
    store.is_gone = True
    assert not check().is_ready
    assert store.asked == 2


def test_nobody_else_waits_for_a_database_that_is_silent(
    build_house: Callable[[str], House],
) -> None:
    house = build_house("sqlite")
    store = Counting(house.store)
    check = ReadinessCheck(replace(house.context, store=store))
    assert check().is_ready
    house.clock.advance(2 * SECOND)
    store.goes_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(check)
        while store.asked < 2:
            pass
        assert check().is_ready
        house.clock.advance(4 * SECOND)
        assert not check().is_ready
        store.goes_on.set()
        assert first.result().is_ready
    assert (check().is_ready, store.asked) == (True, 2)


def test_a_verifier_that_may_not_answer_is_told_at_once_and_why(
    build_house: Callable[[str], House],
) -> None:
    house = build_house("sqlite")
    faults: list[str | None] = [None, "It is behind the log.", None]
    check = ReadinessCheck(house.context, lambda: faults.pop(0))
    told = [check() for _ in range(3)]
    assert [one.is_ready for one in told] == [True, False, True]
    assert [one.checks["verifier"] for one in told] == ["ok", "It is behind the log.", "ok"]
