"""`kill -9` at every named point: what was answered is there, and nothing is there by half.

`KILLS=all` takes every point. Else those are left out between which nothing is written, and on
PostgreSQL, where each costs more, most of the others.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.kills.automation import SCENES, AutomationKills, survey_scene
from tests.kills.commands import Command, Init, OperatorsCreate, Start, run_command
from tests.kills.delivering import DeliveryKills, survey_delivery
from tests.kills.figures import Figures
from tests.kills.grounds import Grounds
from tests.kills.named import NamedKills, is_weighty, survey
from tests.kills.operations import OPERATIONS, Operation
from tests.kills.rotations import ROTATIONS

IS_FULL = os.environ.get("KILLS") == "all"
LEAST_POINTS = 8
# Of the many points of `init` nearly all lie in one transaction, in which the tables are made.
STEPS = {"sqlite": 1, "postgresql": 6}
INIT_STEP = 8
# The steps of rotations are many, and in each of them most points lie in one transaction.
ROTATION_STEPS = {"sqlite": 12, "postgresql": 60}
DELIVERY_STEPS = {"sqlite": 12, "postgresql": 60}
# On PostgreSQL a share of them.
_SHARED = ("rotate", "complete-by-brownout", "roll-back-brownout", "browns-out", "lifts")
_DECISIVE = ("COMMIT", "answer", "half", "renaming")


def chosen(points: list[str], step: int) -> list[str]:
    """All points, or each so-manieth of the weighty ones and all at which much is decided."""
    if IS_FULL:
        return points
    weighty = [point for point in points if is_weighty(point)]
    assert len(weighty) >= LEAST_POINTS, weighty
    return [
        point
        for number, point in enumerate(weighty)
        if number % step == 0 or any(word in point for word in _DECISIVE)
    ]


def require_sound(figures: Figures, points: list[str]) -> None:
    assert figures.faults == []
    assert figures.kills == figures.points == len(points)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_server_killed_at_any_point_of_a_call_leaves_all_of_it_or_nothing(
    grounds: Grounds, operation: Operation
) -> None:
    site, figures = grounds.site(), Figures()
    points = chosen(survey(site, [operation])[operation.name], STEPS[grounds.engine])
    NamedKills(site, figures).run(operation, points)
    require_sound(figures, points)
    assert figures.restarts > len(points)


def spread(points: list[str], step: int) -> list[str]:
    """As `chosen`, sparingly: each so-manieth of the weighty ones, and around the commits."""
    if IS_FULL:
        return points
    weighty = [point for point in points if is_weighty(point)]
    assert len(weighty) >= LEAST_POINTS, weighty
    return [
        point
        for number, point in enumerate(weighty)
        if number % step == step // 2 or "COMMIT" in point
    ]


def on_engines(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each name on SQLite, and a share of them on PostgreSQL."""
    names = list(names)
    shared = names if IS_FULL else [name for name in names if name in _SHARED]
    return [("sqlite", name) for name in names] + [("postgresql", name) for name in shared]


_ASKED_FOR = {operation.name: operation for operation in ROTATIONS}


@pytest.mark.parametrize(("grounds", "name"), on_engines(_ASKED_FOR), indirect=["grounds"])
def test_a_server_killed_in_a_step_of_a_rotation_leaves_all_of_it_or_nothing(
    grounds: Grounds, name: str
) -> None:
    site, figures, operation = grounds.site(), Figures(), _ASKED_FOR[name]
    points = spread(survey(site, [operation])[operation.name], ROTATION_STEPS[grounds.engine])
    NamedKills(site, figures).run(operation, points)
    require_sound(figures, points)


@pytest.mark.parametrize(("grounds", "name"), on_engines(SCENES), indirect=["grounds"])
def test_a_rotation_goes_on_by_itself_whatever_step_of_it_the_server_was_killed_in(
    grounds: Grounds, name: str
) -> None:
    site, figures = grounds.site(), Figures()
    points = spread(survey_scene(site, name), ROTATION_STEPS[grounds.engine])
    AutomationKills(site, figures).run(name, points)
    require_sound(figures, points)


@pytest.mark.parametrize("grounds", ["sqlite", "postgresql"], indirect=True)
def test_a_new_token_arrives_once_whatever_step_of_its_way_the_server_was_killed_in(
    grounds: Grounds,
) -> None:
    site, figures = grounds.site(), Figures()
    points = on_the_way(survey_delivery(site), DELIVERY_STEPS[grounds.engine])
    DeliveryKills(site, figures).run(points)
    require_sound(figures, points)


def on_the_way(points: list[str], step: int) -> list[str]:
    """Sparingly in the call, and all that the attempt does to a file."""
    if IS_FULL:
        return points
    in_call = [point for point in points if "delivery: " not in point]
    in_attempt = [point for point in points if "delivery: " in point]
    on_disk = [point for point in in_attempt if ".token.draft" in point]
    assert len(on_disk) >= 4, in_attempt
    commits = [point for point in (*in_call, *in_attempt) if "COMMIT" in point]
    found = {*in_call[::step], *commits, *on_disk[:: max(1, step // 12)]}
    return [point for point in points if point in found]


def require_survival(command: Command, step: int) -> None:
    figures = Figures()
    points = chosen(command.survey(), step)
    run_command(command, points, figures)
    require_sound(figures, points)


def test_init_killed_at_any_point_ends_what_it_had_begun_when_it_is_repeated(
    grounds: Grounds,
) -> None:
    require_survival(Init(grounds.place), INIT_STEP)


def test_an_operator_whose_making_was_killed_has_a_whole_token_or_none(grounds: Grounds) -> None:
    site = grounds.site()
    site.start()
    require_survival(OperatorsCreate(site), STEPS[grounds.engine])
    site.kill()


def test_a_start_that_is_killed_while_it_tidies_leaves_a_sound_log(tmp_path: Path) -> None:
    """On SQLite alone: what it writes are its own files, and the statements of the same code."""
    grounds = Grounds(tmp_path, None)
    try:
        require_survival(Start(grounds.old_site()), STEPS["sqlite"])
    finally:
        grounds.close()
