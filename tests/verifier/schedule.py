"""One schedule: changes and faults at random moments, all from one seed."""

from collections.abc import Callable
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
    RARE,
    SERVES_WITHIN_SECONDS,
    UNBORN,
    WORKSPACES,
    Terms,
    Variant,
    World,
)

CHANGES = (2, 6)
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
        _flip(world, CALLER if chance.random() < 0.1 else chance.choice(KEYS), chance)
    elif draw < 0.8:
        _flip(world, chance.choice(WORKSPACES), chance)
    elif draw < 0.9:  # made
        world.change((UNBORN,), is_allowed=True)
    else:  # rotated: the old key's deprecation, and the new key
        world.change((chance.choice(KEYS), UNBORN), is_allowed=True)


def _flip(world: World, id_: Id, chance: Random) -> None:
    is_allowed = world.database.current[id_].is_allowed
    if is_allowed:  # while it is being read
        world.try_everywhere((world.database.current[id_],), -0.002)
    soon = world.loop.now + 0.02 * chance.random()
    world.loop.at(soon, lambda: world.change((id_,), is_allowed=not is_allowed))
    if is_allowed and chance.random() < 0.5:  # and back again, so that there is more to let in
        soon += 3.0 * chance.random()
        world.loop.at(soon, lambda: world.change((id_,), is_allowed=True))


# --- faults ---------------------------------------------------------------------------------------

Fault = Callable[[World, Random, int, float], None]


def _fault(world: World, chance: Random) -> None:
    place = int(PLACES * chance.random())
    seconds = min(LONGEST_FAULT * chance.random(), FAULTS_UNTIL - world.loop.now)
    [act] = chance.choices(KINDS, SHARES)
    act(world, chance, place, seconds)


def _stop(world: World, chance: Random, place: int, seconds: float) -> None:
    world.nodes[place].stop(seconds)
    _change_around(world, chance, seconds)


def _suspend(world: World, chance: Random, place: int, seconds: float) -> None:
    world.nodes[place].suspend(seconds)
    _change_around(world, chance, seconds)


def _cut(world: World, chance: Random, place: int, seconds: float) -> None:
    world.network.cut_until[place] = world.loop.now + seconds
    _change_around(world, chance, seconds)


def _cut_all(world: World, chance: Random, place: int, seconds: float) -> None:
    for one in range(PLACES):
        world.network.cut_until[one] = world.loop.now + seconds


def _restart(world: World, chance: Random, place: int, seconds: float) -> None:
    away = min(seconds, chance.choice((0.01, 0.05, 3.0)))
    world.restart(place, away, says_goodbye=chance.random() < 0.5)
    _change_around(world, chance, away)


def _change_around(world: World, chance: Random, seconds: float) -> None:
    """A change just when a node comes back."""
    if chance.random() < 0.4:
        world.loop.at(world.loop.now + seconds + 0.1 * chance.random(), _change, world, chance)


def _fail_over(world: World, chance: Random, place: int, seconds: float) -> None:
    lost, away = chance.choice((0, 1, 2, 4, 10, 30, 80)), chance.choice((0.0, 0.3, 2.0))
    if chance.random() < 0.6:  # what is about to be lost is read, before or after it is applied
        lost = chance.choice((1, 1, 2, 4))
        key = chance.choice((*KEYS, RARE, RARE, RARE))
        world.change((key,), is_allowed=False)
        world.change((key,), is_allowed=True)
        world.try_everywhere((world.database.current[key],), 0.0)
        if chance.random() < 0.7:
            world.network.hung_until[place] = world.loop.now + 0.2
    away = min(seconds, away)
    soon = world.loop.now + 0.1 * chance.random()
    world.loop.at(soon, world.fail_over, lost, away)
    if chance.random() < 0.5:  # its positions are soon given to others
        world.loop.at(soon + away + 0.1 * chance.random(), _change, world, chance)


def _set_wall_clock(world: World, chance: Random, place: int, seconds: float) -> None:
    world.machines[place].wall_offset += chance.uniform(-20.0, 20.0)


def _lose_looks(world: World, chance: Random, place: int, seconds: float) -> None:
    world.network.looks_lost_until[place] = FAULTS_UNTIL


def _delete_step(world: World, chance: Random, place: int, seconds: float) -> None:
    """Somebody deletes the step of a change that nobody has read yet."""
    world.change((chance.choice(KEYS),), is_allowed=False)
    world.change((chance.choice(KEYS),), is_allowed=True)
    world.database.delete_step(world.database.end().position - 1)


KINDS: tuple[Fault, ...] = (
    _stop,
    _suspend,
    _cut,
    _cut_all,
    _restart,
    _fail_over,
    _set_wall_clock,
    _lose_looks,
    _delete_step,
)
SHARES = (15, 14, 17, 4, 15, 20, 6, 6, 3)
