"""The judgement: every check over one snapshot, with what people have waived."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from keyturn.domain.posture.check import Check, CheckId, Known, Result, Said
from keyturn.domain.posture.facts import Snapshot
from keyturn.domain.posture.key_checks import KEY_CHECKS
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.posture.workspace_checks import (
    VERIFY,
    WORKSPACE_CHECKS,
    workspace_subject,
)

MOST_CONCERNED = 20

CHECKS = (*KEY_CHECKS, *WORKSPACE_CHECKS)

_DOUBT = "The clock is not to be trusted, so days are not counted."
_ORDER = {one: index for index, one in enumerate(Result)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Concerned:
    """Something that did not pass, and the waiver that speaks of it."""

    said: Said
    waiver: PostureWaiver | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCheck:
    """What came of a check. `total` counts what did not pass; `concerned` has the first of them,
    failing ones before those that are unknown and those that are waived."""

    check: Check
    result: Result
    known: Known
    since: int | None
    counts: dict[Result, int]
    concerned: tuple[Concerned, ...]
    total: int
    remedy: str
    waivers: tuple[PostureWaiver, ...] = field(default=())

    @property
    def checked(self) -> int:
        return sum(self.counts.values())


def judge_posture(
    snapshot: Snapshot,
    waivers: Sequence[PostureWaiver],
    wanted: CheckId | None = None,
) -> tuple[JudgedCheck, ...]:
    """Every check (or the one that is wanted), failing ones first, else in the guide's order."""
    holding = [one for one in waivers if one.holds(snapshot.now)]
    judged = [
        judge_check(check, snapshot, [one for one in holding if one.check is check.id])
        for check in CHECKS
        if wanted in (None, check.id)
    ]
    return tuple(sorted(judged, key=lambda one: _ORDER[one.result]))


def judge_check(check: Check, snapshot: Snapshot, waivers: Sequence[PostureWaiver]) -> JudgedCheck:
    counts = dict.fromkeys(Result, 0)
    concerned: list[Concerned] = []
    passing: int | None = None
    for said in _said(check, snapshot):
        if said.result is Result.PASS:
            counts[Result.PASS] += 1
            passing = said.since
            continue
        waiver = _waiver_of(check, said, waivers)
        counts[said.result if waiver is None else Result.WAIVED] += 1
        concerned.append(Concerned(said=said, waiver=waiver))
    result = next((one for one in _WORST_FIRST if counts[one]), Result.PASS)
    concerned.sort(key=lambda one: (one.waiver is not None, _ORDER[one.said.result]))
    first = concerned[0].said if concerned else None
    told = [one.said.since for one in concerned] or [passing]
    since = min((one for one in told if one is not None), default=None)
    return JudgedCheck(
        check=check,
        result=result,
        known=Known.UNKNOWN if result is Result.UNKNOWN else check.known,
        since=since,
        counts=counts,
        concerned=tuple(concerned[:MOST_CONCERNED]),
        total=len(concerned),
        remedy="" if first is None else first.remedy or check.remedy,
        waivers=tuple(waivers),
    )


_WORST_FIRST = (Result.FAIL, Result.UNKNOWN, Result.WAIVED)


def _said(check: Check, snapshot: Snapshot) -> Iterable[Said]:
    for said in check.judge(snapshot):
        is_doubtful = check.counts_days and not snapshot.is_clock_trusted
        if is_doubtful and said.result is not Result.UNKNOWN:
            yield replace(said, result=Result.UNKNOWN, why=_DOUBT, since=None, remedy="")
        else:
            yield said
    if check.records in snapshot.damaged:
        yield Said(
            subject=workspace_subject(snapshot),
            result=Result.UNKNOWN,
            why=f"The record of a {check.records} was changed from outside, and is left out.",
            remedy=VERIFY,
        )


def _waiver_of(check: Check, said: Said, waivers: Sequence[PostureWaiver]) -> PostureWaiver | None:
    """The one that speaks of it most closely: of the key before the slot before all."""
    speaking = [one for one in waivers if one.is_of(check.id, said.subject)]
    return max(speaking, key=_closeness, default=None)


def _closeness(waiver: PostureWaiver) -> tuple[bool, bool]:
    return (waiver.key_id is not None, waiver.slot is not None)
