"""The impact of a revocation: what would break if a key were revoked now.

A runtime would break if it used the key within its interval (declared, else the look-back) and has
not moved to the key that is to take its place. `unknown` means that nobody would be known to break,
and that the records reach back less far than that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from keyturn.domain.evidence import Evidence, Identity, Observation, Use, is_registered
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key, KeyStatus
from keyturn.domain.rotation import DEFAULT_LOOKBACK_SECONDS
from keyturn.domain.slot import ExpectedRuntime

_HOUR = 3_600 * SECOND


class ImpactWord(StrEnum):
    SAFE = "safe"
    BREAKS = "breaks"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeImpact:
    """One runtime of the key. `calls_per_hour` is over the time between its first and last use."""

    runtime: str
    declared: bool
    registered: bool
    last_seen_at: int | None
    allowed: int
    calls_per_hour: float | None
    longest_gap: int | None
    next_expected_at: int | None
    breaks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What would break. `reason` is one plain sentence."""

    word: ImpactWord
    reason: str
    runtimes: tuple[RuntimeImpact, ...]


def assess_impact(
    key: Key,
    uses: Iterable[Use],
    expected: Sequence[ExpectedRuntime],
    evidence: Evidence | None,
    observation: Observation,
    now: int,
) -> Impact:
    """The impact of revoking `key` now. `evidence` is that of the rotation that retires it."""
    rows: dict[Identity, list[Use]] = {}
    for use in uses:
        if use.key_id == key.id and (use.allowed or use.checked_in_at is not None):
            rows.setdefault((use.runtime, use.declared), []).append(use)
    moved = {
        (one.runtime, one.declared)
        for one in (() if evidence is None else evidence.runtimes)
        if one.moved or one.standing in ("waived", "stranger")
    }
    is_dead = key.status(now) in (KeyStatus.REVOKED, KeyStatus.EXPIRED)
    if is_dead:
        moved |= set(rows)
    intervals = {one.name: one.max_call_interval_seconds for one in expected}
    runtimes = tuple(
        sorted(
            (_assess(identity, mine, intervals, moved, now) for identity, mine in rows.items()),
            key=lambda one: (not one.breaks, -(one.last_seen_at or 0), one.runtime),
        )
    )
    word, reason = _judge(key, runtimes, observation, now)
    return Impact(word=word, reason=reason, runtimes=runtimes)


def _assess(
    identity: Identity,
    rows: Sequence[Use],
    intervals: dict[str, int | None],
    moved: set[Identity],
    now: int,
) -> RuntimeImpact:
    name, declared = identity
    registered = is_registered(identity, intervals)
    declared_seconds = intervals.get(name) if registered else None
    interval = (declared_seconds or DEFAULT_LOOKBACK_SECONDS) * SECOND
    firsts = [one.first_seen_at for one in rows if one.first_seen_at is not None]
    lasts = [one.last_seen_at for one in rows if one.last_seen_at is not None]
    gaps = [one.longest_gap for one in rows if one.longest_gap is not None]
    last, gap = max(lasts, default=None), max(gaps, default=None)
    allowed = sum(one.allowed for one in rows)
    stretch = (last - min(firsts)) if firsts and last is not None else 0
    step = declared_seconds * SECOND if declared_seconds is not None else gap
    return RuntimeImpact(
        runtime=name,
        declared=declared,
        registered=registered,
        last_seen_at=last,
        allowed=allowed,
        calls_per_hour=None if stretch <= 0 else round((allowed - 1) * _HOUR / stretch, 3),
        longest_gap=gap,
        next_expected_at=None if last is None or step is None else last + step,
        breaks=last is not None and now - last <= interval and identity not in moved,
    )


def _judge(
    key: Key, runtimes: Sequence[RuntimeImpact], observation: Observation, now: int
) -> tuple[ImpactWord, str]:
    status = key.status(now)
    if status in (KeyStatus.REVOKED, KeyStatus.EXPIRED):
        return ImpactWord.SAFE, f"The key is {status}: nobody can use it any more."
    broken = [one.runtime for one in runtimes if one.breaks]
    if broken:
        told = ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
        return ImpactWord.BREAKS, f"This would cut off {told}."
    back = now - DEFAULT_LOOKBACK_SECONDS * SECOND
    gap = observation.complete_since
    if gap is not None and gap > max(back, key.created_at):
        return ImpactWord.UNKNOWN, "Nobody is known to use it, but records are missing."
    if any(one.allowed for one in runtimes):
        return ImpactWord.SAFE, "Everybody who used it has moved, or was silent for long."
    if key.created_at > back:
        return ImpactWord.UNKNOWN, "Nobody has used it yet; whoever holds it may still begin."
    return ImpactWord.SAFE, "Nobody has used it within the look-back of 35 days."
