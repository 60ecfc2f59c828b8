"""The record that takes the place of a key's that was changed from outside."""

from uuid import UUID

from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.slot import DEFAULT_ENVIRONMENT, SlotName
from keyturn.services.context import Context


def make_tombstone(
    context: Context, workspace_id: UUID, id_: UUID, reason: RevocationReason, now: int
) -> Key:
    """The record of a key of which nothing is known but that it is no more."""
    return Key(
        id=id_,
        workspace_id=workspace_id,
        slot=SlotName(service="unknown", environment=DEFAULT_ENVIRONMENT),
        brand=context.brand,
        name="unknown (its record was changed from outside)",
        scopes=(),
        permissions=(),
        allowed_cidrs=(),
        metadata="{}",
        state=KeyState.REVOKED,
        compromised=reason is RevocationReason.COMPROMISED,
        digest=b"",
        peppers="",
        created_at=now,
        created_by=None,
        not_before=None,
        expires_at=None,
        last_rotated_at=None,
        updated_at=now,
        revoked_at=now,
        revocation_reason=reason,
        version=0,
    )


def is_tombstone(key: Key) -> bool:
    """Whether nothing is known of this key: no key of ours has an empty digest."""
    return key.digest == b""
