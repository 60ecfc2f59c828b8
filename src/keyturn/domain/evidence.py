"""The evidence of a rotation: who used the old key, who is on the new one, who is in the way.

1. A runtime is *ours* if it used the old key in the look-back, or is registered on the slot, or a
   person said so. It blocks until it has been allowed on the new key, from each environment that it
   used the old one from, and has left the old one alone for `quiet_seconds`; or until it has left
   the old one alone for longer than its declared interval (none declared: the look-back).
2. A runtime first seen on the old key after the start, and not registered, is a *stranger*: it
   blocks nothing. A runtime of ours seen at a place (`place.py`) where it never was is a
   *conflict*: what it does there counts neither for nor against it, and blocks until a person
   decides.
3. Everything is judged as of `Observation.until`, up to which all requests are known. While nobody
   could use the old key, its silence tells nothing: quiet and silence are counted from when a
   process began to look on without a break (`watched_since`), and where they are asked for days,
   from the last break that was longer than a moment (`unbroken_since`). So neither an outage of
   ours nor a clock that was set makes anybody silent.
4. Time alone retires nothing: unless somebody has been allowed on the new key, it ends by a
   person's word only (`Evidence.may_end_by_itself`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.error import Blocker
from keyturn.domain.instant import SECOND, format_instant
from keyturn.domain.key import Key, KeyState, KeyStatus
from keyturn.domain.place import is_same_place
from keyturn.domain.rotation import MOST_LIFTS, Rotation, Standing
from keyturn.domain.runtime import OTHER, NamedNetwork
from keyturn.domain.slot import ExpectedRuntime

# A use by a runtime whose last kept use is older than this is kept before it is answered.
KEPT_WITHIN = 60 * SECOND
# Evidence that lies further back than this tells nothing of the present.
FRESH_WITHIN = 10 * SECOND
# A quiet, or an interval, up to this long must be watched without any break.
_WATCHED_QUIET = 3_600 * SECOND
_WATCHED_INTERVAL = 3_600 * SECOND
# A runtime that was at so many places before the start cannot be told by its place.
ROAMING = 16
INFERRED = "ua:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a key was used by one runtime, in one environment, from one place; None is not known.

    `first_seen_at` and `last_seen_at` are of allowed uses. `checked_in_at` is when it last asked
    `/v1/self`, which is no use. `longest_gap` is between two allowed uses, in microseconds.
    """

    key_id: UUID
    runtime: str
    declared: bool
    environment: str | None
    place: str | None
    first_seen_at: int | None
    last_seen_at: int | None
    last_denied_at: int | None
    checked_in_at: int | None
    longest_gap: int | None
    allowed: int
    denied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What can be known at `now`: all requests up to `until` are. `borne_out` is `until` as far as
    no clock alone says so. This process has looked on since `watched_since`, and some process,
    but for moments, since `unbroken_since`. `complete_since` is when a gap in the records ended,
    None where there is none."""

    now: int
    until: int
    borne_out: int
    watched_since: int
    unbroken_since: int
    complete_since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeEvidence:
    """One runtime's way from the old key to the new one. Counts are over each key's life."""

    runtime: str
    declared: bool
    registered: bool
    standing: str
    old_last_seen_at: int | None
    old_allowed: int
    new_last_seen_at: int | None
    new_allowed: int
    new_denied: int
    checked_in_at: int | None
    moved: bool
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of a rotation. `met` are those of ours that the brown-out has hit,
    `strangers` stand in the order in which they were first seen."""

    until: int
    runtimes: tuple[RuntimeEvidence, ...]
    blocked_by: tuple[Blocker, ...]
    strangers: tuple[str, ...]
    conflicts: tuple[str, ...]
    only_on_new: tuple[str, ...]
    met: tuple[str, ...]
    is_new_seen: bool

    @property
    def may_end_by_itself(self) -> bool:
        return not self.blocked_by and self.is_new_seen

    @property
    def allows_person(self) -> bool:
        """Whether a person's word completes it: some things wait for just that."""
        return all(one.code in _FOR_A_PERSON for one in self.blocked_by)

    @property
    def is_behind(self) -> bool:
        return any(one.code == BEHIND for one in self.blocked_by)


NOT_MOVED = "runtime.not_moved"
STILL_ON_OLD = "runtime.still_on_old"
DENIED_ON_NEW = "runtime.denied_on_new"
CONFLICT = "identity.conflict"
HISTORY = "history.incomplete"
UNUSABLE = "new_key.unusable"
BEHIND = "evidence.behind"
LIFTED = "brownout.lifted"
SUSPENDED = "old_key.suspended"
DAMAGED = "record.damaged"
UNDELIVERED = "delivery.waiting"

BLOCKERS = (
    NOT_MOVED,
    STILL_ON_OLD,
    DENIED_ON_NEW,
    CONFLICT,
    HISTORY,
    UNUSABLE,
    BEHIND,
    LIFTED,
    SUSPENDED,
    DAMAGED,
    UNDELIVERED,
)
_FOR_A_PERSON = frozenset({LIFTED, SUSPENDED})

Identity = tuple[str, bool]


def is_registered(identity: Identity, expected: Mapping[str, object]) -> bool:
    """Whether the slot names this runtime. An inferred name that somebody declares is another's."""
    name, declared = identity
    return name in expected and declared is not name.startswith(INFERRED)


def judge_rotation(
    rotation: Rotation,
    old: Key,
    new: Key,
    uses: Iterable[Use],
    expected: Sequence[ExpectedRuntime] | None,
    observation: Observation,
    networks: Sequence[NamedNetwork] = (),
    *,
    is_named_anew: bool = False,
) -> Evidence:
    """Everything that can be said of an open rotation. `uses` are those of both its keys;
    `expected` is None where the slot's record cannot be trusted; `is_named_anew` where `networks`
    may have got their names since the start."""
    case = _Case(rotation, old, new, tuple(uses), expected or (), observation, networks)
    if is_named_anew:
        case.renamed = case.inferred_before()
    found = [_Runtime(case, identity) for identity in case.identities()]
    found.sort(key=lambda one: (not one.is_ours, one.name, one.declared))
    blocked = [blocker for one in found for blocker in one.blockers()]
    blocked += _general(case)
    if expected is None:
        blocked.append(_SLOT_DAMAGED)
    return Evidence(
        until=observation.until,
        runtimes=tuple(one.told() for one in found),
        blocked_by=tuple(blocked),
        strangers=tuple(
            one.name
            for one in sorted(found, key=lambda one: (one.first_seen_at, one.name))
            if one.is_stranger
        ),
        conflicts=tuple(one.name for one in found if one.conflicts),
        only_on_new=tuple(one.name for one in found if one.is_only_on_new),
        met=tuple(one.name for one in found if one.has_met),
        is_new_seen=any(one.new_last is not None or one.is_taken_for_run for one in found),
    )


class _Case:
    """What one judgement is about, sorted."""

    def __init__(
        self,
        rotation: Rotation,
        old: Key,
        new: Key,
        uses: tuple[Use, ...],
        expected: Sequence[ExpectedRuntime],
        observation: Observation,
        networks: Sequence[NamedNetwork],
    ) -> None:
        self.rotation, self.old, self.new = rotation, old, new
        self.networks = {one.name: one.cidrs for one in networks}
        self.renamed: frozenset[str] = frozenset()
        self.expected = {one.name: one.max_call_interval_seconds for one in expected}
        self.observation = observation
        self.lookback = rotation.terms.lookback_seconds * SECOND
        self.quiet = rotation.terms.quiet_seconds * SECOND
        self.uses: dict[Identity, list[Use]] = {}
        for use in uses:
            self.uses.setdefault((use.runtime, use.declared), []).append(use)

    def identities(self) -> set[Identity]:
        named = {
            (name, not name.startswith(INFERRED))
            for name, seconds in self.expected.items()
            if seconds is not None
        }
        seen = {
            identity
            for identity, rows in self.uses.items()
            if any(one.allowed or one.checked_in_at is not None for one in rows)
        }
        return named | seen

    def inferred_before(self) -> frozenset[str]:
        """The products of the inferred runtimes that used the old key before the start, without
        the networks in their names."""
        started = self.rotation.started_at
        return frozenset(
            name.partition("@")[0]
            for (name, declared), rows in self.uses.items()
            if not declared
            and any(self.of_old(one) and _was_seen_before(one, started) for one in rows)
        )

    def of_old(self, use: Use) -> bool:
        return use.key_id == self.old.id

    def silence(self, last: int | None, interval: int) -> int:
        """For how long at least a runtime has let the old key alone that could have used it, where
        it may call as rarely as `interval`."""
        seen = self.observation
        since = max(self.usable_since, last or 0, seen.unbroken_since)
        if interval <= _WATCHED_INTERVAL:
            since = max(since, seen.watched_since)
        elif last is not None:
            since = max(since, min(last + KEPT_WITHIN, seen.watched_since))
        return seen.until - since

    @property
    def looks_back_to(self) -> int:
        return min(self.rotation.started_at, self.observation.borne_out) - self.lookback

    def watched_silence(self, last: int | None) -> int:
        """As `silence`, for the quiet that is asked of everybody."""
        seen = self.observation
        is_short = self.quiet <= _WATCHED_QUIET
        watched = seen.watched_since if is_short else seen.unbroken_since
        return seen.until - max(self.usable_since, last or 0, watched)

    @property
    def usable_since(self) -> int:
        """Since when the old key could be used without a break, but for the brown-out that runs: it
        may have been suspended before the start, until it was changed last."""
        old, started = self.old, self.rotation.started_at
        changed = old.updated_at if old.updated_at <= started else 0
        return max(old.created_at, old.not_before or 0, changed, self.rotation.lifted_at or 0)


class _Runtime:
    """One runtime in one case."""

    def __init__(self, case: _Case, identity: Identity) -> None:
        self._case = case
        self.name, self.declared = identity
        self.registered = is_registered(identity, case.expected)
        rows = case.uses.get(identity, [])
        self._standings = self._decisions()
        self._known = self._known_places(rows)
        strange: list[Use] = []
        counted: list[Use] = []
        for one in rows:
            (strange if self._is_elsewhere(one) else counted).append(one)
        self._rows = rows
        self._old = [one for one in counted if case.of_old(one)]
        self._new = [one for one in counted if not case.of_old(one)]
        self.is_ours = self._judge_ours()
        self.conflicts = tuple(
            sorted({str(one.place) for one in strange if self._is_undecided(one)})
            if self.is_ours
            else ()
        )
        self.old_last = _last(self._old)
        self.new_last = _last(self._new, since=case.rotation.started_at)

    @property
    def is_waived(self) -> bool:
        return Standing.WAIVED in self._standings.values()

    @property
    def is_stranger(self) -> bool:
        is_known = self.is_ours or self.is_waived or Standing.INTRUDER in self._standings.values()
        return not is_known and any(one.allowed for one in self._old)

    @property
    def first_seen_at(self) -> int:
        times = (one.first_seen_at for one in self._rows if self._case.of_old(one))
        return min((at for at in times if at is not None), default=0)

    @property
    def is_only_on_new(self) -> bool:
        """Whether a rollback would cut it off: it has used the new key and not gone back since."""
        mine = (one for one in self._rows if not self._case.of_old(one))
        new_last = _last(mine, since=self._case.rotation.started_at)
        if new_last is None:
            return False
        has_returned = (
            self.old_last is not None
            and self.old_last > new_last
            and self._case.observation.until - new_last >= self._case.quiet
        )
        return not has_returned

    @property
    def has_met(self) -> bool:
        """Whether the brown-out has hit it: it was refused the old key since that began."""
        brownout = self._case.rotation.brownout
        started = self._case.rotation.started_at
        is_known = self.is_ours or any(_was_seen_before(one, started) for one in self._old)
        if brownout is None or not is_known or self.is_waived:
            return False
        return any((one.last_denied_at or 0) >= brownout.began_at for one in self._old)

    @property
    def checked_in_at(self) -> int | None:
        started = self._case.rotation.started_at
        times = [one.checked_in_at for one in self._new if (one.checked_in_at or 0) >= started]
        return max((at for at in times if at is not None), default=None)

    @property
    def is_taken_for_run(self) -> bool:
        """Whether a person takes its check-in with the new key for its run."""
        return Standing.CHECKED_IN in self._standings.values() and self.checked_in_at is not None

    @property
    def is_seen_on_new(self) -> bool:
        """Whether it was allowed on the new key, from each environment it had the old one in."""
        if self.is_taken_for_run:
            return True
        if self.new_last is None:
            return False
        started, since = self._case.rotation.started_at, self._case.looks_back_to
        there = {one.environment for one in self._new if (one.last_seen_at or 0) >= started}
        return all(
            one.environment is None or one.environment in there
            for one in self._old
            if (one.last_seen_at or 0) >= since
        )

    @property
    def is_quiet(self) -> bool:
        return self._case.watched_silence(self.old_last) >= self._case.quiet

    @property
    def is_long_silent(self) -> bool:
        return self._case.silence(self.old_last, self._interval) > self._interval

    @property
    def is_denied_on_new(self) -> bool:
        """Whether the new key, which it was allowed on, has only refused it for the quiet time."""
        denied = max((one.last_denied_at or 0 for one in self._new), default=0)
        quiet = max(self._case.quiet, SECOND)
        return self.new_last is not None and denied - self.new_last >= quiet

    @property
    def moved(self) -> bool:
        return self.is_seen_on_new and self.is_quiet and not self.is_denied_on_new

    def blockers(self) -> Iterable[Blocker]:
        if not self.is_ours or self.is_waived:
            return
        if self.conflicts:
            places = ", ".join(self.conflicts)
            yield Blocker(
                code=CONFLICT,
                runtime=self.name,
                detail=f"It was seen from {places}, where it never was before. Say whether that is "
                "yours or an intruder.",
            )
        if self.moved or self.is_long_silent:
            return
        if self.is_denied_on_new:
            yield Blocker(
                code=DENIED_ON_NEW,
                runtime=self.name,
                detail="It was allowed on the new key, and has been denied since.",
            )
            return
        if self.is_seen_on_new:
            yield Blocker(
                code=STILL_ON_OLD,
                runtime=self.name,
                detail=f"It uses the new key, and used the old one {self._told_last()}; that must "
                f"rest for {self._case.rotation.terms.quiet_seconds} s.",
            )
            return
        detail = f"It used the old key {self._told_last()}, and was not allowed on the new one yet."
        if self.checked_in_at is not None:
            detail += " It has checked in with the new key: you may take that for its run."
        yield Blocker(code=NOT_MOVED, runtime=self.name, detail=detail)

    def told(self) -> RuntimeEvidence:
        return RuntimeEvidence(
            runtime=self.name,
            declared=self.declared,
            registered=self.registered,
            standing=self._told_standing(),
            old_last_seen_at=self.old_last,
            old_allowed=sum(one.allowed for one in self._old),
            new_last_seen_at=self.new_last,
            new_allowed=sum(one.allowed for one in self._new),
            new_denied=sum(one.denied for one in self._new),
            checked_in_at=self.checked_in_at,
            moved=self.moved,
            networks=tuple(sorted({one.place for one in self._rows if one.place is not None})),
        )

    def _told_standing(self) -> str:
        if self.is_waived:
            return "waived"
        if self.conflicts:
            return "conflict"
        if self.is_ours:
            return "ours"
        return "stranger" if self.is_stranger else "new"

    def _told_last(self) -> str:
        return "never" if self.old_last is None else f"last at {format_instant(self.old_last)}"

    @property
    def _interval(self) -> int:
        seconds = self._case.expected.get(self.name) if self.registered else None
        return self._case.lookback if seconds is None else seconds * SECOND

    def _decisions(self) -> dict[str | None, Standing]:
        return {
            one.place: one.standing
            for one in self._case.rotation.decisions
            if one.runtime == self.name
        }

    def _known_places(self, rows: Sequence[Use]) -> frozenset[str]:
        """Where it was before the start, and where a person says it is. Of one that never called
        before, where it uses the new key, which no thief of the old one has."""
        started = self._case.rotation.started_at
        before = {
            one.place
            for one in rows
            if self._case.of_old(one) and one.place is not None and _was_seen_before(one, started)
        } or {one.place for one in rows if not self._case.of_old(one) and one.place is not None}
        said = {place for place, word in self._standings.items() if word is Standing.OURS}
        return frozenset(before | {place for place in said if place is not None})

    def _is_elsewhere(self, use: Use) -> bool:
        """Whether what is done here counts for nothing: a person says so, or the runtime never was
        at this place before the start."""
        word, anywhere = self._standings.get(use.place), self._standings.get(None)
        if use.place is not None and word is not None:
            return word is Standing.INTRUDER
        if anywhere is Standing.OURS:
            return False
        if anywhere is Standing.INTRUDER:
            return True
        if use.place in (None, OTHER) or not 0 < len(self._known) < ROAMING:
            return False
        return not self._is_at_known(str(use.place))

    def _is_at_known(self, place: str) -> bool:
        networks = self._case.networks
        return place in self._known or any(
            is_same_place(place, one, networks) for one in self._known
        )

    def _is_undecided(self, use: Use) -> bool:
        words = (self._standings.get(use.place), self._standings.get(None))
        started = self._case.rotation.started_at
        is_active = max(use.last_seen_at or 0, use.last_denied_at or 0) >= started
        return Standing.INTRUDER not in words and is_active

    def _judge_ours(self) -> bool:
        if self._rows and not self._old and not self._new:
            return self.registered  # all that it did was an intruder's, or is in conflict
        if self.registered or Standing.OURS in self._standings.values():
            return bool(self._rows) or self._case.expected.get(self.name) is not None
        started, since = self._case.rotation.started_at, self._case.looks_back_to
        was_known = any(_was_seen_before(one, started) for one in self._old)
        if not self.declared and self.name.partition("@")[0] in self._case.renamed:
            was_known = True
        return was_known and any((one.last_seen_at or 0) >= since for one in self._old)


def _was_seen_before(use: Use, moment: int) -> bool:
    return use.first_seen_at is not None and use.first_seen_at <= moment


def _last(uses: Iterable[Use], since: int = 0) -> int | None:
    times = (one.last_seen_at for one in uses)
    return max((at for at in times if at is not None and at >= since), default=None)


def _general(case: _Case) -> Iterable[Blocker]:
    """What stands in the way and is no runtime's."""
    seen, rotation, new = case.observation, case.rotation, case.new
    gap = seen.complete_since
    if gap is not None and gap > max(case.looks_back_to, case.old.created_at):
        yield Blocker(
            code=HISTORY,
            runtime=None,
            detail=f"Requests from before {format_instant(gap)} are missing, so who used the old "
            "key then is not known. A shorter look-back, or your word, goes past that.",
        )
    is_early = new.not_before is not None and new.not_before > seen.now
    if new.status(seen.now) is not KeyStatus.ACTIVE or is_early:
        told = "not valid yet" if is_early else str(new.status(seen.now))
        yield Blocker(
            code=UNUSABLE, runtime=None, detail=f"The new key is {told}; nobody could use it."
        )
    if rotation.brownout is None and case.old.state is KeyState.SUSPENDED:
        yield Blocker(
            code=SUSPENDED,
            runtime=None,
            detail="The old key is suspended, so that nobody uses it tells nothing. Resume it, or "
            "complete it yourself.",
        )
    if seen.now - seen.until > FRESH_WITHIN:
        yield Blocker(
            code=BEHIND,
            runtime=None,
            detail=f"Requests are known only up to {format_instant(seen.until)}.",
        )
    if rotation.lifts >= MOST_LIFTS:
        hit = f" It hit {', '.join(rotation.met)}." if rotation.met else ""
        yield Blocker(
            code=LIFTED,
            runtime=None,
            detail=f"The brown-out was lifted, and does not begin again by itself.{hit} Complete "
            "it yourself once that is mended.",
        )


_SLOT_DAMAGED = Blocker(
    code=DAMAGED,
    runtime=None,
    detail="The record of the slot was changed from outside, so who is registered on it is not "
    "known. Say anew what it is to say.",
)
