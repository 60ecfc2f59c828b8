"""Recovery: whether what a contained key did for us is done with its replacement.

1. A *caller* is a runtime that was allowed on the contained key in its last weeks, at one place
   (`place.py`). It is ours where the slot names the runtime or a person placed it so, an intruder
   where a person said that, `claimed` where only it says who it is, else `suspect`. What a person
   says counts before anything else.
2. A runtime of ours has recovered once it was allowed on the replacement and was not denied there
   since, wherever it came from but for the places of intruders.
3. A key has recovered when it has a replacement, each runtime of ours has recovered, and no
   `claimed` caller is left to be placed: who might be ours must not be forgotten.
4. A key that another contained key had made needs no replacement where nobody but intruders used
   it: it never did anything for us. Nor does one that was revoked before and that nobody of ours
   used lately: rights that were taken away are not given again for nothing. Where a rotation had
   put another key in its place, that is its replacement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyturn.domain.evidence import Identity, Use, is_registered
from keyturn.domain.incident import (
    Because,
    CallerStanding,
    ContainedKey,
    Containment,
    Incident,
    IncidentState,
    Outcome,
    Placement,
    looks_back_to,
)
from keyturn.domain.instant import format_instant
from keyturn.domain.key import KeyState
from keyturn.domain.network import parse_address
from keyturn.domain.place import place_of
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.slot import ExpectedRuntime

# A runtime at a place; and from which addresses each was seen.
Spot = tuple[str, str | None]
Addresses = Mapping[Spot, frozenset[str]]
NOWHERE: Addresses = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerRecovery:
    """One caller of a contained key. `denied_since` is when the replacement refused it last, None
    where it was allowed after that."""

    runtime: str
    declared: bool
    network: str | None
    standing: CallerStanding
    last_seen_at: int | None
    recovered: bool
    new_last_seen_at: int | None
    denied_since: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecovery:
    """What is known of one contained key. `is_replaceable` is False where its record was changed
    from outside, so that nothing is known of its rights; `is_succeeded` where it was revoked before
    and a rotation had put another in its place."""

    key: ContainedKey
    callers: tuple[CallerRecovery, ...]
    is_replaceable: bool = True
    is_succeeded: bool = False

    @property
    def unplaced(self) -> tuple[CallerRecovery, ...]:
        return tuple(one for one in self.callers if one.standing is CallerStanding.CLAIMED)

    @property
    def missing(self) -> tuple[CallerRecovery, ...]:
        """Those of ours that have not recovered."""
        return tuple(
            one for one in self.callers if one.standing is CallerStanding.OURS and not one.recovered
        )

    @property
    def needs_replacement(self) -> bool:
        if self.is_succeeded:
            return False
        was_alive = self.key.state_before is not KeyState.REVOKED
        if self.key.because is Because.NAMED and was_alive:
            return True
        return any(one.standing is not CallerStanding.INTRUDER for one in self.callers)

    @property
    def is_recovered(self) -> bool:
        has_replacement = self.key.replacement_key_id is not None or not self.needs_replacement
        return has_replacement and not self.missing and not self.unplaced


def judge_key(
    key: ContainedKey,
    placements: Sequence[Placement],
    old_uses: Iterable[Use],
    new_uses: Iterable[Use],
    expected: Sequence[ExpectedRuntime],
    networks: tuple[NamedNetwork, ...],
    addresses: Addresses = NOWHERE,
    *,
    is_succeeded: bool = False,
) -> KeyRecovery:
    """What is known of a contained key. `new_uses` are those of its replacement, or of what it had
    before where it `is_succeeded`, and of what has replaced that since; `addresses` is from where
    each runtime was allowed, by runtime and place, as far as placements ask for it."""
    names = {one.name: one for one in expected}
    where = _Placed(placements, networks, addresses)
    since = looks_back_to(key)
    places: dict[tuple[str, bool, str | None], list[Use]] = {}
    for use in old_uses:
        if (use.last_seen_at or 0) >= since:
            places.setdefault((use.runtime, use.declared, use.place), []).append(use)
    seen = _seen_on_new(new_uses, where)
    callers = []
    for (runtime, declared, place), uses in places.items():
        allowed, denied = seen.get((runtime, declared), (None, None))
        standing = where.standing(runtime, place) or _natural(runtime, declared, names)
        is_denied = denied is not None and (allowed is None or denied > allowed)
        callers.append(
            CallerRecovery(
                runtime=runtime,
                declared=declared,
                network=place,
                standing=standing,
                last_seen_at=max((one.last_seen_at or 0 for one in uses), default=0),
                recovered=allowed is not None and not is_denied,
                new_last_seen_at=allowed,
                denied_since=denied if is_denied else None,
            )
        )
    callers.sort(key=lambda one: (one.runtime, not one.declared, one.network or ""))
    return KeyRecovery(key=key, callers=tuple(callers), is_succeeded=is_succeeded)


class _Placed:
    """What a person said of callers. Uses are told apart by place, and a person may name an address
    in it: an intruder's address speaks for its place where no other was seen there (`addresses`, by
    runtime and place), one of ours always."""

    def __init__(
        self,
        placements: Sequence[Placement],
        networks: tuple[NamedNetwork, ...],
        addresses: Addresses,
    ) -> None:
        self._words = {(one.runtime, one.network): one.standing for one in placements}
        self._at: dict[Spot, dict[str, CallerStanding]] = {}
        self._seen = addresses
        for one in placements:
            address = None if one.network is None else parse_address(one.network)
            if address is not None and one.network is not None:
                spot = (one.runtime, place_of(address, networks))
                self._at.setdefault(spot, {})[one.network] = one.standing

    def standing(self, runtime: str, place: str | None) -> CallerStanding | None:
        """Of two words on one place the one that has us wait counts."""
        spot = (runtime, place)
        said = self._at.get(spot, {})
        exact = self._words.get(spot)
        if CallerStanding.OURS in (exact, *said.values()):
            return CallerStanding.OURS
        is_whole = bool(said) and not (self._seen.get(spot, frozenset()) - said.keys())
        if exact is not None or is_whole:
            return CallerStanding.INTRUDER
        return self._words.get((runtime, None))


def _natural(runtime: str, declared: bool, names: dict[str, ExpectedRuntime]) -> CallerStanding:
    if is_registered((runtime, declared), names):
        return CallerStanding.OURS
    return CallerStanding.CLAIMED if declared else CallerStanding.SUSPECT


def _seen_on_new(
    uses: Iterable[Use], where: _Placed
) -> dict[Identity, tuple[int | None, int | None]]:
    """When each runtime was last allowed on the replacement, and last denied."""
    seen: dict[Identity, tuple[int | None, int | None]] = {}
    for use in uses:
        if where.standing(use.runtime, use.place) is CallerStanding.INTRUDER:
            continue
        allowed, denied = seen.get((use.runtime, use.declared), (None, None))
        seen[(use.runtime, use.declared)] = (
            _later(allowed, use.last_seen_at),
            _later(denied, use.last_denied_at),
        )
    return seen


def _later(one: int | None, other: int | None) -> int | None:
    return max((at for at in (one, other) if at is not None), default=None)


def tell_next_step(incident: Incident, keys: Sequence[KeyRecovery], now: int) -> str:
    """The one thing to do now."""
    if incident.state is IncidentState.CLOSED:
        return _tell_end(incident, keys, now)
    open_keys = [one for one in keys if not one.key.is_settled(now)]
    if not open_keys:
        return _tell_closing(keys)
    unreplaced = [
        one for one in open_keys if one.needs_replacement and one.key.replacement_key_id is None
    ]
    unknown = next((one for one in unreplaced if not one.is_replaceable), None)
    if unknown is not None and len(unreplaced) == 1:
        return (
            f"Waive {unknown.key.key_id} when you close it: its record was changed from outside, "
            "so make its replacement by hand."
        )
    if unreplaced:
        return _tell_unreplaced(unreplaced, len(keys))
    for one in open_keys:
        if one.unplaced:
            return _tell_unplaced(one)
    for one in open_keys:
        if one.missing:
            return _tell_missing(one)
    return "Wait a moment: its keys have recovered."


def _tell_unreplaced(unreplaced: Sequence[KeyRecovery], total: int) -> str:
    first = next((one for one in unreplaced if one.is_replaceable), unreplaced[0]).key.name
    if total == 1:
        return f"Make a replacement for {first}."
    others = "" if len(unreplaced) == 1 else " and others"
    return f"Make a replacement for {len(unreplaced)} of {total} keys: {first}{others}."


def _tell_unplaced(one: KeyRecovery) -> str:
    caller = one.unplaced[0]
    place = "" if caller.network is None else f" at {caller.network}"
    return (
        f"Say whether {caller.runtime}{place}, which used {one.key.name}, is yours or an intruder."
    )


def _tell_missing(one: KeyRecovery) -> str:
    denied = next((each for each in one.missing if each.denied_since is not None), None)
    if denied is not None and denied.denied_since is not None:
        since = format_instant(denied.denied_since)
        return f"See to {denied.runtime}: the replacement of {one.key.name} refused it at {since}."
    names = sorted({each.runtime for each in one.missing})
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"Bring the replacement of {one.key.name} to {names[0]}{more}: it has not used it yet."


def _tell_closing(keys: Sequence[KeyRecovery]) -> str:
    unseen = [
        one.key.name
        for one in keys
        if one.key.recovered_at is not None and not one.callers and one.needs_replacement
    ]
    if not unseen:
        return "Close it: every key is recovered or waived."
    more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
    return f"Close it; nobody was seen using {unseen[0]}{more}, so nobody could be waited for."


def _tell_end(incident: Incident, keys: Sequence[KeyRecovery], now: int) -> str:
    is_false = incident.outcome is Outcome.FALSE_ALARM
    if is_false and incident.containment is Containment.SUSPEND:
        return "Nothing is left to do: it was a false alarm, and its keys are as they were before."
    for one in keys:
        if one.key.waiver is not None and not one.key.is_settled(now):
            until = format_instant(one.key.waiver.until)
            return (
                f"See to {one.key.name}: it has not recovered, and its waiver ran out at {until}."
            )
    if is_false:
        return "Nothing is left to do: it was a false alarm, and what was revoked stays so."
    return "Nothing is left to do: it is closed."
