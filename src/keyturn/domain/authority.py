"""Who may do and grant what: the rights of a caller, compared with the rights of a key.

1. An operator may do everything; a gateway may verify, and nothing else.
2. An `admin` key may grant any scope and permission in its workspace.
3. Another key grants only what it holds itself, with networks and lifetime within its own.
4. Nobody changes a key that is wider than his own, except to contain it.
"""

from dataclasses import dataclass

from keyturn.domain.error import GrantExceeded, PermissionMissing
from keyturn.domain.key import Key
from keyturn.domain.network import holds_networks
from keyturn.domain.permission import Permission, covers_slot, holds_permission, permitted_slots
from keyturn.domain.scope import holds_scope
from keyturn.domain.slot import SlotName


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What somebody holds or asks for. No networks mean everywhere, no expiry for ever."""

    scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    allowed_cidrs: tuple[str, ...]
    expires_at: int | None

    @classmethod
    def of(cls, key: Key) -> "Rights":
        return cls(
            scopes=key.scopes,
            permissions=key.permissions,
            allowed_cidrs=key.allowed_cidrs,
            expires_at=key.expires_at,
        )

    @property
    def is_admin(self) -> bool:
        return Permission.ADMIN in self.permissions

    def slots(self, permission: Permission) -> tuple[str, ...]:
        """The slot patterns that `permission` reaches."""
        return permitted_slots(self.permissions, permission)

    def require(self, permission: Permission, slot: SlotName | None = None) -> None:
        """Raises `PermissionMissing` unless `permission` is held, for `slot` if one is given."""
        patterns = self.slots(permission)
        if not patterns:
            raise PermissionMissing(f"This needs the permission {permission}.")
        if slot is not None and not covers_slot(patterns, str(slot)):
            raise PermissionMissing(f"This needs the permission {permission} for the slot {slot}.")

    def require_covering(self, asked: "Rights") -> None:
        """Raises `GrantExceeded` unless everything in `asked` is within these rights."""
        if self.is_admin:
            return
        for scope in asked.scopes:
            if not holds_scope(self.scopes, scope):
                raise GrantExceeded(f"The caller does not hold the scope {scope}.")
        for permission in asked.permissions:
            if not holds_permission(self.permissions, permission):
                raise GrantExceeded(f"The caller does not hold the permission {permission}.")
        if not holds_networks(self.allowed_cidrs, asked.allowed_cidrs):
            raise GrantExceeded("The allowed networks must lie within the caller's own.")
        if self.expires_at is not None and (
            asked.expires_at is None or asked.expires_at > self.expires_at
        ):
            raise GrantExceeded("The key must expire no later than the caller's own key.")


UNBOUNDED = Rights(
    scopes=("*",), permissions=(Permission.ADMIN,), allowed_cidrs=(), expires_at=None
)
VERIFY_ONLY = Rights(scopes=(), permissions=(Permission.VERIFY,), allowed_cidrs=(), expires_at=None)
