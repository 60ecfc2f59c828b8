"""The key: our record of a credential in a slot, and its state machine.

`TRANSITIONS` is the whole machine. What is not in it cannot happen, and changes nothing. Expiry is
no stored state but follows from the clock; `compromised` is a fact beside the state that is never
taken back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.base62 import encode_uuid
from keyturn.domain.error import KeyTerminal
from keyturn.domain.slot import SlotName


class KeyState(StrEnum):
    """What is stored."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class KeyStatus(StrEnum):
    """What is shown: the stored state, with expiry derived from the clock."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


class KeyAct(StrEnum):
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    AMEND = "amend"


class RevocationReason(StrEnum):
    SUPERSEDED = "superseded"
    UNUSED = "unused"
    STAFF_CHANGE = "staff_change"
    COMPROMISED = "compromised"
    OTHER = "other"


TRANSITIONS: dict[tuple[KeyState, KeyAct], KeyState] = {
    (KeyState.ACTIVE, KeyAct.AMEND): KeyState.ACTIVE,
    (KeyState.ACTIVE, KeyAct.SUSPEND): KeyState.SUSPENDED,
    (KeyState.ACTIVE, KeyAct.RESUME): KeyState.ACTIVE,
    (KeyState.ACTIVE, KeyAct.REVOKE): KeyState.REVOKED,
    (KeyState.SUSPENDED, KeyAct.AMEND): KeyState.SUSPENDED,
    (KeyState.SUSPENDED, KeyAct.SUSPEND): KeyState.SUSPENDED,
    (KeyState.SUSPENDED, KeyAct.RESUME): KeyState.ACTIVE,
    (KeyState.SUSPENDED, KeyAct.REVOKE): KeyState.REVOKED,
    (KeyState.REVOKED, KeyAct.REVOKE): KeyState.REVOKED,
}

# An expired key may still be contained, so that it is revoked for good should its expiry have been
# a mistake of the clock; nothing else may be done to it.
_ACTS_AFTER_EXPIRY = frozenset({KeyAct.REVOKE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The record of one credential. Times are microseconds since the epoch, UTC."""

    id: UUID
    workspace_id: UUID
    slot: SlotName
    brand: str
    name: str
    scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    allowed_cidrs: tuple[str, ...]
    metadata: str
    state: KeyState
    compromised: bool
    digest: bytes
    peppers: str
    created_at: int
    created_by: UUID | None
    not_before: int | None
    expires_at: int | None
    last_rotated_at: int | None
    updated_at: int
    revoked_at: int | None
    revocation_reason: RevocationReason | None
    version: int

    @property
    def hint(self) -> str:
        return f"{self.brand}_{self.slot.environment}_{encode_uuid(self.id)}"

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and now >= self.expires_at

    def status(self, now: int) -> KeyStatus:
        """The status to show. Revoked stays revoked, whatever the clock says."""
        if self.state is not KeyState.REVOKED and self.is_expired(now):
            return KeyStatus.EXPIRED
        return KeyStatus(self.state)

    def after(self, act: KeyAct, now: int) -> KeyState:
        """The state that `act` leads to. Raises `KeyTerminal` where there is no such step."""
        following = TRANSITIONS.get((self.state, act))
        if following is None or (self.is_expired(now) and act not in _ACTS_AFTER_EXPIRY):
            raise KeyTerminal(
                f"This key is {self.status(now)}, which cannot be undone; create another key."
            )
        return following

    def suspended(self, now: int) -> "Key":
        return self._moved(KeyAct.SUSPEND, now)

    def resumed(self, now: int) -> "Key":
        return self._moved(KeyAct.RESUME, now)

    def revoked(self, reason: RevocationReason, now: int) -> "Key":
        """This key revoked. Once more, only `compromised` still says something new."""
        state = self.after(KeyAct.REVOKE, now)
        compromised = reason is RevocationReason.COMPROMISED
        if self.state is KeyState.REVOKED and (self.compromised or not compromised):
            return self
        return replace(
            self,
            state=state,
            compromised=self.compromised or compromised,
            revoked_at=now if self.revoked_at is None else self.revoked_at,
            revocation_reason=reason,
            updated_at=now,
            version=self.version + 1,
        )

    def contained(self, reason: RevocationReason | None, now: int) -> "Key":
        """This key refused, whatever it was: revoked for `reason`, or without one suspended. An
        expired key is not beyond that: its expiry may have been a mistake of the clock."""
        if reason is not None:
            return self.revoked(reason, now)
        if self.state is not KeyState.ACTIVE:
            return self
        return replace(self, state=KeyState.SUSPENDED, updated_at=now, version=self.version + 1)

    def freed(self, now: int) -> "Key":
        """This key as it was before a containment by suspension that was a false alarm."""
        if self.state is not KeyState.SUSPENDED:
            return self
        return replace(self, state=KeyState.ACTIVE, updated_at=now, version=self.version + 1)

    def _moved(self, act: KeyAct, now: int) -> "Key":
        state = self.after(act, now)
        if state is self.state:
            return self
        return replace(self, state=state, updated_at=now, version=self.version + 1)
