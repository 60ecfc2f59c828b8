"""The figures of a trial: what was killed, what was looked at after it, and what was wrong."""

from dataclasses import dataclass, field, fields


@dataclass(kw_only=True)
class Figures:
    """Counts, and the faults in words. `lost` and `half` are answered changes that were not there,
    and changes of which a part was."""

    points: int = 0
    kills: int = 0
    restarts: int = 0
    answered: int = 0
    unanswered: int = 0
    lost: int = 0
    half: int = 0
    slowest_readiness_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def started(self, seconds: float) -> None:
        self.restarts += 1
        self.slowest_readiness_seconds = max(self.slowest_readiness_seconds, seconds)

    def add(self, other: "Figures") -> None:
        """Takes the other's counts to its own."""
        slowest = max(self.slowest_readiness_seconds, other.slowest_readiness_seconds)
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        self.slowest_readiness_seconds = slowest

    def table(self) -> str:
        rows = [
            ("points", self.points),
            ("kills survived", self.kills),
            ("answered changes checked", self.answered),
            ("unanswered changes checked", self.unanswered),
            ("lost", self.lost),
            ("half", self.half),
            ("other faults", len(self.faults) - self.lost - self.half),
            ("restarts", self.restarts),
            ("slowest readiness, seconds", f"{self.slowest_readiness_seconds:.2f}"),
        ]
        return "\n".join(f"{name:<28}{count:>10}" for name, count in rows)
