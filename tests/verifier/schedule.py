"""One schedule: changes and faults at random moments, all from one seed."""

from dataclasses import dataclass
from random import Random

from keyturn.verifier.cache import Id
from tests.verifier.history import Broken
from tests.verifier.network import Weather
from tests.verifier.world import (
    CALLER,
    FAULTS_UNTIL,
    KEYS,
    LONGEST_FAULT,
    PLACES,
    SERVES_WITHIN_SECONDS,
    UNBORN,
    WORKSPACES,
    Terms,
    Variant,
    World,
)

CHANGES = (3, 8)
FAULTS = (2, 7)
AS_IT_IS = Variant()


@dataclass(slots=True)
class Outcome:
    """What became of one schedule."""

    accepted: int = 0
    graced: int = 0
    denied: int = 0
    fault: str | None = None


def play(seed: int, number: int, variant: Variant = AS_IT_IS) -> Outcome:
    """Runs schedule `number` of `seed`."""
    chance = Random(seed * 1_000_003 + number)
    world = World(chance, _terms(chance), variant)
    outcome = Outcome()
    try:
        _run(world, chance)
    except Broken as broken:
        outcome.fault = f"{broken} (at {world.loop.now:.3f} s)"
    history = world.history
    outcome.accepted, outcome.graced = history.accepted, history.graced
    outcome.denied = history.denied
    return outcome


def _run(world: World, chance: Random) -> None:
    loop = world.loop
    for _ in range(chance.randint(*CHANGES)):
        loop.at(0.3 + (FAULTS_UNTIL - 0.3) * chance.random(), _change, world, chance)
    for _ in range(chance.randint(*FAULTS)):
        loop.at(0.1 + (FAULTS_UNTIL - 1.0) * chance.random(), _fault, world, chance)
    loop.run(FAULTS_UNTIL)
    world.calm()
    loop.run(FAULTS_UNTIL + SERVES_WITHIN_SECONDS)
    world.check_service()
    while world.waits():  # each raises when it waits for too long
        loop.run(loop.now + 0.5)


def _terms(chance: Random) -> Terms:
    pick = chance.choice
    has_grace = chance.random() < 0.3
    return Terms(
        weather=Weather(
            lost=pick((0.0, 0.0, 0.03, 0.15)),
            slow=pick((0.0, 0.02, 0.1, 0.25)),
            doubled=pick((0.0, 0.0, 0.05)),
            slowest_seconds=LONGEST_FAULT,
            lost_hints=pick((0.0, 0.3, 1.0)),
        ),
        grace_seconds=(pick((1.0, 4.0)) if has_grace else 0.0, 0.0),
        most_steps=pick((2, 500)),
        stopped_before_answer=pick((0.0, 0.02, 0.06)),
        damaged=pick((0.0, 0.0, 0.05)),
        untold=pick((0.0, 0.0, 0.05)),
    )


# --- changes --------------------------------------------------------------------------------------


def _change(world: World, chance: Random) -> None:
    draw = chance.random()
    if draw < 0.6:  # revoked, suspended, narrowed, resumed
        _flip(world, chance.choice((*KEYS, CALLER)), chance)
    elif draw < 0.8:
        _flip(world, chance.choice(WORKSPACES), chance)
    elif draw < 0.9:  # made
        world.change((UNBORN,), is_allowed=True)
    else:  # rotated: the old key's deprecation, and the new key
        world.change((chance.choice(KEYS), UNBORN), is_allowed=True)


def _flip(world: World, id_: Id, chance: Random) -> None:
    is_allowed = world.database.current[id_].is_allowed
    world.change((id_,), is_allowed=not is_allowed)
    if chance.random() < 0.3:  # and soon back again
        soon = world.loop.now + 0.5 * chance.random()
        world.loop.at(soon, lambda: world.change((id_,), is_allowed=is_allowed))


# --- faults ---------------------------------------------------------------------------------------


def _fault(world: World, chance: Random) -> None:
    place = int(PLACES * chance.random())
    left = FAULTS_UNTIL - world.loop.now
    seconds = min(LONGEST_FAULT * chance.random(), left)
    node = world.nodes[place]
    draw = chance.random()
    if draw < 0.17:
        node.stop(seconds)
    elif draw < 0.32:
        node.suspend(seconds)
    elif draw < 0.50:
        world.network.cut_until[place] = world.loop.now + seconds
    elif draw < 0.56:
        for one in range(PLACES):
            world.network.cut_until[one] = world.loop.now + seconds
    elif draw < 0.72:
        away = min(seconds, chance.choice((0.05, 0.5, 3.0)))
        world.restart(place, away, says_goodbye=chance.random() < 0.5)
    elif draw < 0.86:
        lost = chance.choice((0, 1, 2, 4, 10, 30, 80))
        world.fail_over(lost, min(seconds, chance.choice((0.0, 0.3, 2.0))))
    elif draw < 0.92:
        world.machines[place].wall_offset += chance.uniform(-20.0, 20.0)
    elif draw < 0.97:
        world.network.looks_lost_until[place] = FAULTS_UNTIL
    else:
        end = world.database.end().position
        world.database.delete_step(end - 1 - int(2 * chance.random()))
