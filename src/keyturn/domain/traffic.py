"""Traffic: what was done with a key, hour by hour, by who called, what was called and how.

1. One row per key, hour, facet and value. Each request of a key is in exactly one row of the facet
   `caller`, so those rows add up to all of them; in the others it is only where it said something.
2. An hour of a key has at most `MOST_VALUES` values of a facet. What is more is counted together as
   `REST`: nothing is lost from the sums, and that something was cut is seen.
3. A value is as it was kept with the request, and cut to `LONGEST_VALUE` characters.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from keyturn.domain.instant import SECOND
from keyturn.domain.request import (
    LONGEST_ENVIRONMENT,
    LONGEST_METHOD,
    LONGEST_USER_AGENT,
    Request,
    recordable,
    recordable_path,
)

HOUR = 3_600 * SECOND
MOST_VALUES = 256
# In UTF-8 at most 2,000 bytes: a row's key must fit into an index of PostgreSQL's.
LONGEST_VALUE = 500
REST = "other"


class Facet(StrEnum):
    """What is counted: who called (`Caller.spelled`), method and path, each scope that was asked
    for, the user agent, the environment that it said, the country of the address, and by which sign
    it was a browser."""

    CALLER = "caller"
    PATH = "path"
    SCOPE = "scope"
    AGENT = "agent"
    ENVIRONMENT = "environment"
    COUNTRY = "country"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True, order=True)
class Caller:
    """Who calls: a runtime, whether it said its name itself, and from where: the name of a network
    of the workspace, else the address, None where that is not known."""

    runtime: str
    declared: bool
    network: str | None

    @property
    def spelled(self) -> str:
        return _spelled_caller(self.runtime, self.declared, self.network)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRow:
    """Requests of a key within an hour. `hour` is its beginning; times are microseconds."""

    key_id: UUID
    hour: int
    facet: Facet
    value: str
    allowed: int
    denied: int
    first_at: int
    last_at: int

    @property
    def is_rest(self) -> bool:
        """Whether these are the requests of all values past the bound."""
        return self.value == REST

    @property
    def requests(self) -> int:
        return self.allowed + self.denied

    @property
    def caller(self) -> Caller | None:
        """Who called, None for the rest, and for a row of another facet."""
        return caller_of(self.value) if self.facet is Facet.CALLER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Requests of a key within a stretch of time, by one value of a facet."""

    key_id: UUID
    facet: Facet
    value: str
    allowed: int
    denied: int
    first_at: int
    last_at: int

    @property
    def requests(self) -> int:
        return self.allowed + self.denied

    @property
    def caller(self) -> Caller | None:
        """Who called, None for the rest, and of another facet."""
        return caller_of(self.value) if self.facet is Facet.CALLER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How much a key was used in an hour of the day, 0 to 23 in UTC: altogether, in the busiest of
    these hours, and in how many of them at all. `first` and `last` are the earliest and the latest
    of them."""

    key_id: UUID
    hour_of_day: int
    requests: int
    busiest: int
    hours: int
    first: int
    last: int


def hour_of(at: int) -> int:
    return at - at % HOUR


@lru_cache(maxsize=16_384)
def caller_of(value: str) -> Caller | None:
    """The caller that a value spells, None where it spells none."""
    try:
        runtime, declared, network = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return None
    is_one = isinstance(runtime, str) and isinstance(network, str | None)
    return Caller(runtime, bool(declared), network) if is_one else None


def caller_in(request: Request) -> Caller:
    return Caller(request.runtime.name, request.runtime.declared, request.network)


def facets_of(request: Request) -> Iterator[tuple[Facet, str]]:
    """What a request is counted under."""
    return facets(
        caller_in(request),
        request.scopes,
        method=recordable(request.method, LONGEST_METHOD),
        path=recordable_path(request.path),
        agent=recordable(request.user_agent, LONGEST_USER_AGENT),
        environment=recordable(request.environment, LONGEST_ENVIRONMENT),
        country=request.country,
        browser=request.browser,
    )


def facets(
    caller: Caller,
    scopes: Iterable[str],
    *,
    method: str | None,
    path: str | None,
    agent: str | None,
    environment: str | None,
    country: str | None,
    browser: str | None,
) -> Iterator[tuple[Facet, str]]:
    """What a request of these texts, as they are kept, is counted under."""
    yield Facet.CALLER, caller.spelled
    for scope in set(scopes):
        yield Facet.SCOPE, scope[:LONGEST_VALUE]
    for facet, value in (
        (Facet.PATH, " ".join(part for part in (method, path) if part)),
        (Facet.AGENT, agent),
        (Facet.ENVIRONMENT, environment),
        (Facet.COUNTRY, country),
        (Facet.BROWSER, browser),
    ):
        if value:
            yield facet, value[:LONGEST_VALUE]


@lru_cache(maxsize=16_384)
def _spelled_caller(runtime: str, declared: bool, network: str | None) -> str:
    return json.dumps([runtime, declared, network], separators=(",", ":"))
