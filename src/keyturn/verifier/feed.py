"""What a node asks of the log of changes, and what comes back."""

from dataclasses import dataclass

from keyturn.verifier.point import Point

# As many changes as one answer brings.
MOST_STEPS = 500

# Kind and ref, as the table `changes` has them.
Touched = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the log."""

    position: int
    seal: bytes
    # None: its row cannot be trusted, so anything may have changed.
    touched: tuple[Touched, ...] | None


@dataclass(frozen=True, slots=True)
class Question:
    """One look at the log, as it leaves."""

    # By the clock that counts suspend, read before anything is sent.
    asked_at: float
    # None: the first look, which asks where the log ends.
    after: Point | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one look at the log brought."""

    # What the log has at the position that was asked from; of a first look the log's last point.
    # None: nothing stands there.
    anchor: Point | None
    # What comes after it, in order, at most MOST_STEPS.
    steps: tuple[Step, ...]
    # Whether nothing comes after these.
    is_all: bool
