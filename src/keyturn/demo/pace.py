"""Who takes part in the story, and how long things take."""

from dataclasses import dataclass

LEAST_SECONDS = 6
MOST_SECONDS = 300
USUAL_SECONDS = 25

# It is said of the admin job that it may be so rare: that it is silent does not say that it moved.
RARE_SECONDS = 86_400

# The time in which rotations may start. It is open when it is told, and longer than the story.
WINDOW_MINUTES = 60
PERIOD_DAYS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a key is for, and what it may do."""

    purpose: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of the callers: whose key it has, and what it does with it. `rare_seconds` is how rarely
    it may call, None for one that calls all the time; it does so many `rounds` each time."""

    key: str
    steps: tuple[str, ...]
    lanes: int
    pause_seconds: float
    rare_seconds: int | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, all in parts of the `seconds` that there is traffic, about."""

    seconds: float

    @property
    def before_seconds(self) -> float:
        """Ordinary work, before anything is done."""
        return self.seconds * 0.2

    @property
    def quiet_seconds(self) -> int:
        """How long a service must have left the old key alone before it counts as moved."""
        return min(10, max(2, round(self.seconds * 0.12)))

    @property
    def brownout_seconds(self) -> int:
        """How long the old key is suspended, as a test, before it is revoked."""
        return min(5, max(1, round(self.seconds * 0.08)))

    @property
    def aftermath_seconds(self) -> float:
        """How long is looked at what came of a revocation."""
        return self.seconds * 0.2

    @property
    def keys(self) -> dict[str, Access]:
        """The keys, each by the service that it is named after."""
        return {
            "scheduler": Access(
                purpose="Publishes articles when their time has come, and clears old ones away",
                scopes=("read", "write", "admin"),
            ),
            "worker": Access(
                purpose="Writes articles and reads them again", scopes=("read", "write")
            ),
        }

    @property
    def services(self) -> dict[str, Service]:
        return {
            "scheduler": Service(
                key="scheduler", steps=("GET", "GET", "POST"), lanes=2, pause_seconds=0.05
            ),
            "admin": Service(
                key="scheduler",
                steps=("DELETE",),
                lanes=1,
                pause_seconds=0.05,
                rare_seconds=RARE_SECONDS,
                rounds=3,
            ),
            "worker": Service(
                key="worker", steps=("POST", "GET", "GET", "GET"), lanes=4, pause_seconds=0.05
            ),
        }

    def users(self, key: str) -> list[str]:
        """The services that have this key."""
        return [name for name, service in self.services.items() if service.key == key]
