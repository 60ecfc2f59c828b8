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
# What is not rotated in the story has a longer period of its own.
LONG_PERIOD_DAYS = 90

# The network that all services call from. The thief's address is one of RFC 5737, and nobody's.
NETWORK, BLOCK = "cluster", "10.20.0.0/16"
THIEF = "thief"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a key is for, what it may do, and how often it is rotated: None is by the policy."""

    purpose: str
    scopes: tuple[str, ...]
    rotation_period_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of the callers: whose key it has, and what it does with it. `rare_seconds` is how rarely
    it may call, None for one that calls all the time; it does so many `rounds` each time."""

    key: str
    address: str
    user_agent: str
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
        """How long is looked at what came of the end of a key."""
        return self.seconds * 0.12

    @property
    def exposure_seconds(self) -> float:
        """How long a thief has a key that works."""
        return self.seconds * 0.1

    @property
    def keys(self) -> dict[str, Access]:
        """The keys, each by the service that it is named after."""
        return {
            "scheduler": Access(
                purpose="Publishes articles when their time has come, and clears old ones away",
                scopes=("read", "write", "admin"),
            ),
            "worker": Access(
                purpose="Writes articles and reads them again",
                scopes=("read", "write"),
                rotation_period_days=LONG_PERIOD_DAYS,
            ),
        }

    @property
    def services(self) -> dict[str, Service]:
        return {
            "scheduler": Service(
                key="scheduler",
                address="10.20.0.11",
                user_agent="scheduler/1.0",
                steps=("GET /articles", "GET /articles", "POST /articles"),
                lanes=2,
                pause_seconds=0.05,
            ),
            "admin": Service(
                key="scheduler",
                address="10.20.0.12",
                user_agent="admin/1.0",
                steps=("DELETE /articles",),
                lanes=1,
                pause_seconds=0.05,
                rare_seconds=RARE_SECONDS,
                rounds=3,
            ),
            "worker": Service(
                key="worker",
                address="10.20.0.13",
                user_agent="worker/1.0",
                steps=("POST /articles", "GET /articles", "GET /articles", "GET /articles"),
                lanes=4,
                pause_seconds=0.05,
            ),
        }

    @property
    def thief(self) -> Service:
        """Who has found the worker's key, and looks at what it opens."""
        return Service(
            key="worker",
            address="203.0.113.66",
            user_agent="python-requests/2.32.3",
            steps=("GET /articles", "GET /drafts", "GET /subscribers", "DELETE /articles"),
            lanes=1,
            pause_seconds=0.1,
        )

    def users(self, key: str) -> list[str]:
        """The services that have this key."""
        return [name for name, service in self.services.items() if service.key == key]
