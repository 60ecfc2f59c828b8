"""Wrong variants, each of which looks about right. The simulation finds out every one of them.

Each breaks one of the rules that stand in `keyturn/verifier/verifier.py`, or one of the barrier.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from keyturn.verifier import (
    ORIGIN,
    Admission,
    Answer,
    Fill,
    Question,
    Standing,
    Step,
    Taken,
    Verifier,
    Waiting,
)
from keyturn.verifier.cache import Id
from tests.verifier.database import Database, Read, Record, Row, touched_by
from tests.verifier.history import State
from tests.verifier.node import Asking, Found, Node
from tests.verifier.process import Machine
from tests.verifier.waiting import Waiter
from tests.verifier.world import LEASE_SECONDS, Variant

if TYPE_CHECKING:
    from tests.verifier.world import World

_Verifier = Verifier[Record]


def _with(name: str, verifier: type[_Verifier]) -> Variant:
    """A variant whose nodes have a wrong verifier."""
    return Variant(name, node=type("MutantNode", (Node,), {"verifier_class": verifier}))


# --- the lease ------------------------------------------------------------------------------------


class _CountsFromTheReply(_Verifier):
    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        taken = super().take(question, answer, granted=granted, now=now)
        if taken is Taken.CAUGHT_UP and granted:
            self._lease.extend(now)
        return taken


class _ExtendsByUse(_Verifier):
    def standing(self, now: float) -> Standing:
        standing = super().standing(now)
        if standing is Standing.FRESH:
            self._lease.extend(now)
        return standing


class _AlwaysFresh(_Verifier):
    def standing(self, now: float) -> Standing:
        return Standing.NEW if self.applied is None else Standing.FRESH


class _HintsOnly(Node):
    """Subscribes, and trusts that it is told."""

    verifier_class = _AlwaysFresh

    def _again(self, turn: int) -> None:
        if self.verifier.applied is None:
            super()._again(turn)


class _GrantIsNotNeeded(_Verifier):
    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        return super().take(question, answer, granted=True, now=now)


class _PartIsEnough(_Verifier):
    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        taken = super().take(question, answer, granted=granted, now=now)
        if taken is Taken.MORE and granted and self._asked is None:
            self._lease.extend(question.asked_at)
        return taken


class _CountsNoSuspend(Node):
    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self.clock = machine.awake


class _GoesByTheWallClock(Node):
    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self.clock = machine.wall


class _LooksAtTheLeaseFirst(Node):
    def attempt(self, asking: Asking) -> None:
        if self.verifier.standing(self.clock()) is Standing.FRESH:
            super().attempt(asking)
        else:
            self.deny()

    def answer(self, states: list[State], is_kept: bool, grace_seconds: float) -> None:
        self.accept(states, grace_seconds)


# --- what is kept ---------------------------------------------------------------------------------


class _FillsUnchecked(_Verifier):
    def admit(self, fill: Fill[Record], now: float) -> Admission:
        admission = super().admit(fill, now)
        if admission is Admission.TOO_OLD:
            self._keep(fill, now)
            return Admission.KEPT
        return admission


class _FillsOverNewer(Node):
    """Holds what it read against what it had applied when it asked."""

    def filled(self, asking: Asking, id_: Id, asked_at: float, read: Read) -> None:
        applied = self.verifier.applied
        had = self._had.get((id(asking), id_))
        if had is not None and applied is not None and had <= read.point.position:
            read = read._replace(point=applied)
        super().filled(asking, id_, asked_at, read)

    def read(self, asking: Asking, id_: Id) -> None:
        applied = self.verifier.applied
        if applied is not None:
            self._had[id(asking), id_] = applied.position
        super().read(asking, id_)

    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self._had: dict[tuple[int, Id], int] = {}


class _KeepsAhead(_Verifier):
    def admit(self, fill: Fill[Record], now: float) -> Admission:
        admission = super().admit(fill, now)
        if admission is Admission.USABLE and fill.is_keepable and self.applied is not None:
            self._keep(fill, now)
            return Admission.KEPT
        return admission


class _ForgetsWhatItLeansOn(_Verifier):
    def _keep(self, fill: Fill[Record], now: float) -> None:
        super()._keep(replace(fill, workspace=None), now)


class _IgnoresWhatCannotBeTrusted(_Verifier):
    def _apply(self, step: Step) -> None:
        super()._apply(replace(step, touched=step.touched or ()))


class _TakesAnyAge(_Verifier):
    """A record that is ahead is used, however long ago it was asked for."""

    def admit(self, fill: Fill[Record], now: float) -> Admission:
        return super().admit(replace(fill, asked_at=now), now)


class _HoldsOverAWait(Node):
    """Keeps in hand what it had before it waited for another record."""

    def collect(self, asking: Asking, id_: Id, found: Found) -> bool:
        held = self._held.setdefault(id(asking), {})
        if id_ in held:
            found.records.append(held[id_])
            return True
        if not super().collect(asking, id_, found):
            return False
        held[id_] = found.records[-1]
        self._alive.append(asking)  # so that its number is given to no other
        return True

    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self._held: dict[int, dict[Id, Record | None]] = {}
        self._alive: list[Asking] = []


class _ReadsStrongly(Node):
    """Without a lease it asks the database each time, and trusts that for as long as a lease."""

    def collect(self, asking: Asking, id_: Id, found: Found) -> bool:
        if self.verifier.standing(self.clock()) is not Standing.LATE:
            self._good_until = 0.0
            return super().collect(asking, id_, found)
        fill = asking.fills.get(id_)
        if fill is None:
            self.read(asking, id_)
            return False
        found.records.append(fill.record)
        self._good_until = min(one.asked_at for one in asking.fills.values()) + LEASE_SECONDS
        return True

    def answer(self, states: list[State], is_kept: bool, grace_seconds: float) -> None:
        if self.clock() < self._good_until:
            self.accept(states, 0.0)
        else:
            super().answer(states, is_kept, grace_seconds)

    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self._good_until = 0.0


# --- the log --------------------------------------------------------------------------------------


class _SeesNoFork(_Verifier):
    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        if question.after is not None:
            answer = replace(answer, anchor=question.after)
        return super().take(question, answer, granted=granted, now=now)

    def _fork(self) -> None:
        pass


class _GoesByPositionsOnly(_Verifier):
    """Takes a log that is long enough for its own."""

    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        if answer.anchor is not None and question.after is not None:
            answer = replace(answer, anchor=question.after)
        return super().take(question, answer, granted=granted, now=now)

    def _fork(self) -> None:
        if self.applied == ORIGIN or self._asked is None:
            super()._fork()


class _SeesNoGap(_Verifier):
    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        taken = super().take(question, answer, granted=granted, now=now)
        if taken is not Taken.GAP or self.applied is None:
            return taken
        for step in answer.steps:
            if step.position > self.applied.position:
                self._apply(step)
        if not answer.is_all:
            return Taken.MORE
        if granted:
            self._lease.extend(question.asked_at)
        return Taken.CAUGHT_UP


class _HandsOutEarly(Database):
    """Positions before the commit, as from a sequence: a later one may be seen first."""

    def change(self, ids: tuple[Id, ...], *, is_allowed: bool, is_told: bool = True) -> int:
        position = len(self.log) + 1
        if position % 2 == 0:
            return super().change(ids, is_allowed=is_allowed, is_told=is_told)
        # Its row is there from the beginning, to be seen by whoever looks once it is committed.
        self._seals += 1
        touched = tuple(touched_by(id_) for id_ in ids)
        self.log.append(Step(position, b"%d" % self._seals, touched))
        self.gone.add(position)
        self.loop.at(self.loop.now + 3.0, self._commit, self.epoch, position, ids, is_allowed)
        return position

    def _commit(self, epoch: int, position: int, ids: tuple[Id, ...], is_allowed: bool) -> None:
        if epoch == self.epoch and position in self.gone:
            self.gone.discard(position)
            self._replace(ids, is_allowed=is_allowed)


# --- grants and the barrier -----------------------------------------------------------------------


class _GrantsAfterTheLook(Node):
    def _report(self, question: Question) -> None:
        super()._look(question, granted=False)

    def take(self, turn: int, question: Question, answer: Answer, granted: bool) -> None:
        if turn != self._turn:
            return
        self._seen[turn] = answer
        super()._report(question)

    def _reported(self, turn: int, question: Question, granted: bool) -> None:
        answer = self._seen.pop(turn, None)
        if answer is not None:
            super().take(turn, question, answer, granted)

    def hint(self) -> None:
        if not self._is_busy and self.last_taken is not Taken.FORKED:
            self.begin()

    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self._seen: dict[int, Answer] = {}


class _GrantsInTheSameSnapshot(Node):
    """One transaction: its snapshot is as old as its beginning, and what it grants is seen by
    others only from its commit on."""

    def _on_report(self, epoch: int, turn: int, question: Question, position: int) -> None:
        if self._is_reached(epoch):
            answer = self.database.look(question.after)
            commit = self.loop.now + 0.7 * self.world.chance.random()
            self.loop.at(commit, self._commit, epoch, turn, question, answer, position)

    def _commit(
        self, epoch: int, turn: int, question: Question, answer: Answer, position: int
    ) -> None:
        if self._is_reached(epoch):
            granted = self.database.report(self.number, position)
            self._reply(self.take, turn, question, answer, granted)


class _GrantsAnyway(Database):
    def may_grant(self, applied: int, row: Row | None) -> bool:
        return True


class _RemembersTheNodes(Database):
    """One look serves all who wait, also who began to wait after it."""

    _looked_at = -1.0
    _nodes: tuple[int, tuple[Row, ...]] = (0, ())

    def nodes(self) -> tuple[int, tuple[Row, ...]]:
        if self.loop.now > self._looked_at + 0.5:
            self._looked_at = self.loop.now
            self._nodes = super().nodes()
        return self._nodes


class _IgnoresGrace(Waiter):
    def __init__(
        self, world: "World", position: int, ended: tuple[State, ...], grace_seconds: float
    ) -> None:
        super().__init__(world, position, ended, grace_seconds)
        self.waiting = Waiting(position, 0.0)


class _WaitsForNobody(Waiter):
    """Counts only who has confirmed, and not who might yet answer."""

    def see(self, rows: tuple[Row, ...], clock: int) -> bool:
        return any(row.applied >= self.position for row in rows)


class _WaitsForAllAtOnce(Waiter):
    """Wants all to be through in one look, by whatever lease they have then."""

    def see(self, rows: tuple[Row, ...], clock: int) -> bool:
        waiting = Waiting(self.position, self.grace_seconds)
        return waiting.see(rows, clock)


class _ReportsWhatItHasRead(Node):
    """Says that it has applied what it has only seen of a record."""

    _furthest: int

    def filled(self, asking: Asking, id_: Id, asked_at: float, read: Read) -> None:
        self._furthest = max(self._furthest, read.point.position)
        super().filled(asking, id_, asked_at, read)

    def _on_report(self, epoch: int, turn: int, question: Question, position: int) -> None:
        super()._on_report(epoch, turn, question, max(position, self._furthest))

    def __init__(self, world: "World", machine: Machine, number: int) -> None:
        super().__init__(world, machine, number)
        self._furthest = 0


class _SaysGoodbyeTooEarly(Node):
    """Counts as gone while it still answers."""

    def begin(self) -> None:
        super().begin()
        if self.world.chance.random() < 0.05:
            self.network.send(self.machine.place, self.database.leave, self.number)


MUTANTS: tuple[Variant, ...] = (
    _with("the lease counts from the reply", _CountsFromTheReply),
    _with("the lease is extended by use", _ExtendsByUse),
    _with("a lease that was not granted", _GrantIsNotNeeded),
    _with("a lease before the end of the log is reached", _PartIsEnough),
    Variant("hints only", node=_HintsOnly),
    Variant("a clock that does not count suspend", node=_CountsNoSuspend),
    Variant("the wall clock", node=_GoesByTheWallClock),
    Variant("the lease is looked at first and not last", node=_LooksAtTheLeaseFirst),
    Variant("a record is held over a wait", node=_HoldsOverAWait),
    _with("fills are not held against what is applied", _FillsUnchecked),
    Variant("fills are held against what was applied before", node=_FillsOverNewer),
    _with("keeps fills that are ahead", _KeepsAhead),
    _with("a read counts however late it comes", _TakesAnyAge),
    Variant("a fresh read needs no lease", node=_ReadsStrongly),
    _with("a record is kept without what it leans on", _ForgetsWhatItLeansOn),
    _with("a step that cannot be trusted is ignored", _IgnoresWhatCannotBeTrusted),
    _with("forks are not detected", _SeesNoFork),
    _with("forks are detected by positions alone", _GoesByPositionsOnly),
    _with("gaps are not detected", _SeesNoGap),
    Variant(
        "positions are handed out before the commit",
        node=_with(
            "", _SeesNoGap
        ).node,  # numbers of a sequence have gaps, so its reader takes them
        database=_HandsOutEarly,
        breaks=("P1", "lost"),  # who waits begins before the commit here, so P2 proves nothing
    ),
    Variant("a lease is granted after the look", node=_GrantsAfterTheLook),
    Variant("a lease is granted in the snapshot of the look", node=_GrantsInTheSameSnapshot),
    Variant("leases go to who never confirms", database=_GrantsAnyway, breaks=("barrier",)),
    Variant("a node confirms what it has only read", node=_ReportsWhatItHasRead),
    Variant("a node says goodbye and goes on", node=_SaysGoodbyeTooEarly),
    Variant("the barrier goes by a look from before the commit", database=_RemembersTheNodes),
    Variant("the barrier ignores grace", waiter=_IgnoresGrace),
    Variant("the barrier is content with one", waiter=_WaitsForNobody),
    Variant(
        "the barrier wants all through at once", waiter=_WaitsForAllAtOnce, breaks=("barrier",)
    ),
)
