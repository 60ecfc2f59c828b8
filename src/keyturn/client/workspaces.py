"""`/v1/workspaces`: tenants, for operators."""

from collections.abc import Sequence
from typing import Literal

from keyturn.client.call import Call, Listing, body, if_match, once, query, reading, segment
from keyturn.client.paging import listing
from keyturn.client.resources import IssuedWorkspace, NamedNetwork, RotationPolicy, Workspace

_PATH = "/v1/workspaces"
_workspace = reading(Workspace)
_issued_workspace = reading(IssuedWorkspace)

Reveal = Literal["always", "never"]


def create_workspace(
    name: str,
    *,
    networks: Sequence[NamedNetwork] | None = None,
    rotation_policy: RotationPolicy | None = None,
    reveal: Reveal | None = None,
    idempotency_key: str | None = None,
) -> Call[IssuedWorkspace]:
    """Makes a workspace. The token of its first administrator key is answered this once; with
    `reveal="never"` those of all later keys go to destinations alone."""
    return Call(
        method="POST",
        path=_PATH,
        content=body(name=name, networks=networks, rotation_policy=rotation_policy, reveal=reveal),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_issued_workspace,
    )


def list_workspaces(*, limit: int | None = None, count: bool = False) -> Listing[Workspace]:
    """The workspaces of the installation, newest first."""
    return listing(Workspace, _PATH, query(limit=limit, count=count or None))


def read_workspace(id: str) -> Call[Workspace]:  # noqa: A002
    """A workspace by its id."""
    return Call(method="GET", path=f"{_PATH}/{segment(id)}", read=_workspace)


def change_workspace(
    id: str,  # noqa: A002
    *,
    name: str | None = None,
    status: Literal["active", "suspended"] | None = None,
    networks: Sequence[NamedNetwork] | None = None,
    rotation_policy: RotationPolicy | None = None,
    reveal: Reveal | None = None,
    version: int | None = None,
) -> Call[Workspace]:
    """Renames a workspace, suspends it with all its keys, or lets it work again. A policy of
    rotation is given whole; `RotationPolicy()` takes it away."""
    return Call(
        method="PATCH",
        path=f"{_PATH}/{segment(id)}",
        headers=if_match(version),
        content=body(
            name=name,
            status=status,
            networks=networks,
            rotation_policy=rotation_policy,
            reveal=reveal,
        ),
        may_repeat=version is None,
        read=_workspace,
    )
