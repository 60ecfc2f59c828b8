"""The facts that the checklist is judged over: one consistent view of a workspace, at one moment.

What nobody could know is absent (None) and never made up: a check that needs it says `unknown`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.domain.channel import Channel
from keyturn.domain.evidence import Use
from keyturn.domain.incident import Incident
from keyturn.domain.instant import DAY
from keyturn.domain.key import Key
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.rotation import Rotation
from keyturn.domain.slot import SlotNotes

# How far back it is looked for what a key was used for.
LOOKBACK_DAYS = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTraffic:
    """What the look-back has of one key. `scopes` are those that allowed calls asked for;
    `browsers` has when each sign of a browser was seen last. `with_agent` counts the requests that
    came with a user agent: without any, a browser could not have been seen. `wrote_at` and
    `read_at` are of its calls to Keyturn itself. `is_cut` where there were more scopes than are
    kept apart, `are_paths_cut` where there were more paths.
    """

    scopes: frozenset[str] = frozenset()
    browsers: Mapping[str, int] = field(default_factory=dict)
    with_agent: int = 0
    wrote_at: int | None = None
    read_at: int | None = None
    is_cut: bool = False
    are_paths_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """A live key. `notes` is None where its slot's record is damaged: what it said is not known.
    `traffic` is None where the look-back has nothing of it."""

    key: Key
    notes: SlotNotes | None
    last_used_at: int | None
    uses: tuple[Use, ...] = ()
    traffic: KeyTraffic | None = None
    is_rotating: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """The last time that the whole activity log was checked, and whether it was sound then; it had
    so many `entries`, the last of which has this `hash`."""

    at: int
    is_sound: bool
    entries: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFacts:
    """What is known of the clock. This process has watched it without a jump since
    `watched_since`; `set_at` is when it was seen to jump last, None where it was not. It is
    `skew` microseconds off the database's, and `ahead` of all that was ever written down."""

    watched_since: int
    set_at: int | None
    skew: int
    ahead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One workspace at `now`. `is_whole` is False where the caller sees some slots alone: what is
    of the whole workspace is not known then. `incidents` are the open ones, of some slots alone
    where not `sees_all_incidents`; `rotations` the open ones and those of the last year that were
    forced, rolled back or drills. None is: not known.
    `has_checked_entry` says whether the log still has the entry that it was checked up to.
    `damaged` are the kinds of the records that were changed from outside: these are left out,
    whatever they said."""

    workspace_id: UUID
    now: int
    is_whole: bool
    policy: RotationPolicy | None
    keys: tuple[KeyFacts, ...]
    rotations: tuple[Rotation, ...] = ()
    channels: tuple[Channel, ...] | None = None
    incidents: tuple[Incident, ...] | None = None
    sees_all_incidents: bool = True
    log: LogCheck | None = None
    has_checked_entry: bool = True
    damaged: tuple[str, ...] = ()
    clock: ClockFacts | None = None

    @property
    def is_clock_trusted(self) -> bool:
        """Whether a count of days means anything."""
        return self.clock is not None and self.clock.ahead <= DAY
