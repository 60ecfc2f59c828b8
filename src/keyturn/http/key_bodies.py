"""The bodies of keys: what a client may send and ask, and what a key looks like."""

import json
from typing import Literal, cast

from pydantic import Field

from keyturn.domain.error import RequestInvalid
from keyturn.domain.key import KeyStatus, RevocationReason
from keyturn.domain.metadata import Json, encode_metadata
from keyturn.domain.network import MOST_NETWORKS
from keyturn.domain.permission import MOST_PERMISSIONS
from keyturn.domain.schedule import rotate_by
from keyturn.domain.scope import MOST_SCOPES
from keyturn.domain.slot import SlotName, make_slot_name
from keyturn.http.delivery_bodies import DeliveryBody
from keyturn.http.schema import Asked, Given, GivenInstant, Instant, Paged, Shown, ShownInstant
from keyturn.http.slots import GivenNotes
from keyturn.http.spelling import (
    DestinationNames,
    Environment,
    Id,
    Name,
    NetworkBlock,
    PermissionWord,
    ScopeWord,
    Service,
    Sought,
)
from keyturn.services.amend import KeyAmendment
from keyturn.services.issue import IssuedKey, KeyDraft
from keyturn.storage.keys import KeyView

Metadata = dict[str, object]


DELIVER_TO = (
    "Names of destinations that the token is delivered to; it is not answered then. Left out: "
    "those of the slot. `[]`: to none."
)


class GivenRights(GivenNotes):
    """What create and PATCH have in common."""

    name: Name | None = Field(default=None, examples=["scheduler-prod"])
    scopes: list[ScopeWord] | None = Field(
        default=None, max_length=MOST_SCOPES, examples=[["read", "pins:publish"]]
    )
    permissions: list[PermissionWord] | None = Field(
        default=None, max_length=MOST_PERMISSIONS, examples=[["keys:read"]]
    )
    allowed_cidrs: list[NetworkBlock] | None = Field(
        default=None, max_length=MOST_NETWORKS, examples=[["10.0.0.0/8"]]
    )
    expires_at: Instant | None = Field(default=None, examples=["2099-01-31T12:00:00Z"])
    metadata: Metadata | None = None

    def encoded_metadata(self) -> str | None:
        if self.metadata is None:
            return None
        return encode_metadata(cast("dict[str, Json]", self.metadata))


class GivenKey(GivenRights):
    """A key to be made: a name, or a service and an environment, is enough."""

    service: Service | None = None
    environment: Environment | None = None
    not_before: GivenInstant | None = None
    replaces: Id | None = Field(
        default=None,
        description="The id of a key of the same slot, whose rotation this begins. What is left "
        "out is as that key has it.",
    )

    deliver_to: DestinationNames | None = Field(default=None, description=DELIVER_TO)

    def given(self) -> frozenset[str]:
        """The members that say something."""
        return frozenset(name for name in self.model_fields_set if getattr(self, name) is not None)

    def draft(self) -> KeyDraft:
        return KeyDraft(
            name=self.name,
            slot=self._slot(),
            scopes=tuple(self.scopes or ()),
            permissions=tuple(self.permissions or ()),
            allowed_cidrs=tuple(self.allowed_cidrs or ()),
            metadata=self.encoded_metadata() or "{}",
            not_before=self.not_before,
            expires_at=self.expires_at,
            notes=self.notes(),
            deliver_to=None if self.deliver_to is None else tuple(self.deliver_to),
        )

    def _slot(self) -> SlotName | None:
        if self.service is None and self.environment is None:
            return None
        if self.service is None:
            raise RequestInvalid.at("/service", "Give this along with `environment`.")
        if self.environment is None:
            raise RequestInvalid.at("/environment", "Give this along with `service`.")
        return make_slot_name(self.service, self.environment)


class GivenAmendment(GivenRights):
    """What is to change; what is left out stays."""

    def amendment(self) -> KeyAmendment:
        return KeyAmendment(
            name=self.name,
            scopes=None if self.scopes is None else tuple(self.scopes),
            permissions=None if self.permissions is None else tuple(self.permissions),
            allowed_cidrs=None if self.allowed_cidrs is None else tuple(self.allowed_cidrs),
            metadata=self.encoded_metadata(),
            expires_at=self.expires_at,
            notes=self.notes(),
        )


class KeyBody(Shown):
    id: str
    workspace_id: str
    name: str
    service: str
    environment: str
    owner: str | None
    purpose: str | None
    runbook_url: str | None
    rotation_period_days: int | None
    scopes: list[str]
    permissions: list[str]
    allowed_cidrs: list[str]
    metadata: Metadata
    status: KeyStatus
    hint: str
    created_at: ShownInstant
    created_by: str | None
    not_before: ShownInstant | None
    expires_at: ShownInstant | None
    rotate_by: ShownInstant | None
    last_rotated_at: ShownInstant | None
    last_used_at: ShownInstant | None
    updated_at: ShownInstant
    revoked_at: ShownInstant | None
    revocation_reason: RevocationReason | None
    version: int

    @classmethod
    def of(cls, view: KeyView, now: int) -> "KeyBody":
        return cls(**_members(view, now))


class IssuedKeyBody(KeyBody):
    """A key along with its token: the answer to its creation, and to nothing else. The token is
    null where it is delivered."""

    api_key: str | None
    deliveries: list[DeliveryBody]


def _members(view: KeyView, now: int) -> dict[str, object]:
    key, notes = view.key, None if view.slot is None else view.slot.notes
    return {
        "id": str(key.id),
        "workspace_id": str(key.workspace_id),
        "name": key.name,
        "service": key.slot.service,
        "environment": key.slot.environment,
        "owner": None if notes is None else notes.owner,
        "purpose": None if notes is None else notes.purpose,
        "runbook_url": None if notes is None else notes.runbook_url,
        "rotation_period_days": None if notes is None else notes.rotation_period_days,
        "scopes": list(key.scopes),
        "permissions": list(key.permissions),
        "allowed_cidrs": list(key.allowed_cidrs),
        "metadata": json.loads(key.metadata),
        "status": key.status(now),
        "hint": key.hint,
        "created_at": key.created_at,
        "created_by": None if key.created_by is None else str(key.created_by),
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "rotate_by": rotate_by(key, notes, view.policy),
        "last_rotated_at": key.last_rotated_at,
        "last_used_at": view.last_used_at,
        "updated_at": key.updated_at,
        "revoked_at": key.revoked_at,
        "revocation_reason": key.revocation_reason,
        "version": key.version,
    }


def issued_body(issued: IssuedKey, *, token: str | None) -> IssuedKeyBody:
    """The answer to a creation. `token` is None where it was answered before, or is delivered."""
    members = _members(issued.view, issued.view.key.created_at)
    deliveries = [DeliveryBody.of(one) for one in issued.deliveries]
    return IssuedKeyBody(**members, api_key=token, deliveries=deliveries)


class NothingGiven(Given):
    """A body with nothing in it, for calls that need none."""


class KeysAsked(Paged):
    status: Literal["active", "suspended", "revoked", "expired", "all"] = "active"
    service: Sought | None = None
    environment: Sought | None = None
    owner: Sought | None = None
    created_by: Id | None = Field(default=None, description="The id of a key or an operator.")


class RevokeAsked(Asked):
    reason: RevocationReason = RevocationReason.OTHER
