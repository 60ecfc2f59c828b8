"""Releases of a key's callers, as they show: a product that is known comes with another version."""

from keyturn.domain.detectors.profile import Aspect, hours_between
from keyturn.domain.detectors.reason import Case
from keyturn.domain.instant import DAY
from keyturn.domain.traffic import hour_of

# What belongs to a release: what comes in a day, or while the caller has hardly been used.
_RELEASE = DAY
_SLOW_RELEASE = 7 * DAY
_SLOW_CALLS = 400


def is_released(case: Case, released: list[int], moment: int) -> bool:
    """Whether one of these releases was shortly before."""
    return any(_is_part_of(case, one, moment) for one in released)


def releases(case: Case) -> list[int]:
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
