"""`/v1/incidents`: exposed keys are contained at once, then known, replaced and recovered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from keyturn.client.call import Answer, Call, Listing, body, once, prefer, query, reading, segment
from keyturn.client.effect import effect_of
from keyturn.client.errors import NotUnderstood
from keyturn.client.incident_records import (
    Incident,
    KeySelection,
    KeyWaiver,
    ListedIncident,
    OpenedIncident,
    Replacements,
    Selection,
)
from keyturn.client.incident_report import IncidentReport
from keyturn.client.paging import listing
from keyturn.domain.token import Token

_PATH = "/v1/incidents"
_CREATED, _PENDING = 201, 202
_incident = reading(Incident)
_opened_incident = reading(OpenedIncident)
_replacements = reading(Replacements)
_selection = reading(Selection)
_report = reading(IncidentReport)
_TEXTS = {"text/markdown", "text/html", "text/csv"}

IncidentState = Literal[
    "open", "contained", "investigating", "replacing", "recovering", "closed", "all"
]
IncidentReason = Literal["leaked", "suspected", "staff_change", "other"]
Containment = Literal["revoke", "suspend"]
CallerStanding = Literal["ours", "intruder"]
Outcome = Literal["confirmed", "false_alarm"]
ReportText = Literal["markdown", "html", "csv"]


def open_incident(
    *,
    key_ids: Sequence[str] | None = None,
    tokens: Sequence[str | Token] | None = None,
    select: KeySelection | None = None,
    expected_count: int | None = None,
    reason: IncidentReason | None = None,
    detail: str | None = None,
    found_url: str | None = None,
    exposed_since: datetime | None = None,
    containment: Containment | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[OpenedIncident]:
    """Contains keys first, and keeps that as an incident: they are dead on every verifier when this
    returns. Give one of `key_ids`, `tokens` or `select`; what names no key is told by its place in
    `unmatched`. Where all of them are in one open incident, that one is joined (`is_joined`).

    `exposed_since` is the start of the window that the report looks at, None is since each key was
    made. `containment` is revoke, or suspend, which a false alarm takes back. Of a selection
    `expected_count` must hold, else `SelectionMoved`.

    Where a verifier cannot be reached, or with `respond_async`, by which that is not waited for,
    the keys may be accepted until `effective_by`; whether one was joined is not told then.
    """
    return Call(
        method="POST",
        path=_PATH,
        content=body(
            key_ids=key_ids,
            tokens=None if tokens is None else [_revealed(one) for one in tokens],
            select=select,
            expected_count=expected_count,
            reason=reason,
            detail=detail,
            found_url=found_url,
            exposed_since=exposed_since,
            containment=containment,
        ),
        headers={**once(idempotency_key), **prefer(respond_async)},
        wants_idempotency_key=True,
        read=_opened,
    )


def select_keys(select: KeySelection, *, exposed_since: datetime | None = None) -> Call[Selection]:
    """The keys that an incident of this selection would contain now, and what they made since
    `exposed_since`. Nothing is changed."""
    return Call(
        method="POST",
        path=_PATH,
        content=body(select=select, dry_run=True, exposed_since=exposed_since),
        read=_selection,
    )


def list_incidents(
    *,
    state: IncidentState | None = None,
    key_id: str | None = None,
    reason: IncidentReason | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[ListedIncident]:
    """The incidents of the workspace, newest first; those that are open unless `state` says
    otherwise."""
    return listing(
        ListedIncident,
        _PATH,
        query(
            state=state,
            key_id=key_id,
            reason=reason,
            since=since,
            until=until,
            limit=limit,
            count=count or None,
        ),
    )


def read_incident(id: str) -> Call[Incident]:  # noqa: A002
    """An incident by its id: where it stands, its keys, who used them, and the one next step."""
    return Call(method="GET", path=_path(id), read=_incident)


def place_caller(
    id: str,  # noqa: A002
    runtime: str,
    standing: CallerStanding,
    *,
    network: str | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Incident]:
    """A person's word on who used a contained key: it is `ours`, and then waited for, or an
    `intruder`. `network` is the place, as the incident tells it; without, it holds everywhere."""
    return _act(
        id,
        "runtimes",
        body(runtime=runtime, standing=standing, network=network),
        idempotency_key,
        respond_async,
    )


def replace_keys(
    id: str,  # noqa: A002
    *,
    key_ids: Sequence[str] | None = None,
    deliver_to: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[Replacements]:
    """Makes a key for each contained one that has no replacement yet, or for those of `key_ids`, in
    the same slot and with no wider rights. The new tokens are answered this once, unless they are
    delivered to the destinations of the slot, or to those of `deliver_to`."""
    return Call(
        method="POST",
        path=f"{_path(id)}/replacements",
        content=body(key_ids=key_ids, deliver_to=deliver_to),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_replacements,
    )


def close_incident(
    id: str,  # noqa: A002
    outcome: Outcome,
    *,
    waive: Sequence[KeyWaiver] | None = None,
    idempotency_key: str | None = None,
    respond_async: bool = False,
) -> Call[Incident]:
    """Ends it, once each key is recovered, or waived by name with a reason and until a stated time;
    else raises `KeysOpen`. A false alarm may end before, and resumes what was suspended."""
    return _act(id, "close", body(outcome=outcome, waive=waive), idempotency_key, respond_async)


def report_incident(id: str) -> Call[IncidentReport]:  # noqa: A002
    """The blast radius: who used the keys in the window of exposure and after, for what, and what
    of that is unlike their usual life."""
    return Call(method="GET", path=f"{_path(id)}/report", read=_report)


def export_incident(id: str, format: ReportText) -> Call[str]:  # noqa: A002
    """The same for people, in `markdown` or `html`, or in `csv` the requests of callers that are
    not yours."""
    return Call(method="GET", path=f"{_path(id)}/report", query=query(format=format), read=_text)


def _path(id_: str) -> str:
    return f"{_PATH}/{segment(id_)}"


def _act(
    id_: str, verb: str, content: bytes, idempotency_key: str | None, respond_async: bool
) -> Call[Incident]:
    return Call(
        method="POST",
        path=f"{_path(id_)}/{verb}",
        content=content,
        headers={**once(idempotency_key), **prefer(respond_async)},
        wants_idempotency_key=True,
        read=_incident,
    )


def _opened(answer: Answer) -> OpenedIncident:
    effect = effect_of(answer)
    return msgspec.structs.replace(
        _opened_incident(answer),
        is_joined=answer.status not in (_CREATED, _PENDING),
        propagation=effect.propagation,
        effective_by=None if effect.is_complete else effect.effective_by,
    )


def _text(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _TEXTS:
        return answer.content.decode("utf-8", "replace")
    raise NotUnderstood(answer.status, "it is no report of this form")


def _revealed(token: str | Token) -> str:
    return token.reveal() if isinstance(token, Token) else token
