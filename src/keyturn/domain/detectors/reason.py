"""The reason: what a detector says of a key, and by what it says so.

1. A detector says the same of the same past each time it looks: whether something is new is judged
   by what was there before it, not by when somebody looks. So a reason stands until its time is
   over, and is not told twice.
2. Each reason has its baseline: how many days and calls it was compared with, and how sure it is.
3. It only tells. Nothing is refused, and no key changes, because of a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from keyturn.domain.detectors.profile import HourCount, Profile, hours_between
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.key import Key, KeyStatus
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.traffic import HOUR

# What is compared with: this much of a key's past, and never less than the other.
LOOKBACK = 56 * DAY
LEAST_PAST = 14 * DAY
LEAST_DAYS = 5
LEAST_CALLS = 20
# What is new belongs to the usual after this; what happened is told for a day after its end.
USUAL_AFTER = 14 * DAY
TOLD_FOR = DAY


class Certainty(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """`mark` tells two of one kind apart. `what` is a sentence, `facts` are JSON values."""

    kind: FindingKind
    mark: str
    what: str
    since: int
    until: int
    certainty: Certainty
    past: "Past | None"
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Past:
    """What was there before a moment: since when, on how many days, in how many hours and calls,
    and how many of these were refused."""

    begins: int
    ends: int
    active_days: int
    active_hours: int
    calls: int
    denied: int

    @property
    def days(self) -> int:
        return (self.ends - self.begins) // DAY

    @property
    def is_enough(self) -> bool:
        return (
            self.ends - self.begins >= LEAST_PAST
            and self.active_days >= LEAST_DAYS
            and self.calls >= LEAST_CALLS
        )

    def certainty(self, *, is_extreme: bool) -> Certainty:
        """By how much past there is, and how far from it something lies."""
        is_long = self.days >= 28 and self.calls >= 500
        if is_long and is_extreme:
            return Certainty.HIGH
        return Certainty.MEDIUM if is_long or (is_extreme and self.days >= 21) else Certainty.LOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A key that is looked at. `registered` are the runtimes that its slot names; `is_steered` is a
    key that was changed within a day, or is being rotated: its refusals are of our making."""

    key: Key
    profile: Profile
    now: int
    registered: frozenset[str] = frozenset()
    networks: Sequence[NamedNetwork] = ()
    is_steered: bool = False

    @property
    def is_live(self) -> bool:
        return self.key.status(self.now) is KeyStatus.ACTIVE

    @property
    def hours(self) -> Mapping[int, HourCount]:
        return self.profile.hours

    @property
    def begins(self) -> int:
        """The first hour with any traffic, now where there is none."""
        begins = self.profile.begins
        return self.now if begins is None else begins

    def past(self, moment: int) -> Past:
        """What there was before `moment`, as far back as is looked."""
        known = list(hours_between(self.hours, max(0, moment - LOOKBACK), moment))
        return Past(
            begins=known[0] if known else moment,
            ends=moment,
            active_days=len({hour // DAY for hour in known}),
            active_hours=len(known),
            calls=sum(self.hours[hour].calls for hour in known),
            denied=sum(self.hours[hour].denied for hour in known),
        )

    def recent_hours(self) -> list[int]:
        """The hours that may still be told of, the oldest first."""
        return list(hours_between(self.hours, self.now - TOLD_FOR - HOUR, self.now + HOUR))
