"""`/v1/workspaces`: tenants, for operators."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from keyturn.client.call import (
    Answer,
    Call,
    Listing,
    body,
    if_match,
    once,
    prefer,
    query,
    reading,
    segment,
)
from keyturn.client.effect import effect_of
from keyturn.client.paging import listing
from keyturn.client.resources import (
    ChangedWorkspace,
    IssuedWorkspace,
    NamedNetwork,
    RotationPolicy,
    Workspace,
)

_PATH = "/v1/workspaces"
_workspace = reading(Workspace)
_changed_workspace = reading(ChangedWorkspace)
_issued_workspace = reading(IssuedWorkspace)

Reveal = Literal["always", "never"]


def create_workspace(
    name: str,
    *,
    networks: Sequence[NamedNetwork] | None = None,
    rotation_policy: RotationPolicy | None = None,
    reveal: Reveal | None = None,
    grace_seconds: int | None = None,
    idempotency_key: str | None = None,
) -> Call[IssuedWorkspace]:
    """Makes a workspace. The token of its first administrator key is answered this once; with
    `reveal="never"` those of all later keys go to destinations alone."""
    return Call(
        method="POST",
        path=_PATH,
        content=body(
            name=name,
            networks=networks,
            rotation_policy=rotation_policy,
            reveal=reveal,
            grace_seconds=grace_seconds,
        ),
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
    grace_seconds: int | None = None,
    version: int | None = None,
    respond_async: bool = False,
) -> Call[ChangedWorkspace]:
    """Renames a workspace, suspends it with all its keys, or lets it work again. A policy of
    rotation is given whole; `RotationPolicy()` takes it away. For `grace_seconds` (0 to 300) a node
    that has lost its sight of the database goes on answering for the keys that it knows. What this
    takes away is effective on every verifier when it returns, unless its `effect` says otherwise,
    or the answer is not to be waited for (`respond_async`)."""
    return Call(
        method="PATCH",
        path=f"{_PATH}/{segment(id)}",
        headers={**if_match(version), **prefer(respond_async)},
        content=body(
            name=name,
            status=status,
            networks=networks,
            rotation_policy=rotation_policy,
            reveal=reveal,
            grace_seconds=grace_seconds,
        ),
        may_repeat=version is None,
        read=_changed,
    )


def _changed(answer: Answer) -> ChangedWorkspace:
    return msgspec.structs.replace(_changed_workspace(answer), effect=effect_of(answer))
