"""Who takes part in the story, and how long things take."""

from dataclasses import dataclass

LEAST_SECONDS = 6
MOST_SECONDS = 300
USUAL_SECONDS = 25

# A use of a key may be seen a second late (docs/reference/http.md).
_LEAST_QUIET_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of the callers: what its key may do, and what it does with it."""

    purpose: str
    scopes: tuple[str, ...]
    steps: tuple[str, ...]
    lanes: int
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, all in parts of the `seconds` that there is traffic, about."""

    seconds: float

    @property
    def before_seconds(self) -> float:
        """Ordinary work, before anything is done."""
        return self.seconds * 0.2

    @property
    def quiet_seconds(self) -> float:
        """How long the old key must have been silent before it is revoked."""
        return max(_LEAST_QUIET_SECONDS, self.seconds * 0.12)

    @property
    def proof_requests(self) -> int:
        """How many successful requests with the new key are enough."""
        return int(self.seconds * 4)

    @property
    def aftermath_seconds(self) -> float:
        """How long is looked at what came of a revocation."""
        return self.seconds * 0.2

    @property
    def services(self) -> dict[str, Service]:
        return {
            "scheduler": Service(
                purpose="Publishes articles when their time has come",
                scopes=("read", "write"),
                steps=("GET", "GET", "POST"),
                lanes=2,
                pause_seconds=0.05,
            ),
            "worker": Service(
                purpose="Writes articles and reads them again",
                scopes=("read", "write"),
                steps=("POST", "GET", "GET", "GET"),
                lanes=4,
                pause_seconds=0.05,
            ),
            "admin": Service(
                purpose="Clears old articles away, now and then",
                scopes=("admin",),
                steps=("DELETE",),
                lanes=1,
                pause_seconds=self.seconds * 0.12,
            ),
        }
