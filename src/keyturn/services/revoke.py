"""Taking keys out of use: revoked for good, or suspended and resumed."""

from collections.abc import Callable
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import KeyUnknown
from keyturn.domain.key import Key, RevocationReason
from keyturn.domain.permission import Permission
from keyturn.services.context import Context
from keyturn.services.define import require_version
from keyturn.services.identify import reaffirm
from keyturn.services.issue import key_subject
from keyturn.services.journal import Act, note
from keyturn.storage.keys import KeyView
from keyturn.storage.transaction import Writing

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
    """Revokes a key; once more, it stays as it is. Containing needs no more rights than that."""
    return _move(
        context,
        act,
        workspace_id,
        id,
        lambda key, now: key.revoked(reason, now),
        action="api_key.revoked",
        verb=f"revoked ({reason})",
        expected=expected,
    )


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
            rights.require_covering(Rights.of(key))
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
        moved = KeyView(key=following, slot=view.slot, last_used_at=view.last_used_at)
        if remember is not None:
            remember(transaction, moved)
    return moved
