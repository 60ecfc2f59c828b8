"""`kill -9` at random moments of a storm. A failure prints its seed; `KILLS_SEED` repeats it, as
far as moments can be repeated."""

import os
import random

import pytest

from tests.kills.figures import Figures
from tests.kills.grounds import Grounds, OwnPostgres
from tests.kills.storm import crash_database, kill_backends, kill_servers

KILLS = 10
BACKENDS = 4


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("KILLS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"KILLS_SEED={chosen}")
    return chosen


def require_sound(figures: Figures) -> None:
    assert figures.faults == []
    assert figures.answered > 0


def test_a_server_killed_again_and_again_loses_nothing_that_it_answered(
    grounds: Grounds, seed: int
) -> None:
    figures = Figures()
    kill_servers(grounds.site(), seed, KILLS, figures)
    require_sound(figures)
    assert figures.kills == figures.restarts == KILLS


def test_a_database_whose_processes_are_killed_loses_nothing_that_was_answered(
    mortal_postgres: OwnPostgres, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    grounds, figures = Grounds(tmp_path_factory.mktemp("own"), mortal_postgres.server), Figures()
    try:
        kill_backends(grounds.site(), mortal_postgres, seed, BACKENDS, figures)
    finally:
        grounds.close()
    require_sound(figures)
    assert figures.kills > 0


def test_a_database_that_is_away_is_told_of_and_loses_nothing_that_was_answered(
    mortal_postgres: OwnPostgres, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    grounds, figures = Grounds(tmp_path_factory.mktemp("own"), mortal_postgres.server), Figures()
    try:
        crash_database(grounds.site(), mortal_postgres, seed, figures)
    finally:
        grounds.close()
    require_sound(figures)
