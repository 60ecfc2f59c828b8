"""Every order of acts in a small world: no healthy workload is cut off, and what is followed ends.

The same exploration is run on judgements that are known to be wrong, and must find out each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from keyturn.domain.error import Blocker
from keyturn.domain.evidence import Evidence, Use
from keyturn.domain.instant import SECOND
from keyturn.domain.rotation import MOST_LIFTS, RotationState
from tests.rotation.scene import Scene, moment
from tests.rotation.world import (
    INTERVAL,
    NOW,
    TICK,
    Caller,
    CutOff,
    Judge,
    Laws,
    World,
    as_built,
)

TWO_STEADY = World(c=None)
STEADY_AND_BATCH = World(b=None)
# Two instances have each token, and the batch job has run with the new one.
ALL_THREE = World(
    a=Caller(holds="both", shown="both", new=0), c=Caller(holds="new", shown="new", new=0, old=1)
)

MOST_TICKS = 12


@dataclass(frozen=True, slots=True)
class Explored:
    """Every state that was reached, and how many runs there are."""

    states: list[World]
    runs: int


def explore(laws: Laws, start: World, depth: int) -> Explored:
    """Every run of at most `depth` acts. Raises `CutOff` where one leads to harm."""
    seen, layer, runs = {start}, {start: 1}, 0
    known: dict[World, list[World]] = {}
    for _ in range(depth):
        reached: dict[World, int] = {}
        for world, count in layer.items():
            if world not in known:
                known[world] = [after for _, after in laws.following(world) if after != world]
            for after in known[world]:
                reached[after] = reached.get(after, 0) + count
        runs += sum(reached.values())
        seen.update(reached)
        layer = reached
    return Explored(list(seen), runs)


@pytest.mark.parametrize(
    ("start", "has_brownout", "has_thief", "depth"),
    [
        (TWO_STEADY, True, False, 8),
        (STEADY_AND_BATCH, True, False, 8),
        (TWO_STEADY, True, True, 6),
        (ALL_THREE, True, False, 6),
        (STEADY_AND_BATCH, False, False, 7),
    ],
    ids=["two steady", "a batch job", "a thief", "all three", "no brown-out"],
)
def test_no_order_of_acts_cuts_off_a_healthy_workload(
    start: World,
    *,
    has_brownout: bool,
    has_thief: bool,
    depth: int,
) -> None:
    laws = Laws(has_brownout=has_brownout, has_thief=has_thief)
    explored = explore(laws, start, depth)
    print(f"{len(explored.states)} states, {explored.runs} runs of at most {depth} acts")
    assert len(explored.states) > 3_000
    states = {world.state for world in explored.states}
    assert {RotationState.COMPLETED, RotationState.CANCELLED, RotationState.BROWNOUT} <= states
    assert start.c == ALL_THREE.c or RotationState.ROLLED_BACK in states
    for world in explored.states[::29]:
        if world.is_open:
            assert_ends_if_followed(laws, world)


def assert_ends_if_followed(laws: Laws, world: World) -> None:
    """From here on everybody gets the new token and calls, and persons decide when asked."""
    began = world
    for _ in range(MOST_TICKS):
        for act in ("it comes back", "a person decides", "it does"):
            world = _taken(laws, world, act)
        for name, caller in world.callers:
            called = caller.deployed("new").called(is_browned=world.is_browned)
            world = world._replace(**{name: called})  # type: ignore[arg-type]
        if world.lifts == MOST_LIFTS:
            world = _taken(laws, world, "a person completes")
        if not world.is_open:
            assert world.state is RotationState.COMPLETED
            return
        world = _taken(laws, world, "a tick")
    raise AssertionError(f"it does not end, from {began}")


def _taken(laws: Laws, world: World, act: str) -> World:
    """The world after an act, or as it was where that is not possible."""
    return next((after for label, after in laws.following(world) if label.startswith(act)), world)


# --- what is known to be wrong -------------------------------------------------------------------


def _allowing(scene_evidence: Evidence, *, allowed: bool) -> Evidence:
    """The same evidence with another judgement."""
    blocker = Blocker(code="wrong", runtime=None, detail="")
    return replace(
        scene_evidence,
        blocked_by=() if allowed else (blocker,),
        is_new_seen=allowed,
        only_on_new=("all",),
    )


def timer_only(scene: Scene) -> Evidence:
    """What most do: when the overlap is over, the old key goes."""
    return _allowing(as_built(scene), allowed=True)


def new_seen_once(scene: Scene) -> Evidence:
    """Grace after the first use of the new key."""
    evidence = as_built(scene)
    return _allowing(evidence, allowed=evidence.is_new_seen)


def quiet_for_a_moment(scene: Scene) -> Evidence:
    """The new key is used, and the old one not for a while: the batch job is forgotten."""
    evidence = as_built(scene)
    quiet = all(_rested(one.old_last_seen_at, 2) for one in evidence.runtimes)
    return _allowing(evidence, allowed=evidence.is_new_seen and quiet)


def everybody_seen_once(scene: Scene) -> Evidence:
    """Everybody was seen on the new key, whatever they still do with the old one."""
    evidence = as_built(scene)
    return _allowing(
        evidence, allowed=all(one.new_last_seen_at is not None for one in evidence.runtimes)
    )


def nobody_watched(scene: Scene) -> Evidence:
    """A quiet counts, whether or not anybody was there to hear."""
    return as_built(replace(scene, watched_since=-NOW))


def any_place_will_do(scene: Scene) -> Evidence:
    """A name is taken at its word, from wherever it comes."""
    uses: list[Use] = [replace(use, place=None) for use in scene.uses]
    return as_built(replace(scene, uses=uses))


def strangers_count(scene: Scene) -> Evidence:
    """Whoever uses the old key is waited for, also a thief under a new name."""
    evidence = as_built(scene)
    return _allowing(evidence, allowed=False) if evidence.strangers else evidence


def quiet_for_the_longest_interval(scene: Scene) -> Evidence:
    """The new key is used, and the old one not for longer than the longest declared interval."""
    evidence = as_built(scene)
    long = all(_rested(one.old_last_seen_at, INTERVAL + 1) for one in evidence.runtimes)
    return _allowing(evidence, allowed=evidence.is_new_seen and long)


def _rested(last: int | None, ticks: int) -> bool:
    return last is None or moment(NOW) - last >= ticks * TICK * SECOND


@pytest.mark.parametrize(
    ("judge", "start", "has_thief", "depth"),
    [
        (timer_only, TWO_STEADY, False, 2),
        (new_seen_once, TWO_STEADY, False, 4),
        (quiet_for_a_moment, STEADY_AND_BATCH, False, 7),
        (everybody_seen_once, TWO_STEADY, False, 5),
        (nobody_watched, TWO_STEADY, False, 8),
        (any_place_will_do, STEADY_AND_BATCH, True, 6),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_exploration_finds_out_a_wrong_judgement(
    judge: Judge, start: World, *, has_thief: bool, depth: int
) -> None:
    with pytest.raises(CutOff):
        explore(Laws(judge, has_brownout=False, has_thief=has_thief), start, depth)


def test_waiting_for_the_longest_interval_cuts_nobody_off() -> None:
    laws = Laws(quiet_for_the_longest_interval, has_brownout=False)
    assert len(explore(laws, STEADY_AND_BATCH, 7).states) > 1_000


def test_the_exploration_finds_out_that_a_thief_holds_it_open() -> None:
    stuck = World(thief=("z old",))
    assert_ends_if_followed(Laws(has_thief=True), stuck)
    with pytest.raises(AssertionError, match="does not end"):
        assert_ends_if_followed(Laws(strangers_count, has_thief=True), stuck)


def test_a_brownout_saves_whom_a_wrong_judgement_forgot() -> None:
    """One of two instances still calls with the old token, and is heard."""
    laws = Laws(everybody_seen_once)
    world = World(
        b=Caller(holds="new", shown="new", new=0),
        a=Caller(holds="both", shown="both", new=0),
        c=None,
    )
    steps = list(_run(laws, world, ["it does brown_out", "a calls", "it does lift"]))
    assert steps[-1].lifts == 1
    assert steps[-1].state is RotationState.OVERLAPPING


def _run(laws: Laws, world: World, acts: list[str]) -> Iterator[World]:
    for act in acts:
        following = dict(laws.following(world))
        assert act in following, (act, following.keys())
        world = following[act]
        yield world
