"""Detectors of unusual use: what is unlike a key's own past, and what no key should do.

Each is a pure function of a `Case` that gives reasons; `detect` asks them all. `BLIND_SPOTS` says
of each what it cannot see.
"""

from collections.abc import Callable, Iterator

from keyturn.domain.detectors.afterlife import after_revocation
from keyturn.domain.detectors.amount import denied_burst, volume
from keyturn.domain.detectors.blind_spots import BLIND_SPOTS
from keyturn.domain.detectors.enumeration import enumeration
from keyturn.domain.detectors.novelty import new_values
from keyturn.domain.detectors.reason import Case, Certainty, Reason
from keyturn.domain.detectors.rhythm import unusual_hours, woke
from keyturn.domain.detectors.sharing import browser, several_environments, shared_key
from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.instant import format_instant
from keyturn.domain.key import KeyState

Detector = Callable[[Case], Iterator[Reason]]

# All that may be found: what is open of these and not said again is resolved.
USAGE_KINDS = tuple(BLIND_SPOTS)

_OF_THE_LIVING: tuple[Detector, ...] = (
    new_values,
    volume,
    unusual_hours,
    denied_burst,
    enumeration,
    several_environments,
    shared_key,
    browser,
    woke,
)


def detect(case: Case) -> list[Reason]:
    """All that is unusual now. Of a revoked key only that it is used is told."""
    is_revoked = case.key.state is KeyState.REVOKED
    detectors = (after_revocation,) if is_revoked else _OF_THE_LIVING
    return [reason for one in detectors for reason in one(case) if case.now < reason.until]


def cause_of(case: Case, reason: Reason) -> Cause:
    """The cause of a finding on the key."""
    past = reason.past
    baseline = None
    if past is not None:
        baseline = {
            "since": format_instant(past.begins),
            "days": past.days,
            "active_days": past.active_days,
            "calls": past.calls,
        }
    return Cause(
        kind=reason.kind,
        subject_type=SubjectType.KEY,
        subject_id=str(case.key.id),
        slot=case.key.slot,
        mark=reason.mark,
        severity=_severity(case, reason),
        evidence={
            "key": case.key.name,
            "slot": str(case.key.slot),
            "what": reason.what,
            "since": format_instant(reason.since),
            "baseline": baseline,
            "certainty": reason.certainty.value,
            "blind_spot": BLIND_SPOTS[reason.kind],
            **reason.facts,
            "next_step": f"See who calls: `keyturn usage {case.key.id}`. If it was none of yours,"
            " contain it: revoke the key as compromised.",
        },
    )


def _severity(case: Case, reason: Reason) -> Severity:
    is_sure = reason.certainty is Certainty.HIGH
    if reason.kind is FindingKind.AFTER_REVOCATION:
        return Severity.CRITICAL if case.key.compromised else Severity.WARNING
    if reason.kind is FindingKind.BROWSER and is_sure:
        return Severity.CRITICAL
    return Severity.INFO if reason.certainty is Certainty.LOW else Severity.WARNING


__all__ = ["BLIND_SPOTS", "USAGE_KINDS", "Case", "Certainty", "Reason", "cause_of", "detect"]
