"""Synthetic lives of keys: months of hourly counts, as the request log would have them.

Each life is made from a generator that is given, hour by hour. What happens to it that somebody
should be told of is planted by `planting.py`, with its label.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from uuid import UUID

from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.key import Key
from keyturn.domain.traffic import HOUR, MOST_VALUES, REST, Facet, TrafficRow
from tests.domain.samples import SAMPLE_KEY

BEGIN = 1_790_553_600_000_000 // DAY * DAY  # a day in autumn
PAST_DAYS = 42
MONTH_DAYS = 30
END = BEGIN + (PAST_DAYS + MONTH_DAYS) * DAY
MONTH = BEGIN + PAST_DAYS * DAY
_MOST_IDS = 15


@dataclass(slots=True)
class Hour:
    """The counts of an hour while they are gathered."""

    start: int
    cells: dict[tuple[Facet, str], list[int]] = field(default_factory=dict)

    def add(
        self, facet: Facet, value: str, allowed: int, denied: int, first: int, last: int
    ) -> None:
        if allowed + denied <= 0:
            return
        cell = self.cells.setdefault((facet, value), [0, 0, first, last])
        cell[0] += allowed
        cell[1] += denied
        cell[2] = min(cell[2], first)
        cell[3] = max(cell[3], last)

    def rows(self, key_id: UUID) -> list[TrafficRow]:
        """As they are kept, with the bound on the values of a facet."""
        counts: dict[Facet, int] = defaultdict(int)
        kept: dict[tuple[Facet, str], list[int]] = {}
        for (facet, value), cell in self.cells.items():
            counts[facet] += 1
            name = (facet, value if counts[facet] <= MOST_VALUES else REST)
            known = kept.get(name)
            if known is None:
                kept[name] = list(cell)
            else:
                known[0] += cell[0]
                known[1] += cell[1]
                known[2] = min(known[2], cell[2])
                known[3] = max(known[3], cell[3])
        return [
            TrafficRow(
                key_id=key_id,
                hour=self.start,
                facet=facet,
                value=value,
                allowed=cell[0],
                denied=cell[1],
                first_at=cell[2],
                last_at=cell[3],
            )
            for (facet, value), cell in kept.items()
        ]


@dataclass(frozen=True, slots=True)
class Who:
    """A caller: as which runtime, from where, with which user agent."""

    runtime: str
    declared: bool
    network: str
    agent: str | None = None
    country: str | None = None
    environment: str | None = None
    browser: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What is called: a path, where `{}` is an id and `{word}` a name that people made up, its
    share of the calls, and its scope."""

    path: str
    share: float
    scope: str | None = None


@dataclass(slots=True)
class Life:
    """A key with all that was done with it. `has_hours` is one that sleeps at some times."""

    kind: str
    key: Key
    hours: dict[int, Hour] = field(default_factory=dict)
    has_hours: bool = False
    is_roaming: bool = False
    usual: tuple[Who, ...] = ()
    routes: tuple[Route, ...] = ()

    def at(self, hour: int) -> Hour:
        return self.hours.setdefault(hour, Hour(hour))

    def rows(self) -> list[TrafficRow]:
        return [
            row
            for hour in sorted(self.hours)
            for row in self.hours[hour].rows(self.key.id)
            if hour < END
        ]


def poisson(random: Random, rate: float) -> int:
    if rate > 50:
        return max(0, round(random.gauss(rate, math.sqrt(rate))))
    limit, product, count = math.exp(-rate), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


def call(
    life: Life,
    random: Random,
    hour: int,
    who: Who,
    routes: tuple[Route, ...],
    count: int,
    *,
    refused: float = 0.0,
    begin: int = 0,
) -> None:
    """So many calls by one caller in an hour, from `begin` seconds on."""
    if count <= 0:
        return
    into = life.at(hour)
    times = sorted(random.uniform(begin, 3_599) for _ in range(2))
    first, last = (hour + int(one * SECOND) for one in times)
    left = count
    total = sum(route.share for route in routes)
    for index, route in enumerate(routes):
        share = left if index == len(routes) - 1 else poisson(random, count * route.share / total)
        mine = min(left, share)
        left -= mine
        _call_route(into, random, route, mine, refused, first, last)
    denied = min(count, poisson(random, count * refused)) if refused < 1 else count
    caller = json.dumps([who.runtime, who.declared, who.network], separators=(",", ":"))
    for facet, value in (
        (Facet.CALLER, caller),
        (Facet.AGENT, who.agent),
        (Facet.COUNTRY, who.country),
        (Facet.ENVIRONMENT, who.environment),
        (Facet.BROWSER, who.browser),
    ):
        if value is not None:
            into.add(facet, value, count - denied, denied, first, last)


def _call_route(
    into: Hour, random: Random, route: Route, count: int, refused: float, first: int, last: int
) -> None:
    if count <= 0:
        return
    denied = min(count, poisson(random, count * refused)) if refused < 1 else count
    if route.scope is not None:
        into.add(Facet.SCOPE, route.scope, count - denied, denied, first, last)
    if "{" not in route.path:
        into.add(Facet.PATH, route.path, count - denied, denied, first, last)
        return
    different = min(count, _MOST_IDS)
    each, more = divmod(count, different)
    for index in range(different):
        path = route.path.replace("{}", str(random.randrange(100_000, 9_000_000)))
        if "{word}" in path:
            path = path.replace("{word}", _word(random))
        mine = each + (index < more)
        mine_denied = min(denied, mine)
        denied -= mine_denied
        into.add(Facet.PATH, path, mine - mine_denied, mine_denied, first, last)


def _word(random: Random) -> str:
    """A word of many, of which a few come most of the time."""
    rank = min(20_000, int(random.paretovariate(0.7)))
    return "-".join(_WORDS[rank // len(_WORDS) ** digit % len(_WORDS)] for digit in range(3))


# --- the kinds of lives ---------------------------------------------------------------------------

_NOUNS = ("pins", "boards", "users", "orders", "jobs", "files", "reports", "feeds", "events")
_FRESH = ("exports", "labels", "webhooks", "teams", "searches")
_WORDS = (
    *("red", "old", "big", "new", "hot", "raw", "low", "far", "fit", "odd"),
    *("sun", "map", "ice", "sky", "box", "fly", "oak", "tea", "jar"),
)
_WORDED = 0.12
_COUNTRIES = ("DE", "FR", "US", "NL", "PL", "JP")


def public_network(random: Random) -> str:
    return f"{random.choice((3, 18, 34, 52, 91, 104, 185, 203))}.{random.randrange(256)}"


def _address(random: Random, block: str) -> str:
    return f"{block}.{random.randrange(256)}.{random.randrange(1, 255)}"


def _routes(random: Random) -> tuple[Route, ...]:
    nouns = random.sample(_NOUNS, random.randint(2, 4))
    routes = [Route(f"GET /{nouns[0]}/{{}}", random.uniform(2, 6), f"{nouns[0]}:read")]
    routes += [Route(f"GET /{noun}", random.uniform(0.5, 3), f"{noun}:read") for noun in nouns]
    if random.random() < 0.5:
        routes.append(Route(f"POST /{nouns[0]}", random.uniform(0.3, 1), f"{nouns[0]}:write"))
    if random.random() < _WORDED:
        routes.insert(0, Route("GET /tags/{word}", random.uniform(0.5, 2), f"{nouns[0]}:read"))
        routes[0], routes[1] = routes[1], routes[0]
    return tuple(routes)


def _weekday(at: int) -> int:
    return (at // DAY + 3) % 7


@dataclass(frozen=True, slots=True)
class _Releases:
    """When a key's caller gets a new version, and with which a new path comes."""

    at: tuple[int, ...]
    routes: tuple[tuple[int, Route], ...]
    is_versioned: bool

    @classmethod
    def drawn(cls, random: Random, routes: tuple[Route, ...]) -> "_Releases":
        step = random.uniform(6, 20)
        days = [step * random.uniform(0.5, 1)]
        while days[-1] < PAST_DAYS + MONTH_DAYS:
            days.append(days[-1] + step * random.uniform(0.6, 1.4))
        at = tuple(BEGIN + int(day) * DAY + random.randrange(9, 16) * HOUR for day in days)
        fresh = tuple(
            (one + random.randrange(3) * HOUR, _fresh(random, routes[0], index))
            for index, one in enumerate(at)
            if random.random() < 0.4
        )
        return cls(at, fresh, random.random() >= 0.05)

    def agent(self, product: str, hour: int) -> str:
        return f"{product}/1.{sum(1 for one in self.at if one <= hour)}.0"

    def routes_at(self, base: tuple[Route, ...], hour: int) -> tuple[Route, ...]:
        return base + tuple(route for since, route in self.routes if since <= hour)


def _fresh(random: Random, route: Route, index: int) -> Route:
    """What a release calls for the first time: most of the time of what it calls anyway."""
    noun = route.path.split("/")[1]
    if random.random() < 0.25:
        return Route(f"GET /{random.choice(_FRESH)}", 0.5, route.scope)
    return Route(f"GET /{noun}/v{index}-{random.choice(_NOUNS)}", 0.5, route.scope)


def make_life(random: Random, number: int) -> Life:
    """A life of some kind."""
    kind = random.choices(
        ("steady", "batch", "pods", "gateway", "admin", "monthly", "dormant", "young"),
        (34, 16, 12, 8, 10, 4, 8, 8),
    )[0]
    days = {"monthly": 200, "dormant": 200}.get(kind, PAST_DAYS + random.randint(0, 30))
    created = BEGIN - (days - PAST_DAYS) * DAY
    if kind == "young":
        created = MONTH + random.randint(0, 20) * DAY
    key = replace(SAMPLE_KEY, id=UUID(int=number + 1), created_at=created)
    life = Life(kind, key)
    {
        "steady": _live_steadily,
        "young": _live_steadily,
        "batch": _live_by_night,
        "pods": _live_in_pods,
        "gateway": _live_at_gateway,
        "admin": _live_by_hand,
        "monthly": _live_monthly,
        "dormant": _live_and_sleep,
    }[kind](life, random)
    return life


def _hours_of(life: Life, until: int = END) -> Iterator[int]:
    return iter(range(max(BEGIN, life.key.created_at // HOUR * HOUR), until, HOUR))


def _draw_usual(life: Life, random: Random, count: int = 1) -> None:
    """Who uses it, and what they call."""
    life.routes = _routes(random)
    country = random.choice(_COUNTRIES)
    environment = random.choice(("prod", "production", None))
    private = random.random() < 0.5
    name = random.choice(("worker", "sync", "importer", "mailer", "indexer"))
    declared = random.random() < 0.6
    product = random.choice(("python-requests", "okhttp", "Go-http-client", f"acme-{name}"))
    found = []
    for index in range(count):
        network = "10.2.0.7" if private else _address(random, public_network(random))
        found.append(
            Who(
                f"{name}-{index}" if declared else f"ua:{product}",
                declared,
                network,
                product,
                None if private else country,
                environment,
            )
        )
    life.usual = tuple(found)


def _live_steadily(life: Life, random: Random) -> None:
    _draw_usual(life, random, random.randint(1, 2))
    releases = _Releases.drawn(random, life.routes)
    peak = 10 ** random.uniform(1.0, 2.6)
    night = random.choice((0.0, 0.0, 0.15, 0.4))
    weekend = random.choice((0.0, 0.3, 0.6, 1.0))
    growth = random.uniform(-0.003, 0.008)
    quiet = BEGIN + random.randint(20, 80) * DAY
    promotion = BEGIN + random.randint(5, 85) * DAY
    noise = random.choice((0.0, 0.002, 0.01))
    opens = random.randint(5, 8)
    life.has_hours = night == 0.0
    for hour in _hours_of(life):
        at = hour // HOUR % 24
        shape = max(night, math.sin(math.pi * (at - opens) / 12) if opens < at < opens + 12 else 0)
        rate = peak * shape * (1 + growth * (hour - BEGIN) / DAY)
        rate *= weekend if _weekday(hour) >= 5 else 1.0
        rate *= 0.15 if quiet <= hour < quiet + 6 * DAY else 1.0
        rate *= 1.35 if promotion <= hour < promotion + DAY else 1.0
        rate *= random.lognormvariate(0, 0.2)
        routes = releases.routes_at(life.routes, hour)
        for who in life.usual:
            agent = who.agent or ""
            spelled = releases.agent(agent, hour) if releases.is_versioned else f"{agent}/2.1"
            count = poisson(random, rate / len(life.usual))
            call(life, random, hour, replace(who, agent=spelled), routes, count, refused=noise)
        if noise and rate > 0 and random.random() < 0.02:
            call(
                life, random, hour, life.usual[0], life.routes[:1], random.randint(1, 6), refused=1
            )


def _live_by_night(life: Life, random: Random) -> None:
    _draw_usual(life, random)
    life.has_hours = True
    at = random.randrange(24)
    size = 10 ** random.uniform(1.2, 3.0)
    works_weekends = random.random() < 0.6
    for day in range(max(BEGIN, life.key.created_at // DAY * DAY), END, DAY):
        if (_weekday(day) >= 5 and not works_weekends) or random.random() < 0.03:
            continue
        late = random.choice((0, 0, 0, 0, 0, 1))
        count = poisson(random, size * random.lognormvariate(0, 0.15))
        call(life, random, day + (at + late) * HOUR, life.usual[0], life.routes, count)
        if count > 400:
            more = count // 3
            call(life, random, day + (at + late + 1) * HOUR, life.usual[0], life.routes, more)


def _live_in_pods(life: Life, random: Random) -> None:
    _draw_usual(life, random)
    releases = _Releases.drawn(random, life.routes)
    peak = 10 ** random.uniform(2.0, 2.8)
    who = life.usual[0]
    life.usual = (_pod(random, who),)
    pods: list[Who] = []
    for hour in _hours_of(life):
        at = hour // HOUR % 24
        rate = peak * (0.3 + 0.7 * max(0.0, math.sin(math.pi * (at - 5) / 14)))
        rate *= 0.6 if _weekday(hour) >= 5 else 1.0
        wanted = 1 + int(rate / 60)
        if len(pods) != wanted or hour in releases.at:
            pods = [_pod(random, who) for _ in range(wanted)]
        routes = releases.routes_at(life.routes, hour)
        agent = releases.agent(who.agent or "", hour)
        for pod in pods:
            count = poisson(random, rate / len(pods))
            call(life, random, hour, replace(pod, agent=agent), routes, count, refused=0.001)


def _pod(random: Random, who: Who) -> Who:
    letters = "bcdfghjklmnpqrstvwxz2456789"
    group = "".join(random.choice("0123456789abcdef") for _ in range(9))
    name = "".join(random.choice(letters) for _ in range(5))
    network = f"10.{random.randrange(4)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    runtime = f"worker-{group}-{name}" if who.declared else who.runtime
    return replace(who, runtime=runtime, network=network, country=None)


def _live_at_gateway(life: Life, random: Random) -> None:
    """All day, from the changing addresses of a provider."""
    _draw_usual(life, random)
    blocks = [public_network(random) for _ in range(random.randint(2, 4))]
    life.usual = (replace(life.usual[0], network=_address(random, blocks[0])),)
    rate = 10 ** random.uniform(1.5, 2.5)
    for hour in _hours_of(life):
        at = hour // HOUR % 24
        now = rate * (1 + 0.4 * math.sin(math.pi * (at - 6) / 12)) * random.lognormvariate(0, 0.2)
        for block in random.sample(blocks, min(2, len(blocks))):
            who = replace(life.usual[0], network=_address(random, block))
            call(life, random, hour, who, life.routes, poisson(random, now / 2), refused=0.002)


def _live_by_hand(life: Life, random: Random) -> None:
    """A person with a command line, at home, at work and on the way."""
    _draw_usual(life, random)
    life.is_roaming = True
    homes = [public_network(random) for _ in range(2)]
    base = Who("ua:curl", False, "", "curl/8.5.0", life.usual[0].country)
    life.usual = (replace(base, network=_address(random, homes[0])),)
    for day in range(max(BEGIN, life.key.created_at // DAY * DAY), END, DAY):
        if _weekday(day) < 5 and random.random() < 0.35:
            away = random.random() < 0.15
            block = public_network(random) if away else random.choice(homes)
            who = replace(base, network=_address(random, block))
            hour = day + random.randrange(7, 21) * HOUR
            call(life, random, hour, who, life.routes, random.randint(2, 25), refused=0.03)


def _live_monthly(life: Life, random: Random) -> None:
    _draw_usual(life, random)
    first = life.key.created_at // DAY * DAY + random.randint(1, 20) * DAY + 4 * HOUR
    for hour in range(first, END, 30 * DAY):
        late = random.choice((-DAY, 0, 0, DAY))
        call(life, random, hour + late, life.usual[0], life.routes, random.randint(50, 200))


def _live_and_sleep(life: Life, random: Random) -> None:
    """Used for some weeks, and forgotten."""
    _draw_usual(life, random)
    start = life.key.created_at // HOUR * HOUR
    for hour in range(start, start + random.randint(20, 60) * DAY, HOUR):
        if 8 <= hour // HOUR % 24 < 18 and random.random() < 0.5:
            call(life, random, hour, life.usual[0], life.routes, poisson(random, 15))
