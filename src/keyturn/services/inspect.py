"""Inspecting: what a caller may read of keys, slots, workspaces, requests, usage and activity."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Entry
from keyturn.domain.destination import Destination
from keyturn.domain.error import (
    IntegrityFailed,
    KeyturnError,
    KeyUnknown,
    RequestInvalid,
    SlotUnknown,
    WorkspaceUnknown,
)
from keyturn.domain.identity import NIL
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import Rotation
from keyturn.domain.slot import Slot, SlotName
from keyturn.domain.workspace import MOST_GRACE_SECONDS, Workspace
from keyturn.services.connect import find_destination
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.services.provision import require_operator
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.requests import RecordedRequest, RequestFilter
from keyturn.storage.usage import Bucket, RuntimeUse

BUCKETS = {"minute": 60 * SECOND, "hour": 3_600 * SECOND, "day": DAY}
MOST_BUCKETS = 10_000
DEFAULT_WINDOW = 30 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """How a key was used from `since` until `until`. Empty buckets are left out of the series."""

    key_id: UUID
    since: int
    until: int
    bucket: str
    series: Sequence[Bucket]
    runtimes: Sequence[RuntimeUse]
    last_used_at: int | None

    @property
    def allowed(self) -> int:
        return sum(bucket.allowed for bucket in self.series)

    @property
    def denied(self) -> int:
        return sum(bucket.denied for bucket in self.series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """A key's last change: its position in the log, and when it was made."""

    key_id: UUID
    position: int
    changed_at: int


def view_key(context: Context, caller: Caller, workspace_id: UUID, id: UUID) -> KeyView:  # noqa: A002
    """One key. Raises `KeyUnknown` or `PermissionMissing`."""
    with context.store.read() as transaction:
        view = transaction.keys.view(workspace_id, id)
    if view is None:
        raise KeyUnknown("There is no key with this id.")
    caller.rights.require(Permission.KEYS_READ, view.key.slot)
    return view


def view_self(context: Context, caller: Caller) -> tuple[KeyView, Rotation | None]:
    """The caller's own key, which it may always read, and the open rotation that it is in. Raises
    `KeyUnknown`."""
    home = caller.workspace_id or NIL
    with context.store.read() as transaction:
        view = transaction.keys.view(home, caller.id)
        rotation = None
        with suppress(IntegrityFailed):  # a rotation that was changed from outside tells nothing
            rotation = transaction.rotations.open_of_key(home, caller.id)
    if view is None:
        raise KeyUnknown("There is no key with this id.")
    return view, rotation


def list_keys(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: KeyFilter,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[KeyView], int | None]:
    """Keys of the slots that the caller may read, newest first, and how many where asked."""
    wanted = replace(wanted, slots=caller.rights.slots(Permission.KEYS_READ))
    with context.store.read() as transaction:
        views = transaction.keys.list(workspace_id, wanted, limit=limit, before=before)
        return views, transaction.keys.count(workspace_id, wanted) if count else None


def view_slot(context: Context, caller: Caller, workspace_id: UUID, name: SlotName | None) -> Slot:
    """One slot. Raises `SlotUnknown` or `PermissionMissing`."""
    if name is None:
        raise SlotUnknown("There is no slot with this name.")
    caller.rights.require(Permission.KEYS_READ, name)
    with context.store.read() as transaction:
        slot = transaction.slots.find(workspace_id, name)
    if slot is None:
        raise SlotUnknown("There is no slot with this name.")
    return slot


def list_slots(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    *,
    service: str | None,
    environment: str | None,
    owner: str | None,
    limit: int,
    before: tuple[int, str, str] | None,
    count: bool,
) -> tuple[Sequence[Slot], int | None]:
    """Slots that the caller may read, newest first, and how many where asked."""
    patterns = caller.rights.slots(Permission.KEYS_READ)
    with context.store.read() as transaction:
        slots = transaction.slots.list(
            workspace_id,
            patterns=patterns,
            service=service,
            environment=environment,
            owner=owner,
            limit=limit,
            before=before,
        )
        total = None
        if count:
            total = transaction.slots.count(
                workspace_id,
                patterns=patterns,
                service=service,
                environment=environment,
                owner=owner,
            )
        return slots, total


def view_destination(
    context: Context, caller: Caller, workspace_id: UUID, name: str
) -> Destination:
    """One destination by its name. Raises `DestinationUnknown` or `PermissionMissing`."""
    caller.rights.require(Permission.KEYS_READ)
    with context.store.read() as transaction:
        return find_destination(transaction, workspace_id, name)


def list_destinations(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    kind: str | None,
    *,
    limit: int,
    before: UUID | None,
    count: bool,
) -> tuple[Sequence[Destination], int | None]:
    """The workspace's destinations, newest first, and how many there are where asked."""
    caller.rights.require(Permission.KEYS_READ)
    with context.store.read() as transaction:
        found = transaction.destinations.list(workspace_id, kind, limit=limit, before=before)
        return found, transaction.destinations.count(workspace_id, kind) if count else None


def view_workspace(context: Context, caller: Caller, id: UUID | None) -> Workspace:  # noqa: A002
    """One workspace, for an operator. Raises `WorkspaceUnknown` or `PermissionMissing`."""
    require_operator(caller)
    with context.store.read() as transaction:
        workspace = None if id is None else transaction.workspaces.find(id)
    if workspace is None:
        raise WorkspaceUnknown("There is no workspace with this id.")
    return workspace


def grace_of(context: Context, workspace_id: UUID) -> int:
    """For how many seconds the workspace may be answered for by nodes that are late, those included
    that do not know that it was made shorter; the longest that there may be where that cannot be
    told. Never raises: it is asked after a change."""
    try:
        with context.store.read() as transaction:
            workspace = transaction.workspaces.find(workspace_id)
    except KeyturnError:
        return MOST_GRACE_SECONDS
    return 0 if workspace is None else workspace.reckoned_grace(context.clock.now())


def list_workspaces(
    context: Context, caller: Caller, *, limit: int, before: UUID | None, count: bool
) -> tuple[Sequence[Workspace], int | None]:
    """All workspaces, for an operator, newest first, and how many where asked."""
    require_operator(caller)
    with context.store.read() as transaction:
        workspaces = transaction.workspaces.list(limit=limit, before=before)
        return workspaces, transaction.workspaces.count() if count else None


def list_requests(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: RequestFilter,
    *,
    limit: int,
    before: tuple[int, str] | None,
    count: bool,
) -> tuple[Sequence[RecordedRequest], int | None]:
    """Requests of the keys that the caller may see, newest first, and how many where asked."""
    wanted = replace(wanted, slots=caller.rights.slots(Permission.REQUESTS_READ))
    with context.store.read() as transaction:
        requests = transaction.requests.list(workspace_id, wanted, limit=limit, before=before)
        return requests, transaction.requests.count(workspace_id, wanted) if count else None


def measure_usage(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    *,
    since: int | None,
    until: int | None,
    bucket: str,
) -> KeyUsage:
    """How a key was used. Without bounds: the last 30 days."""
    end = context.clock.now() + 1 if until is None else until
    start = end - DEFAULT_WINDOW if since is None else since
    width = BUCKETS[bucket]
    if start >= end:
        raise RequestInvalid.at("/since", "This must lie before `until`.")
    if (end - start) // width > MOST_BUCKETS:
        raise RequestInvalid.at(
            "/bucket", f"That would be more than {MOST_BUCKETS} buckets; ask for larger ones."
        )
    with context.store.read() as transaction:
        view = transaction.keys.view(workspace_id, id)
        if view is None:
            raise KeyUnknown("There is no key with this id.")
        caller.rights.require(Permission.REQUESTS_READ, view.key.slot)
        return KeyUsage(
            key_id=id,
            since=start,
            until=end,
            bucket=bucket,
            series=transaction.usage.series(id, since=start, until=end, bucket=width),
            runtimes=transaction.usage.runtimes(id, since=start, until=end),
            last_used_at=view.last_used_at,
        )


def trace_propagation(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
) -> Propagation:
    """A key's last change. Raises `KeyUnknown` or `PermissionMissing`."""
    with context.store.read() as transaction:
        view = transaction.keys.view(workspace_id, id)
        change = transaction.activity.last_change("key", str(id))
    if view is None or change is None:
        raise KeyUnknown("There is no key with this id.")
    caller.rights.require(Permission.KEYS_READ, view.key.slot)
    return Propagation(key_id=id, position=change[0], changed_at=change[1])


def list_activity(
    context: Context,
    caller: Caller,
    workspace_id: UUID,
    wanted: ActivityFilter,
    *,
    limit: int,
    before: int | None,
) -> Sequence[tuple[int, Entry]]:
    """Activity of a workspace with its numbers, newest first."""
    caller.rights.require(Permission.ACTIVITY_READ)
    with context.store.read() as transaction:
        return transaction.activity.list(workspace_id, wanted, limit=limit, before=before)
