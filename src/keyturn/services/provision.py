"""Provisioning workspaces: making a tenant with its first administrator key, and changing it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.error import PermissionMissing, RequestInvalid, WorkspaceUnknown
from keyturn.domain.network import check_networks
from keyturn.domain.permission import Permission
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.runtime import NamedNetwork, check_runtime
from keyturn.domain.text import check_text
from keyturn.domain.workspace import MOST_GRACE_SECONDS, Reveal, Workspace, WorkspaceStatus
from keyturn.services.context import Context
from keyturn.services.define import require_version
from keyturn.services.identify import Caller, reaffirm
from keyturn.services.issue import IssuedKey, KeyDraft, add_key, make_key
from keyturn.services.journal import Act, Subject, note
from keyturn.storage.log import Change
from keyturn.storage.transaction import Writing

ADMINISTRATOR = "administrator"
MOST_NETWORKS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceDraft:
    name: str
    networks: tuple[NamedNetwork, ...] = ()
    policy: RotationPolicy | None = None
    reveal: Reveal = Reveal.ALWAYS
    grace_seconds: int = 0

    def checked(self) -> "WorkspaceDraft":
        """This draft in its one spelling. Raises `RequestInvalid`."""
        _check_grace(self.grace_seconds)
        return replace(self, name=check_text(self.name, "/name"), networks=_checked(self.networks))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceAmendment:
    """What is to change; None leaves a member as it is. An empty policy takes away the one that
    is."""

    name: str | None = None
    status: WorkspaceStatus | None = None
    networks: tuple[NamedNetwork, ...] | None = None
    policy: RotationPolicy | None = None
    reveal: Reveal | None = None
    grace_seconds: int | None = None

    def checked(self) -> "WorkspaceAmendment":
        """This amendment in its one spelling. Raises `RequestInvalid`, also where it is empty."""
        if self == WorkspaceAmendment():
            raise RequestInvalid.at(
                "", "Name at least one member to change; null is as good as absent."
            )
        _check_grace(self.grace_seconds)
        return replace(
            self,
            name=None if self.name is None else check_text(self.name, "/name"),
            networks=None if self.networks is None else _checked(self.networks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedWorkspace:
    """A new workspace and its administrator key, whose token exists nowhere else."""

    workspace: Workspace
    administrator: IssuedKey


Remember = Callable[[Writing, ProvisionedWorkspace], None]


def require_operator(caller: Caller) -> None:
    """Raises `PermissionMissing` unless the caller is an operator (and no gateway)."""
    if not caller.is_operator or not caller.rights.is_admin:
        raise PermissionMissing("This needs an operator's token.")


def provision_workspace(
    context: Context, act: Act, draft: WorkspaceDraft, remember: Remember | None = None
) -> ProvisionedWorkspace:
    """Makes a workspace and the first administrator key in it."""
    require_operator(act.caller)
    draft = draft.checked()
    key_draft = KeyDraft(name=ADMINISTRATOR, permissions=(Permission.ADMIN.value,)).checked()
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now)
        workspace = make_workspace(context, draft, now)
        key, token = make_key(context, workspace.id, key_draft, act.caller.actor.id, now)
        transaction.workspaces.add(workspace)
        _note(context, transaction, act, workspace, "created", "was made", now)
        issued = add_key(
            context, transaction, act, act.caller.rights, key, token, key_draft.notes, now
        )
        provisioned = ProvisionedWorkspace(workspace=workspace, administrator=issued)
        if remember is not None:
            remember(transaction, provisioned)
    return provisioned


def make_workspace(context: Context, draft: WorkspaceDraft, now: int) -> Workspace:
    """A new workspace after a checked draft, kept nowhere yet."""
    return Workspace(
        id=context.new_id(now),
        name=draft.name,
        status=WorkspaceStatus.ACTIVE,
        networks=draft.networks,
        created_at=now,
        updated_at=now,
        version=1,
        policy=_spelled(draft.policy),
        reveal=draft.reveal,
        grace_seconds=draft.grace_seconds,
    )


def amend_workspace(
    context: Context,
    act: Act,
    id: UUID,  # noqa: A002
    amendment: WorkspaceAmendment,
    *,
    expected: frozenset[int] | None = None,
) -> Workspace:
    """Renames a workspace, names its networks, says how its keys are to be rotated, suspends them
    all or lets them work again."""
    require_operator(act.caller)
    amendment = amendment.checked()
    with context.store.change() as transaction:
        now = context.clock.now()
        reaffirm(transaction, act.caller, now)
        workspace = transaction.workspaces.find(id)
        if workspace is None:
            raise WorkspaceUnknown("There is no workspace with this id.")
        require_version(workspace.version, expected)
        following = _amended(workspace, amendment)
        if following == workspace:
            return workspace
        if workspace.is_suspended and not following.is_suspended:
            following = replace(following, resumed_at=now)
        if following.grace_seconds < workspace.grace_seconds:
            before = workspace.reckoned_grace(now)
            following = replace(following, grace_before=before, grace_lowered_at=now)
        following = replace(following, updated_at=now, version=workspace.version + 1)
        transaction.workspaces.replace(following, workspace.version)
        action, verb = _told(workspace, following)
        _note(context, transaction, act, following, action, verb, now)
    return following


def _amended(workspace: Workspace, amendment: WorkspaceAmendment) -> Workspace:
    return replace(
        workspace,
        name=workspace.name if amendment.name is None else amendment.name,
        status=workspace.status if amendment.status is None else amendment.status,
        networks=workspace.networks if amendment.networks is None else amendment.networks,
        policy=workspace.policy if amendment.policy is None else _spelled(amendment.policy),
        reveal=workspace.reveal if amendment.reveal is None else amendment.reveal,
        grace_seconds=(
            workspace.grace_seconds if amendment.grace_seconds is None else amendment.grace_seconds
        ),
    )


def _spelled(policy: RotationPolicy | None) -> str | None:
    return None if policy is None or policy.is_empty else policy.text()


def _told(workspace: Workspace, following: Workspace) -> tuple[str, str]:
    if workspace.status is following.status:
        return "updated", "was changed"
    return ("suspended", "was suspended") if following.is_suspended else ("resumed", "was resumed")


def _check_grace(seconds: int | None) -> None:
    if seconds is not None and not 0 <= seconds <= MOST_GRACE_SECONDS:
        raise RequestInvalid.at("/grace_seconds", f"This is from 0 to {MOST_GRACE_SECONDS}.")


def _checked(networks: tuple[NamedNetwork, ...]) -> tuple[NamedNetwork, ...]:
    if len(networks) > MOST_NETWORKS:
        raise RequestInvalid.at("/networks", f"There may be at most {MOST_NETWORKS} networks.")
    if len({network.name for network in networks}) != len(networks):
        raise RequestInvalid.at("/networks", "Each network has a name of its own.")
    checked = []
    for index, network in enumerate(networks):
        pointer = f"/networks/{index}"
        if not network.cidrs:
            raise RequestInvalid.at(f"{pointer}/cidrs", "Name at least one block of addresses.")
        checked.append(
            NamedNetwork(
                name=check_runtime(network.name, f"{pointer}/name"),
                cidrs=check_networks(network.cidrs, f"{pointer}/cidrs"),
            )
        )
    return tuple(checked)


def _note(
    context: Context,
    transaction: Writing,
    act: Act,
    workspace: Workspace,
    action: str,
    verb: str,
    now: int,
) -> None:
    note(
        context,
        transaction,
        actor=act.caller.actor,
        request_id=act.request_id,
        action=f"workspace.{action}",
        category=Category.CONFIGURATION if action in {"created", "updated"} else Category.SECURITY,
        subject=workspace_subject(workspace),
        message=f"Workspace {workspace.name} {verb}.",
        now=now,
    )


def workspace_subject(workspace: Workspace) -> Subject:
    """How the log names a workspace and the change that it has just gone through."""
    return Subject(
        workspace_id=workspace.id,
        type="workspace",
        id=str(workspace.id),
        change=Change(kind="workspace", ref=str(workspace.id), version=workspace.version),
    )
