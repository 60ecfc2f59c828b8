"""A simulated node's follower: reports, looks, applies, and again."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from keyturn.verifier import (
    Answer,
    Next,
    Question,
    Taken,
    Verifier,
    pause_seconds,
    statement_seconds,
    what_next,
)
from tests.verifier.database import Database, Record
from tests.verifier.network import Network
from tests.verifier.process import Machine, Process

if TYPE_CHECKING:
    from tests.verifier.world import World

# Of the lease; production asks more often, which changes nothing but the number of events.
POLL_SHARE = 0.3


class Follower(Process):
    """The half of a node that follows the log."""

    verifier_class: type[Verifier[Record]] = Verifier

    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world.loop, machine)
        self.world = world
        self.number = number
        self.database: Database = world.database
        self.network: Network = world.network
        self.lease_seconds = world.lease_seconds
        self.clock: Callable[[], float] = machine.boot
        self.verifier: Verifier[Record] = self.verifier_class(
            lease_seconds=self.lease_seconds, most=50, keep_seconds=world.keep_seconds
        )
        self.last_taken: Taken | None = None
        self._turn = 0  # of questions; what belongs to an earlier one is late
        self._is_busy = False
        self._is_hurried = False
        self._has_reported = False
        self._failures = 0
        self._began_at = 0.0
        self._sent_at = 0.0
        self._timeout = statement_seconds(self.lease_seconds)

    def begin(self) -> None:
        """One round: the report, and then the look."""
        question = self._ask()
        self._has_reported = True
        self._report(question)

    def _ask(self) -> Question:
        self._turn += 1
        self._is_busy = True
        self._is_hurried = False
        self._began_at = self.loop.now
        question = self.verifier.ask(self.clock())
        self.later(self._timeout, self._watch, self._turn)
        return question

    def _report(self, question: Question) -> None:
        applied = self.verifier.applied
        position = 0 if applied is None else applied.position
        self._sent_at = self.loop.now
        self.network.send(
            self.machine.place, self._on_report, self.database.epoch, self._turn, question, position
        )

    def _on_report(self, epoch: int, turn: int, question: Question, position: int) -> None:
        """At the database."""
        if not self._is_reached(epoch):
            return
        granted = self.database.report(self.number, position)
        self._reply(self._reported, turn, question, granted)

    def _reported(self, turn: int, question: Question, granted: bool) -> None:
        if turn == self._turn:
            self._look(question, granted)

    def _look(self, question: Question, granted: bool) -> None:
        self._sent_at = self.loop.now
        if self.network.looks_lost_until[self.machine.place] > self.loop.now:
            return
        self.network.send(
            self.machine.place, self._on_look, self.database.epoch, self._turn, question, granted
        )

    def _on_look(self, epoch: int, turn: int, question: Question, granted: bool) -> None:
        """At the database."""
        if self._is_reached(epoch):
            answer = self.database.look(question.after)
            self._reply(self.take, turn, question, answer, granted)

    def _is_reached(self, epoch: int) -> bool:
        return epoch == self.database.epoch and self.database.down_until <= self.loop.now

    def _reply(self, act: Callable[..., None], *arguments: object) -> None:
        self.network.reply(self.machine.place, self.receive, act, *arguments)

    def take(self, turn: int, question: Question, answer: Answer, granted: bool) -> None:
        """Applies an answer. One that is late goes to the verifier too, which must ignore it."""
        before = self.verifier.applied
        taken = self.verifier.take(question, answer, granted=granted, now=self.clock())
        if turn != self._turn or not self._is_busy:
            return
        self._is_busy = False
        self.last_taken = taken
        has_moved = self.verifier.applied != before
        following = what_next(
            taken,
            has_moved=has_moved,
            is_hurried=self._is_hurried,
            has_reported=self._has_reported,
        )
        match following:
            case Next.AT_ONCE:
                self._failures = 0
                self.begin()
            case Next.AFTER_POLL:
                self._failures = 0
                self.later(self.lease_seconds * POLL_SHARE, self._again, self._turn)
            case Next.AFTER_PAUSE:
                self._pause()
            case Next.NEVER:
                pass

    def hint(self) -> None:
        """A change was committed, as a notification says: look, and then report."""
        if self._is_busy:
            self._is_hurried = True
        elif self.last_taken is not Taken.FORKED:
            question = self._ask()
            self._has_reported = False
            self._look(question, granted=False)

    def hurry(self) -> None:
        """Somebody read further than this node has."""
        self.hint()

    def _watch(self, turn: int) -> None:
        if turn != self._turn or not self._is_busy:
            return
        left = self._sent_at + self._timeout - self.loop.now
        if left > 1e-9:
            self.later(left, self._watch, turn)  # another statement of this round is on its way
            return
        self._is_busy = False
        self._pause()

    def _pause(self) -> None:
        self._failures += 1
        spent = self.loop.now - self._began_at
        self.later(pause_seconds(self._failures, spent), self._again, self._turn)

    def _again(self, turn: int) -> None:
        if turn == self._turn:
            self.begin()
