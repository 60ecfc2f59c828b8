"""How far a change is effective, in words."""

from datetime import UTC, datetime

import pytest

from keyturn.cli.effect import effect_told
from keyturn.client import Effect

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("effect", "told"),
    [
        (
            Effect(is_complete=True, propagation="complete; nodes=3; ms=12"),
            "effective everywhere in 12 ms on 3 nodes",
        ),
        (
            Effect(is_complete=True, propagation="complete; nodes=1; ms=0"),
            "effective everywhere in 0 ms on 1 node",
        ),
        (
            Effect(is_complete=True, propagation="complete; nodes=3; ms=4990; expired=1"),
            "effective everywhere in 4,990 ms on 3 nodes, 1 of them cut off",
        ),
        (Effect(is_complete=True), "effective everywhere"),
        (
            Effect(is_complete=False, effective_by=AT),
            "effective by 2026-01-02 03:04:05 (UTC)",
        ),
        (Effect(is_complete=False), "not known to be effective everywhere"),
    ],
)
def test_an_effect_is_told(effect: Effect, told: str) -> None:
    assert effect_told(effect) == told
