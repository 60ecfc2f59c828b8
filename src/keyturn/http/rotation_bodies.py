"""The bodies of rotations: what a client may send and ask, and what a rotation looks like."""

import json
from collections.abc import Sequence
from typing import Annotated, Literal, cast

from pydantic import Field

from keyturn.domain.delivery import Delivery
from keyturn.domain.evidence import DAMAGED, RuntimeEvidence
from keyturn.domain.instant import SECOND
from keyturn.domain.network import MOST_NETWORKS
from keyturn.domain.progress import tell_next_step
from keyturn.domain.rotation import (
    DEFAULT_BROWNOUT_SECONDS,
    DEFAULT_LOOKBACK_SECONDS,
    DEFAULT_OVERLAP_SECONDS,
    DEFAULT_QUIET_SECONDS,
    LONGEST_BROWNOUT_SECONDS,
    Rotation,
    RotationState,
    Standing,
)
from keyturn.domain.scope import MOST_SCOPES
from keyturn.http.delivery_bodies import DeliveryBody
from keyturn.http.key_bodies import DELIVER_TO, KeyBody
from keyturn.http.schema import Given, GivenInstant, Paged, Shown, ShownInstant
from keyturn.http.spelling import (
    BrownoutLength,
    DestinationNames,
    Id,
    Lookback,
    Name,
    NetworkBlock,
    Overlap,
    Quiet,
    RuntimeName,
    ScopeWord,
    SlotSpelling,
    Text,
)
from keyturn.services.rotate import RotationDraft
from keyturn.services.weigh import Weighed

MOST_WAIVED = 256


class GivenRotation(Given):
    """How a key is to be rotated; what is left out is sensible."""

    overlap_seconds: Overlap | None = Field(
        default=None,
        description="After this it is overdue, and nothing is cut. "
        f"{DEFAULT_OVERLAP_SECONDS} by default.",
    )
    quiet_seconds: Quiet | None = Field(
        default=None,
        description="For so long a runtime must have left the old key alone. "
        f"{DEFAULT_QUIET_SECONDS} by default, or a tenth of a shorter overlap.",
    )
    brownout_seconds: BrownoutLength | None = Field(
        default=None,
        description="For so long the old key is suspended, as a test, before it is revoked. "
        f"{DEFAULT_BROWNOUT_SECONDS} by default, at most the quiet; 0 for none.",
    )
    lookback_seconds: Lookback | None = Field(
        default=None,
        description="Whoever used the old key since then is waited for. "
        f"{DEFAULT_LOOKBACK_SECONDS} by default.",
    )
    auto_complete: bool | None = Field(
        default=None, description="Whether the old key retires by itself; true by default."
    )
    scopes: list[ScopeWord] | None = Field(default=None, max_length=MOST_SCOPES)
    allowed_cidrs: list[NetworkBlock] | None = Field(default=None, max_length=MOST_NETWORKS)
    deliver_to: DestinationNames | None = Field(default=None, description=DELIVER_TO)

    def draft(self) -> RotationDraft:
        return RotationDraft(
            overlap_seconds=self.overlap_seconds,
            quiet_seconds=self.quiet_seconds,
            brownout_seconds=self.brownout_seconds,
            lookback_seconds=self.lookback_seconds,
            auto_complete=self.auto_complete,
            scopes=None if self.scopes is None else tuple(self.scopes),
            allowed_cidrs=None if self.allowed_cidrs is None else tuple(self.allowed_cidrs),
            deliver_to=None if self.deliver_to is None else tuple(self.deliver_to),
        )


class GivenWaiver(Given):
    runtime: RuntimeName
    reason: Text


class GivenCompletion(Given):
    force: bool | None = None
    reason: Text | None = Field(default=None, description="Needed with `force`.")
    waive: list[GivenWaiver] | None = Field(default=None, max_length=MOST_WAIVED)


class GivenRollback(Given):
    force: bool | None = None
    reason: Text | None = Field(default=None, description="Needed with `force`.")
    keep_both: bool | None = Field(
        default=None, description="Both keys live on as ordinary ones; nothing is revoked."
    )


class GivenExtension(Given):
    """One of the two."""

    deadline: GivenInstant | None = None
    overlap_seconds: Overlap | None = Field(default=None, description="Counted from the start.")


class GivenBrownout(Given):
    brownout_seconds: Annotated[int, Field(ge=1, le=LONGEST_BROWNOUT_SECONDS)] | None = None


class GivenStanding(Given):
    """A person's word on one runtime."""

    runtime: RuntimeName
    standing: Annotated[Standing, Field(strict=False)]
    network: Name | None = Field(
        default=None, description="The place that is meant, as the blocker names it."
    )
    reason: Text | None = Field(default=None, description="Needed for `waived` and `checked_in`.")


class ShownEvidence(Shown):
    runtime: str
    declared: bool
    registered: bool
    standing: Literal["ours", "stranger", "conflict", "waived", "new"]
    old_last_seen_at: ShownInstant | None
    old_allowed: int
    new_last_seen_at: ShownInstant | None
    new_allowed: int
    new_denied: int
    checked_in_at: ShownInstant | None
    moved: bool
    networks: list[str]


class ShownBlocker(Shown):
    code: str
    runtime: str | None
    detail: str


class ShownDecision(Shown):
    runtime: str
    standing: Standing
    network: str | None
    reason: str
    by: str
    at: ShownInstant


class RotationBody(Shown):
    id: str
    workspace_id: str
    service: str
    environment: str
    slot: str
    old_key_id: str
    new_key_id: str
    state: RotationState
    started_at: ShownInstant
    started_by: str
    deadline: ShownInstant
    overdue: bool
    completed_at: ShownInstant | None = Field(description="When it ended, whichever way.")
    ended_by: str | None
    reason: str | None
    forced: bool
    auto_complete: bool
    overlap_seconds: int
    quiet_seconds: int
    brownout_seconds: int
    lookback_seconds: int
    brownout_until: ShownInstant | None
    lifts: int
    decisions: list[ShownDecision]
    evidence_until: ShownInstant | None
    evidence: list[ShownEvidence]
    blocked_by: list[ShownBlocker]
    deliveries: list[DeliveryBody] = Field(
        description="How the new token is on its way to where it is used."
    )
    next_step: str
    version: int

    @classmethod
    def of(
        cls,
        rotation: Rotation,
        weighed: Weighed | None,
        now: int,
        deliveries: Sequence[Delivery] = (),
    ) -> "RotationBody":
        return cls(**rotation_members(rotation, weighed, now, deliveries))


class StartedRotationBody(RotationBody):
    """A rotation with its new key and, once, its token."""

    new_key: KeyBody
    api_key: str | None


def rotation_members(
    rotation: Rotation, weighed: Weighed | None, now: int, deliveries: Sequence[Delivery]
) -> dict[str, object]:
    """The members of a rotation's body. An ended one tells the evidence that it ended on."""
    ending, terms = rotation.ending, rotation.terms
    evidence, blocked_by = _evidence(rotation, weighed)
    until = None if ending is None else ending.evidence_until
    return {
        "id": str(rotation.id),
        "workspace_id": str(rotation.workspace_id),
        "service": rotation.slot.service,
        "environment": rotation.slot.environment,
        "slot": str(rotation.slot),
        "old_key_id": str(rotation.old_key_id),
        "new_key_id": str(rotation.new_key_id),
        "state": rotation.state,
        "started_at": rotation.started_at,
        "started_by": rotation.started_by,
        "deadline": rotation.deadline,
        "overdue": rotation.is_overdue(now),
        "completed_at": None if ending is None else ending.at,
        "ended_by": None if ending is None else ending.by,
        "reason": None if ending is None else ending.reason,
        "forced": ending is not None and ending.is_forced,
        "auto_complete": terms.auto_complete,
        "overlap_seconds": (rotation.deadline - rotation.started_at) // SECOND,
        "quiet_seconds": terms.quiet_seconds,
        "brownout_seconds": terms.brownout_seconds,
        "lookback_seconds": terms.lookback_seconds,
        "brownout_until": None if rotation.brownout is None else rotation.brownout.until,
        "lifts": rotation.lifts,
        "decisions": [
            {
                "runtime": one.runtime,
                "standing": one.standing,
                "network": one.place,
                "reason": one.reason,
                "by": one.by,
                "at": one.at,
            }
            for one in rotation.decisions
        ],
        "evidence_until": until if weighed is None else weighed.evidence.until,
        "evidence": evidence,
        "blocked_by": blocked_by,
        "deliveries": [DeliveryBody.of(one) for one in deliveries],
        "next_step": tell_next_step(
            rotation,
            None if weighed is None else weighed.evidence,
            deliveries,
        ),
        "version": rotation.version,
    }


def _evidence(
    rotation: Rotation, weighed: Weighed | None
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    if weighed is not None:
        return (
            [_runtime(one) for one in weighed.evidence.runtimes],
            [
                {"code": one.code, "runtime": one.runtime, "detail": one.detail}
                for one in weighed.evidence.blocked_by
            ],
        )
    if rotation.is_open:
        detail = "One of its records was changed from outside; nothing is decided on such."
        return [], [{"code": DAMAGED, "runtime": None, "detail": detail}]
    if rotation.ending is None or rotation.ending.evidence is None:
        return [], []
    kept = cast("dict[str, list[dict[str, object]]]", json.loads(rotation.ending.evidence))
    return kept["runtimes"], []


def _runtime(one: RuntimeEvidence) -> dict[str, object]:
    return {
        "runtime": one.runtime,
        "declared": one.declared,
        "registered": one.registered,
        "standing": one.standing,
        "old_last_seen_at": one.old_last_seen_at,
        "old_allowed": one.old_allowed,
        "new_last_seen_at": one.new_last_seen_at,
        "new_allowed": one.new_allowed,
        "new_denied": one.new_denied,
        "checked_in_at": one.checked_in_at,
        "moved": one.moved,
        "networks": list(one.networks),
    }


class RotationsAsked(Paged):
    state: Literal[
        "open", "overlapping", "brownout", "completed", "rolled_back", "cancelled", "all"
    ] = "all"
    slot: SlotSpelling | None = None
    key_id: Id | None = Field(default=None, description="The old key or the new one.")
