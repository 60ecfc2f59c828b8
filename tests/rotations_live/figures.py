"""The figures of a trial of rotations: what was done, and what harm it did."""

import statistics
from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Figures:
    """Counts, and the faults in words. `denied` are calls of healthy callers that were refused
    though no brown-out was going on; `retired_early` are callers that held only a key which was
    retired. `took` and `waited` are seconds to the end, from the start and from the last move."""

    rotations: int = 0
    completed: int = 0
    in_time: int = 0
    by_person: Counter[str] = field(default_factory=Counter)
    unfinished: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    lost_tokens: int = 0
    failed_deliveries: int = 0
    kills: int = 0
    calls: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    denied: int = 0
    retired_early: int = 0
    browned_out: int = 0
    lifts: int = 0
    refused_seconds: list[float] = field(default_factory=list)
    thieves: int = 0
    thefts: int = 0
    thefts_after: int = 0
    looks: int = 0
    lag_seconds: float = 0.0
    readiness_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def share_in_time(self) -> float:
        return self.in_time / self.rotations if self.rotations else 0.0

    def table(self) -> str:
        rows = [
            ("rotations", str(self.rotations)),
            ("  completed", str(self.completed)),
            ("  unattended within the overlap", f"{self.in_time} ({self.share_in_time:.1%})"),
            ("  completed by a person", _told(self.by_person)),
            ("  not completed", _told(self.unfinished)),
            ("  start to end, seconds", _spread(self.took)),
            ("  last move to end, seconds", _spread(self.waited)),
            ("healthy callers denied, calls", str(self.denied)),
            ("early retirements", str(self.retired_early)),
            ("looks at S1 to S4", str(self.looks)),
            ("other faults", str(len(self.faults) - self.denied - self.retired_early)),
            ("verifications", f"{self.calls} ({self.calls / max(self.seconds, 1):.0f}/s)"),
            ("  without an answer, or 503", str(self.unanswered)),
            ("refused by a brown-out, calls", str(self.browned_out)),
            ("  brown-outs lifted", str(self.lifts)),
            ("  a caller refused for, seconds", _spread(self.refused_seconds)),
            ("thieves on the old key", str(self.thieves)),
            ("  calls let in before / after the end", f"{self.thefts} / {self.thefts_after}"),
            ("kills of the server", str(self.kills)),
            ("  slowest readiness, seconds", f"{self.readiness_seconds:.2f}"),
            ("tokens lost in a crash, rolled back", str(self.lost_tokens)),
            ("deliveries that failed at first", str(self.failed_deliveries)),
            ("longest pause of the harness, seconds", f"{self.lag_seconds:.2f}"),
            ("seconds in all", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:<40}{text:>24}" for name, text in rows)


def _told(counts: Counter[str]) -> str:
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return told or "0"


def _spread(seconds: list[float]) -> str:
    """The median, the 95th of a hundred, and the longest."""
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{statistics.median(ordered):.1f} / {late:.1f} / {ordered[-1]:.1f}"
