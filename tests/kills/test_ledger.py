"""The judges of a kill are no easier on the product than they say: each planted half is found."""

import pytest

from tests.kills.figures import Figures
from tests.kills.grounds import Grounds
from tests.kills.journal import History, Outcome, Step, hold
from tests.kills.ledger import moved
from tests.kills.operations import Stage, open_stage
from tests.kills.sites import Site

HALVES = {
    "a row without its change": "DELETE FROM changes WHERE kind = 'key'",
    "a change without its row": "DELETE FROM keys",
    "a change without its entry": "DELETE FROM activity WHERE resource_type = 'api_key'",
    "a row that is behind": "UPDATE keys SET version = 0",
    "a head that is behind": "UPDATE change_head SET position = position - 1",
    "uses that are counted twice": "UPDATE key_usage SET allowed = allowed + 1",
}


@pytest.fixture
def stage(grounds: Grounds) -> Stage:
    site = grounds.site()
    site.start()
    stage = open_stage(site)
    assert stage.is_let_in(stage.key()["api_key"])
    server = site.server
    assert server is not None
    server.stop()
    return stage


@pytest.mark.parametrize("half", HALVES)
def test_a_half_change_in_the_database_is_a_fault(stage: Stage, half: str) -> None:
    site = stage.site
    sound = site.ledger()
    assert sound.faults() == []
    plant(site, HALVES[half])
    assert site.ledger().faults() != []
    if half != "uses that are counted twice":
        assert moved(sound, site.ledger())


def plant(site: Site, statement: str) -> None:
    with site.place.database() as ask:
        ask(statement)


def key_of(stage: Stage) -> tuple[str, str]:
    """A key that was made, and the request id of that call."""
    entries = stage.site.ledger().entries("api_key")
    key_id, told = max(entries.items())
    return key_id, told[0]["request_id"]


@pytest.mark.parametrize(
    ("outcome", "ids", "lost", "half"),
    [
        (Outcome.DONE, 1, 0, 0),
        (Outcome.UNKNOWN, 1, 0, 0),
        (Outcome.REFUSED, 1, 0, 1),  # and yet it is there
        (Outcome.DONE, 0, 1, 1),  # and it is not there, but something that nobody asked for is
    ],
)
def test_an_answer_that_the_log_does_not_bear_out_is_a_fault(
    stage: Stage, outcome: Outcome, ids: int, lost: int, half: int
) -> None:
    key_id, request_id = key_of(stage)
    step = Step(verb="create", ids=[request_id][:ids], outcome=outcome, version=1)
    figures = Figures()
    hold([History(key_id=key_id, token=None, steps=[step])], stage.site.ledger(), figures)
    assert (figures.lost > 0, figures.half > 0) == (bool(lost), bool(half)), figures.faults
    assert bool(figures.faults) == bool(lost or half)
