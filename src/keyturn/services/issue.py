"""Issuing keys: the record is kept, the token is given out once, and nothing else knows it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.delivery import Delivery
from keyturn.domain.destination import check_destination_names
from keyturn.domain.error import RequestInvalid, WorkspaceUnknown
from keyturn.domain.key import Key, KeyState
from keyturn.domain.network import check_networks
from keyturn.domain.permission import Permission, check_permissions
from keyturn.domain.scope import check_scopes
from keyturn.domain.slot import NOTHING_NOTED, Slot, SlotName, SlotNotes, infer_slot_name
from keyturn.domain.text import check_text
from keyturn.domain.token import SECRET_BYTES, Token, make_token
from keyturn.services.context import Context
from keyturn.services.define import note_slot
from keyturn.services.dispatch import choose, dispatch
from keyturn.services.follow import key_under_newest
from keyturn.services.identify import reaffirm
from keyturn.services.journal import Act, Author, Subject, note
from keyturn.storage.keys import KeyView
from keyturn.storage.log import Change
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDraft:
    """What is asked for. `slot` is None where the name is to tell it. `metadata` is JSON text.
    `deliver_to` names destinations; None is for those of the slot, `()` for none."""

    name: str | None = None
    slot: SlotName | None = None
    scopes: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    allowed_cidrs: tuple[str, ...] = ()
    metadata: str = "{}"
    not_before: int | None = None
    expires_at: int | None = None
    notes: SlotNotes = NOTHING_NOTED
    deliver_to: tuple[str, ...] | None = None

    def checked(self, *, needs_name: bool = True) -> "KeyDraft":
        """This draft in its one spelling. Raises `RequestInvalid` for all that needs no clock."""
        if needs_name and self.name is None and self.slot is None:
            raise RequestInvalid.at("/name", "Give `name`, or `service` and `environment`.")
        check_lifetime(self.not_before, self.expires_at, None)
        return replace(
            self,
            name=None if self.name is None else check_text(self.name, "/name"),
            scopes=check_scopes(self.scopes),
            permissions=check_permissions(self.permissions),
            allowed_cidrs=check_networks(self.allowed_cidrs),
            notes=self.notes.checked(),
            deliver_to=None
            if self.deliver_to is None
            else check_destination_names(self.deliver_to, "/deliver_to"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key and its token. Where there are `deliveries` it is on its way to destinations, and
    is shown to nobody; else it exists nowhere else."""

    view: KeyView
    token: Token
    deliveries: tuple[Delivery, ...] = ()

    def reveal(self) -> str | None:
        """The token as it is answered."""
        return None if self.deliveries else self.token.reveal()


# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, IssuedKey], None]


def issue_key(
    context: Context,
    act: Act,
    workspace_id: UUID,
    draft: KeyDraft,
    remember: Remember | None = None,
) -> IssuedKey:
    """Makes a key in the workspace. Raises `RequestInvalid`, `PermissionMissing`,
    `GrantExceeded`, `WorkspaceUnknown` or `CredentialInvalid`; then nothing has happened."""
    draft = draft.checked()
    with context.store.change() as transaction:
        # The moment of the change is that at which its turn has come.
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        key, token = make_key(context, workspace_id, draft, act.caller.actor.id, now)
        rights.require(Permission.KEYS_WRITE, key.slot)
        rights.require_covering(Rights.of(key))
        if transaction.workspaces.find(workspace_id) is None:
            raise WorkspaceUnknown("There is no workspace with this id.")
        issued = add_key(context, transaction, act, rights, key, token, draft.notes, now)
        chosen = choose(transaction, issued.view, draft.deliver_to)
        author = Author.of(act)
        sent = dispatch(context, transaction, author, issued.view.key, token, chosen, None, now)
        issued = replace(issued, deliveries=sent)
        if remember is not None:
            remember(transaction, issued)
    return issued


def make_key(
    context: Context, workspace_id: UUID, draft: KeyDraft, created_by: UUID | None, now: int
) -> tuple[Key, Token]:
    """A key after a checked draft, and its token, kept nowhere yet. Raises `RequestInvalid`."""
    name = str(draft.slot) if draft.name is None else draft.name
    slot = draft.slot or infer_slot_name(name, context.environments)
    check_lifetime(draft.not_before, draft.expires_at, now)
    id_ = context.new_id(now)
    token = make_token(
        brand=context.brand,
        environment=slot.environment,
        id=id_,
        secret=context.entropy.take(SECRET_BYTES),
    )
    digest, peppers = context.ring.make(workspace_id=workspace_id, id=id_, secret=token.secret())
    key = Key(
        id=id_,
        workspace_id=workspace_id,
        slot=slot,
        brand=context.brand,
        name=name,
        scopes=draft.scopes,
        permissions=draft.permissions,
        allowed_cidrs=draft.allowed_cidrs,
        metadata=draft.metadata,
        state=KeyState.ACTIVE,
        compromised=False,
        digest=digest,
        peppers=peppers,
        created_at=now,
        created_by=created_by,
        not_before=draft.not_before,
        expires_at=draft.expires_at,
        last_rotated_at=None,
        updated_at=now,
        revoked_at=None,
        revocation_reason=None,
        version=1,
    )
    return key, token


def check_lifetime(not_before: int | None, expires_at: int | None, now: int | None) -> None:
    """Raises `RequestInvalid` where the key would be dead before it lived; without `now`, at
    whatever time."""
    if now is not None and expires_at is not None and expires_at <= now:
        raise RequestInvalid.at("/expires_at", "This lies in the past.")
    if expires_at is not None and not_before is not None and expires_at <= not_before:
        raise RequestInvalid.at("/expires_at", "This must lie after `not_before`.")


def add_key(
    context: Context,
    transaction: Writing,
    act: Act,
    rights: Rights,
    key: Key,
    token: Token,
    notes: SlotNotes,
    now: int,
) -> IssuedKey:
    """Keeps a new key, under the newest pepper, and logs it. Who calls has judged the rights."""
    slot = note_slot(context, transaction, act, rights, key.workspace_id, key.slot, notes, now)
    return keep_new_key(context, transaction, Author.of(act), key, token, slot, now)


def keep_new_key(
    context: Context,
    transaction: Writing,
    author: Author,
    key: Key,
    token: Token,
    slot: Slot | None,
    now: int,
) -> IssuedKey:
    """As `add_key`, for a slot that is known."""
    key = key_under_newest(context, transaction, key)
    transaction.keys.add(key)
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action="api_key.created",
        category=Category.SECURITY,
        subject=key_subject(key),
        message=f"Key {key.name} was made in slot {key.slot}.",
        metadata={
            "name": key.name,
            "slot": str(key.slot),
            "scopes": list(key.scopes),
            "permissions": list(key.permissions),
        },
        now=now,
    )
    policy = transaction.workspaces.policy_of(key.workspace_id)
    view = KeyView(key=key, slot=slot, last_used_at=None, policy=policy)
    return IssuedKey(view=view, token=token)


def key_subject(key: Key) -> Subject:
    """How the log names a key and the change that it has just gone through."""
    return Subject(
        workspace_id=key.workspace_id,
        type="api_key",
        id=str(key.id),
        change=Change(kind="key", ref=str(key.id), version=key.version),
    )
