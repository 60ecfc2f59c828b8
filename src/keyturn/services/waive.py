"""Waiving a check of the guide: by name, with a reason, until a stated time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import (
    KeyUnknown,
    PermissionMissing,
    PostureWaiverUnknown,
    RequestInvalid,
    SlotUnknown,
)
from keyturn.domain.instant import format_instant
from keyturn.domain.permission import Permission
from keyturn.domain.posture.check import CheckId
from keyturn.domain.posture.waiver import MOST_WAIVERS, PostureWaiver, check_terms
from keyturn.domain.slot import SlotName
from keyturn.services.context import Context
from keyturn.services.identify import Caller, reaffirm
from keyturn.services.journal import Act, Subject, note
from keyturn.storage.log import Change
from keyturn.storage.transaction import Reading, Writing

Remember = Callable[[Writing, PostureWaiver], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverDraft:
    """What is to be waived: of one key, of one slot, or with neither the whole check."""

    check: CheckId
    key_id: UUID | None
    slot: SlotName | None
    reason: str
    until: int


def waive_check(
    context: Context,
    act: Act,
    workspace_id: UUID,
    draft: WaiverDraft,
    remember: Remember | None = None,
) -> PostureWaiver:
    """Waives a check, in place of what was waived of the same before. Raises `KeyUnknown` or
    `SlotUnknown`."""
    if draft.key_id is not None and draft.slot is not None:
        raise RequestInvalid.at("/slot", "Name a key or a slot, not both.")
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        reason = check_terms(draft.reason, draft.until, now)
        slot = _slot(transaction, workspace_id, draft)
        _require(rights, slot)
        if transaction.posture_waivers.count_holding(workspace_id, now) >= MOST_WAIVERS:
            raise RequestInvalid.at("", f"There may be at most {MOST_WAIVERS} waivers at once.")
        for one in transaction.posture_waivers.holding(workspace_id, now):
            if (one.check, one.key_id, one.slot) == (draft.check, draft.key_id, slot):
                _end(context, transaction, act, one, now)
        waiver = PostureWaiver(
            id=context.new_id(now),
            workspace_id=workspace_id,
            check=draft.check,
            key_id=draft.key_id,
            slot=slot,
            reason=reason,
            until=draft.until,
            created_at=now,
            created_by=act.caller.actor.label,
            ended_at=None,
            ended_by=None,
            updated_at=now,
            version=1,
        )
        transaction.posture_waivers.add(waiver)
        _note(context, transaction, act, waiver, "waived", now)
        if remember is not None:
            remember(transaction, waiver)
    return waiver


def end_waiver(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> PostureWaiver:
    """Ends a waiver; one that is over already stays as it is. Raises `PostureWaiverUnknown`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        waiver = transaction.posture_waivers.find(workspace_id, id)
        if waiver is None:
            raise PostureWaiverUnknown("There is no waiver with this id.")
        _require(rights, waiver.slot)
        return _end(context, transaction, act, waiver, now)


def list_waivers(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[PostureWaiver], int | None]:
    """Waivers on the slots that the caller may read, newest first, those that are over too."""
    slots = caller.rights.slots(Permission.KEYS_READ)
    with context.store.read() as transaction:
        kept = transaction.posture_waivers
        found = kept.list(workspace_id, slots=slots, limit=limit, before=before)
        return found, kept.count(workspace_id, slots=slots) if count else None


def _slot(transaction: Reading, workspace_id: UUID, draft: WaiverDraft) -> SlotName | None:
    if draft.key_id is not None:
        key = transaction.keys.find(workspace_id, draft.key_id)
        if key is None:
            raise KeyUnknown("There is no key with this id.")
        return key.slot
    if draft.slot is not None and transaction.slots.find(workspace_id, draft.slot) is None:
        raise SlotUnknown("There is no slot with this name.")
    return draft.slot


def _require(rights: Rights, slot: SlotName | None) -> None:
    """Raises `PermissionMissing`: who may change some slots waives nothing of the others."""
    if slot is not None:
        rights.require(Permission.KEYS_WRITE, slot)
    elif "*" not in rights.slots(Permission.KEYS_WRITE):
        raise PermissionMissing(
            f"This needs the permission {Permission.KEYS_WRITE} for every slot of the workspace."
        )


def _end(
    context: Context, transaction: Writing, act: Act, waiver: PostureWaiver, now: int
) -> PostureWaiver:
    ended = waiver.ended(act.caller.actor.label, now)
    if ended is not waiver:
        transaction.posture_waivers.replace(ended, waiver.version)
        _note(context, transaction, act, ended, "unwaived", now)
    return ended


def _note(
    context: Context, transaction: Writing, act: Act, waiver: PostureWaiver, verb: str, now: int
) -> None:
    of = "altogether"
    if waiver.key_id is not None:
        of = f"of key {waiver.key_id}"
    elif waiver.slot is not None:
        of = f"of slot {waiver.slot}"
    until = format_instant(waiver.until)
    told = f"waived {of} until {until}" if verb == "waived" else f"no more waived {of}"
    note(
        context,
        transaction,
        actor=act.caller.actor,
        request_id=act.request_id,
        action=f"posture.{verb}",
        category=Category.SECURITY,
        subject=Subject(
            workspace_id=waiver.workspace_id,
            type="posture_waiver",
            id=str(waiver.id),
            change=Change(kind="posture_waiver", ref=str(waiver.id), version=waiver.version),
        ),
        message=f"The check {waiver.check} is {told}.",
        metadata={
            "check": waiver.check.value,
            "key_id": None if waiver.key_id is None else str(waiver.key_id),
            "slot": None if waiver.slot is None else str(waiver.slot),
            "reason": waiver.reason,
            "until": until,
        },
        now=now,
    )
