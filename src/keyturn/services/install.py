"""Installing: the first rows of a new database, all of them or none."""

from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.activity import SYSTEM, Category
from keyturn.domain.error import InstallationFault
from keyturn.domain.operator import OperatorKind
from keyturn.domain.token import Token
from keyturn.services.appoint import add_operator, make_operator
from keyturn.services.context import Context
from keyturn.services.journal import Subject, note
from keyturn.services.provision import WorkspaceDraft, make_workspace, workspace_subject
from keyturn.storage.installation import Installation
from keyturn.storage.log import create_head
from keyturn.storage.transaction import Writing

DEFAULT_WORKSPACE = "default"
FIRST_OPERATOR = "first operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What a new installation has: its id, the workspace `default`, the first operator's token."""

    installation_id: UUID
    workspace_id: UUID
    operator_id: UUID
    token: Token


class FirstInstallation:
    """A new installation before it is kept, so that its token can be put away safely first.

    A token that is stored and never used is harmless; an installation whose only token was lost in
    a crash is not.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._now = context.clock.now()
        self._appointed = make_operator(
            context, FIRST_OPERATOR, OperatorKind.OPERATOR, None, self._now
        )
        self.token = self._appointed.token

    def keep(self, *, root_fingerprint: str, pepper_fingerprints: dict[int, str]) -> Installed:
        """Writes it all in one transaction. Raises `InstallationFault` where there is one."""
        context, now = self._context, self._now
        workspace = make_workspace(context, WorkspaceDraft(name=DEFAULT_WORKSPACE), now)
        made = Installation(
            installation_id=context.new_id(now),
            brand=context.brand,
            root_fingerprint=root_fingerprint,
            pepper_fingerprints=pepper_fingerprints,
            created_at=now,
        )
        with context.store.create() as reading:
            if reading.installation.find() is not None:
                raise InstallationFault(
                    "This database has an installation already.",
                    remedy="Start it with `keyturn serve`, or name another database.",
                )
            create_head(reading.session, context.new_id(now))
            transaction = Writing(reading.session)
            transaction.installation.create(made)
            transaction.workspaces.add(workspace)
            add_operator(context, transaction, self._appointed.operator, now)
            note(
                context,
                transaction,
                actor=SYSTEM,
                request_id=None,
                action="workspace.created",
                category=Category.CONFIGURATION,
                subject=workspace_subject(workspace),
                message=f"Workspace {workspace.name} was made with the installation.",
                now=now,
            )
            note(
                context,
                transaction,
                actor=SYSTEM,
                request_id=None,
                action="installation.created",
                category=Category.CONFIGURATION,
                subject=Subject(
                    workspace_id=None, type="installation", id=str(made.installation_id)
                ),
                message="The installation was made.",
                metadata={"brand": made.brand},
                now=now,
            )
            transaction.log.finish()
        return Installed(
            installation_id=made.installation_id,
            workspace_id=workspace.id,
            operator_id=self._appointed.operator.id,
            token=self.token,
        )
