"""The figures of a trial of deliveries."""

import statistics
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Figures:
    """Counts, and the faults in words. `refused_at_first` are requests that were let in once their
    caller had read its file again, as the client does by itself. `took` are seconds from the start
    of a rotation to the first request with the new token, `ended` to its end."""

    rotations: int = 0
    unattended: int = 0
    requests: int = 0
    failed: int = 0
    refused_at_first: int = 0
    unanswered: int = 0
    kills: int = 0
    outages: int = 0
    failed_attempts: int = 0
    took: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    seconds: float = 0.0
    readiness_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.faults and self.failed == 0 and self.unattended == self.rotations

    def table(self) -> str:
        rows = [
            ("rotations started", str(self.rotations)),
            ("  finished unattended", str(self.unattended)),
            ("requests", f"{self.requests} ({self.requests / max(self.seconds, 1):.0f}/s)"),
            ("  failed", str(self.failed)),
            ("  let in after the file was read again", str(self.refused_at_first)),
            ("  sent again to a server that had died", str(self.unanswered)),
            ("start to first call with the new token, s", _spread(self.took)),
            ("start to end, s", _spread(self.ended)),
            ("kills of the server", str(self.kills)),
            ("  slowest readiness, s", f"{self.readiness_seconds:.2f}"),
            ("times that a folder took nothing", str(self.outages)),
            ("attempts that failed", str(self.failed_attempts)),
            ("other faults", str(len(self.faults))),
            ("seconds in all", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:<44}{text:>24}" for name, text in rows)


def _spread(seconds: list[float]) -> str:
    """The median, the 95th of a hundred, and the longest."""
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{statistics.median(ordered):.1f} / {late:.1f} / {ordered[-1]:.1f}"
