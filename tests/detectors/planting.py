"""What is planted into a life, with its label: what a detector should tell, and from when to when.

Thefts and what a person should know all the same: a move to another region is a new network too.
What happens every day (releases, pods, roaming, growth, holidays, late jobs) has no label: whoever
tells of that is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from keyturn.domain.finding import FindingKind as Kind
from keyturn.domain.instant import DAY
from keyturn.domain.key import KeyState, RevocationReason
from keyturn.domain.traffic import HOUR, Facet
from tests.detectors.lives import (
    MONTH,
    Hour,
    Life,
    Route,
    Who,
    call,
    poisson,
    public_network,
)

FAR = ("KP", "BR", "VN", "NG")


@dataclass(frozen=True, slots=True)
class Label:
    """What should be told, of what was done from `since` to `until`."""

    kinds: frozenset[Kind]
    since: int
    until: int


Planter = Callable[[Life, Random, int], Label | None]


def _label(since: int, until: int, *kinds: Kind) -> Label:
    return Label(frozenset(kinds), since, until)


def _elsewhere(random: Random) -> str:
    block = random.choice((5, 45, 77, 123, 193, 212))
    return f"{block}.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}"


def _working_hour(life: Life, random: Random, since: int) -> int:
    """An hour near `since` at which this key is at work."""
    for hour in range(since, since + 7 * DAY, HOUR):
        if hour in life.hours and life.hours[hour].cells and random.random() < 0.5:
            return hour
    return since


def _usual(life: Life, at: int) -> Who:
    """Who uses it anyway, with the version that it has at that time."""
    agents = (
        value
        for hour in sorted((one for one in life.hours if one <= at), reverse=True)
        for (facet, value) in life.hours[hour].cells
        if facet is Facet.AGENT and value.startswith(f"{life.usual[0].agent}/")
    )
    return replace(life.usual[0], agent=next(agents, life.usual[0].agent))


def another_network(life: Life, random: Random, since: int) -> Label | None:
    """A thief with the name and the user agent of the owner, or a move to another region."""
    if life.is_roaming:
        return None
    hour = _working_hour(life, random, since)
    had_country = life.usual[0].country is not None and life.kind != "pods"
    country = random.choice(FAR) if had_country and random.random() < 0.7 else None
    who = replace(_usual(life, hour), network=_elsewhere(random), country=country)
    days = random.choice((1, 1, 3, 10))
    for day in range(days):
        call(life, random, hour + day * DAY, who, life.routes, random.randint(1, 30))
    kinds = [Kind.NEW_NETWORK] + ([Kind.NEW_COUNTRY] if country else [])
    return _label(hour, hour + days * DAY, *kinds)


def another_tool(life: Life, random: Random, since: int) -> Label | None:
    """A thief with a tool of his own, or a workload that nobody has told of."""
    hour = _working_hour(life, random, since)
    tool = random.choice(("aiohttp/3.9", "Wget/1.21", "PostmanRuntime/7.36", "axios/1.6"))
    name = "ua:" + tool.partition("/")[0]
    if random.random() < 0.4:
        who = Who("exfil", True, _elsewhere(random), tool)
    else:
        who = Who(name, False, life.usual[0].network, tool)
    call(life, random, hour, who, life.routes, random.randint(1, 40))
    return _label(hour, hour + HOUR, Kind.NEW_RUNTIME)


def another_path(life: Life, random: Random, since: int) -> Label | None:
    """Something that this key never called, by who calls anyway: somebody got into the workload."""
    hour = _working_hour(life, random, since)
    scope = random.choice((None, "admin:read", "keys:write"))
    read = life.routes[-1].path.split("/")[1]
    path = random.choice(
        ("GET /admin/export", "GET /internal/config", "GET /users/all", f"DELETE /{read}/{{}}")
    )
    refused = random.choice((0.0, 0.0, 0.5, 1.0))
    route, count = Route(path, 1, scope), random.randint(1, 20)
    call(life, random, hour, _usual(life, hour), (route,), count, refused=refused)
    return _label(hour, hour + HOUR, Kind.NEW_PATH, *([Kind.NEW_SCOPE] if scope else []))


def flood(life: Life, random: Random, since: int) -> Label | None:
    hour = _working_hour(life, random, since)
    before = [_calls(one) for at, one in life.hours.items() if at < MONTH and _calls(one)]
    if len(before) < 20:
        return None
    usual, times = max(before), random.uniform(4, 15)
    hours = random.randint(1, 6)
    for at in range(hours):
        count = max(40, poisson(random, usual * times))
        call(life, random, hour + at * HOUR, _usual(life, hour), life.routes, count)
    return _label(hour, hour + hours * HOUR, Kind.VOLUME)


def twice_the_day(life: Life, random: Random, since: int) -> Label | None:
    """As much again as the whole day has, spread over it: for two days."""
    start = since // DAY * DAY
    days = [
        sum(_calls(life.hours[at]) for at in range(day, day + DAY, HOUR) if at in life.hours)
        for day in range(MONTH - 14 * DAY, MONTH, DAY)
    ]
    if life.kind not in ("steady", "pods", "gateway") or max(days) < 300:
        return None
    for hour in range(start, start + 2 * DAY, HOUR):
        if hour in life.hours and _calls(life.hours[hour]):
            count = poisson(random, random.uniform(2.0, 3.0) * max(days) / 24)
            call(life, random, hour, _usual(life, hour), life.routes, count)
    return _label(start, start + 2 * DAY, Kind.VOLUME)


def by_night(life: Life, random: Random, since: int) -> Label | None:
    if not life.has_hours:
        return None
    start = since // DAY * DAY
    worked = {at // HOUR % 24 for at in life.hours}
    off = [at for at in range(24) if all((at + shift) % 24 not in worked for shift in range(-3, 4))]
    if not off:
        return None
    hour = start + random.choice(off) * HOUR
    call(life, random, hour, _usual(life, hour), life.routes, random.randint(3, 30))
    return _label(hour, hour + HOUR, Kind.HOURS)


def brute_force(life: Life, random: Random, since: int) -> Label | None:
    hour = _working_hour(life, random, since)
    count = random.randint(25, 400)
    call(life, random, hour, _usual(life, hour), life.routes[1:2], count, refused=1)
    return _label(hour, hour + HOUR, Kind.DENIED_BURST)


def enumerate_ids(life: Life, random: Random, since: int) -> Label | None:
    hour = _working_hour(life, random, since)
    count, first = random.randint(60, 1_500), random.randrange(1_000, 900_000)
    noun = life.routes[0].path.split("/")[1]
    in_order = random.random() < 0.6
    into = life.at(hour)
    call(life, random, hour, _usual(life, hour), life.routes[:1], 1)
    for index in range(count):
        number = first + index if in_order else random.randrange(10_000_000)
        refused = int(not in_order and random.random() < 0.7)
        path = f"GET /{noun}/{number}"
        into.add(Facet.PATH, path, 1 - refused, refused, hour + index, hour + index)
        _note_caller(into, life, 1 - refused, refused)
    return _label(hour, hour + HOUR, Kind.ENUMERATION)


def another_environment(life: Life, random: Random, since: int) -> Label | None:
    if life.usual[0].environment is None:
        return None
    hour = _working_hour(life, random, since)
    who = replace(_usual(life, hour), environment=random.choice(("staging", "dev", "test")))
    call(life, random, hour, who, life.routes, random.randint(1, 50))
    return _label(hour, hour + HOUR, Kind.SEVERAL_ENVIRONMENTS)


def passed_around(life: Life, random: Random, since: int) -> Label | None:
    """Two or three tools of others, for some days."""
    tools = random.sample(("curl/8.1", "HTTPie/3.2", "axios/1.6", "aiohttp/3.9"), 3)
    days = random.randint(4, 10)
    for day in range(days):
        for tool in tools:
            who = Who("ua:" + tool.partition("/")[0], False, life.usual[0].network, tool)
            hour = since // DAY * DAY + day * DAY + random.randrange(9, 17) * HOUR
            call(life, random, hour, who, life.routes, random.randint(0, 10))
    return _label(since // DAY * DAY, since + days * DAY, Kind.SHARED_KEY)


def in_a_browser(life: Life, random: Random, since: int) -> Label | None:
    hour = _working_hour(life, random, since)
    sign = random.choice(("sec-fetch", "sec-fetch", "origin", "user-agent"))
    agent = "Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
    who = Who("ua:Mozilla", False, _elsewhere(random), agent, browser=sign)
    call(life, random, hour, who, life.routes, random.randint(1, 30))
    return _label(hour, hour + HOUR, Kind.BROWSER)


def after_its_end(life: Life, random: Random, since: int) -> Label | None:
    """Revoked, and used afterwards: by who forgot, or who stole it."""
    life.key = replace(
        life.key,
        state=KeyState.REVOKED,
        revoked_at=since + 5,
        revocation_reason=RevocationReason.OTHER,
    )
    for hour in [at for at in life.hours if at >= since]:
        del life.hours[hour]
    hour = since + random.randint(1, 72) * HOUR
    call(life, random, hour, _usual(life, hour), life.routes, random.randint(1, 10), refused=1)
    return _label(hour, hour + HOUR, Kind.AFTER_REVOCATION)


def wakes(life: Life, random: Random, since: int) -> Label | None:
    if life.kind != "dormant":
        return None
    call(life, random, since, _usual(life, since), life.routes, random.randint(1, 20))
    return _label(since, since + HOUR, Kind.WOKE)


PLANTERS: tuple[Planter, ...] = (
    another_network,
    another_tool,
    another_path,
    flood,
    twice_the_day,
    by_night,
    brute_force,
    enumerate_ids,
    another_environment,
    passed_around,
    in_a_browser,
    after_its_end,
    wakes,
)


def _calls(hour: Hour) -> int:
    cells = (cell for (facet, _), cell in hour.cells.items() if facet is Facet.CALLER)
    return sum(cell[0] + cell[1] for cell in cells)


def _note_caller(into: Hour, life: Life, allowed: int, denied: int) -> None:
    """Counts a call under a caller that is there already."""
    for (facet, _), cell in into.cells.items():
        if facet is Facet.CALLER:
            cell[0] += allowed
            cell[1] += denied
            return


def plant(life: Life, random: Random) -> Label | None:
    """Something, of what this life can have; None for one that is left alone."""
    if life.kind in ("young", "monthly"):
        return None
    since = MONTH + random.randint(1, 26) * DAY + random.randrange(24) * HOUR
    if life.kind == "dormant":
        return wakes(life, random, since) if random.random() < 0.7 else None
    if random.random() < 0.3:
        return None
    for planter in random.sample(PLANTERS, len(PLANTERS)):
        label = planter(life, random, since)
        if label is not None:
            return label
    return None


__all__ = ["PLANTERS", "Label", "plant", "public_network"]
