"""Advancing rotations: the steps that they take by themselves.

1. Which step is due says `domain/progress.py`. What was seen as due is judged once more in the
   transaction that carries it out, on what the witness knows then.
2. Nothing is remembered from one round to the next but what was last found: a process that begins
   after a crash goes on from what the database says.
3. Whatever keeps one rotation from being judged keeps no other.
4. Where there are many, one that had nothing to do is let rest for a moment (`rest.py`).
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from keyturn.domain.error import IntegrityFailed, KeyturnError, StorageUnavailable
from keyturn.domain.evidence import FRESH_WITHIN, UNDELIVERED, Observation
from keyturn.domain.progress import next_act
from keyturn.domain.rotation import Rotation, RotationAct
from keyturn.services.conclude import brown_out, complete_rotation, lift, lift_blindly
from keyturn.services.context import Context
from keyturn.services.dispatch import look_first
from keyturn.services.find import reconcile_subject, rotation_causes
from keyturn.services.journal import WORKER
from keyturn.services.rest import Rest
from keyturn.services.weigh import Weighed, weigh
from keyturn.services.witness import Witness
from keyturn.storage.transaction import Reading, Writing

PAGE = 100
_ENDING = frozenset({RotationAct.BROWN_OUT, RotationAct.COMPLETE})

_log = logging.getLogger("keyturn.rotations")


class Advancer:
    """One process's hand on all rotations; `step` is one round."""

    def __init__(self, context: Context, witness: Witness) -> None:
        self._context = context
        self._witness = witness
        self._found: dict[UUID, frozenset[tuple[str, str, str]]] = {}
        self._told: dict[UUID, str] = {}
        self._rest = Rest()

    def step(self) -> int:
        """Looks at every open rotation and takes the steps that are due; says how many are open.
        Raises `StorageUnavailable`, once it has tried each."""
        self._witness.observe()  # also while nothing is open: it is to look on without a break
        seen: set[UUID] = set()
        after: UUID | None = None
        failure: Exception | None = None
        with self._context.store.read() as reading:
            self._rest.begin(reading)
        while True:
            with self._context.store.read() as reading:
                page = reading.rotations.open(after=after, limit=PAGE)
            if not page:
                break
            seen |= {one.id for one in page}
            after = page[-1].id
            for rotation in self._due(page):
                failure = self._advance(rotation) or failure
        self._found = {id_: found for id_, found in self._found.items() if id_ in seen}
        self._told = {id_: told for id_, told in self._told.items() if id_ in seen}
        self._rest.end(seen)
        if failure is not None:
            raise failure
        return len(seen)

    def _due(self, page: Sequence[Rotation]) -> Sequence[Rotation]:
        """Those that have something to do: a step to take, or something to be found."""
        observation = self._witness.observe()
        elapsed = self._context.clock.elapsed()
        due = []
        with self._context.store.read() as reading:
            for rotation in self._rest.awake(reading, page, elapsed):
                try:
                    if _rests(reading, rotation):
                        continue
                    weighed = weigh(reading, rotation, observation)
                except IntegrityFailed as error:
                    self._tell(rotation, error)
                    if _is_stuck(rotation, observation):
                        due.append(rotation)
                    continue
                act = next_act(rotation, weighed.old, weighed.evidence, weighed.observation)
                if act is not None or self._found.get(rotation.id) != self._causes(weighed):
                    due.append(rotation)
                elif not any(one.code == UNDELIVERED for one in weighed.evidence.blocked_by):
                    self._rest.lie_down(rotation, elapsed)
        return due

    def _causes(self, weighed: Weighed) -> frozenset[tuple[str, str, str]]:
        causes = rotation_causes(weighed, self._witness.time.now())
        return frozenset(cause.identity for cause in causes)

    def _advance(self, rotation: Rotation) -> Exception | None:
        """What kept it from being carried out, if it may be tried again."""
        try:
            self._carry_out(rotation)
        except StorageUnavailable as error:
            return error
        except KeyturnError as error:
            self._tell(rotation, error)
        except Exception as error:  # noqa: BLE001  (one rotation must not hold up the others)
            return error
        return None

    def _carry_out(self, rotation: Rotation) -> None:
        observation = self._witness.observe()
        with self._context.store.change() as transaction:
            present = transaction.rotations.find(rotation.workspace_id, rotation.id)
            if present is None or not present.is_open:
                return
            now = self._context.clock.now()
            try:
                if _rests(transaction, present):
                    return
                weighed = weigh(transaction, present, observation)
            except IntegrityFailed:
                if _is_stuck(present, observation):
                    lift_blindly(self._context, transaction, WORKER, present, now)
                return
            act = next_act(present, weighed.old, weighed.evidence, weighed.observation)
            if act in _ENDING and look_first(transaction, weighed.deliveries, now):
                return
            if act is not None:
                present = self._take(transaction, weighed, act, now)
            if not present.is_open:
                self._found.pop(present.id, None)
                return
            weighed = weigh(transaction, present, observation)
            causes = rotation_causes(weighed, self._witness.time.now())
            reconcile_subject(
                self._context, transaction, present.workspace_id, str(present.id), causes, now
            )
        self._found[present.id] = frozenset(cause.identity for cause in causes)

    def _take(self, transaction: Writing, weighed: Weighed, act: RotationAct, now: int) -> Rotation:
        context, rotation, old = self._context, weighed.rotation, weighed.old
        match act:
            case RotationAct.BROWN_OUT:
                seconds = rotation.terms.brownout_seconds
                return brown_out(
                    context,
                    transaction,
                    WORKER,
                    rotation,
                    old,
                    now,
                    began_at=weighed.observation.now,
                    seconds=seconds,
                    is_trial=False,
                )
            case RotationAct.LIFT:
                met = weighed.evidence.met
                return lift(context, transaction, WORKER, rotation, old, met, now)
            case RotationAct.COMPLETE:
                return complete_rotation(
                    context,
                    transaction,
                    WORKER,
                    weighed,
                    now,
                    reason="The evidence allowed it.",
                    is_forced=False,
                )
            case RotationAct.AMEND | RotationAct.ROLL_BACK | RotationAct.CANCEL:
                raise AssertionError(f"no rotation takes the step {act} by itself")

    def _tell(self, rotation: Rotation, error: KeyturnError) -> None:
        """Says once why a rotation cannot be judged."""
        if self._told.get(rotation.id) != error.detail:
            self._told[rotation.id] = error.detail
            _log.error("rotation %s of %s rests: %s", rotation.id, rotation.slot, error.detail)


def _is_stuck(rotation: Rotation, observation: Observation) -> bool:
    """Whether a brown-out should long be over, though nothing can be said of it."""
    brownout = rotation.brownout
    return brownout is not None and observation.now > brownout.until + FRESH_WITHIN


def _rests(reading: Reading, rotation: Rotation) -> bool:
    """Whether its workspace is suspended: then nobody can use either key."""
    workspace = reading.workspaces.find(rotation.workspace_id)
    return workspace is None or workspace.is_suspended
