"""The figures at the end of the story.

They are made of two records that know nothing of each other: the journals of the callers, and what
Keyturn says, in its request log and in the report of the incident.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from keyturn.client import Rotation
from keyturn.demo.evidence import Chapter, Evidence, Replacement
from keyturn.demo.incident_figures import IncidentFigures, measure_incident, refused_of
from keyturn.demo.journal import Entry
from keyturn.demo.tally import Tally, tally, to_ms


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures. What was sent and served is that of the services; the log has what the thief
    sent too. `delivered_ms` and `first_use_ms` go from the start of the rotation to the delivery of
    its token and to the first request with it; None where there is none. `move_to_retirement_ms`
    goes from the first request that the last of the services sent with the new key to the end of
    the old one; None where one of them sent none, or it did not end. `answers` and `tokens_shown`
    are of the rotation and of the incident."""

    services: dict[str, Tally]
    sent: int
    served: int
    sent_during_rotation: int
    failed_during_rotation: int
    failed_otherwise: int
    started_by: str
    has_started_by_itself: bool
    destination: str
    destination_kind: str
    delivered_ms: float | None
    first_use_ms: float | None
    answers: int
    tokens_shown: int
    stragglers: list[str]
    was_refused: bool
    has_retired_by_itself: bool
    move_to_retirement_ms: float | None
    brownout_ms: float | None
    lifts: int
    incident: IncidentFigures
    logged: int
    found_in_log: int
    unknown_in_log: int
    agreeing_with_log: int
    median_ms: float
    p99_ms: float
    chapters: list[Chapter]


def measure(evidence: Evidence) -> Figures:
    """The figures of this evidence."""
    journals = evidence.journals
    sent = [entry for entries in journals.values() for entry in entries]
    replacement, rotation = evidence.replacement, evidence.replacement.rotation
    response = evidence.response
    started, moves = replacement.started, _moves(evidence)
    during = [
        one
        for one in sent
        if one.answered_at >= replacement.began_at and one.sent_at <= replacement.ended_at
    ]
    failed = sum(not entry.is_served for entry in sent) - len(refused_of(evidence))
    failed_during = sum(not entry.is_served for entry in during)
    everything = [*sent, *evidence.stolen]
    found, agreeing, unknown = _compare(evidence, everything)
    trips = sorted(entry.seconds * 1_000 for entry in sent if entry.is_served) or [0.0]
    return Figures(
        services={name: tally(entries) for name, entries in journals.items()},
        sent=len(sent),
        served=sum(entry.is_served for entry in sent),
        sent_during_rotation=len(during),
        failed_during_rotation=failed_during,
        failed_otherwise=failed - failed_during,
        started_by=started.actor_label if started else "",
        has_started_by_itself=started is not None and started.actor_type == "worker",
        destination=replacement.destination.name,
        destination_kind=replacement.destination.kind,
        delivered_ms=_from_start(rotation, _delivered_at(replacement)),
        first_use_ms=_from_start(rotation, min(moves.values(), default=None)),
        answers=replacement.answers + response.answers,
        tokens_shown=replacement.tokens_shown + response.tokens_shown,
        stragglers=list(replacement.stragglers),
        was_refused=replacement.was_refused,
        has_retired_by_itself=rotation.state == "completed" and not rotation.forced,
        move_to_retirement_ms=_until_retired(rotation, _last_move(replacement, moves)),
        brownout_ms=_until_retired(rotation, replacement.browned_out_at),
        lifts=rotation.lifts,
        incident=measure_incident(evidence),
        logged=len(everything),
        found_in_log=found,
        unknown_in_log=unknown,
        agreeing_with_log=agreeing,
        median_ms=round(statistics.median(trips), 2),
        p99_ms=round(trips[min(len(trips) - 1, len(trips) * 99 // 100)], 2),
        chapters=list(evidence.chapters),
    )


def _compare(evidence: Evidence, sent: Sequence[Entry]) -> tuple[int, int, int]:
    """How many requests were found in the log by their ids, how many of them it tells as their
    service saw them (the verdict, and which key), and how many it has that nobody sent."""
    recorded = defaultdict(list)
    for record in evidence.recorded:
        recorded[record.request_id].append(record)
    found = [entry for entry in sent if entry.request_id in recorded]
    agreeing = sum(
        all(
            record.valid == entry.is_served
            and record.valid != entry.is_refused
            and evidence.hints.get(record.key_id or "") == entry.key_hint
            for record in recorded[entry.request_id]
        )
        for entry in found
    )
    unknown = len(recorded.keys() - {entry.request_id for entry in sent})
    return len(found), agreeing, unknown


def _moves(evidence: Evidence) -> Mapping[str, datetime]:
    """When each service was first let in with the new key."""
    moves: dict[str, datetime] = {}
    for one in evidence.recorded:
        if one.valid and one.key_id == evidence.replacement.rotation.new_key_id:
            moves[one.runtime] = min(one.at, moves.get(one.runtime, one.at))
    return moves


def _last_move(replacement: Replacement, moves: Mapping[str, datetime]) -> datetime | None:
    """When the last of the services was; None where one never was."""
    found = [moves.get(name) for name in replacement.runtimes]
    known = [at for at in found if at is not None]
    return max(known, default=None) if len(known) == len(found) else None


def _delivered_at(replacement: Replacement) -> datetime | None:
    """When the new token was in its destination, None where it is not there."""
    found = [
        one.delivered_at if one.state == "delivered" else None
        for one in replacement.rotation.deliveries
        if one.destination == replacement.destination.name
    ]
    known = [at for at in found if at is not None]
    return max(known, default=None) if len(known) == len(found) else None


def _from_start(rotation: Rotation, moment: datetime | None) -> float | None:
    return None if moment is None else to_ms((moment - rotation.started_at).total_seconds())


def _until_retired(rotation: Rotation, moment: datetime | None) -> float | None:
    if rotation.state != "completed" or rotation.completed_at is None or moment is None:
        return None
    return to_ms((rotation.completed_at - moment).total_seconds())
