"""The simulated world: a database, four nodes, callers, changes, and whoever waits for those."""

from dataclasses import dataclass
from random import Random

from keyturn.verifier import Standing, Taken
from keyturn.verifier.cache import Id
from keyturn.verifier.lease import RATE_ERROR, STRETCH
from tests.verifier.database import Database
from tests.verifier.history import Broken, History, State
from tests.verifier.loop import Loop
from tests.verifier.network import Network, Weather
from tests.verifier.node import Node
from tests.verifier.process import Machine
from tests.verifier.waiting import Waiter

PLACES = 4
LEASE_SECONDS = 4.0
KEEP_SECONDS = 6.0
FAULTS_UNTIL = 3.0 * LEASE_SECONDS
LONGEST_FAULT = 2.5 * LEASE_SECONDS
SERVES_WITHIN_SECONDS = 2.0
VERIFY_EVERY_SECONDS = 1.2

CALLER: Id = ("operator", 1)
KEYS: tuple[Id, ...] = (("key", 2), ("key", 3), ("key", 4))
UNBORN: Id = ("key", 5)
RARE: Id = ("key", 6)  # used so rarely that no node keeps it
WORKSPACE_OF = {2: 101, 3: 101, 4: 102, 5: 102, 6: 102}
WORKSPACES: tuple[Id, ...] = (("workspace", 101), ("workspace", 102))


# How a fault begins that lets in what must not be.
SAFETY = ("P1", "P2", "lost")


@dataclass(frozen=True, slots=True)
class Variant:
    """What the world is made of: the right parts, or, in a mutant, a wrong one."""

    name: str = "as it is"
    node: type[Node] = Node
    database: type[Database] = Database
    waiter: type[Waiter] = Waiter
    breaks: tuple[str, ...] = SAFETY  # what a mutant must be seen to break, one of them


@dataclass(frozen=True, slots=True)
class Terms:
    """What one schedule is like, apart from its events."""

    weather: Weather
    grace_seconds: tuple[float, float]
    most_steps: int
    stopped_before_answer: float  # chance of each verification
    damaged: float  # chance of each read
    untold: float  # chance of each change to have a row that cannot be trusted


class World:
    """Everything, from one seed."""

    def __init__(self, chance: Random, terms: Terms, variant: Variant) -> None:
        self.chance = chance
        self.terms = terms
        self.variant = variant
        self.lease_seconds = LEASE_SECONDS
        self.keep_seconds = KEEP_SECONDS
        self.loop = Loop()
        self.history = History(LEASE_SECONDS)
        self.database = variant.database(
            self.loop, self.history, offset=1000 * chance.random(), rate=self._rate()
        )
        self.network = Network(self.loop, chance, terms.weather, PLACES)
        self.failed_over_at = 0.0
        self.is_calm = False
        self.waiters: list[Waiter] = []
        self._numbers = 0
        self._furnish()
        self.machines = [
            Machine(self.loop, place, offset=1000 * chance.random(), rate=self._rate())
            for place in range(PLACES)
        ]
        self.nodes: list[Node] = []
        for machine in self.machines:
            self.nodes.append(self._node(machine))
            self.loop.at(0.3 * chance.random(), self._call, machine.place)

    def _rate(self) -> float:
        return 1 + RATE_ERROR * self.chance.choice((-1.0, 0.0, 1.0))

    def _furnish(self) -> None:
        database = self.database
        database.most_steps = self.terms.most_steps
        database.workspace_of = WORKSPACE_OF
        database.grace_seconds = dict(zip((101, 102), self.terms.grace_seconds, strict=True))
        if self.terms.damaged:
            database.is_damaged = self._is_damaged
        database.record((CALLER, *KEYS, RARE, *WORKSPACES), is_allowed=True)

    def _node(self, machine: Machine) -> Node:
        self._numbers += 1
        node = self.variant.node(self, machine, self._numbers)
        node.receive(node.begin)
        return node

    # --- what goes on by itself ------------------------------------------------------------------

    def _call(self, place: int) -> None:
        if self.loop.now > FAULTS_UNTIL + SERVES_WITHIN_SECONDS:
            return  # only barriers may still be waited for
        draw = self.chance.random
        subject = KEYS[int(3 * draw())] if draw() < 0.9 else UNBORN
        self._verify(place, subject)
        self.loop.at(self.loop.now + 2 * VERIFY_EVERY_SECONDS * draw(), self._call, place)

    def pause_seconds(self) -> float:
        """For how long a process is stopped between its verdict and its answer."""
        if self.is_calm or self.chance.random() >= self.terms.stopped_before_answer:
            return 0.0
        return min(self.chance.random() * LONGEST_FAULT, FAULTS_UNTIL - self.loop.now)

    def _is_damaged(self) -> bool:
        return not self.is_calm and self.chance.random() < self.terms.damaged

    # --- changes ---------------------------------------------------------------------------------

    def change(self, ids: tuple[Id, ...], *, is_allowed: bool) -> None:
        """Commits a change, tells the nodes, and waits for them where it takes something away."""
        database = self.database
        if database.down_until > self.loop.now or self.is_calm:
            return
        ended = tuple(database.current[id_] for id_ in ids if id_ in database.current)
        is_told = self.chance.random() >= self.terms.untold
        position = database.change(ids, is_allowed=is_allowed, is_told=is_told)
        self._committed(position, () if is_allowed else ended)

    def _committed(self, position: int, ended: tuple[State, ...]) -> None:
        for node in self.nodes:
            self.network.hint(node.machine.place, lambda node=node: node.receive(node.hint))
        if not ended:
            return
        waiter = self.variant.waiter(self, position, ended, max(self.terms.grace_seconds))
        self.waiters.append(waiter)
        waiter.begin()
        self.try_everywhere(ended, self.lease_seconds * STRETCH)

    def try_everywhere(self, ended: tuple[State, ...], after_seconds: float) -> None:
        """Calls each node with what has ended, so long from now: just when nothing of it may be let
        in any more. Chance alone would find such a moment rarely."""
        draw = self.chance.random
        for state in ended:
            subject = self._subject(state.ref)
            for node in self.nodes:
                moment = self.loop.now + after_seconds + 0.002 + 0.2 * draw() * draw()
                self.loop.at(moment, self._verify, node.machine.place, subject)

    def _subject(self, ref: Id) -> Id:
        if ref[0] == "key":
            return ref
        of_it = [key for key in KEYS if WORKSPACE_OF[key[1]] == ref[1]]
        return self.chance.choice(of_it or KEYS)

    def _verify(self, place: int, subject: Id) -> None:
        node = self.nodes[place]
        node.receive(node.verify, CALLER, subject)

    # --- faults ----------------------------------------------------------------------------------

    def restart(self, place: int, seconds: float, *, says_goodbye: bool) -> None:
        node = self.nodes[place]
        if node.is_gone:
            return
        if says_goodbye and not node.is_stopped:
            self.network.send(place, self.database.leave, node.number)
        node.is_gone = True
        self.loop.at(self.loop.now + seconds, self._start, place)

    def _start(self, place: int) -> None:
        self.nodes[place] = self._node(self.machines[place])

    def fail_over(self, commits: int, seconds: float) -> None:
        self.failed_over_at = self.loop.now + seconds
        lost = self.database.fail_over(commits, seconds)
        if self.chance.random() < 0.5:
            self.try_everywhere(lost, self.lease_seconds * STRETCH)

    def calm(self) -> None:
        """Faults end. Those of messages that are on their way already do not."""
        self.is_calm = True
        self.network.calm()

    # --- the end ---------------------------------------------------------------------------------

    def check_service(self) -> None:
        """Every node serves, unless its log is cut off from the database's, and serves what is."""
        for node in self.nodes:
            verifier = node.verifier
            standing = verifier.standing(node.clock())
            if standing is Standing.FORKED or node.last_taken is Taken.GAP:
                continue
            if standing is not Standing.FRESH:
                raise Broken(f"service: a node does not serve, but is {standing.value}")
            if verifier.applied != self.database.end():
                raise Broken("service: a node has not got to the end of the log")
            for id_ in (CALLER, *KEYS, RARE, UNBORN):
                kept = verifier.find(id_, node.clock())
                if kept is not None and kept.record != self.database.fill(id_).record:
                    raise Broken(f"service: a node keeps what is not so of {id_[0]} {id_[1]}")

    def waits(self) -> bool:
        return any(not waiter.is_over for waiter in self.waiters)
