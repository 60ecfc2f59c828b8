"""The checks of slots, rotations and the whole workspace."""

from collections.abc import Iterator

from keyturn.domain.channel import ChannelState
from keyturn.domain.event import wants
from keyturn.domain.instant import DAY, SECOND, format_instant
from keyturn.domain.posture.check import Check, CheckId, Known, Result, Said, Subject, SubjectKind
from keyturn.domain.posture.facts import KeyFacts, Snapshot
from keyturn.domain.rotation import OPEN_STATES, Rotation, RotationState
from keyturn.domain.slot import SlotName

MOST_LIVE_KEYS = 2  # an old one, and the new one that takes its place
OVERLAP_DAYS = 7
DRILL_DAYS = 90
ROLLBACK_DAYS = 365
FORCED_DAYS = 90
LOG_DAYS = 7
MOST_SKEW = 5 * SECOND
# What somebody has to be told of.
TOLD = "finding.opened"


def _slot_subject(slot: SlotName) -> Subject:
    return Subject(kind=SubjectKind.SLOT, id=str(slot), name=str(slot), slot=slot)


def _rotation_subject(rotation: Rotation) -> Subject:
    return Subject(
        kind=SubjectKind.ROTATION,
        id=str(rotation.id),
        name=str(rotation.slot),
        slot=rotation.slot,
    )


def workspace_subject(snapshot: Snapshot) -> Subject:
    id_ = str(snapshot.workspace_id)
    return Subject(kind=SubjectKind.WORKSPACE, id=id_, name="the workspace")


def _of_workspace(
    snapshot: Snapshot, result: Result, why: str = "", since: int | None = None, remedy: str = ""
) -> Iterator[Said]:
    yield Said(
        subject=workspace_subject(snapshot),
        result=result,
        why=why,
        since=since,
        remedy="" if result is Result.PASS else remedy,
    )


VERIFY = "Where the installation is: `keyturn activity verify`."
_NOT_SEEN = "This is of the whole workspace, and this token sees some slots of it."


def _by_slot(snapshot: Snapshot) -> dict[SlotName, list[KeyFacts]]:
    slots: dict[SlotName, list[KeyFacts]] = {}
    for facts in snapshot.keys:
        slots.setdefault(facts.key.slot, []).append(facts)
    return slots


def _few_keys(snapshot: Snapshot) -> Iterator[Said]:
    for slot, found in _by_slot(snapshot).items():
        is_crowded = len(found) > MOST_LIVE_KEYS
        since = sorted(one.key.created_at for one in found)[MOST_LIVE_KEYS] if is_crowded else None
        yield Said(
            subject=_slot_subject(slot),
            result=Result.FAIL if is_crowded else Result.PASS,
            why=f"{len(found)} keys of it live." if is_crowded else "",
            since=since,
            remedy=f"See who uses each, `keyturn keys list --service {slot.service} --environment "
            f"{slot.environment}`, and revoke the rest: `keyturn keys revoke KEY`."
            if is_crowded
            else "",
        )


def _destination(snapshot: Snapshot) -> Iterator[Said]:
    for slot, found in _by_slot(snapshot).items():
        notes = found[0].notes
        result, why = Result.PASS, ""
        if notes is None:
            result, why = Result.UNKNOWN, "The record of the slot is damaged."
        elif not notes.destinations:
            result, why = Result.FAIL, "New tokens of it go through somebody's hands."
        yield Said(
            subject=_slot_subject(slot),
            result=result,
            why=why,
            since=min(one.key.created_at for one in found) if why else None,
            remedy=f"`keyturn keys update {found[0].key.id} --destination NAME`" if why else "",
        )


def _short_overlap(snapshot: Snapshot) -> Iterator[Said]:
    for rotation in snapshot.rotations:
        if rotation.state not in OPEN_STATES:
            continue
        is_long = snapshot.now - rotation.started_at > OVERLAP_DAYS * DAY
        yield Said(
            subject=_rotation_subject(rotation),
            result=Result.FAIL if is_long else Result.PASS,
            why=f"Two keys work since {format_instant(rotation.started_at)}." if is_long else "",
            since=rotation.started_at if is_long else None,
            remedy=f"`keyturn rotations show {rotation.slot}` names what holds it open."
            if is_long
            else "",
        )


def _evidenced(snapshot: Snapshot) -> Iterator[Said]:
    since = snapshot.now - FORCED_DAYS * DAY
    for rotation in snapshot.rotations:
        ending = rotation.ending
        if ending is None or rotation.state is not RotationState.COMPLETED or ending.at < since:
            continue
        is_forced = ending.is_forced and not rotation.slot.is_drill
        yield Said(
            subject=_rotation_subject(rotation),
            result=Result.FAIL if is_forced else Result.PASS,
            why="Its old key was revoked without the evidence that nobody needs it."
            if is_forced
            else "",
            since=ending.at if is_forced else None,
            remedy=f"Let the next one end by itself: `keyturn rotations start {rotation.slot}`."
            if is_forced
            else "",
        )


def _drills(snapshot: Snapshot) -> list[int]:
    """When each drill ended that went its whole way: a slot of its own in which one rotation was
    completed by evidence, and a later one rolled back."""
    completed: dict[SlotName, int] = {}
    rolled_back: dict[SlotName, int] = {}
    for rotation in snapshot.rotations:
        ending = rotation.ending
        if ending is None or not rotation.slot.is_drill:
            continue
        if rotation.state is RotationState.COMPLETED and not ending.is_forced:
            completed[rotation.slot] = ending.at
        elif rotation.state is RotationState.ROLLED_BACK:
            rolled_back[rotation.slot] = ending.at
    return [at for slot, at in rolled_back.items() if completed.get(slot, at) < at]


_DRILL = "`keyturn drill rotation`"


def _drilled(snapshot: Snapshot) -> Iterator[Said]:
    last = max(_drills(snapshot), default=None)
    if last is None and not snapshot.is_whole:
        return _of_workspace(snapshot, Result.UNKNOWN, _NOT_SEEN)
    if last is None:
        why = "No drill that went its whole way is on record."
        return _of_workspace(snapshot, Result.FAIL, why, None, _DRILL)
    if snapshot.now - last > DRILL_DAYS * DAY:
        why = f"The last drill was at {format_instant(last)}."
        return _of_workspace(snapshot, Result.FAIL, why, last, _DRILL)
    return _of_workspace(snapshot, Result.PASS, "", last)


def _reversible(snapshot: Snapshot) -> Iterator[Said]:
    ends = [
        one.ending.at
        for one in snapshot.rotations
        if one.ending is not None and one.state is RotationState.ROLLED_BACK
    ]
    last = max(ends, default=None)
    if last is not None and snapshot.now - last <= ROLLBACK_DAYS * DAY:
        return _of_workspace(snapshot, Result.PASS, "", last)
    if not snapshot.is_whole:
        return _of_workspace(snapshot, Result.UNKNOWN, _NOT_SEEN)
    why = f"No rotation was rolled back in {ROLLBACK_DAYS} days: that it can be is not shown."
    return _of_workspace(snapshot, Result.FAIL, why, last, _DRILL)


def _incidents(snapshot: Snapshot) -> Iterator[Said]:
    if snapshot.incidents is None:
        yield from _of_workspace(snapshot, Result.UNKNOWN, "This token reads no incidents.")
        return
    if "incident" in snapshot.damaged:
        why = "The record of an incident was changed from outside."
        yield from _of_workspace(snapshot, Result.UNKNOWN, why, None, VERIFY)
    if not snapshot.sees_all_incidents:
        yield from _of_workspace(snapshot, Result.UNKNOWN, _NOT_SEEN)
    for incident in snapshot.incidents:
        yield Said(
            subject=Subject(
                kind=SubjectKind.INCIDENT, id=str(incident.id), name=incident.reason.value
            ),
            result=Result.FAIL,
            why=f"It is {incident.state}.",
            since=incident.opened_at,
            remedy=f"`keyturn incidents show {incident.id}` says the next step.",
        )


def _log(snapshot: Snapshot) -> Iterator[Said]:
    found = snapshot.log
    if snapshot.damaged:
        kinds = ", ".join(sorted(set(snapshot.damaged)))
        why = f"{len(snapshot.damaged)} stored records were changed from outside ({kinds})."
        return _of_workspace(snapshot, Result.FAIL, why, None, VERIFY)
    if found is None:
        why = "When it was last checked is not known here."
        return _of_workspace(snapshot, Result.UNKNOWN, why, None, VERIFY)
    if not found.is_sound:
        why = "It was not sound when it was last checked."
        return _of_workspace(snapshot, Result.FAIL, why, found.at, VERIFY)
    if not snapshot.has_checked_entry:
        why = "What was checked is not in the log any more."
        return _of_workspace(snapshot, Result.FAIL, why, found.at, VERIFY)
    if snapshot.now - found.at > LOG_DAYS * DAY:
        why = f"It was last checked at {format_instant(found.at)}."
        return _of_workspace(snapshot, Result.FAIL, why, found.at, VERIFY)
    return _of_workspace(snapshot, Result.PASS, "", found.at)


_SET_CLOCK = "Keep the server's clock right: `timedatectl set-ntp true`."


def _clock(snapshot: Snapshot) -> Iterator[Said]:
    clock = snapshot.clock
    if clock is None:
        return _of_workspace(snapshot, Result.UNKNOWN, "Nothing is known of the clock.")
    if abs(clock.skew) > MOST_SKEW:
        why = f"It and the database's clock differ by {abs(clock.skew) // SECOND} s."
        return _of_workspace(snapshot, Result.FAIL, why, None, _SET_CLOCK)
    if clock.set_at is not None and snapshot.now - clock.set_at < DAY:
        why = "It jumped while Keyturn ran."
        return _of_workspace(snapshot, Result.FAIL, why, clock.set_at, _SET_CLOCK)
    if not snapshot.is_clock_trusted:
        why = (
            f"It is {clock.ahead // DAY} days ahead of all that was written down: it may be wrong, "
            "or nothing happened. It is followed a day in each hour."
        )
        return _of_workspace(snapshot, Result.UNKNOWN, why)
    return _of_workspace(snapshot, Result.PASS, "", clock.watched_since)


def _channel(snapshot: Snapshot) -> Iterator[Said]:
    if snapshot.channels is None:
        return _of_workspace(snapshot, Result.UNKNOWN, _NOT_SEEN)
    told = [
        one
        for one in snapshot.channels
        if one.state is ChannelState.ACTIVE and wants(one.events, TOLD)
    ]
    if told:
        return _of_workspace(snapshot, Result.PASS, "", min(one.created_at for one in told))
    remedy = "`keyturn channels create NAME --to URL --event 'finding.*'`"
    return _of_workspace(snapshot, Result.FAIL, "Nobody is told of findings.", None, remedy)


WORKSPACE_CHECKS = (
    Check(
        id=CheckId.FEW_KEYS,
        line="One key per service and environment, two while it is rotated.",
        known=Known.MEASURED,
        judge=_few_keys,
        remedy="`keyturn keys revoke KEY`",
        terms={"most_live_keys": MOST_LIVE_KEYS},
        records="key",
    ),
    Check(
        id=CheckId.DESTINATION,
        line="Store keys only in a secrets manager.",
        known=Known.DECLARED,
        judge=_destination,
        remedy="`keyturn keys update KEY --destination NAME`",
        records="key",
    ),
    Check(
        id=CheckId.SHORT_OVERLAP,
        line="Keep a short overlap window.",
        known=Known.MEASURED,
        judge=_short_overlap,
        remedy="`keyturn rotations show SLOT` names what holds it open.",
        terms={"most_days": OVERLAP_DAYS},
        counts_days=True,
        records="rotation",
    ),
    Check(
        id=CheckId.EVIDENCED,
        line="Monitor successful requests with the new key before revoking the old.",
        known=Known.MEASURED,
        judge=_evidenced,
        remedy="Let the next one end by itself: `keyturn rotations start SLOT`.",
        terms={"lookback_days": FORCED_DAYS},
        counts_days=True,
        records="rotation",
    ),
    Check(
        id=CheckId.REVERSIBLE,
        line="Keep rotation reversible.",
        known=Known.MEASURED,
        judge=_reversible,
        remedy=_DRILL,
        terms={"lookback_days": ROLLBACK_DAYS},
        counts_days=True,
    ),
    Check(
        id=CheckId.DRILLED,
        line="Keep rotation routine and tested.",
        known=Known.MEASURED,
        judge=_drilled,
        remedy=_DRILL,
        terms={"older_than_days": DRILL_DAYS},
        counts_days=True,
    ),
    Check(
        id=CheckId.INCIDENTS,
        line="Issue replacements, and verify that all automation paths are healthy.",
        known=Known.MEASURED,
        judge=_incidents,
        remedy="`keyturn incidents list`",
    ),
    Check(
        id=CheckId.LOG,
        line="Correlate by requests and audit entries that can be trusted.",
        known=Known.MEASURED,
        judge=_log,
        remedy=VERIFY,
        terms={"older_than_days": LOG_DAYS},
        counts_days=True,
    ),
    Check(
        id=CheckId.CLOCK,
        line="Know when: a clock that can be trusted.",
        known=Known.MEASURED,
        judge=_clock,
        remedy=_SET_CLOCK,
    ),
    Check(
        id=CheckId.CHANNEL,
        line="Review unusual activity: somebody is told of it.",
        known=Known.MEASURED,
        judge=_channel,
        remedy="`keyturn channels create NAME --to URL --event 'finding.*'`",
        records="channel",
    ),
)
