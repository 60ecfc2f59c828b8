"""A tenth of the trial: whatever the network and the nodes go through, nothing that was taken away
is let in later than was told."""

import random
from pathlib import Path

import pytest

from tests.nodes.history import NONE, VALID, Change, Episode, History, Use
from tests.nodes.storm import Storm
from tests.nodes.trial import Trial, is_sound, places
from tests.servers.postgres import Postgres

REVOCATIONS = 30
NODES = 3
SEED = 3
FRESHNESS_SECONDS = 1
# What a busy machine may be late by.
SLACK_SECONDS = 4.0


def test_nothing_is_let_in_later_than_was_told_whatever_happens(
    tmp_path: Path, postgres: Postgres
) -> None:
    with places(tmp_path, postgres, NODES, FRESHNESS_SECONDS) as (found, group, database):
        history = History(lease_seconds=FRESHNESS_SECONDS)
        storm = Storm(found, database, history, random.Random(SEED))
        Trial(
            found, history, storm.play, operator=group.operator, revocations=REVOCATIONS, seed=SEED
        ).run()
    print(history.table())
    assert history.let_in_after() == []
    assert len(history.changes) == REVOCATIONS
    assert len(history.episodes) > 2
    assert all(any(use.code == VALID for use in history.uses[one.key]) for one in history.changes)
    assert max((one for one, _ in history.healing()), default=0.0) < 2.0 + SLACK_SECONDS


def change(**members: object) -> Change:
    told = {"key": "k", "kind": "revoked", "node": "a", "sent": 10.0, "answered": 11.0}
    return Change(**{**told, "is_complete": True, "effective_by": None, **members})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("taken", "bound"),
    [
        (change(), 11.0),
        (change(is_complete=False, effective_by=11.5), 11.5),
        (change(is_complete=False, effective_by=99.0), 13.0051),  # no later than any answer allows
        (change(is_complete=False), 13.0051),
        (change(due=12.0), 12.0),
    ],
)
def test_one_call_sent_after_the_bound_and_let_in_is_found(taken: Change, bound: float) -> None:
    history = History(lease_seconds=2.0, changes=[taken])
    before, after = bound - 0.001, bound + 0.001
    history.uses["k"] = [
        Use("a", before, after + 1, VALID),
        Use("a", after, after + 1, "revoked"),
        Use("a", after, after + 1, NONE),
    ]
    history.uses["other"] = [Use("a", after, after + 1, VALID)]
    assert is_sound(history)
    history.uses["k"].append(Use("b", after, after + 1, VALID))
    assert [use.node for _, use in history.let_in_after()] == ["b"]
    assert not is_sound(history)


def test_a_trial_in_which_nothing_was_taken_away_proves_nothing() -> None:
    assert not is_sound(History(lease_seconds=1.0))


def test_what_overlaps_a_fault_or_its_healing_is_not_calm() -> None:
    episode = Episode(node="a", kind="reset", began=20.0, healed=21.0)
    history = History(lease_seconds=1.0, episodes=[episode])
    assert history.is_calm(18.0, 19.9)
    assert not history.is_calm(18.0, 20.1)
    assert not history.is_calm(22.0, 22.5)
    assert history.is_calm(23.1, 24.0)
