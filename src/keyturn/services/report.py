"""Reporting an incident: its blast radius, at once, from the traffic and the requests themselves.

1. Whole hours come from the traffic (`storage/traffic.py`). The hours in which a window begins or
   ends are counted from the requests, to the microsecond; so are those in which there were more
   callers than the traffic tells apart.
2. Where the requests of such an hour are gone, the hour counts as a whole, and that is said. What
   else is not known is said too: a report that looks whole must be.
3. Everything is read in one view, as of one moment.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.blast_radius import (
    BlastRadius,
    CallerEntry,
    KeyTraffic,
    Standings,
    first_stranger,
    weigh_traffic,
)
from keyturn.domain.finding import Finding
from keyturn.domain.incident import ContainedKey, Incident
from keyturn.domain.instant import DAY, format_instant
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.traffic import HOUR, REST, Caller, Facet, Tally, hour_of
from keyturn.services.chronicle import Event, chronicle
from keyturn.services.context import Context
from keyturn.services.identify import Caller as Asker
from keyturn.services.judge import JudgedIncident, JudgedKey
from keyturn.services.recover import judged_for
from keyturn.services.suspect import doubtful_slots
from keyturn.storage.requests import RecordedRequest
from keyturn.storage.transaction import Reading

MOST_REQUESTS = 1_000
# What is unlike its usual life is worked out for so many keys, against so much of their past.
MOST_COMPARED = 200
COMPARED_DAYS = 90
# Hours with more callers than are told apart are counted again, up to so many requests.
MOST_RECOUNTED = 200_000
# The requests of a few are looked for among so many.
MOST_SOUGHT = 1_000_000
MOST_TOLD = 20
TRAFFIC_DAYS = 400
FOR_EVER = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of an incident. `since` is the start of the earliest window; `gaps` says, a
    sentence each, what is not known; `requests` are the newest by callers that are not ours, of
    `requests_total`."""

    judged: JudgedIncident
    made_at: int
    since: int
    radius: BlastRadius
    gaps: tuple[str, ...]
    requests: Sequence[RecordedRequest]
    requests_total: int
    timeline: Sequence[Event]
    findings: Sequence[Finding]
    knows_countries: bool

    @property
    def incident(self) -> Incident:
        return self.judged.incident

    @property
    def is_complete(self) -> bool:
        return not self.gaps

    @property
    def names(self) -> dict[UUID, str]:
        return {one.contained.key_id: one.contained.name for one in self.judged.keys}


def report_incident(
    context: Context,
    asker: Asker,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    complete_since: int | None,
) -> Report:
    """The report on an incident, with those of its keys that the asker may read of. Raises
    `IncidentUnknown` or `PermissionMissing`. `complete_since` is when a gap in the records ended.
    """
    now = context.clock.now()
    with context.store.read() as transaction:
        judged = judged_for(transaction, asker, workspace_id, id)
        workspace = transaction.workspaces.find(workspace_id)
        networks = () if workspace is None else workspace.networks
        survey = _Survey(transaction, judged, networks)
        traffic = survey.traffic()
        radius = weigh_traffic(traffic, survey.standings)
        strangers = radius.not_ours
        requests = _requests_of(transaction, judged.contained, strangers)
        since = min(one.exposed_since for one in judged.contained)
        told = chronicle(transaction, asker, judged, radius)
        gaps = [
            *_gaps_of_records(judged, since, complete_since, now),
            *survey.gaps,
            *_doubted(transaction, judged.contained),
            *_uncounted(transaction, judged.contained, traffic),
            *_unlisted(len(requests), sum(one.count.requests for one in strangers)),
            *told.gaps,
        ]
    return Report(
        judged=judged,
        made_at=now,
        since=since,
        radius=radius,
        gaps=tuple(gaps),
        requests=requests,
        requests_total=sum(one.count.requests for one in strangers),
        timeline=told.events,
        findings=told.findings,
        knows_countries=context.country_of is not None,
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """A window that several keys share. `since` is None where it holds a key's whole life."""

    since: int | None
    until: int


class _Survey:
    """The traffic of the keys of an incident, read window by window."""

    def __init__(
        self, transaction: Reading, judged: JudgedIncident, networks: tuple[NamedNetwork, ...]
    ) -> None:
        self._transaction = transaction
        self._keys = {one.contained.key_id: one for one in judged.keys}
        self._runtimes = _registered(transaction, judged)
        self.standings = Standings(judged.incident.placements, networks)
        self.gaps: list[str] = []
        self._compared_count = 0

    def traffic(self) -> list[KeyTraffic]:
        windows: dict[_Window, list[UUID]] = {}
        for key_id, one in self._keys.items():
            windows.setdefault(_window_of(one), []).append(key_id)
        found: list[KeyTraffic] = []
        for window, key_ids in windows.items():
            found += self._of_window(window, key_ids)
        if len(found) > MOST_COMPARED:
            self.gaps.append(
                f"What is unlike their usual life was worked out for {MOST_COMPARED} of the keys."
            )
        return found

    def _of_window(self, window: _Window, key_ids: list[UUID]) -> Iterable[KeyTraffic]:
        since = window.since or 0
        edges = {hour_of(window.until)} | (set() if window.since is None else {hour_of(since)})
        cut = self._transaction.traffic.cut_hours(key_ids, hour_of(since), FOR_EVER)
        plain = [one for one in key_ids if one not in cut]
        if plain:
            yield from self._counted(plain, window, self._recountable(plain, edges))
        for key_id, hours in cut.items():
            fine = self._recountable([key_id], edges)
            fine |= self._recountable([key_id], hours - edges, MOST_RECOUNTED)
            if not hours <= fine:
                self.gaps.append(
                    f"{self._keys[key_id].contained.name} had more callers in {len(hours - fine)} "
                    "hours than are told apart; some stand together as `other`."
                )
            yield from self._counted([key_id], window, fine)

    def _recountable(
        self, key_ids: list[UUID], hours: set[int], most: int | None = None
    ) -> set[int]:
        """Those of the hours of which every request is still there; where `most` is given, only
        the latest with so many altogether."""
        totals = self._transaction.traffic.totals(key_ids, hours)
        fine = set()
        spent = 0
        for hour in sorted(hours, reverse=True):
            counted = {key_id: n for (key_id, at), n in totals.items() if at == hour}
            spent += sum(counted.values())
            if most is not None and spent > most:
                break
            if counted == self._transaction.requests.counts(key_ids, hour, hour + HOUR):
                fine.add(hour)
            elif most is None:
                self.gaps.append(
                    f"The requests of the hour from {format_instant(hour)} on are not all there "
                    "any more: it is counted as a whole."
                )
        return fine

    def _counted(
        self, key_ids: list[UUID], window: _Window, recounted: set[int]
    ) -> Iterable[KeyTraffic]:
        """The traffic of keys that share a window; some hours of it from the requests."""
        traffic, requests = self._transaction.traffic, self._transaction.requests
        since, until = window.since or 0, window.until
        within = traffic.sums(key_ids, hour_of(since), hour_of(until) + 1, recounted)
        after = traffic.sums(key_ids, hour_of(until) + HOUR, FOR_EVER, recounted)
        for hour in recounted:
            begin, end = max(hour, since), hour + HOUR
            if begin < min(end, until):
                within += requests.tallies(key_ids, begin, min(end, until))
            if max(begin, until) < end:
                after += requests.tallies(key_ids, max(begin, until), end)
        within_of, after_of = _by_key(within), _by_key(after)
        for key_id in key_ids:
            yield self._compared(
                key_id, window, within_of.get(key_id, []), after_of.get(key_id, [])
            )

    def _compared(
        self, key_id: UUID, window: _Window, within: list[Tally], after: list[Tally]
    ) -> KeyTraffic:
        """With what was before: before the window, or before the first who is not ours."""
        runtimes = self._runtimes.get(key_id, frozenset())
        begins = window.since
        if begins is None:
            begins = first_stranger(within, lambda caller: self.standings.of(caller, runtimes))
        plain = KeyTraffic(key_id=key_id, runtimes=runtimes, before=(), window=within, after=after)
        if begins is None or self._compared_count >= MOST_COMPARED:
            return plain
        self._compared_count += 1
        traffic, hour = self._transaction.traffic, hour_of(begins)
        past = hour - COMPARED_DAYS * DAY
        return replace(
            plain,
            before=[
                *traffic.sums([key_id], past, hour),
                *self._transaction.requests.tallies([key_id], hour, begins),
            ],
            rhythm_before=traffic.rhythm([key_id], past, hour),
            rhythm_since=traffic.rhythm([key_id], hour, hour_of(window.until) + 1),
        )


def _window_of(one: JudgedKey) -> _Window:
    key = one.contained
    is_whole = one.key is not None and key.exposed_since <= one.key.created_at
    return _Window(None if is_whole else key.exposed_since, key.contained_at)


def _registered(transaction: Reading, judged: JudgedIncident) -> dict[UUID, frozenset[str]]:
    """The runtimes that each key's slot names."""
    names = {one.contained.slot for one in judged.keys}
    slots = transaction.slots.among(judged.incident.workspace_id, names)
    found: dict[UUID, frozenset[str]] = {}
    for one in judged.contained:
        slot = slots.get(one.slot)
        runtimes = () if slot is None else slot.notes.runtimes or ()
        found[one.key_id] = frozenset(each.name for each in runtimes)
    return found


def _by_key(tallies: Iterable[Tally]) -> dict[UUID, list[Tally]]:
    found: dict[UUID, list[Tally]] = {}
    for one in tallies:
        found.setdefault(one.key_id, []).append(one)
    return found


def _requests_of(
    transaction: Reading, keys: Sequence[ContainedKey], callers: Collection[CallerEntry]
) -> Sequence[RecordedRequest]:
    """The newest requests by callers, found by the hours in which they called."""
    windows = {str(one.key_id): one.exposed_since for one in keys}
    # The newest so many requests are by at most so many callers: those who came last.
    newest = sorted(callers, key=lambda one: -one.last_at)[:MOST_REQUESTS]
    who = {(str(key_id), one.caller) for one in newest for key_id in one.key_ids}
    names = {one.caller for one in newest}
    key_ids = {key_id for one in newest for key_id in one.key_ids}
    if not names:
        return ()
    since = min(windows.values())
    found: list[RecordedRequest] = []
    sought = 0
    spans = transaction.traffic.spans(key_ids, names, hour_of(since), FOR_EVER)
    wide = {one.hour for one in spans if one.times is None}
    totals: Counter[int] = Counter()
    for (_, hour), count in transaction.traffic.totals(key_ids, wide).items():
        totals[hour] += count
    for span in spans:
        if span.times is None:
            # All that anybody did with these keys meanwhile has to be looked through.
            sought += totals[span.hour]
            if sought > MOST_SOUGHT and found:
                break
        some = transaction.requests.of_callers(
            key_ids,
            names,
            max(span.first_at, since),
            span.last_at + 1,
            limit=MOST_REQUESTS,
            times=span.times,
        )
        found += [
            one
            for one in some
            if one.at >= windows.get(one.key_id or "", FOR_EVER)
            and (one.key_id or "", Caller(one.runtime, one.declared, one.network)) in who
        ]
        if len(found) >= MOST_REQUESTS:
            break
    return found[:MOST_REQUESTS]


def _gaps_of_records(
    judged: JudgedIncident, since: int, complete_since: int | None, now: int
) -> Iterable[str]:
    """What may be missing whatever was recorded."""
    incident = judged.incident
    begins = min(
        since if one.key is None else max(one.contained.exposed_since, one.key.created_at)
        for one in judged.keys
    )
    if incident.counted_at is None:
        yield "Requests from just before the containment may still be on their way."
    if complete_since is not None and begins < complete_since:
        yield (
            f"The database was put back from a backup at {format_instant(complete_since)}: of "
            "before that some requests may be missing."
        )
    if begins < now - TRAFFIC_DAYS * DAY:
        yield f"Requests are known for {TRAFFIC_DAYS} days; the window begins before that."


def _doubted(transaction: Reading, keys: Sequence[ContainedKey]) -> Iterable[str]:
    """Who is ours by the word of somebody who may have been a thief."""
    doubtful = doubtful_slots(transaction, keys, "runtimes")
    for slot, by in sorted(doubtful.items(), key=lambda one: str(one[0]))[:MOST_TOLD]:
        yield (
            f"Which runtimes {slot} has was said with {by} while that was exposed: who counts as "
            "ours there may be whoever a thief named."
        )


def _unlisted(listed: int, total: int) -> Iterable[str]:
    if listed < min(total, MOST_REQUESTS):
        yield (
            f"{total:,} requests by callers that are not ours are counted, and {listed:,} of them "
            "listed: the others are gone, or scattered among too many."
        )


def _uncounted(
    transaction: Reading, keys: Sequence[ContainedKey], traffic: Sequence[KeyTraffic]
) -> Iterable[str]:
    """Uses of which there is no request: who verifies others with a key is counted, not listed."""
    seen = {
        (str(one.key_id), caller.runtime, caller.declared)
        for one in traffic
        for tally in (*one.window, *one.after)
        if tally.facet is Facet.CALLER and (caller := tally.caller) is not None
    }
    windows = {one.key_id: one for one in keys}
    missing: dict[UUID, set[str]] = {}
    for chunk in _chunks(sorted(windows)):
        for use in transaction.uses.of(chunk):
            is_seen = (str(use.key_id), use.runtime, use.declared) in seen or use.runtime == REST
            key = windows[use.key_id]
            if not is_seen and use.allowed and (use.last_seen_at or 0) >= key.exposed_since:
                missing.setdefault(use.key_id, set()).add(use.runtime)
    for key_id, names in sorted(missing.items())[:MOST_TOLD]:
        yield (
            f"{windows[key_id].name} was also used by {', '.join(sorted(names)[:3])} in ways that "
            "are counted and not listed: to verify other tokens, or before records begin."
        )


def _chunks(ids: Sequence[UUID]) -> Iterable[Sequence[UUID]]:
    for first in range(0, len(ids), 500):
        yield ids[first : first + 500]
