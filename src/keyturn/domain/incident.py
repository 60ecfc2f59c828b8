"""The incident: the response to exposed keys. Contained first, then known, replaced, recovered.

1. Its keys are dead before it is there: containment and the record are one transaction. The scope
   is frozen then: no key comes in later, and none leaves it.
2. Where it stands follows from what happened and is told by `state_of`; nobody sets it by hand but
   for the end. `STATES` is its only order, and it may go back: a runtime that was denied again
   takes a recovery away.
3. It closes only when each key is settled: recovered, or waived by name, with a reason, until a
   stated time. Nothing opens it again: a waiver that runs out later is a finding. To a false alarm
   a key is settled too that this incident has not revoked: it was dead before, or works then.
4. What a person says of a caller is a placement: ours or an intruder, by name, and by place or
   everywhere. The narrower one counts.
5. The record of an incident says which versions of its keys are the last (`keys_hash`): none can be
   taken out of it, nor put back as it was, without being seen.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.error import IncidentClosed, IncidentKeysOpen, RequestInvalid
from keyturn.domain.instant import SECOND
from keyturn.domain.key import KeyState
from keyturn.domain.slot import SlotName

MOST_KEYS = 100_000
MOST_PLACEMENTS = 1_000
# A runtime that used the key this long before its containment, and not since, need not come back.
LOOKBACK_SECONDS = 35 * 86_400
LONGEST_WAIVER_SECONDS = 366 * 86_400


class IncidentState(StrEnum):
    """`contained`: its requests are still being counted. `investigating`: the blast radius is
    whole. `replacing`: some keys have a replacement. `recovering`: all have one, or are waived."""

    CONTAINED = "contained"
    INVESTIGATING = "investigating"
    REPLACING = "replacing"
    RECOVERING = "recovering"
    CLOSED = "closed"


OPEN_STATES = frozenset(IncidentState) - {IncidentState.CLOSED}


class IncidentReason(StrEnum):
    LEAKED = "leaked"
    SUSPECTED = "suspected"
    STAFF_CHANGE = "staff_change"
    OTHER = "other"


class Containment(StrEnum):
    """How keys are contained: for good, or so that a false alarm gives them back."""

    REVOKE = "revoke"
    SUSPEND = "suspend"


class Outcome(StrEnum):
    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"


class CallerStanding(StrEnum):
    """Who a caller of a contained key is: registered on the slot or placed by a person; declared by
    itself alone; inferred; placed as a thief."""

    OURS = "ours"
    CLAIMED = "claimed"
    SUSPECT = "suspect"
    INTRUDER = "intruder"


PLACEABLE = frozenset({CallerStanding.OURS, CallerStanding.INTRUDER})


class Because(StrEnum):
    """Why a key is in an incident: it was named, by id, token or selection; or a contained key had
    made it while it was exposed."""

    NAMED = "named"
    MADE_BY_CONTAINED = "made_by_contained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A person's word on one runtime, at one network or, where that is None, at any. `network` is
    the name of a network or an address, as the report shows it."""

    runtime: str
    network: str | None
    standing: CallerStanding
    by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A key that the incident may close without, until a stated time."""

    reason: str
    until: int
    by: str
    at: int

    def holds(self, now: int) -> bool:
        return now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainedKey:
    """One key of an incident. `state_before` is what it was in when it was contained: a false alarm
    gives back only what this incident took away. `exposed_since` is the start of its window."""

    incident_id: UUID
    workspace_id: UUID
    key_id: UUID
    name: str
    slot: SlotName
    because: Because
    state_before: KeyState
    exposed_since: int
    contained_at: int
    replacement_key_id: UUID | None
    replaced_at: int | None
    recovered_at: int | None
    waiver: Waiver | None
    updated_at: int
    version: int

    def is_settled(self, now: int) -> bool:
        """Whether the incident may close over it."""
        return self.is_waived(now) or self.recovered_at is not None

    def is_waived(self, now: int) -> bool:
        return self.waiver is not None and self.waiver.holds(now)

    def replaced(self, replacement_key_id: UUID, now: int) -> "ContainedKey":
        return self._changed(now, replacement_key_id=replacement_key_id, replaced_at=now)

    def unreplaced(self, now: int) -> "ContainedKey":
        """Without its replacement, and not recovered: that was revoked, and nothing took its
        place."""
        return self._changed(now, replacement_key_id=None, replaced_at=None, recovered_at=None)

    def judged(self, recovered: bool, now: int) -> "ContainedKey":
        """Recovered since now, or not any more; itself where that is nothing new."""
        if recovered is (self.recovered_at is not None):
            return self
        return self._changed(now, recovered_at=now if recovered else None)

    def waived(self, waiver: Waiver, now: int) -> "ContainedKey":
        return self._changed(now, waiver=waiver)

    def _changed(self, now: int, **members: object) -> "ContainedKey":
        return replace(self, updated_at=now, version=self.version + 1, **members)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """The record of an incident; its keys are records of their own. Times are microseconds.

    `exposed_since` is as it was given: None is since each key was made. `counted_at` is when every
    request up to the containment was known, None while some may be on their way. `unreached` are
    keys that a contained key made before it was exposed, or where its container may not reach, and
    keys of others that it changed meanwhile: listed, and left alone.
    """

    id: UUID
    workspace_id: UUID
    state: IncidentState
    reason: IncidentReason
    detail: str | None
    found_url: str | None
    exposed_since: int | None
    containment: Containment
    opened_at: int
    opened_by: str
    contained_at: int
    counted_at: int | None
    keys_hash: str
    placements: tuple[Placement, ...]
    unreached: tuple[UUID, ...]
    closed_at: int | None
    closed_by: str | None
    outcome: Outcome | None
    updated_at: int
    version: int

    @property
    def is_open(self) -> bool:
        return self.state is not IncidentState.CLOSED

    def has_revoked(self, key: ContainedKey) -> bool:
        """Whether one of its keys was taken away for good by this incident."""
        return self.containment is Containment.REVOKE and key.state_before is not KeyState.REVOKED

    def require_open(self) -> None:
        """Raises `IncidentClosed`."""
        if not self.is_open:
            raise IncidentClosed("This incident is closed. Open another one for what came after.")

    def placed(self, placement: Placement) -> "Incident":
        """With one more placement, instead of an earlier one on the same runtime and network."""
        self.require_open()
        if placement.standing not in PLACEABLE:
            raise RequestInvalid.at("/standing", "A person says `ours` or `intruder`.")
        name = (placement.runtime, placement.network)
        kept = tuple(one for one in self.placements if (one.runtime, one.network) != name)
        if len(kept) >= MOST_PLACEMENTS:
            raise RequestInvalid.at("/runtime", f"There may be {MOST_PLACEMENTS} placements.")
        return self._changed(placement.at, placements=(*kept, placement))

    def over(self, keys: Iterable[ContainedKey], now: int) -> "Incident":
        """With these as its keys, as they are now; itself where none has changed."""
        hashed = hash_keys(keys)
        return self if hashed == self.keys_hash else self._changed(now, keys_hash=hashed)

    def counted(self, now: int) -> "Incident":
        return self if self.counted_at is not None else self._changed(now, counted_at=now)

    def standing_at(self, state: IncidentState, now: int) -> "Incident":
        """In `state`; itself where it is that already."""
        return self if state is self.state else self._changed(now, state=state)

    def closed(
        self, keys: Sequence[ContainedKey], outcome: Outcome, by: str, now: int
    ) -> "Incident":
        """At its end. Raises `IncidentKeysOpen` where a key is not settled; closed once more, it
        stays as it is."""
        if not self.is_open:
            return self
        is_false = outcome is Outcome.FALSE_ALARM
        open_keys = tuple(
            one
            for one in keys
            if not one.is_settled(now) and not (is_false and not self.has_revoked(one))
        )
        if open_keys:
            keys_are = "key is" if len(keys) == 1 else "keys are"
            raise IncidentKeysOpen(
                f"{len(open_keys)} of {len(keys)} {keys_are} neither recovered nor waived.",
                keys=tuple((str(one.key_id), one.name) for one in open_keys),
            )
        return self._changed(
            now, state=IncidentState.CLOSED, closed_at=now, closed_by=by, outcome=outcome
        )

    def _changed(self, now: int, **members: object) -> "Incident":
        return replace(self, updated_at=now, version=self.version + 1, **members)  # type: ignore[arg-type]


def hash_keys(keys: Iterable[ContainedKey]) -> str:
    """What tells these keys, in their present versions, from any others."""
    lines = sorted(f"{one.key_id} {one.version}" for one in keys)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def state_of(incident: Incident, keys: Sequence[ContainedKey], now: int) -> IncidentState:
    """Where an incident stands, by what happened."""
    if not incident.is_open:
        return IncidentState.CLOSED
    if all(one.replacement_key_id is not None or one.is_settled(now) for one in keys):
        return IncidentState.RECOVERING
    if any(one.replacement_key_id is not None for one in keys):
        return IncidentState.REPLACING
    if incident.counted_at is None:
        return IncidentState.CONTAINED
    return IncidentState.INVESTIGATING


def is_counted(incident: Incident, known_until: int) -> bool:
    """Whether every request up to the containment is known."""
    return known_until > incident.contained_at


def placed_standing(
    placements: Sequence[Placement], runtime: str, networks: Sequence[str]
) -> CallerStanding | None:
    """What a person said of a runtime at a caller's networks (its named network, its address); None
    where nothing was said."""
    words = {(one.runtime, one.network): one.standing for one in placements}
    for network in networks:
        if (runtime, network) in words:
            return words[(runtime, network)]
    return words.get((runtime, None))


def looks_back_to(key: ContainedKey) -> int:
    """Since when a runtime must have used the contained key to be waited for."""
    return key.contained_at - LOOKBACK_SECONDS * SECOND
