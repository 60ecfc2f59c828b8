"""The rotation policy: how often a workspace's keys are rotated, how many at once, when, and how.

A policy that says nothing is none: `is_empty`. A slot's own period goes before the policy's
(`schedule.rotate_by`). All times of day are UTC.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from keyturn.domain.error import Fault, RequestInvalid
from keyturn.domain.rotation import settle_terms
from keyturn.domain.slot import LONGEST_PERIOD_DAYS

MOST_AT_ONCE = 1_000
MOST_WINDOWS = 50
SHORTEST_WINDOW_MINUTES = 15
LONGEST_WINDOW_MINUTES = 1_440

_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


class Weekday(StrEnum):
    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


WEEK = tuple(Weekday)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """A time in which rotations may start, on each of `days`. One that begins late in the evening
    ends on the day after."""

    days: tuple[Weekday, ...]
    starts_minute: int
    minutes: int

    @property
    def starts(self) -> str:
        return f"{self.starts_minute // 60:02}:{self.starts_minute % 60:02}"


# Without windows any time will do: each day is one, so that a plan does not move with the clock.
ANY_TIME = MaintenanceWindow(days=WEEK, starts_minute=0, minutes=LONGEST_WINDOW_MINUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDraft:
    """A window as somebody spells it: `("mon", "thu")`, `"22:30"`, 120."""

    days: Sequence[str]
    starts: str
    minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualTerms:
    """How a workspace's rotations are carried out where nobody says otherwise; None is for what is
    sensible (`rotation.settle_terms`)."""

    overlap_seconds: int | None = None
    quiet_seconds: int | None = None
    brownout_seconds: int | None = None
    lookback_seconds: int | None = None

    def members(self) -> dict[str, int]:
        """Those that say something, by name."""
        named = {
            "overlap_seconds": self.overlap_seconds,
            "quiet_seconds": self.quiet_seconds,
            "brownout_seconds": self.brownout_seconds,
            "lookback_seconds": self.lookback_seconds,
        }
        return {name: seconds for name, seconds in named.items() if seconds is not None}


SENSIBLE = UsualTerms()


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPolicy:
    """What holds for all slots of a workspace. None for the period: slots alone say one."""

    rotation_period_days: int | None = None
    most_at_once: int = 1
    windows: tuple[MaintenanceWindow, ...] = ()
    terms: UsualTerms = SENSIBLE

    @property
    def is_empty(self) -> bool:
        return self == RotationPolicy()

    def text(self) -> str:
        """The canonical JSON text: equal policies have equal texts."""
        members = {
            "rotation_period_days": self.rotation_period_days,
            "most_at_once": self.most_at_once,
            "maintenance_windows": [
                {"days": list(one.days), "starts": one.starts, "minutes": one.minutes}
                for one in self.windows
            ],
            **self.terms.members(),
        }
        return json.dumps(members, sort_keys=True, separators=(",", ":"))


def make_policy(
    *,
    rotation_period_days: int | None,
    most_at_once: int,
    windows: Sequence[WindowDraft],
    terms: UsualTerms = SENSIBLE,
    pointer: str = "/rotation_policy",
) -> RotationPolicy:
    """The policy that somebody asks for, its days in the order of the week. Raises
    `RequestInvalid` with every fault."""
    faults: list[Fault] = []
    period = rotation_period_days
    if period is not None and not 1 <= period <= LONGEST_PERIOD_DAYS:
        detail = f"This is 1 to {LONGEST_PERIOD_DAYS} days."
        faults.append(Fault(pointer=f"{pointer}/rotation_period_days", detail=detail))
    if not 1 <= most_at_once <= MOST_AT_ONCE:
        detail = f"This is 1 to {MOST_AT_ONCE} rotations."
        faults.append(Fault(pointer=f"{pointer}/most_at_once", detail=detail))
    place = f"{pointer}/maintenance_windows"
    if len(windows) > MOST_WINDOWS:
        detail = f"There may be at most {MOST_WINDOWS} windows."
        faults.append(Fault(pointer=place, detail=detail))
    else:
        for index, one in enumerate(windows):
            faults += _faults_of(one, f"{place}/{index}")
    try:
        settle_terms(
            overlap_seconds=terms.overlap_seconds,
            quiet_seconds=terms.quiet_seconds,
            brownout_seconds=terms.brownout_seconds,
            lookback_seconds=terms.lookback_seconds,
            auto_complete=None,
        )
    except RequestInvalid as error:
        faults += [replace(one, pointer=f"{pointer}{one.pointer}") for one in error.faults]
    if faults:
        raise RequestInvalid(faults[0].detail, tuple(faults))
    return RotationPolicy(
        rotation_period_days=period,
        most_at_once=most_at_once,
        windows=tuple(_window(one) for one in windows),
        terms=terms,
    )


def read_policy(text: str | None) -> RotationPolicy | None:
    """The policy that `RotationPolicy.text` has spelled, or None."""
    if text is None:
        return None
    members = json.loads(text)
    return RotationPolicy(
        rotation_period_days=members["rotation_period_days"],
        most_at_once=members["most_at_once"],
        windows=tuple(
            _window(WindowDraft(days=one["days"], starts=one["starts"], minutes=one["minutes"]))
            for one in members["maintenance_windows"]
        ),
        terms=UsualTerms(
            overlap_seconds=members.get("overlap_seconds"),
            quiet_seconds=members.get("quiet_seconds"),
            brownout_seconds=members.get("brownout_seconds"),
            lookback_seconds=members.get("lookback_seconds"),
        ),
    )


def _faults_of(draft: WindowDraft, pointer: str) -> list[Fault]:
    faults = []
    if not draft.days:
        faults.append(Fault(pointer=f"{pointer}/days", detail="Name at least one day."))
    for index, day in enumerate(draft.days):
        if day not in WEEK:
            detail = f"A day is one of {', '.join(WEEK)}."
            faults.append(Fault(pointer=f"{pointer}/days/{index}", detail=detail))
    if _TIME_OF_DAY.fullmatch(draft.starts) is None:
        detail = "This is a time of day in UTC, from 00:00 to 23:59."
        faults.append(Fault(pointer=f"{pointer}/starts", detail=detail))
    if not SHORTEST_WINDOW_MINUTES <= draft.minutes <= LONGEST_WINDOW_MINUTES:
        detail = f"This is {SHORTEST_WINDOW_MINUTES} to {LONGEST_WINDOW_MINUTES} minutes."
        faults.append(Fault(pointer=f"{pointer}/minutes", detail=detail))
    return faults


def _window(draft: WindowDraft) -> MaintenanceWindow:
    hour, minute = draft.starts.split(":")
    return MaintenanceWindow(
        days=tuple(day for day in WEEK if day in draft.days),
        starts_minute=int(hour) * 60 + int(minute),
        minutes=draft.minutes,
    )
