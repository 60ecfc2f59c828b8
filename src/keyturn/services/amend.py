"""Amending keys: names, rights, lifetime, metadata, and the notes of their slot."""

from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import KeyUnknown, RequestInvalid
from keyturn.domain.key import Key, KeyAct
from keyturn.domain.network import check_networks
from keyturn.domain.permission import Permission, check_permissions
from keyturn.domain.rotation import require_no_wider
from keyturn.domain.scope import check_scopes
from keyturn.domain.slot import NOTHING_NOTED, SlotNotes
from keyturn.domain.text import check_text
from keyturn.services.context import Context
from keyturn.services.define import note_slot, require_version
from keyturn.services.identify import reaffirm
from keyturn.services.issue import check_lifetime, key_subject
from keyturn.services.journal import Act, note
from keyturn.services.respond import require_free
from keyturn.storage.keys import KeyView
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAmendment:
    """What is to change; None leaves a member as it is. `metadata` is JSON text."""

    name: str | None = None
    scopes: tuple[str, ...] | None = None
    permissions: tuple[str, ...] | None = None
    allowed_cidrs: tuple[str, ...] | None = None
    metadata: str | None = None
    expires_at: int | None = None
    notes: SlotNotes = NOTHING_NOTED

    def checked(self) -> "KeyAmendment":
        """This amendment in its one spelling. Raises `RequestInvalid`, also where it is empty, for
        all that needs no clock."""
        if self == KeyAmendment():
            raise RequestInvalid.at(
                "", "Name at least one member to change; null is as good as absent."
            )
        return replace(
            self,
            name=None if self.name is None else check_text(self.name, "/name"),
            scopes=None if self.scopes is None else check_scopes(self.scopes),
            permissions=None if self.permissions is None else check_permissions(self.permissions),
            allowed_cidrs=None
            if self.allowed_cidrs is None
            else check_networks(self.allowed_cidrs),
            notes=self.notes.checked(),
        )

    def applied(self, key: Key) -> Key:
        """The key with this amendment, in its present version."""
        return replace(
            key,
            name=key.name if self.name is None else self.name,
            scopes=key.scopes if self.scopes is None else self.scopes,
            permissions=key.permissions if self.permissions is None else self.permissions,
            allowed_cidrs=key.allowed_cidrs if self.allowed_cidrs is None else self.allowed_cidrs,
            metadata=key.metadata if self.metadata is None else self.metadata,
            expires_at=key.expires_at if self.expires_at is None else self.expires_at,
        )


def amend_key(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    amendment: KeyAmendment,
    *,
    expected: frozenset[int] | None = None,
) -> KeyView:
    """Changes a key. Raises `KeyUnknown`, `VersionMoved`, `KeyTerminal`, `RequestInvalid`,
    `PermissionMissing` or `GrantExceeded`; then nothing has changed."""
    amendment = amendment.checked()
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        view = transaction.keys.view(workspace_id, id)
        if view is None:
            raise KeyUnknown("There is no key with this id.")
        key = view.key
        check_lifetime(None, amendment.expires_at, now)
        rights.require(Permission.KEYS_WRITE, key.slot)
        require_version(key.version, expected)
        key.after(KeyAct.AMEND, now)
        require_free(transaction, key)
        following = amendment.applied(key)
        rights.require_covering(Rights.of(key))
        rights.require_covering(Rights.of(following))
        check_lifetime(following.not_before, following.expires_at, now)
        _require_pair(transaction, key, following)
        slot = view.slot
        if not amendment.notes.is_empty:
            slot = note_slot(
                context, transaction, act, rights, workspace_id, key.slot, amendment.notes, now
            )
        if following == key and slot == view.slot:
            return view
        following = replace(following, updated_at=now, version=key.version + 1)
        _store(context, transaction, act, key, following, now)
    return replace(view, key=following, slot=slot)


def _require_pair(transaction: Writing, key: Key, following: Key) -> None:
    """While a key is being replaced, the new one never may do more than the old one. Raises
    `RotationWider`."""
    if Rights.of(following) == Rights.of(key):
        return
    rotation = transaction.rotations.open_of_key(key.workspace_id, key.id)
    if rotation is None:
        return
    is_old = key.id == rotation.old_key_id
    other_id = rotation.new_key_id if is_old else rotation.old_key_id
    other = transaction.keys.find(key.workspace_id, other_id)
    if other is not None:
        require_no_wider(*((other, following) if is_old else (following, other)))


def _store(
    context: Context, transaction: Writing, act: Act, key: Key, following: Key, now: int
) -> None:
    transaction.keys.replace(following, key.version)
    note(
        context,
        transaction,
        actor=act.caller.actor,
        request_id=act.request_id,
        action="api_key.updated",
        category=Category.SECURITY,
        subject=key_subject(following),
        message=f"Key {following.name} was changed.",
        metadata={"changed": _changed(key, following)},
        now=now,
    )


def _changed(key: Key, following: Key) -> dict[str, object]:
    """What changed, before and after. Metadata is the user's own and is only named."""
    changed: dict[str, object] = {}
    for member in ("name", "scopes", "permissions", "allowed_cidrs", "expires_at"):
        before, after = getattr(key, member), getattr(following, member)
        if before != after:
            changed[member] = {"from": before, "to": after}
    if key.metadata != following.metadata:
        changed["metadata"] = "changed"
    return changed
