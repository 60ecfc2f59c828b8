"""The database: one log, the records, the nodes' rows, and a journal of commits that can be lost.

Statement by statement what PostgreSQL does for several nodes: `report` (a lease is granted and
committed) before `look` (what the log has), `fill` (a record and the log's end in one snapshot),
`nodes` for a barrier.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from keyturn.verifier import ORIGIN, Answer, Point, Step, may_grant, reckoned_micros
from keyturn.verifier.cache import Id
from keyturn.verifier.feed import Touched
from tests.verifier.history import History, State
from tests.verifier.loop import Loop


class Row(NamedTuple):
    """A node, as the database knows it."""

    id: str
    applied: int
    promised: int | None
    lease_until: int
    left_at: int | None


class Record(NamedTuple):
    """What a node reads of an id: its state, and that of the workspace it leans on."""

    own: State
    workspace: State | None
    grace_seconds: float


class Read(NamedTuple):
    """What `fill` answers."""

    record: Record | None
    workspace: str | None
    point: Point
    is_keepable: bool


@dataclass(slots=True)
class Commit:
    """One commit: what it replaced. Either a change or a node's row."""

    before: State | None = None
    after: State | None = None
    node: int = 0
    row: Row | None = None


class Database:
    """The one that takes changes. A failover ends one epoch and begins the next."""

    def __init__(self, loop: Loop, history: History, *, offset: float, rate: float) -> None:
        self.loop = loop
        self.history = history
        self.epoch = 0
        self.down_until = 0.0
        self.most_steps = 500
        self.is_damaged: Callable[[], bool] = lambda: False
        self.grace_seconds: dict[int, float] = {}
        self.workspace_of: dict[int, int] = {}
        self.current: dict[Id, State] = {}
        self.log: list[Step] = []
        self.gone: set[int] = set()  # positions that somebody deleted
        self.rows: dict[int, Row] = {}
        self._journal: list[Commit] = []
        self._seals = 0
        self._offset = offset
        self._rate = rate

    # --- what is read ----------------------------------------------------------------------------

    def clock(self) -> int:
        return int((self._offset + self._rate * self.loop.now) * 1_000_000)

    def end(self) -> Point:
        for step in reversed(self.log):
            if step.position not in self.gone:
                return Point(step.position, step.seal)
        return ORIGIN

    def look(self, after: Point | None) -> Answer:
        if after is None:
            return Answer(self.end(), (), is_all=True)
        at, most = after.position, self.most_steps
        steps = self.log[at : at + most + 1]
        if self.gone:
            there = [step for step in self.log[at:] if step.position not in self.gone]
            steps = there[: most + 1]
        return Answer(self._anchor(at), tuple(steps[:most]), is_all=len(steps) <= most)

    def _anchor(self, position: int) -> Point | None:
        if position == 0:
            return ORIGIN
        if position > len(self.log) or position in self.gone:
            return None
        return Point(position, self.log[position - 1].seal)

    def fill(self, id_: Id) -> Read:
        state = self.current.get(id_)
        if self.is_damaged():
            return Read(None, None, self.end(), is_keepable=False)
        if state is None:
            return Read(None, None, self.end(), is_keepable=True)
        number = self.workspace_of.get(id_[1])
        if number is None:
            return Read(Record(state, None, 0.0), None, self.end(), is_keepable=True)
        workspace = self.current["workspace", number]
        record = Record(state, workspace, self.grace_seconds[number])
        return Read(record, spelled(number), self.end(), is_keepable=True)

    def nodes(self) -> tuple[int, tuple[Row, ...]]:
        return self.clock(), tuple(self.rows.values())

    # --- what is written -------------------------------------------------------------------------

    def change(self, ids: tuple[Id, ...], *, is_allowed: bool, is_told: bool = True) -> int:
        """Makes each of `ids` what is said in one change, and gives its position."""
        self._seals += 1
        position = len(self.log) + 1
        touched = tuple(touched_by(id_) for id_ in ids) if is_told else None
        self.log.append(Step(position, b"%d" % self._seals, touched))
        self._replace(ids, is_allowed=is_allowed)
        return position

    def _replace(self, ids: tuple[Id, ...], *, is_allowed: bool) -> None:
        for number, id_ in enumerate(ids):
            before = self.current.get(id_)
            after = State(id_, is_allowed=is_allowed)
            if before is not None:
                before.superseded_at = self.loop.now
            self.current[id_] = after
            # One commit of the log, whatever it touched.
            self._journal.append(Commit(before, after, node=0 if number == 0 else -1))

    def report(self, node: int, applied: int) -> bool:
        """Keeps what a node says of itself, and grants it a lease, or not."""
        row = self.rows.get(node)
        granted = self.may_grant(applied, row)
        clock, end = self.clock(), self.end().position
        # A report may be late, and come after the next one. A node goes only forwards.
        applied = applied if row is None else max(applied, row.applied)
        if granted:
            length = reckoned_micros(self.history.lease_seconds)
            self._write(node, Row(str(node), applied, end, clock + length, None))
        elif row is not None:
            self._write(node, row._replace(applied=applied))
        return granted

    def may_grant(self, applied: int, row: Row | None) -> bool:
        return may_grant(applied, None if row is None else row.promised)

    def leave(self, node: int) -> None:
        row = self.rows.get(node)
        if row is not None:
            clock = self.clock()
            self._write(node, row._replace(left_at=clock, lease_until=clock))

    def _write(self, node: int, row: Row) -> None:
        self._journal.append(Commit(node=node, row=self.rows.get(node)))
        self.rows[node] = row

    def record(self, ids: tuple[Id, ...], *, is_allowed: bool) -> None:
        """What was there before the log began."""
        for id_ in ids:
            self.current[id_] = State(id_, is_allowed=is_allowed)

    # --- what goes wrong -------------------------------------------------------------------------

    def delete_step(self, position: int) -> None:
        """Somebody deletes a row of the log that is not its last one."""
        if 0 < position < len(self.log):
            self.gone.add(position)

    def fail_over(self, commits: int, down_seconds: float) -> tuple[State, ...]:
        """Another takes its place, which has not got the last commits: a replica that lagged, or a
        restored backup. Gives what is lost."""
        now = self.loop.now
        self.epoch += 1
        self.down_until = now + down_seconds
        if commits and self._journal:
            self.history.lost_at = now
        lost: list[State] = []
        while self._journal and commits > 0:
            commit = self._journal.pop()
            if commit.after is None:
                self._lose_row(commit)
                commits -= 1
                continue
            self._lose_change(commit, commit.after, now)
            lost.append(commit.after)
            if commit.node == 0:
                self.log.pop()
                commits -= 1
        self.gone = {one for one in self.gone if one < len(self.log)}
        return tuple(lost)

    def _lose_row(self, commit: Commit) -> None:
        if commit.row is None:
            del self.rows[commit.node]
        else:
            self.rows[commit.node] = commit.row

    def _lose_change(self, commit: Commit, after: State, now: float) -> None:
        after.lost_at = now
        if commit.before is None:
            del self.current[after.ref]
        else:
            commit.before.revive()
            self.current[after.ref] = commit.before


def touched_by(id_: Id) -> Touched:
    return (id_[0], spelled(id_[1]))


def spelled(number: int) -> str:
    return str(UUID(int=number))
