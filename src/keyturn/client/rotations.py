"""`/v1/rotations`: one key is replaced by another, on the evidence of its traffic."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from keyturn.client.call import Answer, Call, Listing, body, once, prefer, query, reading, segment
from keyturn.client.paging import listing
from keyturn.client.rotation_records import Impact, Rotation, StartedRotation, Waiver

_PATH = "/v1/rotations"
_CREATED = 201
_rotation = reading(Rotation)
_started_rotation = reading(StartedRotation)
_impact = reading(Impact)

RotationState = Literal[
    "open", "overlapping", "brownout", "completed", "rolled_back", "cancelled", "all"
]
Standing = Literal["ours", "intruder", "waived", "checked_in"]


def start_rotation(
    key_id: str,
    *,
    overlap_seconds: int | None = None,
    quiet_seconds: int | None = None,
    brownout_seconds: int | None = None,
    lookback_seconds: int | None = None,
    auto_complete: bool | None = None,
    scopes: Sequence[str] | None = None,
    allowed_cidrs: Sequence[str] | None = None,
    deliver_to: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[StartedRotation]:
    """Makes the key that is to replace this one, and lets both live until each workload has moved.
    The new token is answered this once, in `.token`, unless it is delivered (`deliveries`) to the
    destinations of the slot, or to those of `deliver_to`. Where a rotation of the slot is open,
    that one is joined (`is_joined`), and there is no token.

    `quiet_seconds` is how long the old key must rest, `lookback_seconds` how far back its users are
    looked for. The scopes and networks may be narrower than the old key's. What is left out has
    sensible defaults.
    """
    return Call(
        method="POST",
        path=f"/v1/api-keys/{segment(key_id)}/rotations",
        content=body(
            overlap_seconds=overlap_seconds,
            quiet_seconds=quiet_seconds,
            brownout_seconds=brownout_seconds,
            lookback_seconds=lookback_seconds,
            auto_complete=auto_complete,
            scopes=scopes,
            allowed_cidrs=allowed_cidrs,
            deliver_to=deliver_to,
        ),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_started,
    )


def list_rotations(
    *,
    state: RotationState | None = None,
    slot: str | None = None,
    key_id: str | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[Rotation]:
    """The rotations of the workspace, newest first; `open` are those that have not ended."""
    return listing(
        Rotation,
        _PATH,
        query(state=state, slot=slot, key_id=key_id, limit=limit, count=count or None),
    )


def read_rotation(id: str) -> Call[Rotation]:  # noqa: A002
    """A rotation by its id: where it stands, what is known of each workload, and what blocks it."""
    return Call(method="GET", path=f"{_PATH}/{segment(id)}", read=_rotation)


def complete_rotation(
    id: str,  # noqa: A002
    *,
    force: bool | None = None,
    reason: str | None = None,
    waive: Sequence[Waiver] | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Rotation]:
    """Revokes the old key where the evidence allows it, else raises `EvidenceMissing`. It may begin
    with a brown-out: the rotation that is given says by its `state` where it stands. With `force`
    (and a `reason`) whatever still uses the old key is cut off; `waive` leaves single workloads
    out."""
    return _act(
        id,
        "complete",
        body(force=force, reason=reason, waive=waive),
        idempotency_key,
        respond_async,
    )


def roll_back_rotation(
    id: str,  # noqa: A002
    *,
    force: bool | None = None,
    reason: str | None = None,
    keep_both: bool | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Rotation]:
    """Revokes the new key, and the old one stays. Raises `RollbackUnsafe` where workloads use only
    the new one by now, unless with `force` and a `reason`; with `keep_both` both keys live on."""
    return _act(
        id,
        "rollback",
        body(force=force, reason=reason, keep_both=keep_both),
        idempotency_key,
        respond_async,
    )


def extend_rotation(
    id: str,  # noqa: A002
    *,
    deadline: datetime | None = None,
    overlap_seconds: int | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Rotation]:
    """Sets a later deadline: a time, or the seconds since the start."""
    return _act(
        id,
        "extend",
        body(deadline=deadline, overlap_seconds=overlap_seconds),
        idempotency_key,
        respond_async,
    )


def brown_out_rotation(
    id: str,  # noqa: A002
    *,
    brownout_seconds: int | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Rotation]:
    """Suspends the old key for a while, as a test. It is lifted at once when a workload of yours
    meets it."""
    return _act(
        id, "brownout", body(brownout_seconds=brownout_seconds), idempotency_key, respond_async
    )


def decide_runtime(
    id: str,  # noqa: A002
    runtime: str,
    standing: Standing,
    *,
    network: str | None = None,
    reason: str | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Rotation]:
    """A person's word on one workload: it is `ours`, an `intruder`, `waived`, or it has
    `checked_in` with the new key and that is taken for its run. The last two need a `reason`;
    `network` is the place, where it is said of one place only."""
    return _act(
        id,
        "runtimes",
        body(runtime=runtime, standing=standing, network=network, reason=reason),
        idempotency_key,
        respond_async,
    )


def weigh_key(id: str) -> Call[Impact]:  # noqa: A002
    """What would break if the key were revoked now."""
    return Call(method="GET", path=f"/v1/api-keys/{segment(id)}/impact", read=_impact)


def _act(
    id_: str, verb: str, content: bytes, idempotency_key: str | None, respond_async: bool
) -> Call[Rotation]:
    return Call(
        method="POST",
        path=f"{_PATH}/{segment(id_)}/{verb}",
        content=content,
        headers={**once(idempotency_key), **prefer(respond_async)},
        wants_idempotency_key=True,
        read=_rotation,
    )


def _started(answer: Answer) -> StartedRotation:
    found = _started_rotation(answer)
    return msgspec.structs.replace(found, is_joined=answer.status != _CREATED)
