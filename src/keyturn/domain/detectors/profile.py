"""The profile of a key: what is known of its life, hour by hour and value by value.

It is made from the hourly counts of traffic. Hours that are over are folded in once (`extend`); the
one that is going on is laid over them for a look (`with_recent`), since its counts still rise.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar, cast

from keyturn.domain.detectors.shape import (
    environment_shape,
    path_family,
    path_shape,
    place_shape,
    product_of,
    runtime_shape,
)
from keyturn.domain.instant import DAY
from keyturn.domain.runtime import OTHER
from keyturn.domain.traffic import HOUR, REST, Facet, TrafficRow, hour_of

INFERRED = "ua:"
# Of one aspect. A key with more different values than this has no usual ones.
MOST_SEEN = 4_096


class Aspect(StrEnum):
    """What a key's use is looked at by."""

    PLACE = "place"
    RUNTIME = "runtime"
    PRODUCT = "product"  # of those who did not say their name
    RELEASE = "release"  # a product with its version
    PATH = "path"
    FAMILY = "family"  # of paths
    SCOPE = "scope"
    COUNTRY = "country"
    ENVIRONMENT = "environment"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class Seen:
    """A value: when it was first and last seen, on how many days, and how often; and how often of
    that in its first hour."""

    first_at: int
    last_at: int
    days: int
    allowed: int
    denied: int
    allowed_at_first: int
    denied_at_first: int

    @classmethod
    def of(cls, row: TrafficRow) -> "Seen":
        return cls(row.first_at, row.last_at, 1, row.allowed, row.denied, row.allowed, row.denied)

    @property
    def calls(self) -> int:
        return self.allowed + self.denied

    def joined(self, row: TrafficRow) -> "Seen":
        is_new_day = row.hour // DAY > self.last_at // DAY
        is_first = row.hour == hour_of(self.first_at)
        return Seen(
            min(self.first_at, row.first_at),
            max(self.last_at, row.last_at),
            self.days + is_new_day,
            self.allowed + row.allowed,
            self.denied + row.denied,
            self.allowed_at_first + (row.allowed if is_first else 0),
            self.denied_at_first + (row.denied if is_first else 0),
        )


@dataclass(frozen=True, slots=True)
class HourCount:
    """What an hour had: requests, how many ids of one kind of path at most were asked for, how many
    of these follow one another, and how many of them were refused."""

    allowed: int = 0
    denied: int = 0
    ids: int = 0
    in_sequence: int = 0
    ids_denied: int = 0

    @property
    def calls(self) -> int:
        return self.allowed + self.denied


Values = dict[str, Seen]
T = TypeVar("T")


def _nothing() -> dict[Aspect, Values]:
    return {aspect: {} for aspect in Aspect}


@dataclass(slots=True)
class Profile:
    """A key's life from `since` on; `until` is the end of what is folded in."""

    since: int = 0
    until: int = 0
    hours: dict[int, HourCount] = field(default_factory=dict)
    values: dict[Aspect, Values] = field(default_factory=_nothing)
    _judged: dict[tuple[str, int], object] = field(default_factory=dict)

    @property
    def begins(self) -> int | None:
        """The first hour with any traffic: they are kept in their order."""
        return next(iter(self.hours), None)

    def once(self, detector: str, hour: int, judge: Callable[[int], T]) -> T:
        """What a detector says of an hour; of one that is over it is worked out once."""
        if hour >= self.until:
            return judge(hour)
        name = (detector, hour)
        if name not in self._judged:
            self._judged[name] = judge(hour)
        return cast(T, self._judged[name])

    def extend(self, rows: Iterable[TrafficRow], until: int) -> None:
        """Folds in the hours from `self.until` up to `until`. Rows are in the order of hours."""
        for hour, of_hour in _by_hour(rows):
            if self.until <= hour < until:
                self._add(hour, of_hour)
        self.until = max(until, self.until)

    def with_recent(self, rows: Iterable[TrafficRow]) -> "Profile":
        """This profile and, over it, the hours from `until` on. It stays as it is."""
        over = Profile(
            self.since,
            self.until,
            dict(self.hours),
            {aspect: dict(seen) for aspect, seen in self.values.items()},
            self._judged,
        )
        for hour, of_hour in _by_hour(rows):
            if hour >= self.until:
                over._add(hour, of_hour)
        return over

    def forget(self, before: int) -> None:
        """Drops the hours before this one; values stay."""
        for hour in [one for one in self.hours if one < before]:
            del self.hours[hour]
        self._judged = {name: one for name, one in self._judged.items() if name[1] >= before}

    def _add(self, hour: int, rows: list[TrafficRow]) -> None:
        self.hours[hour] = _count(rows)
        for row in rows:
            for aspect, value in _aspects(row):
                known = self.values[aspect]
                seen = known.get(value)
                if seen is not None:
                    known[value] = seen.joined(row)
                elif len(known) < MOST_SEEN:
                    known[value] = Seen.of(row)


def _by_hour(rows: Iterable[TrafficRow]) -> Iterator[tuple[int, list[TrafficRow]]]:
    found: list[TrafficRow] = []
    for row in rows:
        if found and row.hour != found[0].hour:
            yield found[0].hour, found
            found = []
        found.append(row)
    if found:
        yield found[0].hour, found


def _aspects(row: TrafficRow) -> Iterator[tuple[Aspect, str]]:
    if row.is_rest:
        return
    match row.facet:
        case Facet.CALLER:
            yield from _of_caller(row)
        case Facet.PATH:
            shape = path_shape(row.value)[0]
            yield Aspect.PATH, shape
            yield Aspect.FAMILY, path_family(shape)
        case Facet.AGENT:
            product, version = product_of(row.value)
            if version:
                yield Aspect.RELEASE, f"{product}/{version}"
        case Facet.SCOPE:
            yield Aspect.SCOPE, row.value
        case Facet.COUNTRY:
            yield Aspect.COUNTRY, row.value
        case Facet.ENVIRONMENT:
            yield Aspect.ENVIRONMENT, environment_shape(row.value)
        case Facet.BROWSER:
            yield Aspect.BROWSER, row.value


def _of_caller(row: TrafficRow) -> Iterator[tuple[Aspect, str]]:
    caller = row.caller
    if caller is None:
        return
    place = place_shape(caller.network)
    if place is not None:
        yield Aspect.PLACE, place
    if caller.declared:
        yield Aspect.RUNTIME, runtime_shape(caller.runtime)
    elif caller.runtime != OTHER:
        # Where it calls from is another aspect.
        product = caller.runtime.partition("@")[0]
        yield Aspect.RUNTIME, product
        yield Aspect.PRODUCT, product


def _count(rows: list[TrafficRow]) -> HourCount:
    allowed = denied = 0
    ids: dict[str, list[TrafficRow]] = {}
    rest = rest_denied = 0
    for row in rows:
        if row.facet is Facet.CALLER:
            allowed += row.allowed
            denied += row.denied
        elif row.facet is Facet.PATH and row.value == REST:
            rest, rest_denied = row.requests, row.denied
        elif row.facet is Facet.PATH:
            shape, id_ = path_shape(row.value)
            if id_ is not None:
                ids.setdefault(shape, []).append(row)
    most = max(ids.values(), key=len, default=[])
    refused = sum(1 for row in most if row.denied) + (rest_denied if most else 0)
    return HourCount(
        allowed, denied, len(most) + (rest if most else 0), _in_sequence(most), refused
    )


def _in_sequence(rows: list[TrafficRow]) -> int:
    """How many ids follow another one."""
    spelled = (path_shape(row.value)[1] or "" for row in rows)
    numbers = {int(one) for one in spelled if one.isdigit() and len(one) <= 18}
    return sum(1 for one in numbers if one - 1 in numbers)


def hours_between(hours: Mapping[int, HourCount], since: int, until: int) -> Iterator[int]:
    """The hours with any traffic from `since` on and before `until`, whichever way is shorter."""
    if (until - since) // HOUR < len(hours):
        first = -(-since // HOUR) * HOUR
        yield from (hour for hour in range(first, until, HOUR) if hour in hours)
    else:
        yield from sorted(hour for hour in hours if since <= hour < until)
