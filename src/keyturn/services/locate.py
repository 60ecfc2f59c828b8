"""Locating: which workspace a call is about, and the object in it that it names."""

from collections.abc import Callable, Sequence
from uuid import UUID

from keyturn.domain.error import (
    ChannelUnknown,
    DeliveryUnknown,
    FindingUnknown,
    IncidentNoKey,
    IncidentUnknown,
    KeyUnknown,
    MessageUnknown,
    NotFound,
    PostureWaiverUnknown,
    RotationUnknown,
    WorkspaceDenied,
    WorkspaceRequired,
    WorkspaceUnknown,
)
from keyturn.domain.identity import parse_id
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.storage.transaction import Reading


def require_own(caller: Caller, named: UUID | None, *, is_named: bool) -> None:
    """Raises `WorkspaceDenied` where a key names another workspace than its own, real or not."""
    if is_named and not caller.is_operator and named != caller.workspace_id:
        raise WorkspaceDenied("Keyturn-Workspace must name the token's own workspace.")


def locate_workspace(context: Context, caller: Caller, named: UUID | None) -> UUID:
    """The workspace of a call that creates or lists: the caller's own, the one named, or the only
    one. Raises `WorkspaceRequired` or `WorkspaceUnknown` for operators."""
    if caller.workspace_id is not None:
        return caller.workspace_id
    with context.store.read() as transaction:
        if named is None:
            only = transaction.workspaces.only()
            if only is None:
                raise WorkspaceRequired(
                    "There are several workspaces; name one with the header Keyturn-Workspace."
                )
            return only
        if transaction.workspaces.find(named) is None:
            raise WorkspaceUnknown("There is no workspace with this id.")
        return named


def locate_key(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a key. Raises `KeyUnknown`."""
    unknown = KeyUnknown("There is no key with this id.")
    return _locate(context, caller, named, lambda one: one.keys.workspace_of(id_), unknown)


def locate_rotation(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a rotation. Raises `RotationUnknown`."""
    unknown = RotationUnknown("There is no rotation with this id.")
    return _locate(context, caller, named, lambda one: one.rotations.workspace_of(id_), unknown)


def locate_finding(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a finding. Raises `FindingUnknown`."""
    unknown = FindingUnknown("There is no finding with this id.")
    return _locate(context, caller, named, lambda one: one.findings.workspace_of(id_), unknown)


def locate_incident(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names an incident. Raises `IncidentUnknown`."""
    unknown = IncidentUnknown("There is no incident with this id.")
    return _locate(context, caller, named, lambda one: one.incidents.workspace_of(id_), unknown)


def locate_keys(context: Context, caller: Caller, named: UUID | None, ids: Sequence[UUID]) -> UUID:
    """The workspace of a call that names several keys, some of which may be none: that of the
    first that is one. Raises `IncidentNoKey`."""
    if caller.workspace_id is not None:
        return caller.workspace_id
    if named is not None:
        return locate_workspace(context, caller, named)
    with context.store.read() as transaction:
        for id_ in ids:
            found = transaction.keys.workspace_of(id_) or _was_in(transaction, id_)
            if found is not None:
                return found
    raise IncidentNoKey("Nothing of what was given is a key.")


def _was_in(transaction: Reading, id_: UUID) -> UUID | None:
    """The workspace of a key whose record was taken away."""
    change = transaction.activity.last_genuine_change("key", str(id_))
    return None if change is None else parse_id(str(change.workspace_id))


def locate_delivery(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a delivery. Raises `DeliveryUnknown`."""
    unknown = DeliveryUnknown("There is no delivery with this id.")
    return _locate(context, caller, named, lambda one: one.deliveries.workspace_of(id_), unknown)


def locate_channel(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a channel. Raises `ChannelUnknown`."""
    unknown = ChannelUnknown("There is no channel with this id.")
    return _locate(context, caller, named, lambda one: one.channels.workspace_of(id_), unknown)


def locate_posture_waiver(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a waiver. Raises `PostureWaiverUnknown`."""
    unknown = PostureWaiverUnknown("There is no waiver with this id.")
    return _locate(
        context, caller, named, lambda one: one.posture_waivers.workspace_of(id_), unknown
    )


def locate_message(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a message. Raises `MessageUnknown`."""
    unknown = MessageUnknown("There is no message with this id.")
    return _locate(context, caller, named, lambda one: one.messages.workspace_of(id_), unknown)


def _locate(
    context: Context,
    caller: Caller,
    named: UUID | None,
    find: Callable[[Reading], UUID | None],
    unknown: NotFound,
) -> UUID:
    """A key's own workspace; for an operator that of the object, which must be the one named."""
    if caller.workspace_id is not None:
        return caller.workspace_id
    with context.store.read() as transaction:
        found = find(transaction)
    if found is None or (named is not None and named != found):
        raise unknown
    return found


def sole_workspace(context: Context) -> UUID | None:
    """The installation's one workspace, None where it has several."""
    with context.store.read() as transaction:
        return transaction.workspaces.only()
