"""When: at hours at which the key never worked, and after a sleep.

Whether an hour that was never seen tells anything depends on how often the past showed a new one:
by Good and Turing's estimate, the share of what was seen once. A key that is used at any odd time
has no hours, and is left alone.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.domain.detectors.profile import hours_between
from keyturn.domain.detectors.reason import (
    LEAST_PAST,
    TOLD_FOR,
    USUAL_AFTER,
    Case,
    Certainty,
    Past,
    Reason,
)
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY, format_instant
from keyturn.domain.traffic import HOUR

LEAST_CALLS = 3
_WINDOW = 35 * DAY
_NEAR = 2  # hours: a job that is late, a clock that is set for summer
_NEVER_AGAIN = 0.03
_LEAST_SLOTS = 12
_MOST_ACTIVE = 0.6

SLEEP = 45 * DAY
UNUSED = 60 * DAY
TIMES_LONGEST = 2.5


@dataclass(frozen=True, slots=True)
class _Rhythm:
    """At which hours of a day, working or not, a key was used: on how many days each."""

    days: dict[bool, int]
    slots: Counter[tuple[bool, int]]

    @property
    def novelty(self) -> float:
        total = self.slots.total()
        return sum(1 for count in self.slots.values() if count == 1) / total if total else 1.0

    @property
    def share(self) -> float:
        observed = 24 * sum(self.days.values())
        return self.slots.total() / observed if observed else 1.0

    def is_off(self, hour: int) -> bool:
        is_weekend, at = _slot(hour)
        return all(
            (is_weekend, (at + shift) % 24) not in self.slots for shift in range(-_NEAR, _NEAR + 1)
        )


def unusual_hours(case: Case) -> Iterator[Reason]:
    if not case.is_live:
        return
    off = [hour for hour in case.recent_hours() if _once(case, hour)]
    if not off:
        return
    calls = sum(case.hours[hour].calls for hour in off)
    past = case.past(off[0])
    rhythm = _rhythm(case, off[0])
    yield Reason(
        kind=FindingKind.HOURS,
        mark="",
        what=f"{calls} calls at {off[0] // HOUR % 24:02d}:00 UTC or later, a time at which this"
        " key never worked.",
        since=off[0],
        until=off[-1] + HOUR + TOLD_FOR,
        certainty=past.certainty(is_extreme=rhythm.novelty == 0.0),
        past=past,
        facts={
            "calls": calls,
            "hours": [format_instant(hour) for hour in off],
            "usual_hours": sorted({at for (_, at) in rhythm.slots}),
        },
    )


def woke(case: Case) -> Iterator[Reason]:
    if not case.is_live:
        return
    hours = sorted(case.hours)
    longest = 0
    for index, hour in enumerate(hours):
        before = hours[index - 1] + HOUR if index else _awake_since(case)
        gap = hour - before
        is_sleep = gap >= max(SLEEP if index else UNUSED, TIMES_LONGEST * longest)
        if is_sleep and hour > case.now - USUAL_AFTER:
            yield _waking(case, hour, gap, longest)
            return
        longest = max(longest, gap if index else 0)


def _awake_since(case: Case) -> int:
    """Since when a key of which nothing is known before could have been used."""
    return max(case.key.created_at, case.profile.since)


def _waking(case: Case, hour: int, gap: int, longest: int) -> Reason:
    days, past = gap // DAY, case.past(hour)
    return Reason(
        kind=FindingKind.WOKE,
        mark=str(hour),
        what=f"This key is used again after {days} days in which nobody did.",
        since=hour,
        until=hour + USUAL_AFTER,
        certainty=Certainty.HIGH if gap >= 2 * SLEEP else Certainty.MEDIUM,
        past=past if past.calls else Past(hour - gap, hour, 0, 0, 0, 0),
        facts={"slept_days": days, "longest_before_days": longest // DAY},
    )


def _once(case: Case, hour: int) -> bool:
    return case.profile.once("hours", hour, lambda one: _is_off(case, one))


def _is_off(case: Case, hour: int) -> bool:
    if case.hours[hour].calls < LEAST_CALLS or hour - case.begins < LEAST_PAST:
        return False
    rhythm = _rhythm(case, hour)
    is_weekend = _slot(hour)[0]
    return (
        rhythm.days[is_weekend] >= (4 if is_weekend else 10)
        and rhythm.slots.total() >= _LEAST_SLOTS
        and rhythm.share <= _MOST_ACTIVE
        and rhythm.novelty <= _NEVER_AGAIN
        and rhythm.is_off(hour)
    )


def _rhythm(case: Case, hour: int) -> _Rhythm:
    """From the weeks before the day that this hour is of."""
    return case.profile.once("rhythm", hour // DAY * DAY, lambda day: _rhythm_before(case, day))


def _rhythm_before(case: Case, until: int) -> _Rhythm:
    since = max(until - _WINDOW, case.begins // DAY * DAY)
    days = Counter(_slot(day)[0] for day in range(since, until, DAY))
    slots = Counter(_slot(one) for one in hours_between(case.hours, since, until))
    return _Rhythm({kind: days[kind] for kind in (True, False)}, slots)


def _slot(hour: int) -> tuple[bool, int]:
    return (hour // DAY + 3) % 7 >= 5, hour // HOUR % 24  # the epoch began on a Thursday
