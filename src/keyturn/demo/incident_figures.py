"""The figures of the incident: that the leaked key was dead when it was said, that the report knows
the thief, and that the service was healthy before it was over.

The thief's own journal stands against the report, and the request log against the incident.
"""

from collections.abc import Iterable

import msgspec

from keyturn.client import IncidentReport
from keyturn.demo.evidence import Evidence, Response
from keyturn.demo.journal import Entry
from keyturn.demo.tally import Tally, tally, to_ms

OURS = "ours"


class IncidentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever was sent is told of the leaked key alone.

    `answered_ms` is how long the caller waited for the incident to be opened. `tried` of those
    `sent_after` its answer are the thief's. `last_…_ms` and `first_refusal_ms` count from the
    answer; before it they are negative. `strangers` are the callers who are not ours by the report;
    of their requests `reported` are in the thief's journal by id, and `misreported` are not.
    `replaced_ms`, `used_ms` (the service's first request with the replacement) and `recovered_ms`
    count from the call that opened it, by Keyturn's clock."""

    answered_ms: float
    sent_after: int
    tried: int
    accepted_after: int
    last_accepted_sent_ms: float | None
    last_acceptance_ms: float | None
    first_refusal_ms: float | None
    thief: Tally
    strangers: list[str]
    reported: int
    misreported: int
    is_complete: bool
    was_refused: bool
    is_closed: bool
    replaced_ms: float | None
    used_ms: float | None
    recovered_ms: float | None


def refused_of(evidence: Evidence) -> list[Entry]:
    """The requests of the service that the containment cost: with the leaked key, and refused."""
    response = evidence.response
    return [
        one
        for one in _leaked(evidence, evidence.journals[response.service])
        if one.status == 401 and one.answered_at >= response.asked_at
    ]


def measure_incident(evidence: Evidence) -> IncidentFigures:
    """The figures of this evidence."""
    response, stolen = evidence.response, evidence.stolen
    tried = [one for one in _leaked(evidence, stolen) if one.sent_at > response.answered_at]
    sent = _leaked(evidence, evidence.journals[response.service])
    after = [*(one for one in sent if one.sent_at > response.answered_at), *tried]
    accepted = [one for one in (*sent, *_leaked(evidence, stolen)) if one.is_served]
    listed = [one.request_id for one in response.report.requests]
    reported = set(listed) & {one.request_id for one in stolen}
    seconds = response.incident.seconds
    return IncidentFigures(
        answered_ms=to_ms(response.answered_at - response.asked_at),
        sent_after=len(after),
        tried=len(tried),
        accepted_after=sum(one.is_served for one in after),
        last_accepted_sent_ms=_since(
            response, max((one.sent_at for one in accepted), default=None)
        ),
        last_acceptance_ms=_since(
            response, max((one.answered_at for one in accepted), default=None)
        ),
        first_refusal_ms=_since(
            response, min((one.answered_at for one in refused_of(evidence)), default=None)
        ),
        thief=tally(stolen),
        strangers=strangers_of(response.report),
        reported=len(reported),
        misreported=max(len(listed), response.report.requests_total) - len(reported),
        is_complete=response.report.complete,
        was_refused=response.was_refused,
        is_closed=response.incident.outcome == "confirmed" and not response.incident.is_open,
        replaced_ms=_ms(seconds.replace),
        used_ms=_used_ms(evidence),
        recovered_ms=_ms(seconds.recover),
    )


def strangers_of(report: IncidentReport) -> list[str]:
    """The callers who are not ours, by name and place."""
    return [
        one.runtime if one.network is None else f"{one.runtime} at {one.network}"
        for one in report.runtimes
        if one.standing != OURS
    ]


def _leaked(evidence: Evidence, entries: Iterable[Entry]) -> list[Entry]:
    """Those that were sent with a key of the incident."""
    hints = {evidence.hints.get(one.key_id) for one in evidence.response.incident.keys}
    return [one for one in entries if one.key_hint in hints]


def _used_ms(evidence: Evidence) -> float | None:
    """When the service was first let in with the replacement."""
    incident = evidence.response.incident
    new = {one.replacement_key_id for one in incident.keys}
    used = [
        one.at
        for one in evidence.recorded
        if one.valid and one.key_id in new and one.runtime == evidence.response.service
    ]
    return to_ms((min(used) - incident.opened_at).total_seconds()) if used else None


def _since(response: Response, moment: float | None) -> float | None:
    return None if moment is None else to_ms(moment - response.answered_at)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else to_ms(seconds)
