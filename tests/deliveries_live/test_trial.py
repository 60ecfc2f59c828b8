"""A twentieth of the trial: rotations end without a hand under load, and no request fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deliveries_live.figures import Figures
from tests.deliveries_live.trial import Trial
from tests.kills.grounds import Grounds

ROTATIONS = 10
SERVICES = 5
SEED = 7
KILL_SECONDS = 5.0


@pytest.fixture
def grounds(tmp_path: Path) -> Iterator[Grounds]:
    made = Grounds(tmp_path, None)
    yield made
    made.close()


def test_rotations_without_a_hand_end_by_themselves_and_no_request_fails(grounds: Grounds) -> None:
    trial = Trial(
        grounds.site(), rotations=ROTATIONS, services=SERVICES, seed=SEED, every=KILL_SECONDS
    )
    figures = trial.run()
    assert figures.faults == []
    assert figures.failed == 0
    assert figures.unattended == figures.rotations >= ROTATIONS
    assert figures.kills > 0
    assert figures.outages > 0
    assert figures.is_sound, figures.table()


def test_a_trial_in_which_a_request_fails_or_a_rotation_waits_is_not_sound() -> None:
    assert Figures(rotations=20, unattended=20).is_sound
    assert not Figures(rotations=20, unattended=19).is_sound
    assert not Figures(rotations=20, unattended=20, failed=1).is_sound
    assert not Figures(rotations=20, unattended=20, faults=["something"]).is_sound
