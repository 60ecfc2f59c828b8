"""What the figures are made of: the records of the story, as they are when it is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from keyturn.client import (
    Activity,
    Destination,
    Incident,
    IncidentReport,
    RecordedRequest,
    Rotation,
)
from keyturn.demo.journal import Entry


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
class Response:
    """How the leak of a service's key was answered: when its containment was asked for, and when
    that was answered, by the monotonic clock. `was_refused` tells whether the end was refused while
    the service was not healthy. The incident and its report are told as they were in the end; their
    times are by Keyturn's clock. Answers and tokens are as of a `Replacement`."""

    service: str
    asked_at: float
    answered_at: float
    was_refused: bool
    incident: Incident
    report: IncidentReport
    answers: int
    tokens_shown: int


class Chapter(msgspec.Struct, frozen=True):
    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it: what the services wrote down and what the thief did (`stolen`), and what Keyturn
    says. `hints` has the hint of each key by its id."""

    journals: Mapping[str, Sequence[Entry]]
    stolen: Sequence[Entry]
    recorded: Sequence[RecordedRequest]
    hints: Mapping[str, str]
    replacement: Replacement
    response: Response
    chapters: Sequence[Chapter] = field(default=())
