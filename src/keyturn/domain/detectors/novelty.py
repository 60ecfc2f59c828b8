"""What a key does for the first time: a place, a country, a runtime, a path, a scope.

Something is new by what was there before it. A key that shows new ones all the time (pods, roaming
callers) is left alone: where more than one in thirty days of use is usual, one more tells nothing.
What comes with a release of a known caller, within a day, belongs to the release.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.domain.detectors.profile import MOST_SEEN, Aspect, Seen, hours_between
from keyturn.domain.detectors.reason import USUAL_AFTER, Case, Certainty, Past, Reason
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.network import parse_network
from keyturn.domain.place import is_same_place
from keyturn.domain.traffic import hour_of

MOST_AT_ONCE = 3
_MOST_NAMED = 20
_LEARNING = 7 * DAY
_RARE_DAYS = 30  # at most one new value in so many days of use, or new ones are usual
# So many days of use show whether a person carries it around.
_ENOUGH_TO_ROAM = 15
# What belongs to a release: what comes in a day, or while the caller has hardly been used.
_RELEASE = DAY
_SLOW_RELEASE = 7 * DAY
_SLOW_CALLS = 400
_MORE = "+"


@dataclass(frozen=True, slots=True)
class _Subject:
    kind: FindingKind
    aspect: Aspect
    noun: str
    has_releases: bool = False
    least_days: int = 8


_SUBJECTS = (
    _Subject(FindingKind.NEW_NETWORK, Aspect.PLACE, "network", least_days=_ENOUGH_TO_ROAM),
    _Subject(FindingKind.NEW_COUNTRY, Aspect.COUNTRY, "country", least_days=_ENOUGH_TO_ROAM),
    _Subject(FindingKind.NEW_RUNTIME, Aspect.RUNTIME, "runtime"),
    _Subject(FindingKind.NEW_PATH, Aspect.PATH, "path", has_releases=True),
    _Subject(FindingKind.NEW_SCOPE, Aspect.SCOPE, "scope", has_releases=True),
)


def new_values(case: Case) -> Iterator[Reason]:
    for subject in _SUBJECTS:
        yield from _of(case, subject)


@dataclass(frozen=True, slots=True)
class _New:
    value: str
    seen: Seen
    past: Past
    usual: int


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
    seen = case.profile.values[subject.aspect]
    fresh = sorted((one.first_at, value) for value, one in seen.items() if one.first_at > since)
    if not fresh or len(seen) >= MOST_SEEN:
        return []
    # What came with a release says nothing of how often something new comes without one.
    firsts = sorted(
        one.first_at
        for one in seen.values()
        if not (subject.has_releases and _is_released(case, one.first_at))
    )
    pasts: dict[int, Past] = {}
    found = []
    for first, value in fresh:
        hour = hour_of(first)
        past = pasts.get(hour)
        if past is None:
            past = pasts[hour] = case.past(hour)
        usual = _new_before(firsts, past, subject.least_days)
        if usual is not None and not _is_known(case, subject, value, seen[value]):
            found.append(_New(value, seen[value], past, usual))
    return found


def _new_before(firsts: list[int], past: Past, least_days: int) -> int | None:
    """How many new values there were before, None where there is too little past, or where new
    ones are usual. Those of the day before may be of the same matter."""
    if not past.is_enough:
        return None
    count = bisect_left(firsts, past.ends - DAY) - bisect_left(firsts, past.begins + _LEARNING)
    is_usual = past.active_days < least_days or count * _RARE_DAYS > past.active_days
    return None if is_usual else count


def _is_known(case: Case, subject: _Subject, value: str, one: Seen) -> bool:
    match subject.aspect:
        case Aspect.RUNTIME:
            return value in case.registered or any(
                name.startswith(f"{value}-") for name in case.registered
            )
        case Aspect.PLACE:
            return _is_renamed(case, value, one)
        case _:
            return subject.has_releases and _is_released(case, one.first_at)


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


def _is_released(case: Case, moment: int) -> bool:
    """Whether a known product came with a new version shortly before."""
    return any(_is_part_of(case, released, moment) for released in _releases(case))


def _releases(case: Case) -> list[int]:
    """When a product that was known for a day came with another version."""
    seen = case.profile.values[Aspect.RELEASE]
    known: dict[str, int] = {}
    for name, one in seen.items():
        product = name.partition("/")[0]
        known[product] = min(known.get(product, one.first_at), one.first_at)
    return [
        one.first_at
        for name, one in seen.items()
        if known[name.partition("/")[0]] < one.first_at - DAY
    ]


def _is_part_of(case: Case, released: int, moment: int) -> bool:
    if not moment - _SLOW_RELEASE <= released <= moment:
        return False
    if released >= moment - _RELEASE:
        return True
    between = hours_between(case.hours, hour_of(released), moment)
    return sum(case.hours[hour].calls for hour in between) < _SLOW_CALLS


def _reason(subject: _Subject, new: _New) -> Reason:
    one = new.seen
    refused = ", and was refused" if one.allowed == 0 else ""
    return Reason(
        kind=subject.kind,
        mark=new.value,
        what=f"The {subject.noun} {new.value} was never seen with this key before{refused}.",
        since=one.first_at,
        until=one.first_at + USUAL_AFTER,
        certainty=new.past.certainty(is_extreme=new.usual == 0),
        past=new.past,
        facts={
            subject.noun: new.value,
            "allowed": one.allowed,
            "denied": one.denied,
            "new_before": new.usual,
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
