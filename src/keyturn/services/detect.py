"""Detecting: keys that were used are held against their own past, and what is unusual is told.

1. Only keys of which requests were kept since the last look are looked at; those with a finding
   that is open, once in a while too, since most end with time. Where nothing happened, nothing is
   read.
2. A look takes `BUDGET_SECONDS` at most. Who was not reached is looked at next, in order.
3. The past of a key is read once, and what has come since is added to it. It is kept for a day, of
   as many keys as there is room for; the largest goes first, so that whoever fills a profile with
   made-up values takes the room of nobody else's.
4. It only tells: no key is changed by what is found.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.detectors import USAGE_KINDS, Case, cause_of, detect
from keyturn.domain.detectors.profile import Profile
from keyturn.domain.detectors.reason import LOOKBACK
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.finding import Cause
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.key import Key
from keyturn.domain.rotation import OPEN_STATES
from keyturn.domain.traffic import HOUR, hour_of
from keyturn.domain.workspace import Workspace
from keyturn.services.context import Context
from keyturn.services.find import reconcile
from keyturn.services.meter import Meter
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.transaction import Reading

BUDGET_SECONDS = 0.25
MOST_AT_ONCE = 200
FULL_SECONDS = 600.0
MOST_PROFILES = 500
# Hours and values of all profiles together: some 200 MB at worst.
MOST_WEIGHT = 1_000_000
MOST_AT_START = 100_000
# Of a key that is used seldom, more of the past is read: it may have slept for long.
SELDOM_HOURS = 200
WHOLE_PAST = 400 * DAY
# What is kept late (a database that was away) is still counted in its hour.
CLOSED_AFTER = 900 * SECOND
_PAGE = 2 * DAY
_LONG_PAGE = 40 * DAY
_WORKSPACES = 1_000


@dataclass(slots=True)
class _Known:
    profile: Profile
    read_at: int
    weight: int = 0

    def weigh(self) -> int:
        """How much it has grown since it was weighed last."""
        profile = self.profile
        weight = len(profile.hours) + sum(map(len, profile.values.values()))
        grown, self.weight = weight - self.weight, weight
        return grown


class DetectorWatch:
    """One process's eye on how keys are used; `step` is one look."""

    def __init__(self, context: Context, meter: Meter, most_weight: int = MOST_WEIGHT) -> None:
        self._context = context
        self._meter = meter
        self._most_weight = most_weight
        self._weight = 0
        self._waiting: dict[UUID, None] = {}
        self._known: OrderedDict[UUID, _Known] = OrderedDict()
        self._full_at: float | None = None

    @property
    def is_behind(self) -> bool:
        return bool(self._waiting)

    def step(self) -> int:
        """Looks at keys that were used, as many as there is time for. Says how many findings were
        written. Raises `StorageUnavailable`."""
        began = self._context.clock.elapsed()
        for key_id in self._meter.take_touched():
            self._waiting.setdefault(key_id)
        self._gather(began)
        causes: dict[UUID, list[Cause]] = {}
        looked: dict[UUID, list[UUID]] = {}
        with self._context.store.read() as reading:
            for key_id in list(self._waiting)[:MOST_AT_ONCE]:
                del self._waiting[key_id]
                found = self._look(reading, key_id)
                if found is not None:
                    workspace_id, some = found
                    looked.setdefault(workspace_id, []).append(key_id)
                    causes.setdefault(workspace_id, []).extend(some)
                if self._context.clock.elapsed() - began > BUDGET_SECONDS:
                    break
        return sum(
            reconcile(self._context, id_, causes[id_], USAGE_KINDS, [str(one) for one in key_ids])
            for id_, key_ids in sorted(looked.items())
        )

    def _gather(self, now: float) -> None:
        """Adds those that are looked at without having been used, when it is time; at the start
        those that were used before it."""
        if self._full_at is not None and now - self._full_at < FULL_SECONDS:
            return
        with self._context.store.read() as reading:
            some: Iterable[UUID] = _told_of(reading)
            if self._full_at is None:
                since = hour_of(self._context.clock.now()) - DAY
                some = [*some, *reading.traffic.keys_since(since, limit=MOST_AT_START)]
        for key_id in some:
            self._waiting.setdefault(key_id)
        self._full_at = now

    def _look(self, reading: Reading, key_id: UUID) -> tuple[UUID, list[Cause]] | None:
        """What is unusual of a key, and its workspace. None where its record is none."""
        workspace_id = reading.keys.workspace_of(key_id)
        if workspace_id is None:
            return None
        try:
            workspace = reading.workspaces.find(workspace_id)
            view = reading.keys.view(workspace_id, key_id)
        except IntegrityFailed:
            return None
        if workspace is None or view is None:
            return None
        now = self._context.clock.now()
        profile = self._profile(reading, view.key, now)
        recent = reading.traffic.of_keys([key_id], profile.until, now + HOUR)
        runtimes = () if view.slot is None else view.slot.notes.runtimes or ()
        case = Case(
            key=view.key,
            profile=profile.with_recent(recent),
            now=now,
            registered=frozenset(one.name for one in runtimes),
            networks=workspace.networks,
            is_steered=_is_steered(reading, workspace, view.key, now),
        )
        return workspace_id, [cause_of(case, reason) for reason in detect(case)]

    def _profile(self, reading: Reading, key: Key, now: int) -> Profile:
        """What is known of the key's past, up to the hours that may still be counted in."""
        until = hour_of(now - CLOSED_AFTER)
        known = self._known.get(key.id)
        if known is None or now - known.read_at >= DAY or now < known.read_at:
            self._forget(key.id)
            known = _Known(_read(reading, key, until), now)
            self._known[key.id] = known
        elif known.profile.until < until:
            _extend(reading, key, known.profile, known.profile.until, until, _PAGE)
        self._known.move_to_end(key.id)
        self._weight += known.weigh()
        self._make_room()
        return known.profile

    def _make_room(self) -> None:
        while len(self._known) > MOST_PROFILES:
            self._forget(next(iter(self._known)))
        while self._weight > self._most_weight:
            self._forget(max(self._known, key=lambda id_: self._known[id_].weight))

    def _forget(self, key_id: UUID) -> None:
        known = self._known.pop(key_id, None)
        self._weight -= 0 if known is None else known.weight


def _read(reading: Reading, key: Key, until: int) -> Profile:
    first = until - WHOLE_PAST
    earliest, begins = reading.traffic.earliest(), reading.traffic.begins_at(key.id)
    if earliest is not None:
        first = max(first, earliest)
    since = max(first, hour_of(until - LOOKBACK))
    profile = Profile(since=since)
    _extend(reading, key, profile, since, until, _PAGE)
    if len(profile.hours) < SELDOM_HOURS and since > first:
        profile = Profile(since=first)
        _extend(reading, key, profile, first if begins is None else begins, until, _LONG_PAGE)
    return profile


def _extend(
    reading: Reading, key: Key, profile: Profile, since: int, until: int, page: int
) -> None:
    for start in range(since, until, page):
        end = min(until, start + page)
        profile.extend(reading.traffic.of_keys([key.id], start, end), end)
    profile.extend((), until)


def _is_steered(reading: Reading, workspace: Workspace, key: Key, now: int) -> bool:
    lately = now - DAY
    if key.updated_at > max(lately, key.created_at) or workspace.is_suspended:
        return True
    if workspace.resumed_at is not None and workspace.resumed_at > lately:
        return True
    wanted = RotationFilter(key_id=key.id)
    return any(
        one.state in OPEN_STATES or (one.ending is not None and one.ending.at > lately)
        for one in reading.rotations.list(workspace.id, wanted, limit=1, before=None)
    )


def _told_of(reading: Reading) -> set[UUID]:
    """The keys with a finding that is not resolved."""
    found: set[UUID] = set()
    before: UUID | None = None
    while page := reading.workspaces.list(limit=_WORKSPACES, before=before):
        for workspace in page:
            for one in reading.findings.unresolved_of(workspace.id, USAGE_KINDS):
                key_id = parse_id(one.subject_id)
                if key_id is not None:
                    found.add(key_id)
        before = page[-1].id
    return found
