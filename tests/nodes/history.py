"""What happened in a trial of several nodes, by one clock, and the judgement on it.

F1. Nothing is let in by a call that was sent after the moment that the answer of a change named
    (`Keyturn-Effective-By`), nor later than a lease after any answer of it.
F2. Nothing is let in by a call that was sent after the answer that it is complete.

A call is sent before its first byte leaves, an answer is there once it is read whole: each error in
measuring them is in favour of nobody but the accuser.
"""

import itertools
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

# How far apart two clocks may run, as the product reckons (storage/nodes.py).
DRIFT = 0.001
VALID = "valid"
NONE = "no answer"
# What a caller is told by a node that cannot tell, or that is not there.
REFUSALS = frozenset({"freshness_lost", "storage.unavailable", "overloaded", NONE})
# After a fault is healed a node may take so long, and what it is part of is not called calm.
HEAL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Use:
    """One verification."""

    node: str
    sent: float
    received: float
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One that took something away. `effective_by`: as told, by the trial's clock."""

    key: str
    kind: str
    node: str
    sent: float  # of its first attempt
    answered: float
    is_complete: bool
    effective_by: float | None
    due: float = -math.inf  # it is to take effect then, and not sooner
    attempts: int = 1


@dataclass(slots=True, kw_only=True)
class Episode:
    """A fault at one node, from its beginning until it is healed. `served`: when the node first
    let in again what is in order."""

    node: str
    kind: str
    began: float
    healed: float = math.inf
    served: float | None = None


@dataclass(slots=True)
class History:
    """All of it. `lease_seconds` as the nodes have it."""

    lease_seconds: float
    uses: dict[str, list[Use]] = field(default_factory=lambda: defaultdict(list))
    pulses: list[Use] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    lost: list[Change] = field(default_factory=list)  # answered, and not so at the end

    @property
    def bound_seconds(self) -> float:
        return self.lease_seconds * (1 + DRIFT) / (1 - DRIFT) + 0.001

    def bound(self, change: Change) -> float:
        """Whatever is sent after this must not be let in."""
        if change.is_complete:
            bound = change.answered
        else:
            bound = change.answered + self.bound_seconds
            if change.effective_by is not None:
                bound = min(bound, change.effective_by)
        return max(bound, change.due)

    def let_in_after(self) -> list[tuple[Change, Use]]:
        return [
            (change, use)
            for change in self.changes
            for use in self.uses[change.key]
            if use.code == VALID and use.sent > self.bound(change)
        ]

    def is_calm(self, begin: float, end: float) -> bool:
        return all(end < one.began or begin > one.healed + HEAL_SECONDS for one in self.episodes)

    def answers(self, *, calm: bool) -> list[float]:
        """Seconds from the first attempt to the answer that a change is complete."""
        return [
            one.answered - one.sent
            for one in self.changes
            if one.is_complete and self.is_calm(one.sent, one.answered) == calm
        ]

    def last_seen(self) -> list[float]:
        """Of each change that nobody waited for, how long after its answer a call was sent that
        was still let in."""
        found = []
        for one in self.changes:
            if not one.is_complete and one.due == -math.inf:
                late = [use.sent for use in self.uses[one.key] if use.code == VALID]
                found.append(max(0.0, max(late, default=-math.inf) - one.answered))
        return found

    def healing(self) -> list[tuple[float, Episode]]:
        """Seconds from healing to serving, the longest first."""
        return sorted(
            (
                (one.served - one.healed, one)
                for one in self.episodes
                if one.served is not None and one.healed < math.inf
            ),
            key=lambda pair: -pair[0],
        )

    def denied_seconds(self, node: str) -> float:
        """The longest time in which a node let in nothing that is in order."""
        good = sorted(use.received for use in self.pulses if use.node == node and use.code == VALID)
        return max((b - a for a, b in itertools.pairwise(good)), default=math.inf)

    def calm_refusals(self) -> int:
        """Pulses that were refused though nothing was at fault anywhere."""
        return sum(
            use.code != VALID and self.is_calm(use.sent, use.received) for use in self.pulses
        )

    def table(self) -> str:
        uses = [use for one in self.uses.values() for use in one] + self.pulses
        codes = Counter(use.code for use in uses)
        kinds = Counter(one.kind for one in self.changes)
        ways = Counter(self._way(one) for one in self.changes)
        heals = self.healing()
        rows = [
            ("let in after the bound", str(len(self.let_in_after()))),
            ("answered changes that were lost", str(len(self.lost))),
            ("changes", _counted(kinds)),
            ("  answered as", _counted(ways)),
            ("  after more than one attempt", str(sum(one.attempts > 1 for one in self.changes))),
            ("answers, calm: p50 / p99 / longest", spread(self.answers(calm=True))),
            ("answers, in faults: p50 / p99 / longest", spread(self.answers(calm=False))),
            ("not waited for: last let in after", spread(self.last_seen())),
            ("calls", str(len(uses))),
            ("  let in", str(codes[VALID])),
            ("  refused with 503", str(sum(codes[one] for one in REFUSALS - {NONE}))),
            ("  without an answer", str(codes[NONE])),
            ("  refused in calm", str(self.calm_refusals())),
            ("faults", _counted(Counter(one.kind for one in self.episodes))),
            ("  healed to serving: p50 / p99 / longest", spread([one for one, _ in heals])),
            ("  the longest of", heals[0][1].kind if heals else "-"),
            ("  never seen serving", str(sum(one.served is None for one in self.episodes))),
        ]
        return "\n".join(f"{name:<42}{text}" for name, text in rows)

    def _way(self, change: Change) -> str:
        if change.is_complete:
            return "complete"
        return "accepted" if change.effective_by is not None else "untold"


def _counted(counts: Counter[str]) -> str:
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({told})" if told else "0"


def spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    cuts = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99)]
    return " / ".join(f"{one * 1_000:.0f}" for one in [*cuts, ordered[-1]]) + " ms"
