"""`/v1/findings`: what a person should know about keys and slots."""

from typing import Literal

from keyturn.client.call import Call, Listing, body, query, reading, segment
from keyturn.client.paging import listing
from keyturn.client.rotation_records import Finding

_PATH = "/v1/findings"
_finding = reading(Finding)

FindingState = Literal["open", "acknowledged", "resolved", "all"]
Severity = Literal["info", "warning", "critical"]


def list_findings(
    *,
    state: FindingState | None = None,
    kind: str | None = None,
    severity: Severity | None = None,
    slot: str | None = None,
    subject_id: str | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[Finding]:
    """The findings of the workspace, newest first; those that are open and that nobody has
    acknowledged, unless `state` says otherwise."""
    return listing(
        Finding,
        _PATH,
        query(
            state=state,
            kind=kind,
            severity=severity,
            slot=slot,
            subject_id=subject_id,
            limit=limit,
            count=count or None,
        ),
    )


def read_finding(id: str) -> Call[Finding]:  # noqa: A002
    """A finding by its id, with its evidence."""
    return Call(method="GET", path=f"{_PATH}/{segment(id)}", read=_finding)


def acknowledge_finding(id: str, *, reason: str | None = None) -> Call[Finding]:  # noqa: A002
    """Says that somebody knows of it. Once more, it stays as it is."""
    return Call(
        method="POST",
        path=f"{_PATH}/{segment(id)}/acknowledge",
        content=body(reason=reason),
        read=_finding,
    )
