"""A tenth of the trial: rotations end by themselves under load, and nobody is harmed."""

import tempfile
from pathlib import Path

from tests.kills.grounds import Grounds
from tests.rotations_live.figures import Figures
from tests.rotations_live.trial import Trial, is_sound

ROTATIONS = 20
SERVICES = 20
SEED = 7
KILL_SECONDS = 10.0


def test_rotations_under_load_end_by_themselves_and_no_healthy_caller_is_denied(
    sqlite_grounds: Grounds,
) -> None:
    with tempfile.TemporaryDirectory() as folder:  # the callers' tokens stand in files there
        trial = Trial(
            sqlite_grounds.site(),
            Path(folder),
            rotations=ROTATIONS,
            services=SERVICES,
            seed=SEED,
            every=KILL_SECONDS,
        )
        figures = trial.run()
    assert figures.faults == []
    assert (figures.denied, figures.retired_early, figures.thefts_after) == (0, 0, 0)
    assert figures.completed == figures.rotations >= ROTATIONS
    assert figures.kills > 0
    assert figures.thieves > 0
    assert is_sound(figures), figures.table()


def test_a_trial_in_which_too_much_waits_or_anybody_is_harmed_is_not_sound() -> None:
    assert is_sound(Figures(rotations=20, in_time=19))
    assert not is_sound(Figures(rotations=20, in_time=18))
    assert not is_sound(Figures(rotations=20, in_time=20, faults=["a healthy caller is denied"]))
