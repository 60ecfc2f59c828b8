"""What one node of several verifies by: records that it keeps, and a lease on keeping them.

The promise. A change that takes something away (a revocation, a suspension, a narrower scope, an
earlier end, a suspended workspace) is committed at a moment c. Then

P1. no node lets anything in on the old state later than c + T, where T is the length of the lease,
    stretched by the error in the rate of two clocks. That holds while the network is cut, messages
    are lost, late, doubled or out of order, queries hang, processes are paused, machines sleep,
    clocks are set, nodes start anew; and nobody has to do anything for it.
P2. once every node has confirmed the change, or the lease of one that has not is over by the
    database's clock (`barrier.py`), nobody lets in anything on the old state at all.
P4. a node that cannot keep to that denies. Only a workspace that has chosen a time of grace is
    served beyond the lease, as long as it chose, and T is longer for it by as much.

What it leans on, each with a wrong variant in `tests/verifier/mutants.py` that breaks the promise:

O1.  A lease counts from before the question left, and before it was granted. The answer says what
     was so at some moment after that, and nothing of the moment when it arrives.
O2.  The order of positions is the order of commits, without gaps: whoever has seen position p has
     seen all before it (decision 4). A step that is not the next one is a gap: nothing from there
     on is applied, and the lease is not extended.
O3.  A record is kept only where it was read at exactly the point that the node has applied. Read
     before it, it may have missed a change that was already applied: it is read again. Read after
     it, it is used once and kept nowhere: a failover may take back what it tells, and no step
     would ever come to remove it.
O4.  Using a record extends nothing. Only an answer that was granted, and applied up to the end of
     the log, extends the lease.
O5.  The clock is one that counts the time that a machine is suspended. Its rate alone matters; how
     it is set, and how any wall clock is set, does not.
O6.  The lease is looked at last: `standing`, right before the answer, after the record was found
     and judged. A process may be stopped between any two instructions for any time.
O7.  Asking again and again is what brings changes. A notification makes that sooner and nothing
     else: one that is lost costs nothing.
O8.  The log is read where changes are written, not from a copy that lags behind.
O9.  A commit that was confirmed is durable. Where a failover or a restored backup loses some all
     the same, the log parts from what the node has applied. It sees that by the seal at its point,
     is `FORKED` and denies for good, until it is started anew; it never takes anything back.
O10. Every change of a record writes its step in the same transaction.
O11. What a record leans on (its workspace, its slot) is kept with it; a change there lets it go.
O12. A record that is used without being kept counts from before it was asked for, like a lease,
     and no longer: a read that hung does not let in what was so before it hung.
O13. Records are found and admitted after the last wait: between that and the answer nothing else
     of the node runs. A record that was had before a wait (for another one, say) is found or
     admitted again after it: meanwhile steps may have been applied and the lease extended.
"""

import enum
from dataclasses import dataclass
from typing import Generic

from keyturn.verifier.cache import Cache, Id, Kept, Record
from keyturn.verifier.feed import Answer, Question, Step, Touched
from keyturn.verifier.lease import Lease
from keyturn.verifier.point import ORIGIN, Point

MOST_RECORDS = 100_000
KEEP_SECONDS = 30.0


class Standing(enum.Enum):
    """Whether a node may answer by what it has."""

    FRESH = "fresh"
    LATE = "late"  # its lease is over
    FORKED = "forked"  # its log is not the database's any more
    NEW = "new"  # it had no lease yet


class Admission(enum.Enum):
    """What becomes of a record that was read from the database."""

    KEPT = "kept"
    USABLE = "usable"  # for this answer, kept nowhere
    TOO_OLD = "too_old"  # to be read again
    FORKED = "forked"


class Taken(enum.Enum):
    """What an answer brought the node to."""

    MORE = "more"  # there is more: ask on at once
    CAUGHT_UP = "caught_up"
    GAP = "gap"
    FORKED = "forked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill(Generic[Record]):
    """A record as it was read from the database, and where the log ended in the same snapshot."""

    id: Id
    record: Record | None  # None: there is no such row, or it is damaged
    workspace: str | None = None  # refs as in `changes`
    slot: str | None = None
    point: Point
    asked_at: float  # by the clock that counts suspend, before the statement was sent
    is_keepable: bool = True  # False of a damaged row: denied, and looked at anew each time


class Verifier(Generic[Record]):
    """One node's records and its lease. All its methods are called from one thread."""

    __slots__ = (
        "_asked",
        "_cache",
        "_is_forked",
        "_keep_seconds",
        "_lease",
        "_reread_seconds",
        "applied",
    )

    def __init__(
        self,
        *,
        lease_seconds: float,
        most: int = MOST_RECORDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self.applied: Point | None = None
        self._lease = Lease(lease_seconds)
        self._cache: Cache[Record] = Cache(most)
        # These bound for how long an edit that wrote no step (by somebody in the database) is
        # missed: by a key that is in use, and by one that is not.
        self._reread_seconds = lease_seconds
        self._keep_seconds = keep_seconds
        self._asked: Question | None = None
        self._is_forked = False

    # --- verifying -------------------------------------------------------------------------------

    def find(self, id: Id, now: float) -> Kept[Record] | None:  # noqa: A002
        """What is kept of `id`; None is a miss. It says nothing of the lease: see `standing`."""
        # Records age while the database can be asked. In a time of grace it cannot.
        old_at = self._lease.fresh_until
        if now < old_at:
            old_at = now
        return self._cache.get(id, old_at)

    def is_old(self, kept: Kept[Record], now: float) -> bool:
        """Whether what was found is to be read again, beside the answer that it is good for."""
        return now >= kept.reread_at and now < self._lease.fresh_until

    def put_off(self, kept: Kept[Record], now: float) -> None:
        """It is being read again: if nothing comes of that, once more in a while."""
        kept.reread_at = now + self._reread_seconds

    def admit(self, fill: Fill[Record], now: float) -> Admission:
        """What to do with a record that was read. May be asked again of the same one."""
        if self._is_forked:
            return Admission.FORKED
        if not fill.is_keepable:
            self._cache.drop(fill.id)  # what was kept before it was damaged
        applied = self.applied
        if applied is None:
            return Admission.USABLE  # the lease decides
        point = fill.point
        if point.position < applied.position:
            return Admission.TOO_OLD
        if point.position > applied.position:
            is_good = self._lease.covers(fill.asked_at, now)
            return Admission.USABLE if is_good else Admission.TOO_OLD
        if point.seal != applied.seal:
            self._fork()
            return Admission.FORKED
        if not fill.is_keepable:
            return Admission.USABLE
        self._keep(fill, now)
        return Admission.KEPT

    def standing(self, now: float) -> Standing:
        """Whether the node may answer. To be asked last, right before answering."""
        if now < self._lease.fresh_until:
            return Standing.FRESH
        if self._is_forked:
            return Standing.FORKED
        return Standing.LATE if self._lease.was_had else Standing.NEW

    def late_seconds(self, now: float) -> float:
        """For how long the lease is over: 0 while it is not, without end where there is none."""
        return max(0.0, now - self._lease.fresh_until)

    def lease_seconds_left(self, now: float) -> float:
        return max(0.0, self._lease.fresh_until - now)

    def __len__(self) -> int:
        """How many records are kept."""
        return len(self._cache)

    # --- following -------------------------------------------------------------------------------

    def ask(self, now: float) -> Question:
        """The next question. `now` is read before anything of it is sent, the report included."""
        self._asked = Question(asked_at=now, after=self.applied)
        return self._asked

    def take(self, question: Question, answer: Answer, *, granted: bool, now: float) -> Taken:
        """Applies an answer. `granted`: the database granted a lease, after the question was made
        and before the log was looked at."""
        if self._is_forked:
            return Taken.FORKED
        if question is not self._asked:
            return Taken.MORE  # a late answer counts for nothing; another question is on its way
        self._asked = None
        start = _start(question, answer)
        if start is None:
            self._fork()
            return Taken.FORKED
        self.applied = start
        for step in answer.steps:
            if step.position != self.applied.position + 1:
                return Taken.GAP
            self._apply(step)
        if not answer.is_all:
            return Taken.MORE
        if granted:
            self._lease.extend(question.asked_at)
        return Taken.CAUGHT_UP

    def _apply(self, step: Step) -> None:
        self._cache.touch(step.touched, step.position)
        self.applied = Point(step.position, step.seal)

    def _keep(self, fill: Fill[Record], now: float) -> None:
        leans_on: list[Touched] = []
        if fill.workspace is not None:
            leans_on.append(("workspace", fill.workspace))
        if fill.slot is not None:
            leans_on.append(("slot", fill.slot))
        entry = Kept(
            fill.record,
            position=fill.point.position,
            reread_at=now + self._reread_seconds,
            kept_until=now + self._keep_seconds,
            leans_on=tuple(leans_on),
        )
        self._cache.put(fill.id, entry)

    def _fork(self) -> None:
        """For good: what was revoked never comes back by going to an older history."""
        self._is_forked = True
        self._lease.drop()
        self._cache.clear()


def _start(question: Question, answer: Answer) -> Point | None:
    """The point from which the steps of an answer go on, None where it is not the node's own."""
    if question.after is None:
        return answer.anchor or ORIGIN
    if question.after == ORIGIN:
        return ORIGIN if answer.anchor in (None, ORIGIN) else None
    return question.after if answer.anchor == question.after else None
