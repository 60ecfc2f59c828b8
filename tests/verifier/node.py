"""A simulated node: it follows the log, and verifies as the HTTP ring does."""

from dataclasses import dataclass, field

from keyturn.verifier import Admission, Fill, Standing
from keyturn.verifier.cache import Id
from tests.verifier.database import Read, Record
from tests.verifier.follower import Follower
from tests.verifier.history import State

# Reads of one verification, before it is given up.
MOST_READS = 6


@dataclass(slots=True)
class Asking:
    """One verification: of a subject, by a caller, whose records are needed both."""

    ids: tuple[Id, ...]
    fills: dict[Id, Fill[Record]] = field(default_factory=dict)
    reads: int = 0


@dataclass(slots=True)
class Found:
    """What a verification goes by."""

    records: list[Record | None] = field(default_factory=list)
    is_kept: bool = True


class Node(Follower):
    """One process that serves."""

    def verify(self, *ids: Id) -> None:
        self.attempt(Asking(ids))

    def attempt(self, asking: Asking) -> None:
        """From the last wait to the answer, without another: every record is found or admitted
        here, also those that were read before."""
        found = Found()
        for id_ in asking.ids:
            if not self.collect(asking, id_, found):
                return
        self.judge(asking, found)

    def collect(self, asking: Asking, id_: Id, found: Found) -> bool:
        """Whether the record of `id_` is there; else it is being read."""
        now = self.clock()
        kept = self.verifier.find(id_, now)
        if kept is not None:
            found.records.append(kept.record)
            return True
        fill = asking.fills.get(id_)
        if fill is None:
            self.read(asking, id_)
            return False
        match self.verifier.admit(fill, now):
            case Admission.KEPT:
                found.records.append(fill.record)
                return True
            case Admission.USABLE:
                found.is_kept = False
                found.records.append(fill.record)
                self.hurry()
                return True
            case Admission.TOO_OLD:
                self.read(asking, id_)
                return False
            case Admission.FORKED:
                self.deny()
                return False

    def read(self, asking: Asking, id_: Id) -> None:
        asking.reads += 1
        if asking.reads > MOST_READS:
            self.deny()
            return
        self.network.send(
            self.machine.place, self._on_fill, self.database.epoch, asking, id_, self.clock()
        )

    def _on_fill(self, epoch: int, asking: Asking, id_: Id, asked_at: float) -> None:
        """At the database."""
        if self._is_reached(epoch):
            self._reply(self.filled, asking, id_, asked_at, self.database.fill(id_))

    def filled(self, asking: Asking, id_: Id, asked_at: float, read: Read) -> None:
        asking.fills[id_] = Fill(
            id=id_,
            record=read.record,
            workspace=read.workspace,
            point=read.point,
            asked_at=asked_at,
            is_keepable=read.is_keepable,
        )
        self.attempt(asking)

    def judge(self, asking: Asking, found: Found) -> None:
        """The verdict; then, maybe, the process is stopped; then the answer."""
        states: list[State] = []
        grace_seconds = 0.0
        for record in found.records:
            if record is None:
                self.deny()
                return
            own, workspace, grace_seconds = record
            states.append(own)
            if workspace is not None:
                states.append(workspace)
        if not all(state.is_allowed for state in states):
            self.deny()
            return
        pause = self.world.pause_seconds()
        if pause:
            self.stop(pause, self.answer, states, found.is_kept, grace_seconds)
        else:
            self.answer(states, found.is_kept, grace_seconds)

    def answer(self, states: list[State], is_kept: bool, grace_seconds: float) -> None:
        """The lease is looked at last."""
        now = self.clock()
        standing = self.verifier.standing(now)
        if standing is Standing.FRESH:
            self.accept(states, 0.0)
        elif (
            standing is Standing.LATE
            and is_kept
            and self.verifier.late_seconds(now) < grace_seconds
        ):
            self.accept(states, grace_seconds)
        else:
            self.deny()

    def accept(self, states: list[State], grace_seconds: float) -> None:
        self.database.history.accept(states, self.loop.now, grace_seconds)

    def deny(self) -> None:
        self.database.history.denied += 1
