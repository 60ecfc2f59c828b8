"""`/v1/api-keys`: keys are made, read, changed, revoked, suspended and resumed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
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
from keyturn.client.errors import NotUnderstood
from keyturn.client.paging import listing
from keyturn.client.resources import (
    ChangedKey,
    Effect,
    ExpectedRuntime,
    IssuedKey,
    Key,
    Propagation,
)

_PATH = "/v1/api-keys"
_key = reading(Key)
_changed_key = reading(ChangedKey)
_issued_key = reading(IssuedKey)
_propagation = reading(Propagation)

Status = Literal["active", "suspended", "revoked", "expired", "all"]
Reason = Literal["superseded", "unused", "staff_change", "compromised", "other"]


def create_key(
    name: str | None = None,
    *,
    service: str | None = None,
    environment: str | None = None,
    scopes: Sequence[str] | None = None,
    permissions: Sequence[str] | None = None,
    allowed_cidrs: Sequence[str] | None = None,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    metadata: Mapping[str, object] | None = None,
    owner: str | None = None,
    purpose: str | None = None,
    runbook_url: str | None = None,
    rotation_period_days: int | None = None,
    runtimes: Sequence[ExpectedRuntime] | None = None,
    destinations: Sequence[str] | None = None,
    replaces: str | None = None,
    deliver_to: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[IssuedKey]:
    """Makes a key; `name` alone, or `service` and `environment`, is enough. Its token is answered
    this once, in `.token`.

    With `replaces`, the id of a key, it is made in the slot of that one, with what that one may do
    where nothing else is said, and a rotation begins: `rotation_id`.

    Where its slot has `destinations`, or `deliver_to` names some, the token is delivered there and
    not answered: `deliveries`. `deliver_to=[]` is for none.

    An `idempotency_key` is made where none is given, so that a lost answer makes no second key; but
    then its token is lost too, and `.token` raises `TokenLost`.
    """
    return Call(
        method="POST",
        path=_PATH,
        content=body(
            name=name,
            service=service,
            environment=environment,
            scopes=scopes,
            permissions=permissions,
            allowed_cidrs=allowed_cidrs,
            not_before=not_before,
            expires_at=expires_at,
            metadata=metadata,
            owner=owner,
            purpose=purpose,
            runbook_url=runbook_url,
            rotation_period_days=rotation_period_days,
            runtimes=runtimes,
            destinations=destinations,
            replaces=replaces,
            deliver_to=deliver_to,
        ),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_issued,
    )


def list_keys(
    *,
    status: Status | None = None,
    service: str | None = None,
    environment: str | None = None,
    owner: str | None = None,
    created_by: str | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[Key]:
    """The keys of the workspace, newest first; the active ones unless `status` says otherwise.
    `limit` is the size of a page, and all pages are gone through."""
    return listing(
        Key,
        _PATH,
        query(
            status=status,
            service=service,
            environment=environment,
            owner=owner,
            created_by=created_by,
            limit=limit,
            count=count or None,
        ),
    )


def read_key(id: str) -> Call[Key]:  # noqa: A002
    """A key by its id, as a UUID or in its 22 characters."""
    return Call(method="GET", path=_path(id), read=_key)


def change_key(
    id: str,  # noqa: A002
    *,
    version: int | None = None,
    name: str | None = None,
    scopes: Sequence[str] | None = None,
    permissions: Sequence[str] | None = None,
    allowed_cidrs: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    metadata: Mapping[str, object] | None = None,
    owner: str | None = None,
    purpose: str | None = None,
    runbook_url: str | None = None,
    rotation_period_days: int | None = None,
    runtimes: Sequence[ExpectedRuntime] | None = None,
    destinations: Sequence[str] | None = None,
    respond_async: bool = False,
) -> Call[ChangedKey]:
    """Changes what is given and leaves the rest. With a `version`, only that one is changed; else
    `VersionMoved`. What it takes away is effective on every verifier when this returns, unless its
    `effect` says otherwise, or the answer is not to be waited for (`respond_async`)."""
    return Call(
        method="PATCH",
        path=_path(id),
        headers={**if_match(version), **prefer(respond_async)},
        content=body(
            name=name,
            scopes=scopes,
            permissions=permissions,
            allowed_cidrs=allowed_cidrs,
            expires_at=expires_at,
            metadata=metadata,
            owner=owner,
            purpose=purpose,
            runbook_url=runbook_url,
            rotation_period_days=rotation_period_days,
            runtimes=runtimes,
            destinations=destinations,
        ),
        # Sent twice, the second would find that the version has moved: by the first.
        may_repeat=version is None,
        read=_changed,
    )


def revoke_key(
    id: str,  # noqa: A002
    *,
    reason: Reason | None = None,
    version: int | None = None,
    respond_async: bool = False,
) -> Call[Effect]:
    """Revokes a key for ever. It is dead on every verifier when this returns, unless the answer
    says that it `is_complete` only later: where a verifier cannot be reached, or with
    `respond_async`, by which that is not waited for. Once more, it answers alike."""
    return Call(
        method="DELETE",
        path=_path(id),
        query=query(reason=reason),
        headers={**if_match(version), **prefer(respond_async)},
        read=_effect,
    )


def suspend_key(
    id: str,  # noqa: A002
    *,
    version: int | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[ChangedKey]:
    """Takes a key out of use until it is resumed; `effect` says how far."""
    return _move(id, "suspend", version, idempotency_key, respond_async)


def resume_key(
    id: str,  # noqa: A002
    *,
    version: int | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[ChangedKey]:
    """Lets a suspended key work again."""
    return _move(id, "resume", version, idempotency_key, respond_async)


def trace_key(id: str) -> Call[Propagation]:  # noqa: A002
    """Where the key's last change has arrived."""
    return Call(method="GET", path=f"{_path(id)}/propagation", read=_propagation)


def _path(id_: str) -> str:
    return f"{_PATH}/{segment(id_)}"


def _move(
    id_: str, verb: str, version: int | None, idempotency_key: str | None, respond_async: bool
) -> Call[ChangedKey]:
    return Call(
        method="POST",
        path=f"{_path(id_)}/{verb}",
        headers={**if_match(version), **once(idempotency_key), **prefer(respond_async)},
        wants_idempotency_key=True,
        read=_changed,
    )


def _issued(answer: Answer) -> IssuedKey:
    rotation_id = answer.headers.get("keyturn-rotation")
    return msgspec.structs.replace(_issued_key(answer), rotation_id=rotation_id)


def _changed(answer: Answer) -> ChangedKey:
    return msgspec.structs.replace(_changed_key(answer), effect=effect_of(answer))


def _effect(answer: Answer) -> Effect:
    """Only these two statuses say that it is done, or will be: another success is somebody else's,
    and a key that lives on is not to be taken for a revoked one."""
    if answer.status not in (202, 204):
        raise NotUnderstood(answer.status, "it does not say that the key is revoked")
    return effect_of(answer)
