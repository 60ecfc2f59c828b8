"""The blast radius of exposed keys: who used them, for what, and what of it was not us.

1. A caller is a runtime at a network. It is *ours* where the key's slot names the runtime or a
   person said so, an *intruder* where a person said that, *claimed* where only it says who it is,
   else *suspect*. What a person said counts first, the narrower word before the wider one.
2. What is *unlike* a key's usual life is told against what was before: before the window, or, where
   the key is exposed since it was made, before the first caller that is not ours. With nothing
   before, nothing can be unlike.
3. Whoever shares our address and copies our name cannot be told from us. How many requests these
   could be is said: all of those by callers who were there before and are not known as intruders.
4. The window ends with the containment. What came after it is counted too, and by itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from keyturn.domain.evidence import is_registered
from keyturn.domain.incident import CallerStanding, Placement, placed_standing
from keyturn.domain.network import parse_address
from keyturn.domain.place import means_something_inside, place_of
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.traffic import REST, Caller, Facet, Rhythm, Tally

NOT_OURS = frozenset(CallerStanding) - {CallerStanding.OURS}
# What a busy hour must have above the busiest before it to be told.
TIMES_BUSIER = 3
MORE_BY = 100
# Hours of the day tell something once a key was used in so many hours.
HOURS_KNOWN = 72

_WORST = (
    CallerStanding.INTRUDER,
    CallerStanding.SUSPECT,
    CallerStanding.CLAIMED,
    CallerStanding.OURS,
)


class Oddity(StrEnum):
    """In what something is unlike a key's usual life."""

    RUNTIME = "runtime"
    NETWORK = "network"
    PATH = "path"
    SCOPE = "scope"
    AGENT = "agent"
    ENVIRONMENT = "environment"
    COUNTRY = "country"
    BROWSER = "browser"
    HOURS = "hours"
    VOLUME = "volume"


_FACETS = (
    (Oddity.COUNTRY, Facet.COUNTRY, "The key was never used from this country before."),
    (Oddity.BROWSER, Facet.BROWSER, "The key was never seen in a browser before."),
    (Oddity.ENVIRONMENT, Facet.ENVIRONMENT, "The key was never used in this environment before."),
    (Oddity.SCOPE, Facet.SCOPE, "This scope was never asked for before."),
    (Oddity.PATH, Facet.PATH, "This was never called before."),
    (Oddity.AGENT, Facet.AGENT, "No caller ever said that it is this before."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTraffic:
    """What was done with one key: before what is looked at, in the window of exposure, and after
    the containment; and over the hours of the day, before and since."""

    key_id: UUID
    runtimes: frozenset[str]
    before: Sequence[Tally]
    window: Sequence[Tally]
    after: Sequence[Tally]
    rhythm_before: Sequence[Rhythm] = ()
    rhythm_since: Sequence[Rhythm] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Requests of the window and all after it; `after_containment` of them were refused then. What
    was let in between the containment's beginning and its answer is in `allowed` alone."""

    allowed: int = 0
    denied: int = 0
    after_containment: int = 0

    @property
    def requests(self) -> int:
        return self.allowed + self.denied


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerEntry:
    """One caller. `unlike` says in what it is unlike those that were there before."""

    caller: Caller
    standing: CallerStanding
    count: Count
    first_at: int
    last_at: int
    key_ids: tuple[UUID, ...]
    unlike: tuple[Oddity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueEntry:
    """A network, a path, a scope… `standings` are those of the callers at a network."""

    value: str
    count: Count
    first_at: int
    last_at: int
    standings: tuple[CallerStanding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """Something of a key that is unlike its usual life."""

    key_id: UUID
    what: Oddity
    value: str
    standing: CallerStanding | None
    requests: int
    first_at: int
    last_at: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One caller that was refused after the containment. `allowed` are those of its requests that
    came before the answer, or after a false alarm gave the key back."""

    caller: Caller
    standing: CallerStanding
    allowed: int
    denied: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """All of it. `compared` is how many keys had a life before that theirs could be compared with;
    `indistinguishable` are the callers of rule 3, with their requests in the window alone."""

    totals: Count
    runtimes: tuple[CallerEntry, ...]
    networks: tuple[ValueEntry, ...]
    values: Mapping[Facet, tuple[ValueEntry, ...]]
    unlike: tuple[Unlike, ...]
    compared: int
    indistinguishable: tuple[CallerEntry, ...]
    attempts_after: tuple[Attempt, ...]

    @property
    def not_ours(self) -> tuple[CallerEntry, ...]:
        return tuple(one for one in self.runtimes if one.standing in NOT_OURS)


class Standings:
    """Who each caller of a key is."""

    def __init__(self, placements: Sequence[Placement], networks: tuple[NamedNetwork, ...]) -> None:
        self._placements = placements
        self._networks = networks

    def of(self, caller: Caller, registered: frozenset[str]) -> CallerStanding:
        words = [caller.network, self.place(caller)]
        placed = placed_standing(
            self._placements, caller.runtime, [one for one in words if one is not None]
        )
        if placed is not None:
            return placed
        if is_registered((caller.runtime, caller.declared), dict.fromkeys(registered)):
            return CallerStanding.OURS
        return CallerStanding.CLAIMED if caller.declared else CallerStanding.SUSPECT

    def place(self, caller: Caller) -> str | None:
        """The place of a caller (`place.py`), by which a person may have placed it."""
        address = None if caller.network is None else parse_address(caller.network)
        return caller.network if address is None else place_of(address, self._networks)


def weigh_traffic(keys: Sequence[KeyTraffic], standings: Standings) -> BlastRadius:
    """What the traffic of contained keys says."""
    callers: dict[tuple[Caller, CallerStanding], _Entry] = {}
    values: dict[tuple[Facet, str], _Entry] = {}
    after: dict[tuple[Caller, CallerStanding], _Entry] = {}
    unlike: list[Unlike] = []
    same: dict[tuple[Caller, CallerStanding], _Entry] = {}
    for key in keys:
        of_key = _KeyView(key, standings)
        for tallies, is_after in ((key.window, False), (key.after, True)):
            for tally in tallies:
                if tally.facet is not Facet.CALLER:
                    values.setdefault((tally.facet, tally.value), _Entry()).add(tally, is_after)
                    continue
                name = of_key.name(tally)
                entry = callers.setdefault(name, _Entry())
                entry.add(tally, is_after)
                entry.unlike |= set(of_key.oddities(name[0]))
                if is_after:
                    after.setdefault(name, _Entry()).add(tally, is_after)
                elif of_key.could_be_anybody(*name):
                    same.setdefault(name, _Entry()).add(tally, is_after)
        unlike += of_key.unlike()
    return BlastRadius(
        totals=_sum(callers.values()),
        runtimes=_entries(callers),
        networks=_networks(callers),
        values={
            facet: _values((name, one) for (kind, name), one in values.items() if kind is facet)
            for facet in Facet
            if facet is not Facet.CALLER
        },
        unlike=tuple(sorted(unlike, key=_by_weight)),
        compared=sum(bool(key.before) for key in keys),
        indistinguishable=_entries(same),
        attempts_after=tuple(
            Attempt(
                caller=caller,
                standing=standing,
                allowed=one.allowed,
                denied=one.denied,
                first_at=one.first_at,
                last_at=one.last_at,
            )
            for (caller, standing), one in sorted(
                after.items(), key=lambda each: (_WORST.index(each[0][1]), -each[1].requests)
            )
            if one.denied
        ),
    )


NOBODY = Caller(REST, False, None)


@dataclass(slots=True)
class _Entry:
    """What is being added up."""

    allowed: int = 0
    denied: int = 0
    later: int = 0
    first_at: int = 2**62
    last_at: int = 0
    key_ids: set[UUID] = field(default_factory=set)
    unlike: set[Oddity] = field(default_factory=set)

    @property
    def requests(self) -> int:
        return self.allowed + self.denied

    @property
    def count(self) -> Count:
        return Count(allowed=self.allowed, denied=self.denied, after_containment=self.later)

    def add(self, tally: Tally, is_after: bool) -> None:
        self.allowed += tally.allowed
        self.denied += tally.denied
        self.later += tally.denied if is_after else 0
        self.first_at = min(self.first_at, tally.first_at)
        self.last_at = max(self.last_at, tally.last_at)
        self.key_ids.add(tally.key_id)

    def merge(self, other: "_Entry") -> None:
        self.allowed += other.allowed
        self.denied += other.denied
        self.later += other.later
        self.first_at = min(self.first_at, other.first_at)
        self.last_at = max(self.last_at, other.last_at)


class _KeyView:
    """One key's traffic beside what was before."""

    def __init__(self, key: KeyTraffic, standings: Standings) -> None:
        self._key = key
        self._standings = standings
        before = [one for tally in key.before if (one := tally.caller) is not None]
        self._before = set(before)
        self._runtimes = {(one.runtime, one.declared) for one in before}
        self._networks = {one.network for one in before}
        self._places = {standings.place(one) for one in before}
        self._has_ours = any(
            standing is CallerStanding.OURS
            for tally in key.window
            if tally.facet is Facet.CALLER
            for _, standing in [self.name(tally)]
        )

    def name(self, tally: Tally) -> tuple[Caller, CallerStanding]:
        caller = tally.caller
        if caller is None:
            return NOBODY, CallerStanding.SUSPECT
        return caller, self._standings.of(caller, self._key.runtimes)

    def oddities(self, caller: Caller) -> list[Oddity]:
        """In what a caller is unlike those before. One more address of a block that means something
        only inside somebody's network is nothing new: pods come and go."""
        if not self._before or caller is NOBODY:
            return []
        found = []
        if (caller.runtime, caller.declared) not in self._runtimes:
            found.append(Oddity.RUNTIME)
        if caller.network not in self._networks:
            address = None if caller.network is None else parse_address(caller.network)
            is_within = self._standings.place(caller) in self._places
            if address is None or not is_within or not means_something_inside(address):
                found.append(Oddity.NETWORK)
        return found

    def could_be_anybody(self, caller: Caller, standing: CallerStanding) -> bool:
        """Whether a thief at our address, with our name, would be counted here."""
        if standing is CallerStanding.INTRUDER or caller is NOBODY:
            return False
        if self._before:
            return caller in self._before
        return standing is not CallerStanding.SUSPECT or not self._has_ours

    def unlike(self) -> Iterable[Unlike]:
        if not self._key.before:
            return
        yield from self._odd_callers()
        known = {(one.facet, one.value) for one in self._key.before}
        seen: dict[tuple[Facet, str], _Entry] = {}
        for tally in (*self._key.window, *self._key.after):
            seen.setdefault((tally.facet, tally.value), _Entry()).add(tally, False)
        for what, facet, reason in _FACETS:
            for (kind, value), entry in seen.items():
                if kind is facet and (kind, value) not in known and value != REST:
                    yield self._told(what, value, entry, reason)
        yield from self._odd_times()

    def _odd_callers(self) -> Iterable[Unlike]:
        found: dict[tuple[Oddity, str, CallerStanding], _Entry] = {}
        for tally in (*self._key.window, *self._key.after):
            if tally.facet is Facet.CALLER:
                caller, standing = self.name(tally)
                for what in self.oddities(caller):
                    is_runtime = what is Oddity.RUNTIME
                    value = caller.runtime if is_runtime else caller.network or "unknown"
                    found.setdefault((what, value, standing), _Entry()).add(tally, False)
        for (what, value, standing), entry in found.items():
            reason = "The key was never used from here before."
            if what is Oddity.RUNTIME:
                reason = "The key was never used by this runtime before."
            elif standing is CallerStanding.OURS:
                reason = "It says that it is a runtime of ours, which was never here before."
            yield self._told(what, value, entry, reason, standing)

    def _odd_times(self) -> Iterable[Unlike]:
        before = {one.hour_of_day: one for one in self._key.rhythm_before}
        if sum(one.hours for one in before.values()) < HOURS_KNOWN:
            return
        busiest = max(one.busiest for one in before.values())
        for one in self._key.rhythm_since:
            value = f"{one.hour_of_day:02d}:00 UTC"
            whole = _Entry(first_at=one.first, last_at=one.last)
            if one.hour_of_day not in before:
                reason = "The key was never used in this hour of the day before."
                yield self._told(Oddity.HOURS, value, whole, reason, requests=one.requests)
            if one.busiest > TIMES_BUSIER * busiest and one.busiest > busiest + MORE_BY:
                reason = (
                    f"{one.busiest} requests within an hour; the busiest hour before had {busiest}."
                )
                yield self._told(Oddity.VOLUME, value, whole, reason, requests=one.busiest)

    def _told(
        self,
        what: Oddity,
        value: str,
        entry: _Entry,
        reason: str,
        standing: CallerStanding | None = None,
        requests: int | None = None,
    ) -> Unlike:
        return Unlike(
            key_id=self._key.key_id,
            what=what,
            value=value,
            standing=standing,
            requests=entry.requests if requests is None else requests,
            first_at=entry.first_at,
            last_at=entry.last_at,
            reason=reason,
        )


def _sum(entries: Iterable[_Entry]) -> Count:
    whole = _Entry()
    for one in entries:
        whole.merge(one)
    return whole.count


def _entries(callers: Mapping[tuple[Caller, CallerStanding], _Entry]) -> tuple[CallerEntry, ...]:
    """The worst first, and of those what nobody had seen before."""
    found = [
        CallerEntry(
            caller=caller,
            standing=standing,
            count=one.count,
            first_at=one.first_at,
            last_at=one.last_at,
            key_ids=tuple(sorted(one.key_ids)),
            unlike=tuple(sorted(one.unlike)),
        )
        for (caller, standing), one in callers.items()
    ]
    found.sort(
        key=lambda one: (
            _WORST.index(one.standing),
            not one.unlike,
            -one.count.requests,
            one.caller.spelled,
        )
    )
    return tuple(found)


def _networks(
    callers: Mapping[tuple[Caller, CallerStanding], _Entry],
) -> tuple[ValueEntry, ...]:
    found: dict[str, _Entry] = {}
    standings: dict[str, set[CallerStanding]] = {}
    for (caller, standing), one in callers.items():
        name = REST if caller is NOBODY else caller.network or "unknown"
        found.setdefault(name, _Entry()).merge(one)
        standings.setdefault(name, set()).add(standing)
    return _values(found.items(), standings)


def _values(
    found: Iterable[tuple[str, _Entry]],
    standings: Mapping[str, set[CallerStanding]] | None = None,
) -> tuple[ValueEntry, ...]:
    entries = [
        ValueEntry(
            value=value,
            count=one.count,
            first_at=one.first_at,
            last_at=one.last_at,
            standings=tuple(sorted((standings or {}).get(value, ()), key=_WORST.index)),
        )
        for value, one in found
    ]
    entries.sort(key=lambda one: (-one.count.requests, one.value))
    return tuple(entries)


def _by_weight(one: Unlike) -> tuple[int, int, int, str]:
    rank = _WORST.index(one.standing) if one.standing is not None else len(_WORST)
    return (rank, list(Oddity).index(one.what), one.first_at, one.value)


def first_stranger(
    tallies: Iterable[Tally], standing_of: Callable[[Caller], CallerStanding]
) -> int | None:
    """When the first caller that is not ours came, None where there was none."""
    times = [
        one.first_at
        for one in tallies
        if one.facet is Facet.CALLER
        and ((caller := one.caller) is None or standing_of(caller) in NOT_OURS)
    ]
    return min(times, default=None)


def tell_indistinguishable(entries: Sequence[CallerEntry]) -> str:
    """In a sentence, what cannot be told apart."""
    total = sum(one.count.requests for one in entries)
    if not total:
        return "No request of the window came from a caller whom a thief could hide behind."
    names = sorted({one.caller.runtime for one in entries})
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    requests = "request" if total == 1 else "requests"
    looks = "looks" if total == 1 else "look"
    return (
        f"{total:,} {requests} by {some} {looks} like the usual callers. A thief behind the same "
        "address who copies the name would look the same: nothing recorded tells them apart."
    )
