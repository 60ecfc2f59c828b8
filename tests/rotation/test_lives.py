"""Long random lives of the real services keep every invariant, on both engines.

A part of it runs each time. `KEYTURN_ROTATION_LIVES=500` makes that many lives of 60 steps each.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.houses import House, Plots
from tests.rotation.machine import COUNTS, Lives

LIVES = int(os.environ.get("KEYTURN_ROTATION_LIVES", "40"))


@pytest.fixture(params=[("sqlite", 1), ("postgresql", 6)], ids=lambda param: param[0])
def share(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """An engine, and which part of all lives are led on it."""
    COUNTS.clear()
    engine, part = request.param
    yield engine, max(1, LIVES // part)
    print(dict(sorted(COUNTS.items())))


def test_no_life_breaks_an_invariant(plots: Plots, share: tuple[str, int]) -> None:
    engine, lives = share
    houses: list[House] = []

    def build() -> House:
        if houses:  # a life has ended, and its database with it
            plots.clear(houses.pop().ground)
        houses.append(House(*plots.installed(engine)))
        return houses[-1]

    run_state_machine_as_test(
        lambda: Lives(build),  # type: ignore[arg-type]
        settings=settings(
            max_examples=lives,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )
    assert COUNTS["lives"] >= lives
    assert COUNTS["rotations"] > 0
