"""The figures at the end of the story.

They are made of two records that know nothing of each other: the journals of the services, and the
request log of Keyturn.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from keyturn.client import Activity, Destination, RecordedRequest, Rotation
from keyturn.demo.journal import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """When a service's key was revoked: the moments of asking and of the answer, by the monotonic
    clock."""

    service: str
    asked_at: float
    answered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """How a key was replaced: from `began_at`, before its successor was made, to `ended_at`, some
    time after its own end, by the monotonic clock. `runtimes` had the key, `stragglers` were waited
    for, and `was_refused` tells whether the end was refused meanwhile. The rotation is told as it
    ended; its times, and when the brown-out began, are by Keyturn's clock. `started` is the entry
    of its start in the activity log; of so many `answers` that could have had the token of the old
    key or of the new one, `tokens_shown` had it."""

    began_at: float
    ended_at: float
    runtimes: tuple[str, ...]
    stragglers: tuple[str, ...]
    was_refused: bool
    browned_out_at: datetime | None
    rotation: Rotation
    destination: Destination
    started: Activity | None
    answers: int
    tokens_shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the figures are made of. `hints` has the hint of each key by its id."""

    journals: Mapping[str, Sequence[Entry]]
    recorded: Sequence[RecordedRequest]
    hints: Mapping[str, str]
    replacement: Replacement
    revocation: Revocation
    chapters: Sequence["Chapter"] = field(default=())


class Chapter(msgspec.Struct, frozen=True):
    name: str
    seconds: float


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one service."""

    sent: int
    served: int
    refused: int
    failed: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures. Moments `_ms` of the revocation count from its answer; before it they are
    negative. `delivered_ms` and `first_use_ms` go from the start of the rotation to the delivery of
    its token and to the first request with it; None where there is none. `move_to_retirement_ms`
    goes from the first request that the last of the services sent with the new key to the end of
    the old one; None where one of them sent none, or it did not end."""

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
    revocation_ms: float
    sent_after_revocation: int
    accepted_after_revocation: int
    last_accepted_sent_ms: float | None
    last_acceptance_ms: float | None
    first_refusal_ms: float | None
    found_in_log: int
    unknown_in_log: int
    agreeing_with_log: int
    median_ms: float
    p99_ms: float
    chapters: list[Chapter]


def tally(entries: Iterable[Entry]) -> Tally:
    found = list(entries)
    served = sum(entry.is_served for entry in found)
    refused = sum(entry.is_refused for entry in found)
    return Tally(
        sent=len(found), served=served, refused=refused, failed=len(found) - served - refused
    )


def measure(evidence: Evidence) -> Figures:
    """The figures of this evidence."""
    journals, revocation = evidence.journals, evidence.revocation
    sent = [entry for entries in journals.values() for entry in entries]
    replacement, rotation = evidence.replacement, evidence.replacement.rotation
    started, moves = replacement.started, _moves(evidence)
    during = [
        one
        for one in sent
        if one.answered_at >= replacement.began_at and one.sent_at <= replacement.ended_at
    ]
    denied = [
        entry
        for entry in journals[revocation.service]
        if entry.status == 401 and entry.answered_at >= revocation.asked_at
    ]
    failed = sum(not entry.is_served for entry in sent) - len(denied)
    failed_during = sum(not entry.is_served for entry in during)
    after = [one for one in journals[revocation.service] if one.sent_at > revocation.answered_at]
    accepted = [one for one in journals[revocation.service] if one.is_served]
    found, agreeing, unknown = _compare(evidence, sent)
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
        answers=replacement.answers,
        tokens_shown=replacement.tokens_shown,
        stragglers=list(replacement.stragglers),
        was_refused=replacement.was_refused,
        has_retired_by_itself=rotation.state == "completed" and not rotation.forced,
        move_to_retirement_ms=_until_retired(rotation, _last_move(replacement, moves)),
        brownout_ms=_until_retired(rotation, replacement.browned_out_at),
        lifts=rotation.lifts,
        revocation_ms=_ms(revocation.answered_at - revocation.asked_at),
        sent_after_revocation=len(after),
        accepted_after_revocation=sum(entry.is_served for entry in after),
        last_accepted_sent_ms=_since(revocation, max((e.sent_at for e in accepted), default=None)),
        last_acceptance_ms=_since(revocation, max((e.answered_at for e in accepted), default=None)),
        first_refusal_ms=_since(revocation, min((e.answered_at for e in denied), default=None)),
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
    return None if moment is None else _ms((moment - rotation.started_at).total_seconds())


def _until_retired(rotation: Rotation, moment: datetime | None) -> float | None:
    if rotation.state != "completed" or rotation.completed_at is None or moment is None:
        return None
    return _ms((rotation.completed_at - moment).total_seconds())


def _since(revocation: Revocation, moment: float | None) -> float | None:
    return None if moment is None else _ms(moment - revocation.answered_at)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 2)
