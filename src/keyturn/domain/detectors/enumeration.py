"""Enumeration: somebody tries one id after another.

An hour in which many different ids of one kind of path were asked for, more than this key ever did,
and which follow one another, or many of which were refused.
"""

from collections.abc import Iterator

from keyturn.domain.detectors.profile import hours_between
from keyturn.domain.detectors.reason import LEAST_PAST, TOLD_FOR, Case, Reason
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.traffic import HOUR

LEAST_IDS = 25
TIMES_MOST = 1.5
_SHARE = 0.4
_WINDOW = 28 * DAY


def enumeration(case: Case) -> Iterator[Reason]:
    if not case.is_live:
        return
    hits = [hour for hour in case.recent_hours() if _once(case, hour)]
    if not hits:
        return
    worst = max(hits, key=lambda hour: case.hours[hour].ids)
    one, past = case.hours[worst], case.past(hits[0])
    most = max(_scores(case, worst), default=0)
    yield Reason(
        kind=FindingKind.ENUMERATION,
        mark="",
        what=f"{one.ids} different ids were asked for within an hour: {one.in_sequence} of them"
        f" follow one another, {one.ids_denied} were refused.",
        since=hits[0],
        until=hits[-1] + HOUR + TOLD_FOR,
        certainty=past.certainty(is_extreme=_score(one.in_sequence, one.ids_denied) >= 4 * most),
        past=past,
        facts={
            "ids": one.ids,
            "in_sequence": one.in_sequence,
            "denied": one.ids_denied,
            "most_before": most,
        },
    )


def _once(case: Case, hour: int) -> bool:
    return case.profile.once("enumeration", hour, lambda one: _is_tried(case, one))


def _is_tried(case: Case, hour: int) -> bool:
    one = case.hours[hour]
    if one.ids < LEAST_IDS or hour - case.begins < LEAST_PAST:
        return False
    score = _score(one.in_sequence, one.ids_denied)
    # Those past the bound of an hour have no ids of their own.
    if score < _SHARE * min(one.ids, 256):
        return False
    return score > TIMES_MOST * max(_scores(case, hour), default=0)


def _scores(case: Case, hour: int) -> Iterator[int]:
    until = hour - DAY
    for other in hours_between(case.hours, until - _WINDOW, until):
        count = case.hours[other]
        yield _score(count.in_sequence, count.ids_denied)


def _score(in_sequence: int, denied: int) -> int:
    return max(in_sequence, denied)
