"""Looking over a workspace: which keys are to be rotated, and which slots are not in order.

It reads alone. What it finds are causes of findings, which `find.reconcile` opens and resolves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.domain.destination import Destination
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.key import Key, KeyState, KeyStatus
from keyturn.domain.policy import RotationPolicy, read_policy
from keyturn.domain.rotation import OPEN_STATES, RotationState
from keyturn.domain.runtime import MOST_RUNTIMES_OF_A_KEY
from keyturn.domain.schedule import (
    ANNOUNCED_WITHIN,
    PLANNED_AHEAD,
    Start,
    announcement,
    due_cause,
    expiring_cause,
    next_window,
    plan,
    rotate_by,
)
from keyturn.domain.slot import Slot, SlotName, SlotNotes
from keyturn.domain.workspace import Workspace
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.transaction import Reading

# All that `schedule_causes` may find: what is open of these and not found again is resolved.
SCHEDULE_KINDS = (
    FindingKind.ROTATION_ANNOUNCED,
    FindingKind.KEY_ROTATION_DUE,
    FindingKind.KEY_ROTATION_OVERDUE,
    FindingKind.KEY_EXPIRING,
    FindingKind.TOO_MANY_RUNTIMES,
    FindingKind.TOO_MANY_KEYS,
    FindingKind.UNOWNED,
)

MOST_LIVE_KEYS = 2  # an old one, and the new one that takes its place
_MOST_NAMED = 20
_MOST_CROWDED = 10_000
_PAGE = 500


def schedule_causes(transaction: Reading, workspace: Workspace, now: int) -> list[Cause]:
    """What a person should know now of the keys and slots of a workspace.

    `now` is steady: a clock that is ahead for a moment would use up reminders that are given once.
    """
    policy = read_policy(workspace.policy)
    rotating, open_count = _rotating(transaction, workspace.id)
    crowded = frozenset(transaction.uses.overflowing(_MOST_CROWDED))
    tallies: dict[SlotName, _Tally] = {}
    waiting: list[tuple[KeyView, int]] = []
    causes: list[Cause] = []
    for view in _live(transaction, workspace.id, now):
        key, notes = view.key, None if view.slot is None else view.slot.notes
        tallies.setdefault(key.slot, _Tally(key.slot)).add(view)
        if str(key.id) in crowded:
            causes.append(_too_many_runtimes(key))
        causes += _reminders(key, notes, policy, now, is_rotating=key.id in rotating)
        by = rotate_by(key, notes, policy)
        may_start = key.state is KeyState.ACTIVE and key.id not in rotating
        if may_start and by is not None and by <= now + PLANNED_AHEAD:
            waiting.append((view, by))
    causes += _announced(transaction, waiting, policy, open_count, now)
    for tally in tallies.values():
        causes += tally.causes()
    return causes


def planned_now(
    transaction: Reading, workspace: Workspace, now: int
) -> list[tuple[KeyView, Sequence[Destination]]]:
    """The keys whose rotation starts by itself now, and where their tokens go: their window is
    open, it is their turn, and in this window none of theirs was rolled back. Without a policy
    nothing is planned."""
    policy = read_policy(workspace.policy)
    if policy is None:
        return []
    rotating, open_count = _rotating(transaction, workspace.id)
    ready: dict[UUID, tuple[KeyView, Sequence[Destination]]] = {}
    due: list[tuple[Key, int]] = []
    for view in _live(transaction, workspace.id, now):
        key, slot = view.key, view.slot
        by = rotate_by(key, None if slot is None else slot.notes, policy)
        may_start = key.state is KeyState.ACTIVE and key.id not in rotating
        if not may_start or slot is None or by is None or by > now + PLANNED_AHEAD:
            continue
        destinations = destinations_of(transaction, slot)
        since = next_window(policy, now)[0]
        if destinations and not _was_rolled_back(transaction, key, since):
            ready[key.id] = (view, destinations)
            due.append((key, by))
    planned = plan(due, policy, open_count, now, until=now)
    return [ready[one.key.id] for one in planned if one.start <= now < one.end]


def _was_rolled_back(transaction: Reading, key: Key, since: int) -> bool:
    """Whether somebody has gone back to this key in the window that opened at `since`: he is not
    to find it rotated again a second later."""
    wanted = RotationFilter(states=(RotationState.ROLLED_BACK,), key_id=key.id)
    found = transaction.rotations.list(key.workspace_id, wanted, limit=1, before=None)
    return any(
        one.old_key_id == key.id and one.ending is not None and one.ending.at >= since
        for one in found
    )


def destinations_of(reading: Reading, slot: Slot) -> Sequence[Destination]:
    """The destinations of a slot, where each is there and proven; else none."""
    found = []
    for name in slot.notes.destinations or ():
        try:
            destination = reading.destinations.named(slot.workspace_id, name)
        except IntegrityFailed:
            return ()
        if destination is None or not destination.is_proven:
            return ()
        found.append(destination)
    return found


def _reminders(
    key: Key,
    notes: SlotNotes | None,
    policy: RotationPolicy | None,
    now: int,
    *,
    is_rotating: bool,
) -> list[Cause]:
    """That a key is to be rotated, and that it ends by itself. Of a key that ends soon that alone
    is said: the way out is the same. One that is overdue is so all the same."""
    due = due_cause(key, notes, policy, now, is_rotating=is_rotating)
    expiring = expiring_cause(key, notes, now, is_rotating=is_rotating)
    if expiring is not None and due is not None and due.kind is FindingKind.KEY_ROTATION_DUE:
        due = None
    return [one for one in (due, expiring) if one is not None]


def _announced(
    transaction: Reading,
    waiting: list[tuple[KeyView, int]],
    policy: RotationPolicy | None,
    open_count: int,
    now: int,
) -> list[Cause]:
    """The rotations that are planned soon. Without a policy nothing is. What starts by itself waits
    for nobody who is to start another by hand, so each kind is planned for itself."""
    if policy is None:
        return []
    slots = {view.key.id: view.slot for view, _ in waiting}
    starts = {id_: _start_of(transaction, slot) for id_, slot in slots.items()}
    causes = []
    for by_itself in (True, False):
        planned = plan(
            (
                (view.key, by)
                for view, by in waiting
                if (starts[view.key.id] is Start.BY_ITSELF) is by_itself
            ),
            policy,
            open_count,
            now,
            until=now + ANNOUNCED_WITHIN,
        )
        for one in planned:
            slot = slots[one.key.id]
            notes = None if slot is None else slot.notes
            cause = announcement(one, notes, now, starts[one.key.id])
            if cause is not None:
                causes.append(cause)
    return causes


def _start_of(transaction: Reading, slot: Slot | None) -> Start:
    if slot is None or not slot.notes.destinations:
        return Start.BY_HAND
    return Start.BY_ITSELF if destinations_of(transaction, slot) else Start.HELD_UP


def _live(transaction: Reading, workspace_id: UUID, now: int) -> Iterator[KeyView]:
    """The keys that are neither revoked nor expired."""
    for status in (KeyStatus.ACTIVE, KeyStatus.SUSPENDED):
        wanted = KeyFilter(status=status, now=now)
        before = None
        while True:
            page = transaction.keys.list(workspace_id, wanted, limit=_PAGE, before=before)
            yield from page
            if len(page) < _PAGE:
                break
            before = page[-1].key.id


def _rotating(transaction: Reading, workspace_id: UUID) -> tuple[set[UUID], int]:
    """The keys of open rotations, and how many of these there are."""
    wanted = RotationFilter(states=tuple(sorted(OPEN_STATES)))
    key_ids: set[UUID] = set()
    count, before = 0, None
    while True:
        page = transaction.rotations.list(workspace_id, wanted, limit=_PAGE, before=before)
        for one in page:
            key_ids |= {one.old_key_id, one.new_key_id}
        count += len(page)
        if len(page) < _PAGE:
            return key_ids, count
        before = page[-1].id


@dataclass(slots=True)
class _Tally:
    """What is seen of a slot while its keys go by. `is_known` is False where its record is damaged:
    what it said of its owner is not known then."""

    name: SlotName
    live: int = 0
    active: int = 0
    is_known: bool = True
    owner: str | None = None
    named: list[Key] = field(default_factory=list)

    def add(self, view: KeyView) -> None:
        self.live += 1
        self.active += view.key.state is KeyState.ACTIVE
        self.is_known = view.slot is not None
        self.owner = None if view.slot is None else view.slot.notes.owner
        if len(self.named) < _MOST_NAMED:
            self.named.append(view.key)

    def causes(self) -> list[Cause]:
        causes = []
        if self.live > MOST_LIVE_KEYS:
            causes.append(self._cause(FindingKind.TOO_MANY_KEYS, Severity.WARNING, self._crowd()))
        if self.active and self.is_known and self.owner is None:
            causes.append(self._cause(FindingKind.UNOWNED, Severity.INFO, self._lacks_owner()))
        return causes

    def _crowd(self) -> dict[str, object]:
        return {
            "keys": [{"id": str(key.id), "name": key.name} for key in self.named],
            "count": self.live,
            "owner": self.owner,
            "next_step": "See who still uses each, `keyturn usage KEY`, and revoke those that "
            "nobody does, `keyturn keys revoke KEY`.",
        }

    def _lacks_owner(self) -> dict[str, object]:
        return {
            "count": self.active,
            "next_step": "Say who answers for it: "
            f"`keyturn keys update {self.named[0].id} --owner WHO`.",
        }

    def _cause(self, kind: FindingKind, severity: Severity, evidence: dict[str, object]) -> Cause:
        return Cause(
            kind=kind,
            subject_type=SubjectType.SLOT,
            subject_id=str(self.name),
            slot=self.name,
            mark="",
            severity=severity,
            evidence={"slot": str(self.name), **evidence},
        )


def _too_many_runtimes(key: Key) -> Cause:
    return Cause(
        kind=FindingKind.TOO_MANY_RUNTIMES,
        subject_type=SubjectType.KEY,
        subject_id=str(key.id),
        slot=key.slot,
        mark="",
        severity=Severity.WARNING,
        evidence={
            "key": key.name,
            "slot": str(key.slot),
            "most_runtimes": MOST_RUNTIMES_OF_A_KEY,
            "next_step": "Those beyond are counted together and cannot be told apart in a "
            "rotation: name each workload as one, or give them several keys.",
        },
    )
