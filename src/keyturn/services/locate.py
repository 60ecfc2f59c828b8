"""Locating: which workspace a call is about, and the object in it that it names."""

from uuid import UUID

from keyturn.domain.error import (
    FindingUnknown,
    KeyUnknown,
    RotationUnknown,
    WorkspaceDenied,
    WorkspaceRequired,
    WorkspaceUnknown,
)
from keyturn.services.context import Context
from keyturn.services.identify import Caller


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
    if caller.workspace_id is not None:
        return caller.workspace_id
    with context.store.read() as transaction:
        found = transaction.keys.workspace_of(id_)
    if found is None or (named is not None and named != found):
        raise KeyUnknown("There is no key with this id.")
    return found


def locate_rotation(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a rotation. Raises `RotationUnknown`."""
    if caller.workspace_id is not None:
        return caller.workspace_id
    with context.store.read() as transaction:
        found = transaction.rotations.workspace_of(id_)
    if found is None or (named is not None and named != found):
        raise RotationUnknown("There is no rotation with this id.")
    return found


def locate_finding(context: Context, caller: Caller, named: UUID | None, id_: UUID) -> UUID:
    """The workspace of a call that names a finding. Raises `FindingUnknown`."""
    if caller.workspace_id is not None:
        return caller.workspace_id
    with context.store.read() as transaction:
        found = transaction.findings.workspace_of(id_)
    if found is None or (named is not None and named != found):
        raise FindingUnknown("There is no finding with this id.")
    return found


def sole_workspace(context: Context) -> UUID | None:
    """The installation's one workspace, None where it has several."""
    with context.store.read() as transaction:
        return transaction.workspaces.only()
