"""The check: one line of the guide, and whether a workspace keeps to it.

1. Each check says how it knows: *measured* from what happened, *declared* by people, or *unknown*.
   Unknown is never a pass, of one key neither: what is half known has not passed.
2. A check judges each thing that it is about by itself. It fails where one does, is unknown where
   one is, and passes only when all do.
3. A record that was changed from outside is left out, so nothing passes that it may have spoken of.
4. A waiver is a person's word that something may be so until a stated time. It makes no pass: what
   is left then is `waived`, with the name and the reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from keyturn.domain.posture.facts import Snapshot
from keyturn.domain.slot import SlotName


class CheckId(StrEnum):
    """The stable names of the checks."""

    SEPARATE = "keys.separate"
    NAMED = "keys.named"
    OWNED = "keys.owned"
    RUNBOOK = "keys.runbook"
    SCHEDULED = "keys.scheduled"
    ROTATED = "keys.rotated"
    LASTING = "keys.lasting"
    USED = "keys.used"
    AWAKE = "keys.awake"
    SCOPES = "keys.scopes_used"
    PERMISSIONS = "keys.permissions_used"
    NETWORKS = "keys.networks"
    BACKEND_ONLY = "keys.backend_only"
    ONE_ENVIRONMENT = "keys.one_environment"
    FEW_KEYS = "slots.few_keys"
    DESTINATION = "slots.destination"
    SHORT_OVERLAP = "rotations.short_overlap"
    EVIDENCED = "rotations.evidenced"
    REVERSIBLE = "rotations.reversible"
    DRILLED = "rotations.drilled"
    INCIDENTS = "incidents.closed"
    LOG = "log.verified"
    CLOCK = "clock.steady"
    CHANNEL = "notifications.channel"


class Known(StrEnum):
    MEASURED = "measured"
    DECLARED = "declared"
    UNKNOWN = "unknown"


class Result(StrEnum):
    FAIL = "fail"
    UNKNOWN = "unknown"
    WAIVED = "waived"
    PASS = "pass"


class SubjectKind(StrEnum):
    KEY = "api_key"
    SLOT = "slot"
    ROTATION = "rotation"
    INCIDENT = "incident"
    WORKSPACE = "workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What something is said of. Of a slot, `id` is its name; `key_id` is there for a key."""

    kind: SubjectKind
    id: str
    name: str
    slot: SlotName | None = None
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a check says of one subject: why, since when where that is known, and what helps."""

    subject: Subject
    result: Result
    why: str = ""
    since: int | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the guide. `terms` are the numbers that it is judged by, `records` the kind that
    it is judged over. What `counts_days` is unknown while the clock is not to be trusted."""

    id: CheckId
    line: str
    known: Known
    judge: Callable[[Snapshot], Iterable[Said]]
    remedy: str
    terms: Mapping[str, int] = field(default_factory=dict)
    counts_days: bool = False
    records: str | None = None
