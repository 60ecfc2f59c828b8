"""Rotating: a second key beside the first, to take its place once everybody has moved.

What happens then is in `steer.py` (a person's calls) and `advance.py` (by itself).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.destination import Destination, check_destination_names
from keyturn.domain.error import (
    IntegrityFailed,
    KeyUnknown,
    RequestInvalid,
    RotationOpen,
    RotationWider,
)
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key, KeyAct
from keyturn.domain.network import check_networks
from keyturn.domain.permission import Permission
from keyturn.domain.policy import SENSIBLE, UsualTerms
from keyturn.domain.rotation import (
    Decision,
    Rotation,
    RotationState,
    RotationTerms,
    Standing,
    lifetime_from,
    require_no_wider,
    settle_terms,
)
from keyturn.domain.scope import check_scopes
from keyturn.domain.slot import NOTHING_NOTED, Slot
from keyturn.domain.token import Token
from keyturn.services.conclude import keep_rotation
from keyturn.services.context import Context
from keyturn.services.dispatch import choose, dispatch
from keyturn.services.identify import reaffirm
from keyturn.services.issue import (
    IssuedKey,
    KeyDraft,
    add_key,
    check_lifetime,
    keep_new_key,
    make_key,
)
from keyturn.services.journal import Act, Author, Subject, note
from keyturn.services.respond import require_free
from keyturn.storage.keys import KeyView
from keyturn.storage.log import Change
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationDraft:
    """What is asked for; None is for what is sensible, or as the old key has it."""

    overlap_seconds: int | None = None
    quiet_seconds: int | None = None
    brownout_seconds: int | None = None
    lookback_seconds: int | None = None
    auto_complete: bool | None = None
    scopes: tuple[str, ...] | None = None
    allowed_cidrs: tuple[str, ...] | None = None
    deliver_to: tuple[str, ...] | None = None

    def checked(self) -> None:
        """Raises `RequestInvalid` for all that needs no clock, also where a rotation is joined."""
        self.settled(SENSIBLE)
        check_scopes(self.scopes or ())
        check_networks(self.allowed_cidrs or ())
        check_destination_names(self.deliver_to or (), "/deliver_to")

    def settled(self, usual: UsualTerms) -> tuple[int, RotationTerms]:
        """The overlap and the terms: as asked, else as is usual in the workspace. Raises
        `RequestInvalid`."""
        asked = UsualTerms(
            overlap_seconds=self.overlap_seconds,
            quiet_seconds=self.quiet_seconds,
            brownout_seconds=self.brownout_seconds,
            lookback_seconds=self.lookback_seconds,
        )
        settled = replace(usual, **asked.members())
        return settle_terms(
            overlap_seconds=settled.overlap_seconds,
            quiet_seconds=settled.quiet_seconds,
            brownout_seconds=settled.brownout_seconds,
            lookback_seconds=settled.lookback_seconds,
            auto_complete=self.auto_complete,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedRotation:
    """A rotation, with its new key and token; `issued` is None where it was open already."""

    rotation: Rotation
    issued: IssuedKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedKey:
    """A key made by hand in the place of another, and the rotation that this began."""

    rotation: Rotation
    issued: IssuedKey


# Called with the transaction, before it commits, so that an answer is kept with its change.
RememberReplaced = Callable[[Writing, ReplacedKey], None]
Remember = Callable[[Writing, StartedRotation], None]


def start_rotation(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    draft: RotationDraft,
    remember: Remember | None = None,
) -> StartedRotation:
    """Starts the rotation of a key, or joins the open one of its slot. Raises `KeyUnknown`,
    `KeyTerminal`, `RotationWider`, `RequestInvalid`, `PermissionMissing` or `GrantExceeded`; then
    nothing has happened."""
    draft.checked()
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        old = _key(transaction, workspace_id, id)
        rights.require(Permission.ROTATIONS_WRITE, old.slot)
        require_free(transaction, old)
        present = open_rotation(context, transaction, Author.of(act), old, now)
        if present is not None:
            started = StartedRotation(rotation=present, issued=None)
        else:
            started = _start(context, transaction, act, rights, old, draft, now)
        if remember is not None:
            remember(transaction, started)
        return started


def _key(transaction: Writing, workspace_id: UUID, id_: UUID) -> Key:
    key = transaction.keys.find(workspace_id, id_)
    if key is None:
        raise KeyUnknown("There is no key with this id.")
    return key


def open_rotation(
    context: Context, transaction: Writing, author: Author, key: Key, now: int
) -> Rotation | None:
    """The open rotation of a key's slot. One whose record was changed from outside is set aside:
    its keys stay as they are."""
    try:
        return transaction.rotations.open_of_slot(key.workspace_id, key.slot)
    except IntegrityFailed:
        for id_, version in transaction.rotations.bury_open(key.workspace_id, key.slot, now):
            note(
                context,
                transaction,
                actor=author.actor,
                request_id=author.request_id,
                action="rotation.cancelled",
                category=Category.SECURITY,
                subject=Subject(
                    workspace_id=key.workspace_id,
                    type="rotation",
                    id=str(id_),
                    change=Change(kind="rotation", ref=str(id_), version=version),
                ),
                message="A rotation whose record had been changed from outside was set aside.",
                metadata={"damaged": True},
                now=now,
            )
        return None


def _start(
    context: Context,
    transaction: Writing,
    act: Act,
    rights: Rights,
    old: Key,
    draft: RotationDraft,
    now: int,
) -> StartedRotation:
    new, token = _successor(context, old, draft, act.caller.actor.id, now)
    issued = add_key(context, transaction, act, rights, new, token, NOTHING_NOTED, now)
    require_receivable(rights, issued.view, draft.deliver_to)
    author = Author.of(act)
    chosen = choose(transaction, issued.view, draft.deliver_to)
    rotation = _open(context, transaction, author, old, issued.view.key, draft, now)
    return _dispatched(context, transaction, author, rotation, issued, chosen, now)


def start_by_itself(
    context: Context,
    transaction: Writing,
    author: Author,
    old: Key,
    slot: Slot,
    destinations: Sequence[Destination],
    now: int,
) -> StartedRotation:
    """Starts the rotation of a key whose time has come, its token to go to the slot's destinations
    alone. Who calls has seen that none is open and that the destinations are proven."""
    draft = RotationDraft()
    new, token = _successor(context, old, draft, None, now)
    issued = keep_new_key(context, transaction, author, new, token, slot, now)
    rotation = _open(context, transaction, author, old, issued.view.key, draft, now)
    return _dispatched(context, transaction, author, rotation, issued, destinations, now)


def _successor(
    context: Context, old: Key, draft: RotationDraft, created_by: UUID | None, now: int
) -> tuple[Key, Token]:
    """A key that may do what the old one may, or less, and its token; kept nowhere yet."""
    old.after(KeyAct.AMEND, now)
    made = KeyDraft(
        name=old.name,
        slot=old.slot,
        scopes=old.scopes if draft.scopes is None else check_scopes(draft.scopes),
        permissions=old.permissions,
        allowed_cidrs=old.allowed_cidrs
        if draft.allowed_cidrs is None
        else check_networks(draft.allowed_cidrs),
        metadata=old.metadata,
        expires_at=lifetime_from(old, now),
    )
    new, token = make_key(context, old.workspace_id, made, created_by, now)
    new = replace(new, last_rotated_at=now)
    require_no_wider(new, old)
    return new, token


def require_receivable(rights: Rights, view: KeyView, asked: tuple[str, ...] | None) -> None:
    """A token goes to who holds what it gives, or to where the slot's tokens go anyway. Raises
    `GrantExceeded`."""
    own = () if view.slot is None else view.slot.notes.destinations or ()
    names = own if asked is None else asked
    if not names or not set(names) <= set(own):
        rights.require_covering(Rights.of(view.key))


def _dispatched(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    issued: IssuedKey,
    chosen: Sequence[Destination],
    now: int,
) -> StartedRotation:
    key, token = issued.view.key, issued.token
    sent = dispatch(context, transaction, author, key, token, chosen, rotation.id, now)
    return StartedRotation(rotation=rotation, issued=replace(issued, deliveries=sent))


def _open(
    context: Context,
    transaction: Writing,
    author: Author,
    old: Key,
    new: Key,
    draft: RotationDraft,
    now: int,
) -> Rotation:
    policy = transaction.workspaces.policy_of(old.workspace_id)
    overlap, terms = draft.settled(SENSIBLE if policy is None else policy.terms)
    heirs = _heirs(transaction, old, now)
    rotation = Rotation(
        id=context.new_id(now),
        workspace_id=old.workspace_id,
        slot=old.slot,
        old_key_id=old.id,
        new_key_id=new.id,
        state=RotationState.OVERLAPPING,
        terms=terms,
        started_at=now,
        started_by=author.actor.label,
        deadline=now + overlap * SECOND,
        brownout=None,
        lifts=0,
        lifted_at=None,
        met=(),
        decisions=heirs,
        ending=None,
        updated_at=now,
        version=1,
    )
    told: dict[str, object] = {"overlap_seconds": overlap, "auto_complete": terms.auto_complete}
    keep_rotation(context, transaction, author, rotation, None, "started", told)
    return rotation


def _heirs(transaction: Writing, old: Key, now: int) -> tuple[Decision, ...]:
    """Those that hold the old key though the times of their uses do not tell it: a person let them
    check in instead of run when that was the new one, or the clock was ahead when they used it."""
    wanted = RotationFilter(states=(RotationState.COMPLETED,), key_id=old.id)
    before = transaction.rotations.list(old.workspace_id, wanted, limit=2, before=None)
    reasons = {
        one.runtime: "It checked in with the old key when that was new."
        for rotation in before
        if rotation.new_key_id == old.id
        for one in rotation.decisions
        if one.standing is Standing.CHECKED_IN
    }
    for use in transaction.uses.of((old.id,)):
        if use.first_seen_at is not None and use.first_seen_at > now:
            reasons[use.runtime] = "It used the old key before, by a clock that was ahead."
    return tuple(
        Decision(
            runtime=runtime,
            standing=Standing.OURS,
            place=None,
            reason=reason,
            by="keyturn rotations",
            at=now,
        )
        for runtime, reason in sorted(reasons.items())
    )


def replace_key(
    context: Context,
    act: Act,
    workspace_id: UUID,
    replaced: UUID,
    draft: KeyDraft,
    given: frozenset[str],
    remember: RememberReplaced | None = None,
) -> ReplacedKey:
    """The guide's own way: a second key made by hand, which becomes a rotation of the first.

    `given` are the members that the caller named; the others are as the replaced key has them.
    Raises as `start_rotation`, and `RotationOpen`.
    """
    draft = draft.checked(needs_name=False)
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        old = _key(transaction, workspace_id, replaced)
        rights.require(Permission.KEYS_WRITE, old.slot)
        rights.require(Permission.ROTATIONS_WRITE, old.slot)
        require_free(transaction, old)
        if open_rotation(context, transaction, Author.of(act), old, now) is not None:
            raise RotationOpen("This slot is being rotated already; finish that first.")
        old.after(KeyAct.AMEND, now)
        made = replace(
            draft,
            name=draft.name if draft.name is not None or draft.slot is not None else old.name,
            slot=draft.slot if draft.slot is not None or draft.name is not None else old.slot,
            scopes=draft.scopes if "scopes" in given else old.scopes,
            permissions=draft.permissions if "permissions" in given else old.permissions,
            allowed_cidrs=draft.allowed_cidrs if "allowed_cidrs" in given else old.allowed_cidrs,
            metadata=draft.metadata if "metadata" in given else old.metadata,
            expires_at=draft.expires_at if "expires_at" in given else lifetime_from(old, now),
        )
        check_lifetime(made.not_before, made.expires_at, now)
        longest = lifetime_from(old, now)
        if longest is not None and (made.expires_at is None or made.expires_at > longest):
            raise RotationWider("The new key may live no longer than the old one was made to live.")
        new, token = make_key(context, workspace_id, made, act.caller.actor.id, now)
        if new.slot != old.slot:
            raise RequestInvalid.at(
                "/replaces", f"That key is in slot {old.slot}, and this one would be in {new.slot}."
            )
        new = replace(new, last_rotated_at=now)
        require_no_wider(new, old)
        issued = add_key(context, transaction, act, rights, new, token, made.notes, now)
        require_receivable(rights, issued.view, draft.deliver_to)
        author = Author.of(act)
        chosen = choose(transaction, issued.view, draft.deliver_to)
        rotation = _open(context, transaction, author, old, issued.view.key, RotationDraft(), now)
        started = _dispatched(context, transaction, author, rotation, issued, chosen, now)
        made_one = ReplacedKey(rotation=rotation, issued=started.issued or issued)
        if remember is not None:
            remember(transaction, made_one)
        return made_one
