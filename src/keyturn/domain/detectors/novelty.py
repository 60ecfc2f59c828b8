"""What a key does for the first time: a place, a country, a runtime, a path, a scope.

Something is new by what was there before it.

1. A key that shows new ones all the time (pods, roaming callers) is left alone: where more than one
   in thirty days of use is usual, one more tells nothing.
2. A path is new by its family, what it is about and whether that is read or written: programs call
   more and more of what they call anyway, and each name that people made up is another path.
3. Paths and scopes need evidence: so many calls without a new one that the next should be none. A
   key whose callers brought one along within eight weeks that stayed, and no release of them
   showed, is left alone. What comes with a release that shows, within a day, belongs to it.
4. But a path or scope that is refused when it comes, far more than this key ever is, is told with
   any family and any release: who does not know what a key may do finds out by trying.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.domain.detectors.amount import poisson_tail
from keyturn.domain.detectors.profile import MOST_SEEN, Aspect, Seen, hours_between
from keyturn.domain.detectors.reason import (
    LEAST_DAYS,
    LOOKBACK,
    USUAL_AFTER,
    Case,
    Certainty,
    Past,
    Reason,
)
from keyturn.domain.detectors.release import is_released, releases
from keyturn.domain.detectors.shape import path_family
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.network import parse_network
from keyturn.domain.place import is_same_place
from keyturn.domain.traffic import HOUR, hour_of

MOST_AT_ONCE = 3
_MOST_NAMED = 20
_LEARNING = 7 * DAY
_RARE_DAYS = 30  # at most one new value in so many days of use, or new ones are usual
# So many days of use show whether a person carries it around.
_ENOUGH_TO_ROAM = 15
# A family with more paths than this has names in them that people made up.
_MOST_OF_PROGRAMS = 12
_STAYED_DAYS = 3
# By the rule of succession, after so many calls without a new one less than one in 200 is.
_ENOUGH_CALLS = 200
# What is left to chance, of all that might have been refused so.
_BY_CHANCE = 1e-3
_MORE = "+"


@dataclass(frozen=True, slots=True)
class _Subject:
    """`judged_by` is the aspect by which one is new. `of_programs` is what programs bring along."""

    kind: FindingKind
    aspect: Aspect
    noun: str
    judged_by: Aspect
    of_programs: bool = False
    least_days: int = 8


def _subject(kind: FindingKind, aspect: Aspect, least_days: int = 8) -> _Subject:
    return _Subject(kind, aspect, aspect.value, aspect, least_days=least_days)


_SUBJECTS = (
    _Subject(
        FindingKind.NEW_NETWORK,
        Aspect.PLACE,
        "network",
        Aspect.PLACE,
        least_days=_ENOUGH_TO_ROAM,
    ),
    _subject(FindingKind.NEW_COUNTRY, Aspect.COUNTRY, _ENOUGH_TO_ROAM),
    _subject(FindingKind.NEW_RUNTIME, Aspect.RUNTIME),
    _Subject(FindingKind.NEW_PATH, Aspect.PATH, "path", Aspect.FAMILY, of_programs=True),
    _Subject(FindingKind.NEW_SCOPE, Aspect.SCOPE, "scope", Aspect.SCOPE, of_programs=True),
)


def new_values(case: Case) -> Iterator[Reason]:
    for subject in _SUBJECTS:
        yield from _of(case, subject)


@dataclass(frozen=True, slots=True)
class _New:
    value: str
    seen: Seen
    past: Past
    before: int
    is_refused: bool = False


def _of(case: Case, subject: _Subject) -> Iterator[Reason]:
    edge = case.now - USUAL_AFTER
    found = _found(case, subject, edge - USUAL_AFTER)
    told = [one.seen.first_at for one in found]
    more = []
    for index, one in enumerate(found):
        first = one.seen.first_at
        if first <= edge:
            continue
        # By what was new when it came, so that it keeps its place when those before it have gone.
        if index - bisect_left(told, first - USUAL_AFTER) < MOST_AT_ONCE:
            yield _reason(subject, one)
        else:
            more.append(one)
    if more:
        yield _rest(subject, more)


def _found(case: Case, subject: _Subject, since: int) -> list[_New]:
    """What was new from `since` on, in the order in which it came."""
    fresh = _fresh(case, subject, since)
    if not fresh:
        return []
    firsts = _growth(case, subject)
    pasts: dict[int, Past] = {}
    found = []
    for value, one in fresh:
        hour = hour_of(one.first_at)
        past = pasts.get(hour)
        if past is None:
            past = pasts[hour] = case.past(hour)
        if not past.is_enough:
            continue
        before = _new_before(case, subject, firsts, past)
        if _is_refused(case, subject, value, one, past):
            found.append(_New(value, one, past, before or 0, is_refused=True))
        elif before is not None and _is_of_new_kind(case, subject, value, one):
            found.append(_New(value, one, past, before))
    return found


def _fresh(case: Case, subject: _Subject, since: int) -> list[tuple[str, Seen]]:
    """What came from `since` on and may be told, in the order in which it came."""
    seen = case.profile.values[subject.aspect]
    if len(seen) >= MOST_SEEN:
        return []
    fresh = [
        (value, one)
        for value, one in seen.items()
        if one.first_at > since and (one.denied_at_first or _leads(case, subject, value, one))
    ]
    return sorted(fresh, key=lambda each: (each[1].first_at, each[0]))


def _growth(case: Case, subject: _Subject) -> list[int]:
    """When new ones came, in order. Of paths and scopes, those that stayed: what was tried once is
    no growth, what came with a release says nothing of how often something new comes without one,
    and what came together is one."""
    seen = case.profile.values[subject.aspect]
    if not subject.of_programs:
        return sorted(one.first_at for one in seen.values())
    families: dict[str, list[Seen]] = {}
    for value, one in seen.items():
        family = path_family(value) if subject.judged_by is Aspect.FAMILY else value
        families.setdefault(family, []).append(one)
    moments = sorted(
        one.first_at
        for family in families.values()
        for one in (family if len(family) <= _MOST_OF_PROGRAMS else family[:1])
        if one.days >= _STAYED_DAYS
    )
    apart = [at for index, at in enumerate(moments) if not index or at > moments[index - 1] + DAY]
    released = releases(case)
    return [at for at in apart if not is_released(case, released, at)]


def _leads(case: Case, subject: _Subject, value: str, one: Seen) -> bool:
    """Whether it came within a day of the first of its family, and not to what was there."""
    if subject.judged_by is not Aspect.FAMILY:
        return True
    family = case.profile.values[Aspect.FAMILY].get(path_family(value))
    return family is None or one.first_at <= family.first_at + DAY


def _new_before(case: Case, subject: _Subject, firsts: list[int], past: Past) -> int | None:
    """How many new ones there were before, None where there is too little past, or where new ones
    are usual. Those of the day before may be of the same matter."""
    learned, ends = past.begins + _LEARNING, past.ends - DAY
    if subject.of_programs:
        learned = max(learned, _known_at(case, past))
    begin, end = bisect_left(firsts, learned), bisect_left(firsts, ends)
    count, rare = max(0, end - begin), LOOKBACK // DAY if subject.of_programs else _RARE_DAYS
    if past.active_days < subject.least_days or count * rare > past.active_days:
        return None
    if subject.of_programs and past.calls < 10 * _ENOUGH_CALLS:
        last = firsts[end - 1] if end else past.begins
        quiet = hours_between(case.hours, max(past.begins, last + HOUR), past.ends)
        if sum(case.hours[hour].calls for hour in quiet) < _ENOUGH_CALLS:
            return None
    return count


def _known_at(case: Case, past: Past) -> int:
    """When it had been used on enough days for what it does to be known."""
    days: set[int] = set()
    for hour in hours_between(case.hours, past.begins, past.ends):
        days.add(hour // DAY)
        if len(days) > LEAST_DAYS:
            return hour
    return past.ends


def _is_refused(case: Case, subject: _Subject, value: str, one: Seen, past: Past) -> bool:
    """Whether it was refused in its first hour, far more than this key was before. There are as
    many chances of that as it has values beside this one."""
    if not subject.of_programs or not one.denied_at_first or case.is_steered:
        return False
    calls = one.allowed_at_first + one.denied_at_first
    chance = poisson_tail(one.denied_at_first, calls * (past.denied + 1) / (past.calls + 2))
    if chance > _BY_CHANCE:
        return False
    others = (
        other
        for other, was in case.profile.values[subject.aspect].items()
        if was.first_at < one.first_at
    )
    if subject.judged_by is Aspect.FAMILY:
        family = path_family(value)
        others = (other for other in others if path_family(other) == family)
    return chance * (1 + sum(1 for _ in others)) <= _BY_CHANCE


def _is_of_new_kind(case: Case, subject: _Subject, value: str, one: Seen) -> bool:
    return _leads(case, subject, value, one) and not _is_known(case, subject, value, one)


def _is_known(case: Case, subject: _Subject, value: str, one: Seen) -> bool:
    match subject.aspect:
        case Aspect.RUNTIME:
            return value in case.registered or any(
                name.startswith(f"{value}-") for name in case.registered
            )
        case Aspect.PLACE:
            return _is_renamed(case, value, one)
        case _:
            return subject.of_programs and is_released(case, releases(case), one.first_at)


def _is_renamed(case: Case, value: str, one: Seen) -> bool:
    """Whether a place is one that was there before a network got its name, or lost it."""
    names = {network.name: network.cidrs for network in case.networks}
    for other, was in case.profile.values[Aspect.PLACE].items():
        is_name = value in names or other in names
        if other == value or was.first_at >= one.first_at or not is_name:
            continue
        if parse_network(other) is None and other not in names:
            continue
        if is_same_place(value, other, names):
            return True
    return False


def _reason(subject: _Subject, new: _New) -> Reason:
    one = new.seen
    refused = ", and was often refused" if new.is_refused else ""
    refused = ", and was refused" if one.allowed == 0 else refused
    return Reason(
        kind=subject.kind,
        mark=new.value,
        what=f"The {subject.noun} {new.value} was never seen with this key before{refused}.",
        since=one.first_at,
        until=one.first_at + USUAL_AFTER,
        certainty=new.past.certainty(is_extreme=new.is_refused or new.before == 0),
        past=new.past,
        facts={
            subject.noun: new.value,
            "allowed": one.allowed,
            "denied": one.denied,
            "new_before": new.before,
        },
    )


def _rest(subject: _Subject, more: list[_New]) -> Reason:
    return Reason(
        kind=subject.kind,
        mark=_MORE,
        what=f"Of the kind {subject.noun}, {len(more)} more were never seen with this key before.",
        since=more[0].seen.first_at,
        until=more[-1].seen.first_at + USUAL_AFTER,
        certainty=Certainty.LOW,
        past=more[0].past,
        facts={"values": [one.value for one in more[:_MOST_NAMED]], "count": len(more)},
    )
