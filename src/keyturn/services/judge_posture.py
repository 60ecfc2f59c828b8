"""Judging posture: the facts of a workspace, gathered in one transaction with few questions.

1. What a caller's `keys:read` does not reach is not in the snapshot, and what is of the whole
   workspace is unknown to who sees some slots alone.
2. Days are counted by steady time; while that is in doubt nothing that counts days passes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from keyturn.domain.browser import BROWSER_SIGNS
from keyturn.domain.evidence import Use
from keyturn.domain.incident import OPEN_STATES as OPEN_INCIDENTS
from keyturn.domain.incident import Incident
from keyturn.domain.instant import DAY
from keyturn.domain.key import KeyStatus
from keyturn.domain.permission import Permission
from keyturn.domain.policy import read_policy
from keyturn.domain.posture.check import CheckId
from keyturn.domain.posture.facts import (
    LOOKBACK_DAYS,
    ClockFacts,
    KeyFacts,
    KeyTraffic,
    LogCheck,
    Snapshot,
)
from keyturn.domain.posture.judge import JudgedCheck, judge_posture
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.posture.workspace_checks import ROLLBACK_DAYS
from keyturn.domain.rotation import OPEN_STATES
from keyturn.domain.slot import DRILL_ENVIRONMENT
from keyturn.domain.traffic import REST, Facet, Tally
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.services.steady import SteadyTime
from keyturn.storage.incidents import IncidentFilter
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.transaction import Reading

_PAGE = 5_000
_MOST_INCIDENTS = 10_000
_READING = frozenset({"GET", "HEAD"})
# Keyturn's own paths; a call to `verify` is recorded under the key that is verified.
_OWN_PATHS = tuple(
    f"/v1/{noun}"
    for noun in (
        *("api-keys", "slots", "rotations", "incidents", "requests", "activity-logs", "findings"),
        *("posture", "destinations", "deliveries", "channels", "messages", "staff-changes"),
        "workspaces",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """What came of each check at `as_of`. `is_whole` is False where the caller sees some slots."""

    workspace_id: UUID
    as_of: int
    is_whole: bool
    checks: tuple[JudgedCheck, ...]


def read_posture(
    context: Context,
    time: SteadyTime,
    caller: Caller,
    workspace_id: UUID,
    wanted: CheckId | None = None,
) -> Posture:
    """Every check on the slots that the caller may read, or the one that is wanted."""
    snapshot, waivers = gather(context, time, caller, workspace_id)
    return Posture(
        workspace_id=workspace_id,
        as_of=snapshot.now,
        is_whole=snapshot.is_whole,
        checks=judge_posture(snapshot, waivers, wanted),
    )


def gather(
    context: Context, time: SteadyTime, caller: Caller, workspace_id: UUID
) -> tuple[Snapshot, Sequence[PostureWaiver]]:
    """One view of a workspace, and what is waived in it."""
    patterns = caller.rights.slots(Permission.KEYS_READ)
    is_whole = "*" in patterns
    clock, log = _clock(context, time), context.log_check()
    now = time.now()
    with context.store.read() as transaction:
        workspace = transaction.workspaces.find(workspace_id)
        rotations = transaction.rotations.telling(
            workspace_id, patterns, DRILL_ENVIRONMENT, now - ROLLBACK_DAYS * DAY
        )
        open_ones = [one for one in rotations if one.state in OPEN_STATES]
        rotating = {id_ for one in open_ones for id_ in (one.old_key_id, one.new_key_id)}
        channels = tuple(transaction.channels.of_workspace(workspace_id)) if is_whole else None
        snapshot = Snapshot(
            workspace_id=workspace_id,
            now=now,
            is_whole=is_whole,
            policy=None if workspace is None else read_policy(workspace.policy),
            keys=tuple(_keys(transaction, workspace_id, patterns, rotating, now)),
            rotations=tuple(rotations),
            channels=channels,
            incidents=_incidents(transaction, caller, workspace_id),
            sees_all_incidents="*" in caller.rights.slots(Permission.REQUESTS_READ),
            log=log,
            has_checked_entry=_has_entry(transaction, log),
            clock=clock,
        )
        waivers = transaction.posture_waivers.holding(workspace_id, now, patterns)
        damaged = tuple(one.kind for one in transaction.session.damage)
    return replace(snapshot, damaged=damaged), waivers


def _incidents(
    transaction: Reading, caller: Caller, workspace_id: UUID
) -> tuple[Incident, ...] | None:
    """The open ones, None for who may not read them."""
    patterns = caller.rights.slots(Permission.REQUESTS_READ)
    if not patterns:
        return None
    wanted = IncidentFilter(states=tuple(sorted(OPEN_INCIDENTS)), slots=patterns)
    return tuple(
        transaction.incidents.list(workspace_id, wanted, limit=_MOST_INCIDENTS, before=None)
    )


def _clock(context: Context, time: SteadyTime) -> ClockFacts:
    skew = context.store.ping() - context.clock.now()
    now = time.now()
    return ClockFacts(
        watched_since=time.watched_since,
        set_at=time.set_at,
        skew=skew,
        ahead=now - time.borne_out(),
    )


def _has_entry(transaction: Reading, log: LogCheck | None) -> bool:
    if log is None or not log.entries:
        return True
    found = transaction.activity.hash_of(log.entries)
    return found is not None and found.hex() == log.hash


def _keys(
    transaction: Reading,
    workspace_id: UUID,
    patterns: tuple[str, ...],
    rotating: set[UUID],
    now: int,
) -> Iterator[KeyFacts]:
    since = now - LOOKBACK_DAYS * DAY
    views = list(_live(transaction, workspace_id, patterns, now))
    ids = [view.key.id for view in views]
    uses: dict[UUID, list[Use]] = {}
    for use in transaction.uses.of_since(ids, since):
        uses.setdefault(use.key_id, []).append(use)
    traffic = _traffic(transaction.traffic.used_for(ids, since))
    for view in views:
        key, slot = view.key, view.slot
        yield KeyFacts(
            key=key,
            notes=None if slot is None else slot.notes,
            last_used_at=view.last_used_at,
            uses=tuple(uses.get(key.id, ())),
            traffic=traffic.get(key.id),
            is_rotating=key.id in rotating,
        )


def _live(
    transaction: Reading, workspace_id: UUID, patterns: tuple[str, ...], now: int
) -> Iterator[KeyView]:
    """The keys that are neither revoked nor expired."""
    for status in (KeyStatus.ACTIVE, KeyStatus.SUSPENDED):
        wanted = KeyFilter(status=status, now=now, slots=patterns)
        before = None
        while True:
            page = transaction.keys.list(workspace_id, wanted, limit=_PAGE, before=before)
            yield from page
            if len(page) < _PAGE:
                break
            before = page[-1].key.id


@dataclass(slots=True)
class _Sums:
    """What is gathered of one key's traffic."""

    scopes: set[str] = field(default_factory=set)
    browsers: dict[str, int] = field(default_factory=dict)
    with_agent: int = 0
    wrote_at: int | None = None
    read_at: int | None = None
    is_cut: bool = False
    are_paths_cut: bool = False

    def add(self, one: Tally) -> None:
        match one.facet:
            case Facet.SCOPE if one.value == REST:
                self.is_cut = True
            case Facet.SCOPE if one.allowed:
                self.scopes.add(one.value)
            case Facet.BROWSER if one.value in BROWSER_SIGNS:
                self.browsers[one.value] = one.last_at
            case Facet.AGENT:
                self.with_agent = one.allowed + one.denied
            case Facet.PATH if one.value == REST:
                self.are_paths_cut = True
            case Facet.PATH if one.allowed:
                self._call(one)
            case _:
                pass

    def _call(self, one: Tally) -> None:
        """A call to Keyturn itself."""
        method, _, path = one.value.partition(" ")
        if not path.startswith(_OWN_PATHS):
            return
        if method in _READING:
            self.read_at = max(self.read_at or 0, one.last_at)
        else:
            self.wrote_at = max(self.wrote_at or 0, one.last_at)


def _traffic(found: Sequence[Tally]) -> Mapping[UUID, KeyTraffic]:
    sums: dict[UUID, _Sums] = {}
    for one in found:
        sums.setdefault(one.key_id, _Sums()).add(one)
    return {
        key_id: KeyTraffic(
            scopes=frozenset(one.scopes),
            browsers=one.browsers,
            with_agent=one.with_agent,
            wrote_at=one.wrote_at,
            read_at=one.read_at,
            is_cut=one.is_cut,
            are_paths_cut=one.are_paths_cut,
        )
        for key_id, one in sums.items()
    }
