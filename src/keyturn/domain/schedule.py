"""The schedule: when a key is to be rotated, who is told beforehand, and what starts when.

1. A key's time is its slot's period, else the policy's, after it was last rotated or made.
2. A reminder is a cause while no later one is, so that one which came due while nobody looked is
   never given late.
3. A plan is derived anew from what is there, and keeps nothing: looking twice, or at a clock that
   has jumped, plans nothing twice.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heapreplace
from itertools import count

from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.instant import DAY, SECOND, format_instant
from keyturn.domain.key import Key, KeyStatus
from keyturn.domain.policy import ANY_TIME, WEEK, RotationPolicy
from keyturn.domain.rotation import DEFAULT_OVERLAP_SECONDS
from keyturn.domain.slot import NOTHING_NOTED, SlotNotes

REMINDERS_DAYS = (30, 14, 7, 1)
URGENT_DAYS = 7
ANNOUNCED_WITHIN = 7 * DAY
# Windows come each week: what is due later than this is announced later.
PLANNED_AHEAD = ANNOUNCED_WITHIN + 7 * DAY

# How long a rotation is taken to be open when nobody has said.
OPEN_FOR = DEFAULT_OVERLAP_SECONDS * SECOND

_MINUTE = 60 * SECOND
_WEEK = 7 * DAY
_MONDAY = 4 * DAY  # the first one of the epoch, which began on a Thursday


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A key and the window in which its rotation is to start."""

    key: Key
    rotate_by: int
    start: int
    end: int


def rotate_by(key: Key, notes: SlotNotes | None, policy: RotationPolicy | None) -> int | None:
    """When the key is to be rotated at the latest, or None."""
    days = _period_days(notes, policy)
    return None if days is None else _began_at(key) + days * DAY


def due_cause(
    key: Key,
    notes: SlotNotes | None,
    policy: RotationPolicy | None,
    now: int,
    *,
    is_rotating: bool = False,
) -> Cause | None:
    """Why somebody should be told now that this key is to be rotated, or None.

    `is_rotating` is a key, old or new, of an open rotation: nobody is reminded of that. An overdue
    one is told of until it is replaced, lest a rotation that is rolled back use that up.
    """
    days, due = _period_days(notes, policy), rotate_by(key, notes, policy)
    if days is None or due is None or key.status(now) is not KeyStatus.ACTIVE:
        return None
    if now >= due:
        kind, mark, severity = FindingKind.KEY_ROTATION_OVERDUE, f"{due}", Severity.WARNING
        return _cause(key, notes, due, now, kind=kind, mark=mark, severity=severity)
    reached = [one for one in REMINDERS_DAYS if one < days and now >= due - one * DAY]
    if is_rotating or not reached:
        return None
    nearest = min(reached)
    severity = Severity.WARNING if nearest <= URGENT_DAYS else Severity.INFO
    kind, mark = FindingKind.KEY_ROTATION_DUE, f"{nearest}@{due}"
    return _cause(key, notes, due, now, kind=kind, mark=mark, severity=severity)


class Start(StrEnum):
    """Whether a planned rotation starts by itself."""

    BY_ITSELF = "by_itself"
    BY_HAND = "by_hand"  # the slot has nowhere to deliver
    HELD_UP = "held_up"  # a destination of the slot is not proven


def expiring_cause(
    key: Key, notes: SlotNotes | None, now: int, *, is_rotating: bool = False
) -> Cause | None:
    """Why somebody should be told now that this key is about to end by itself, or None.

    `is_rotating` is a key of an open rotation: its old key may end, and its new one has just been
    made. A reminder that reaches back to before the key was made says nothing new.
    """
    ends = key.expires_at
    if ends is None or is_rotating or key.status(now) is not KeyStatus.ACTIVE:
        return None
    lifetime = ends - key.created_at
    reached = [one for one in REMINDERS_DAYS if one * DAY < lifetime and now >= ends - one * DAY]
    if not reached:
        return None
    nearest = min(reached)
    notes = notes or NOTHING_NOTED
    return Cause(
        kind=FindingKind.KEY_EXPIRING,
        subject_type=SubjectType.KEY,
        subject_id=str(key.id),
        slot=key.slot,
        mark=f"{nearest}@{ends}",
        severity=Severity.WARNING if nearest <= URGENT_DAYS else Severity.INFO,
        evidence={
            "key": key.name,
            "slot": str(key.slot),
            "owner": notes.owner,
            "expires_at": format_instant(ends),
            "days_left": -((now - ends) // DAY),
            "runbook_url": notes.runbook_url,
            "next_step": "It stops by itself then. Start a rotation before, "
            f"`keyturn rotations start {key.slot}`, or give it longer, "
            f"`keyturn keys update {key.id} --expires WHEN`.",
        },
        happens_once=True,
    )


def announcement(
    planned: Planned, notes: SlotNotes | None, now: int, start: Start = Start.BY_HAND
) -> Cause | None:
    """That a rotation is planned, where its window opens soon or is open."""
    if planned.start > now + ANNOUNCED_WITHIN:
        return None
    key, notes = planned.key, notes or NOTHING_NOTED
    command = f"keyturn rotations start {key.slot}"
    return Cause(
        kind=FindingKind.ROTATION_ANNOUNCED,
        subject_type=SubjectType.KEY,
        subject_id=str(key.id),
        slot=key.slot,
        # Who is told that it starts by itself is told anew when it does not, and the other way.
        mark=f"{planned.start}" if start is Start.BY_HAND else f"{planned.start}/{start}",
        severity=Severity.WARNING if start is Start.HELD_UP else Severity.INFO,
        evidence={
            "key": key.name,
            "slot": str(key.slot),
            "owner": notes.owner,
            "window_starts": format_instant(planned.start),
            "window_ends": format_instant(planned.end),
            "rotate_by": format_instant(planned.rotate_by),
            "runbook_url": notes.runbook_url,
            "command": command,
            "destinations": list(notes.destinations or ()),
            "next_step": _tell_start(start, notes, command),
        },
    )


def _tell_start(start: Start, notes: SlotNotes, command: str) -> str:
    names = ", ".join(notes.destinations or ())
    match start:
        case Start.BY_ITSELF:
            return (
                "It starts by itself in its window, and the new token is delivered to "
                f"{names}: there is nothing to do."
            )
        case Start.HELD_UP:
            return (
                f"Nothing starts it while one of its destinations is not proven ({names}): "
                "`keyturn destinations list` says which, `keyturn destinations prove NAME` why."
            )
        case Start.BY_HAND:
            return (
                "Nothing starts it by itself, since the slot has nowhere to deliver the new "
                f"token: start it by hand in its window, `{command}`."
            )


def next_window(policy: RotationPolicy, after: int) -> tuple[int, int]:
    """The window that is open at `after`, or else the next one: its start and its end."""
    return _Calendar.of(policy).open_or_next(after)


def next_turn(policy: RotationPolicy, after: int) -> int:
    """When next a window opens or closes. Where `plan` has nothing start at `after`, it has nothing
    start before then, unless a key, a policy or what is open is changed."""
    return _Calendar.of(policy).next_turn(after)


def plan(
    due: Iterable[tuple[Key, int]],
    policy: RotationPolicy,
    open_count: int,
    now: int,
    *,
    until: int | None = None,
) -> Sequence[Planned]:
    """When the rotation of each key starts, given with its `rotate_by`; those due soonest first.

    That is in the last window which opens before `rotate_by`, or the next one where that has
    passed or the key was rotated in it already, or a later one where as many are open as may be.
    One that is open now, of which there are `open_count`, or is started, is taken to stay open for
    `OPEN_FOR`. With `until`, those that start later are left out.
    """
    calendar = _Calendar.of(policy)
    # For each that may be open at once: from when on there is room for another in its place.
    taken = min(open_count, policy.most_at_once)
    free_from = [now + OPEN_FOR] * taken + [now] * (policy.most_at_once - taken)
    heapify(free_from)
    planned: list[Planned] = []
    waiting = ((calendar.turn(key, by), by, key) for key, by in due)
    for turn, by, key in sorted(waiting, key=lambda one: (one[0], one[2].id)):
        start, end = calendar.last_opening_by(turn)
        if end <= now:
            start, end = calendar.open_or_next(now)
        if max(start, now) < free_from[0]:
            start, end = calendar.first_opening_from(free_from[0])
        if until is not None and start > until:
            break  # nor does any after it start before
        heapreplace(free_from, max(start, now) + OPEN_FOR)
        planned.append(Planned(key=key, rotate_by=by, start=start, end=end))
    return planned


@dataclass(frozen=True, slots=True)
class _Calendar:
    """A policy's windows, without end in both directions, in the order in which they open.

    `weekly` are those of one week: when they open, from Monday on, and how long they are.
    """

    weekly: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, policy: RotationPolicy) -> "_Calendar":
        weekly = (
            (WEEK.index(day) * DAY + one.starts_minute * _MINUTE, one.minutes * _MINUTE)
            for one in policy.windows or (ANY_TIME,)
            for day in one.days
        )
        return cls(tuple(sorted(weekly)))

    def open_or_next(self, moment: int) -> tuple[int, int]:
        """The first window to open of those that have not passed."""
        # None is longer than a day.
        return next(one for one in self._from(moment - DAY) if one[1] > moment)

    def next_turn(self, moment: int) -> int:
        """The first time after `moment` at which one opens or closes."""
        turns: list[int] = []
        for start, end in self._from(moment - DAY):
            turns += [one for one in (start, end) if one > moment]
            if start > moment:
                break
        return min(turns)

    def first_opening_from(self, moment: int) -> tuple[int, int]:
        return next(self._from(moment))

    def last_opening_by(self, moment: int) -> tuple[int, int]:
        return self._window(self._number(moment + 1) - 1)

    def turn(self, key: Key, by: int) -> int:
        """When a key is due: at its time, but not in the window that it was rotated in."""
        rotated_at = key.last_rotated_at
        if rotated_at is None or self.last_opening_by(by)[0] > rotated_at:
            return by
        return self.first_opening_from(rotated_at + 1)[0]

    def _from(self, moment: int) -> Iterator[tuple[int, int]]:
        return map(self._window, count(self._number(moment)))

    def _number(self, moment: int) -> int:
        """Which window is the first to open at `moment` or after it."""
        week, within = divmod(moment - _MONDAY, _WEEK)
        return week * len(self.weekly) + bisect_left(self.weekly, (within, 0))

    def _window(self, number: int) -> tuple[int, int]:
        week, index = divmod(number, len(self.weekly))
        offset, length = self.weekly[index]
        start = _MONDAY + week * _WEEK + offset
        return start, start + length


def _period_days(notes: SlotNotes | None, policy: RotationPolicy | None) -> int | None:
    if notes is not None and notes.rotation_period_days is not None:
        return notes.rotation_period_days
    return None if policy is None else policy.rotation_period_days


def _began_at(key: Key) -> int:
    return key.created_at if key.last_rotated_at is None else key.last_rotated_at


def _cause(
    key: Key,
    notes: SlotNotes | None,
    due: int,
    now: int,
    *,
    kind: FindingKind,
    mark: str,
    severity: Severity,
) -> Cause:
    notes = notes or NOTHING_NOTED
    return Cause(
        kind=kind,
        subject_type=SubjectType.KEY,
        subject_id=str(key.id),
        slot=key.slot,
        mark=mark,
        severity=severity,
        evidence={
            "key": key.name,
            "slot": str(key.slot),
            "owner": notes.owner,
            "rotate_by": format_instant(due),
            "days_left": -((now - due) // DAY),
            "runbook_url": notes.runbook_url,
            "next_step": f"Start a rotation: `keyturn rotations start {key.slot}`.",
        },
        happens_once=True,
    )
