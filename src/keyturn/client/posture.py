"""`/v1/posture`: whether a workspace keeps to the guide."""

from datetime import datetime
from typing import Literal

from keyturn.client.call import Call, Listing, body, once, query, reading, segment
from keyturn.client.paging import listing
from keyturn.client.posture_records import KeyEvidence, Posture, PostureWaiver

_PATH = "/v1/posture"
_posture = reading(Posture)
_waiver = reading(PostureWaiver)

CheckResult = Literal["fail", "unknown", "waived", "pass"]


def read_posture(*, check: str | None = None, result: CheckResult | None = None) -> Call[Posture]:
    """Every check of the guide, failing ones first; or one check, or those of one result."""
    return Call(method="GET", path=_PATH, query=query(check=check, result=result), read=_posture)


def list_evidence(
    since: datetime | None = None, until: datetime | None = None, *, limit: int | None = None
) -> Listing[KeyEvidence]:
    """Every key that lived in a period, newest first: its owner, its greatest age, its rotations,
    how it ended, and what was waived of it."""
    asked = (
        *query(**{"from": since}),
        *query(to=until, limit=limit),
    )
    return listing(KeyEvidence, f"{_PATH}/evidence", asked)


def waive_check(
    check: str,
    *,
    reason: str,
    until: datetime,
    key_id: str | None = None,
    slot: str | None = None,
    idempotency_key: str | None = None,
) -> Call[PostureWaiver]:
    """Says that a check may fail until a stated time: of one key, of one slot, or altogether. It
    takes the place of what was waived of the same before."""
    return Call(
        method="POST",
        path=f"{_PATH}/waivers",
        headers=once(idempotency_key),
        content=body(check=check, reason=reason, until=until, key_id=key_id, slot=slot),
        read=_waiver,
        wants_idempotency_key=True,
    )


def list_waivers(*, limit: int | None = None, count: bool = False) -> Listing[PostureWaiver]:
    """What is and was waived, newest first."""
    return listing(PostureWaiver, f"{_PATH}/waivers", query(limit=limit, count=count or None))


def end_waiver(id: str) -> Call[None]:  # noqa: A002
    """Ends a waiver before its time. Once more, it stays as it is."""
    return Call(method="DELETE", path=f"{_PATH}/waivers/{segment(id)}", read=_nothing)


def _nothing(_answer: object) -> None:
    return None
