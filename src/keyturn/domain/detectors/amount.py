"""How much: more calls than ever, and more refusals than ever.

An hour is held against the hours of four weeks, up to the day before the last: with the median of
those that had any traffic, their spread (the median absolute deviation, and never less than
Poisson's), and the highest of them but for one day, so that a single bad day hides nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from statistics import median

from keyturn.domain.detectors.profile import HourCount, hours_between
from keyturn.domain.detectors.reason import LEAST_PAST, TOLD_FOR, Case, Past, Reason
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.traffic import HOUR

_WINDOW = 28 * DAY
_APART = DAY
_LEAST_HOURS = 10
_LEAST_DAYS = 5
_IMPROBABLE = 1e-6
_MAD = 1.4826  # of a normal distribution, the deviation over its median absolute one

LEAST_CALLS = 30
TIMES_HIGHEST = 2.0
DEVIATIONS = 6.0
TIMES_HIGHEST_AT_HOUR = 3.0
# A nightly job that was late and then in time is twice within a day.
TIMES_HIGHEST_DAY = 2.3
LEAST_DENIED = 10
TIMES_HIGHEST_DENIED = 3.0


def poisson_tail(count: int, rate: float) -> float:
    """The probability of `count` or more where `rate` are expected."""
    if count <= rate:
        return 1.0
    term = exp(count * log(rate) - rate - lgamma(count + 1)) if rate > 0 else 0.0
    total, index = term, count
    while term > total * 1e-12 and term > 0.0:
        index += 1
        term *= rate / index
        total += term
    return min(1.0, total)


@dataclass(frozen=True, slots=True)
class _Usual:
    """What is usual: the median, the deviation, and the highest but for one day."""

    middle: float
    spread: float
    highest: int

    @classmethod
    def of(cls, counts: Sequence[tuple[int, int]]) -> "_Usual":
        """From days and counts."""
        numbers = [count for _, count in counts]
        middle = float(median(numbers)) if numbers else 0.0
        off = median(abs(one - middle) for one in numbers) if numbers else 0.0
        days: dict[int, int] = {}
        for day, count in counts:
            days[day] = max(days.get(day, 0), count)
        tops = sorted(days.values(), reverse=True)
        highest = tops[1] if len(tops) > 1 else tops[0] if tops else 0
        return cls(middle, max(_MAD * off, sqrt(middle + 1.0)), highest)

    def exceeds(self, count: int, times: float) -> bool:
        return (
            count > times * self.highest
            and count > self.middle + DEVIATIONS * self.spread
            and poisson_tail(count, max(1.0, float(self.highest))) < _IMPROBABLE
        )


@dataclass(frozen=True, slots=True)
class _Hit:
    hour: int
    count: int
    usual: _Usual
    over: str


def volume(case: Case) -> Iterator[Reason]:
    if not case.is_live:
        return
    hits = [one for hour in case.recent_hours() if (one := _once(case, hour, _loud)) is not None]
    if not hits:
        return
    worst = max(hits, key=lambda one: one.count / max(1, one.usual.highest))
    yield _reason(
        case,
        FindingKind.VOLUME,
        hits,
        worst,
        f"{worst.count} calls in {worst.over}, where {worst.usual.highest} were the most before.",
        {"calls": worst.count, "over": worst.over},
    )


def denied_burst(case: Case) -> Iterator[Reason]:
    if not case.is_live or case.is_steered:
        return
    hits = [one for hour in case.recent_hours() if (one := _once(case, hour, _refused)) is not None]
    if not hits:
        return
    worst = max(hits, key=lambda one: one.count)
    yield _reason(
        case,
        FindingKind.DENIED_BURST,
        hits,
        worst,
        f"{worst.count} calls were refused within an hour, where {worst.usual.highest} were the"
        " most before.",
        {"denied": worst.count, "calls": case.hours[worst.hour].calls},
    )


def _once(case: Case, hour: int, judge: Callable[[Case, int], _Hit | None]) -> _Hit | None:
    return case.profile.once(judge.__name__, hour, lambda one: judge(case, one))


def _loud(case: Case, hour: int) -> _Hit | None:
    count = case.hours[hour].calls
    if count < LEAST_CALLS:
        return None
    known = _known(case, hour)
    if known is None:
        return None
    if known.calls.exceeds(count, TIMES_HIGHEST):
        return _Hit(hour, count, known.calls, "an hour")
    at_hour = _at_hour(case, hour, count)
    if at_hour is not None and at_hour.exceeds(count, TIMES_HIGHEST_AT_HOUR):
        return _Hit(hour, count, at_hour, "an hour at this time of day")
    return _day(case, hour, known)


def _at_hour(case: Case, hour: int, count: int) -> _Usual | None:
    """What is usual at this time of day, an hour before and after as well, on days of work or on
    others. Hours without traffic count. None where `count` is nothing beside it."""
    begins = case.begins
    counts = []
    is_weekend = _is_weekend(hour)
    as_high = 0
    for back in range(2, 30):
        day = []
        for shift in (-HOUR, 0, HOUR):
            one = hour - back * DAY + shift
            if one >= begins and _is_weekend(one) == is_weekend:
                day.append(case.hours.get(one, _NONE).calls)
        as_high += any(one * TIMES_HIGHEST_AT_HOUR >= count for one in day)
        if as_high > 2:
            return None
        counts += [(back, one) for one in day]
    if len(counts) < (12 if is_weekend else 24):
        return None
    found = _Usual.of(counts)
    # Where it is usually silent the time of day is another detector's.
    return found if found.middle >= 5 else None


def _day(case: Case, hour: int, known: "_Known") -> _Hit | None:
    """The day that ends with this hour, against those before it."""
    count = _sum(case, hour)
    if count < 4 * LEAST_CALLS:
        return None
    days = []
    as_high = 0
    for back in range(2, 30):
        if hour - (back + 1) * DAY >= known.begins:
            days.append((back, _sum(case, hour - back * DAY)))
            as_high += days[-1][1] * TIMES_HIGHEST_DAY >= count
            if as_high > 1:
                return None
    used = [one for one in days if one[1]]
    if len(used) < _LEAST_DAYS:
        return None
    usual = _Usual.of(used)
    return _Hit(hour, count, usual, "a day") if usual.exceeds(count, TIMES_HIGHEST_DAY) else None


def _refused(case: Case, hour: int) -> _Hit | None:
    count = case.hours[hour].denied
    known = _known(case, hour) if count >= LEAST_DENIED else None
    if known is None or not known.denied.exceeds(count, TIMES_HIGHEST_DENIED):
        return None
    return _Hit(hour, count, known.denied, "an hour")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is usual of the hours in the weeks before."""

    begins: int
    calls: _Usual
    denied: _Usual


def _known(case: Case, hour: int) -> _Known | None:
    """What to compare with, None where it is too little. It is the same for all hours of a day."""
    if hour - case.begins < LEAST_PAST:
        return None
    return case.profile.once("known", (hour - _APART) // DAY * DAY, lambda one: _before(case, one))


def _before(case: Case, until: int) -> _Known | None:
    hours = list(hours_between(case.hours, until - _WINDOW, until))
    if len(hours) < _LEAST_HOURS or len({one // DAY for one in hours}) < _LEAST_DAYS:
        return None
    return _Known(
        begins=hours[0],
        calls=_Usual.of([(one // DAY, case.hours[one].calls) for one in hours]),
        denied=_Usual.of([(one // DAY, case.hours[one].denied) for one in hours]),
    )


def _sum(case: Case, hour: int) -> int:
    def total(at: int) -> int:
        return sum(case.hours[one].calls for one in range(at, at - DAY, -HOUR) if one in case.hours)

    return case.profile.once("day", hour, total)


_NONE = HourCount()


def _is_weekend(hour: int) -> bool:
    return (hour // DAY + 3) % 7 >= 5  # the epoch began on a Thursday


def _reason(
    case: Case,
    kind: FindingKind,
    hits: list[_Hit],
    worst: _Hit,
    what: str,
    facts: dict[str, object],
) -> Reason:
    past: Past = case.past(hits[0].hour)
    is_extreme = worst.count >= 4 * max(1, worst.usual.highest)
    return Reason(
        kind=kind,
        mark="",
        what=what,
        since=hits[0].hour,
        until=hits[-1].hour + HOUR + TOLD_FOR,
        certainty=past.certainty(is_extreme=is_extreme),
        past=past,
        facts={
            **facts,
            "most_before": worst.usual.highest,
            "median": round(worst.usual.middle, 1),
            "deviation": round(worst.usual.spread, 1),
        },
    )
