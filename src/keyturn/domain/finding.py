"""The finding: something that a person should know about a key or a slot, with its evidence.

1. A finding is the same as another if kind, subject and mark are: of those at most one is open.
2. It is resolved by itself when its cause is gone. A cause that comes again is a new finding,
   unless it `happens_once`: a reminder given is not given again.
3. Acknowledged means that somebody knows. It is resolved like an open one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.slot import SlotName


class FindingKind(StrEnum):
    STRANGER_ON_OLD_KEY = "stranger_on_old_key"
    IDENTITY_CONFLICT = "identity.conflict"
    ROTATION_OVERDUE = "rotation.overdue"
    BROWNOUT_LIFTED = "rotation.brownout_lifted"
    ROTATION_ANNOUNCED = "rotation.announced"
    KEY_ROTATION_DUE = "key.rotation_due"
    KEY_ROTATION_OVERDUE = "key.rotation_overdue"
    DELIVERY_FAILING = "delivery.failing"
    KEY_EXPIRING = "key.expiring"
    TOO_MANY_RUNTIMES = "key.too_many_runtimes"
    TOO_MANY_KEYS = "slot.too_many_keys"
    UNOWNED = "slot.unowned"
    NEW_NETWORK = "usage.new_network"
    NEW_COUNTRY = "usage.new_country"
    NEW_RUNTIME = "usage.new_runtime"
    NEW_PATH = "usage.new_path"
    NEW_SCOPE = "usage.new_scope"
    VOLUME = "usage.volume"
    HOURS = "usage.hours"
    DENIED_BURST = "usage.denied_burst"
    ENUMERATION = "usage.enumeration"
    SEVERAL_ENVIRONMENTS = "usage.several_environments"
    SHARED_KEY = "usage.shared_key"
    BROWSER = "usage.browser"
    AFTER_REVOCATION = "usage.after_revocation"
    WOKE = "usage.woke"
    CONTAINED_KEY_USED = "incident.contained_key_used"
    WAIVER_EXPIRED = "incident.waiver_expired"
    POSTURE_WAIVER_EXPIRED = "posture.waiver_expired"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class FindingState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class SubjectType(StrEnum):
    KEY = "api_key"
    SLOT = "slot"
    ROTATION = "rotation"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why there should be a finding. `mark` tells two of one kind on one subject apart; `evidence`
    is made of JSON values."""

    kind: FindingKind
    subject_type: SubjectType
    subject_id: str
    slot: SlotName
    mark: str
    severity: Severity
    evidence: Mapping[str, object]
    happens_once: bool = False

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.kind.value, self.subject_id, self.mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The record of a finding. `evidence` is JSON text, as it was when the finding was made."""

    id: UUID
    workspace_id: UUID
    kind: FindingKind
    subject_type: SubjectType
    subject_id: str
    slot: SlotName
    mark: str
    severity: Severity
    state: FindingState
    since: int
    evidence: str
    acknowledged_at: int | None
    acknowledged_by: str | None
    acknowledge_reason: str | None
    resolved_at: int | None
    updated_at: int
    version: int

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.kind.value, self.subject_id, self.mark)

    def acknowledged(self, by: str, reason: str | None, now: int) -> "Finding":
        """Known to somebody. Once more, or resolved, it stays as it is."""
        if self.state is not FindingState.OPEN:
            return self
        return replace(
            self,
            state=FindingState.ACKNOWLEDGED,
            acknowledged_at=now,
            acknowledged_by=by,
            acknowledge_reason=reason,
            updated_at=now,
            version=self.version + 1,
        )

    def resolved(self, now: int) -> "Finding":
        """Its cause is gone."""
        if self.state is FindingState.RESOLVED:
            return self
        return replace(
            self,
            state=FindingState.RESOLVED,
            resolved_at=now,
            updated_at=now,
            version=self.version + 1,
        )
