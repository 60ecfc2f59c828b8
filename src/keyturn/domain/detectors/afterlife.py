"""After the end: a revoked key that somebody still tries."""

from collections.abc import Iterator

from keyturn.domain.detectors.profile import Aspect, hours_between
from keyturn.domain.detectors.reason import USUAL_AFTER, Case, Certainty, Past, Reason
from keyturn.domain.finding import FindingKind
from keyturn.domain.key import KeyState
from keyturn.domain.traffic import hour_of


def after_revocation(case: Case) -> Iterator[Reason]:
    key = case.key
    # A drill calls with its revoked keys itself, to see that they are refused.
    if key.state is not KeyState.REVOKED or key.revoked_at is None or key.slot.is_drill:
        return
    seen = case.profile.values[Aspect.RUNTIME]
    after = {name: one for name, one in seen.items() if one.last_at > key.revoked_at}
    last = max((one.last_at for one in after.values()), default=None)
    if last is None or last <= case.now - USUAL_AFTER:
        return
    # What was refused in the hour of the revocation itself may have been so before.
    begin = hour_of(key.revoked_at)
    refused = [
        hour for hour in hours_between(case.hours, begin, last + 1) if case.hours[hour].denied
    ]
    denied = sum(case.hours[hour].denied for hour in refused)
    strangers = sorted(name for name, one in after.items() if one.first_at > key.revoked_at)
    yield Reason(
        kind=FindingKind.AFTER_REVOCATION,
        mark="",
        what="This key was revoked, and somebody calls with it still. All was refused.",
        since=max(key.revoked_at, min(refused, default=begin)),
        until=last + USUAL_AFTER,
        certainty=Certainty.HIGH,
        past=Past(key.revoked_at, last, 0, 0, 0, 0),
        facts={"denied": denied, "runtimes": sorted(after)[:20], "new": strangers[:20]},
    )
