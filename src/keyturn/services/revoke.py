"""Taking keys out of use: revoked for good, or suspended and resumed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import IntegrityFailed, KeyUnknown, PermissionMissing
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import Rotation, RotationAct
from keyturn.services.conclude import end_rotation, free_old_key, keep_rotation
from keyturn.services.context import Context
from keyturn.services.define import require_version
from keyturn.services.identify import reaffirm
from keyturn.services.issue import key_subject
from keyturn.services.journal import Act, Author, note
from keyturn.services.respond import require_free
from keyturn.services.tombstone import make_tombstone
from keyturn.storage.keys import KeyView
from keyturn.storage.transaction import Writing

# What a move of a key means for the open rotation that the key is in.
Settle = Callable[[Context, Writing, Author, Rotation, Key, int], None]

# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, KeyView], None]


def revoke_key(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    reason: RevocationReason,
    *,
    expected: frozenset[int] | None = None,
) -> KeyView:
    """Revokes a key; once more, it stays as it is. Containing needs no more rights than that.

    A key whose record was changed from outside, or taken away, is revoked too: a record without
    rights takes its place, in a version above all that ever were, so that none of them can return.
    An open rotation of the key ends with it: completed, rolled back or, where it is compromised,
    cancelled.
    """

    def settle(
        context: Context,
        transaction: Writing,
        author: Author,
        rotation: Rotation,
        key: Key,
        now: int,
    ) -> None:
        _end_with(context, transaction, author, rotation, key, reason, now)

    try:
        return _move(
            context,
            act,
            workspace_id,
            id,
            lambda key, now: key.revoked(reason, now),
            action="api_key.revoked",
            verb=f"revoked ({reason})",
            expected=expected,
            settle=settle,
        )
    except (IntegrityFailed, KeyUnknown):
        return _bury(context, act, workspace_id, id, reason)


def _bury(
    context: Context, act: Act, workspace_id: UUID, id_: UUID, reason: RevocationReason
) -> KeyView:
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        genuine = transaction.activity.last_genuine_change("key", str(id_))
        if genuine is None or genuine.workspace_id != str(workspace_id):
            raise KeyUnknown("There is no key with this id.")
        # Which slot the key is in stands in the record, which is not to be trusted.
        rights.require(Permission.KEYS_WRITE)
        if "*" not in rights.slots(Permission.KEYS_WRITE):
            raise PermissionMissing(
                f"The record of this key was changed from outside; to revoke it this needs the "
                f"permission {Permission.KEYS_WRITE} for every slot."
            )
        key = make_tombstone(context, workspace_id, id_, reason, now)
        key = replace(key, version=transaction.activity.next_version("key", str(id_)))
        transaction.keys.bury(key)
        note(
            context,
            transaction,
            actor=act.caller.actor,
            request_id=act.request_id,
            action="api_key.revoked",
            category=Category.SECURITY,
            subject=key_subject(key),
            message=f"A key whose record had been changed from outside was revoked ({reason}).",
            metadata={"damaged": True},
            now=now,
        )
        rotation = _open_rotation(transaction, key)
        if rotation is not None:
            _end_with(context, transaction, Author.of(act), rotation, key, reason, now)
    return KeyView(key=key, slot=None, last_used_at=None)


def _open_rotation(transaction: Writing, key: Key) -> Rotation | None:
    """The open rotation of a key. One whose record was changed from outside decides nothing."""
    try:
        return transaction.rotations.open_of_key(key.workspace_id, key.id)
    except IntegrityFailed:
        return None


def _end_with(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    key: Key,
    reason: RevocationReason,
    now: int,
) -> None:
    """Ends a rotation one of whose keys was revoked just now. The other key works on, also out of
    a brown-out."""
    is_old = key.id == rotation.old_key_id
    if not is_old:
        # One key is contained, whatever became of the other's record.
        with suppress(IntegrityFailed):
            old = transaction.keys.find(rotation.workspace_id, rotation.old_key_id)
            if old is not None:
                free_old_key(context, transaction, author, rotation, old, now)
    if reason is RevocationReason.COMPROMISED:
        step = RotationAct.CANCEL
    else:
        step = RotationAct.COMPLETE if is_old else RotationAct.ROLL_BACK
    end_rotation(
        context,
        transaction,
        author,
        rotation,
        step,
        now,
        reason=f"The {'old' if is_old else 'new'} key was revoked ({reason}).",
        is_forced=True,
        evidence=None,
    )


def _stay_suspended(
    context: Context, transaction: Writing, author: Author, rotation: Rotation, key: Key, now: int
) -> None:
    """A person wants the old key suspended, whatever comes of the brown-out."""
    if key.id == rotation.old_key_id and rotation.brownout is not None:
        disowned = rotation.disowned(now)
        if disowned is not rotation:
            version = rotation.version
            keep_rotation(context, transaction, author, disowned, version, "disowned", {})


def _end_brownout(
    context: Context, transaction: Writing, author: Author, rotation: Rotation, key: Key, now: int
) -> None:
    """A person lets the old key work again: its brown-out is over, and is not begun again by
    itself. Who was kept from using it has to be heard of anew."""
    if key.id == rotation.old_key_id:
        vetoed = rotation.vetoed(now)
        keep_rotation(context, transaction, author, vetoed, rotation.version, "vetoed", {})


def suspend_key(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    *,
    expected: frozenset[int] | None = None,
    remember: Remember | None = None,
) -> KeyView:
    """Suspends a key until it is resumed. Raises `KeyTerminal` where it has ended."""
    return _move(
        context,
        act,
        workspace_id,
        id,
        Key.suspended,
        action="api_key.suspended",
        verb="suspended",
        expected=expected,
        remember=remember,
        settle=_stay_suspended,
    )


def resume_key(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    *,
    expected: frozenset[int] | None = None,
    remember: Remember | None = None,
) -> KeyView:
    """Lets a suspended key work again; only for who holds what the key holds."""
    return _move(
        context,
        act,
        workspace_id,
        id,
        Key.resumed,
        action="api_key.resumed",
        verb="resumed",
        gives=True,
        expected=expected,
        remember=remember,
        settle=_end_brownout,
    )


def _move(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id_: UUID,
    move: Callable[[Key, int], Key],
    *,
    action: str,
    verb: str,
    gives: bool = False,
    expected: frozenset[int] | None,
    settle: Settle,
    remember: Remember | None = None,
) -> KeyView:
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        view = transaction.keys.view(workspace_id, id_)
        if view is None:
            raise KeyUnknown("There is no key with this id.")
        key = view.key
        rights.require(Permission.KEYS_WRITE, key.slot)
        if gives:
            require_free(transaction, key)
            rights.require_covering(Rights.of(key))
        if key.state is not KeyState.REVOKED:  # else a retry whose first answer was lost
            require_version(key.version, expected)
        following = move(key, now)
        if following is not key:
            transaction.keys.replace(following, key.version)
            note(
                context,
                transaction,
                actor=act.caller.actor,
                request_id=act.request_id,
                action=action,
                category=Category.SECURITY,
                subject=key_subject(following),
                message=f"Key {key.name} was {verb}.",
                metadata={"slot": str(key.slot)},
                now=now,
            )
        rotation = _open_rotation(transaction, following)
        if rotation is not None and (following is not key or rotation.brownout is not None):
            settle(context, transaction, Author.of(act), rotation, following, now)
        moved = replace(view, key=following)
        if remember is not None:
            remember(transaction, moved)
    return moved
