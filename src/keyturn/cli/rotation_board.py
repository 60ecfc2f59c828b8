"""What a rotation looks like at a moment: who has moved, who is waited for, and the one next step.

Pure: no I/O, and the time is an argument.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from keyturn.cli.delivery_text import delivery_line
from keyturn.cli.naming import short
from keyturn.cli.output import Column, counted, span
from keyturn.client.record import Blocker
from keyturn.client.rotation_records import Rotation, RuntimeEvidence

COLUMNS = (
    Column("runtime", wide=True),
    Column("status"),
    Column("old key used"),
    Column("new key used"),
    Column("waits for", wide=True),
)
_NOT_MOVED = "runtime.not_moved"
_STILL_ON_OLD = "runtime.still_on_old"
_MOST_NAMED = 20
_CONFLICT = "identity.conflict"
_ORDER = ("conflict", "waits", "stranger", "new", "moved", "waived", "silent", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload. `waits_for` counts down; `reason` is the same without the figures."""

    runtime: str
    status: str
    old: str
    new: str
    waits_for: str
    reason: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.runtime, self.status, self.old, self.new, self.waits_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Everything that is shown of a rotation. `command` is empty where nothing is to be done."""

    title: str
    facts: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    step: str
    command: str
    deliveries: tuple[str, ...] = ()


def board_of(rotation: Rotation, moment: datetime) -> Board:
    """The rotation as it stands at this moment."""
    rows = sorted(
        (_row(rotation, one, moment) for one in rotation.evidence),
        key=lambda row: (_ORDER.index(row.status), row.runtime),
    )
    return Board(
        title=_title(rotation, rows),
        facts=tuple(_facts(rotation, moment)),
        rows=tuple(rows),
        notes=tuple(_notes(rotation, rows)),
        step=_step(rotation.next_step),
        command=command_of(rotation),
        deliveries=tuple(f"delivery to {delivery_line(one)}" for one in rotation.deliveries),
    )


def command_of(rotation: Rotation) -> str:
    """What a person may do next, as a command; empty where there is nothing."""
    name = short(rotation.id)
    if not rotation.is_open:
        is_done = rotation.state == "completed"
        return "" if is_done else f"keyturn rotations start {rotation.slot}"
    blocker = min(rotation.blocked_by, key=_urgency, default=None)
    if blocker is None:
        return "" if rotation.auto_complete else f"keyturn rotations complete {name}"
    runtime = shlex.quote(blocker.runtime or "")
    old = short(rotation.old_key_id)
    match blocker.code:
        case "identity.conflict":
            return f"keyturn rotations decide {name} {runtime} --standing ours"
        case "new_key.unusable":
            return f"keyturn keys show {short(rotation.new_key_id)}"
        case "delivery.waiting":
            return f"keyturn deliveries list --rotation {name}"
        case "brownout.lifted":
            return f"keyturn requests list --key {old} --denied"
        case "runtime.not_moved" if rotation.overdue:
            return f"keyturn rotations extend {name} --overlap {_longer(rotation)}"
        case "runtime.not_moved":
            return f"keyturn requests list --key {old} --runtime {runtime}"
        case "history.incomplete":
            return f"keyturn rotations brownout {name}"
        case _:
            return ""  # it passes by itself


_URGENCY = (
    *(_CONFLICT, "new_key.unusable", "delivery.waiting", "brownout.lifted", _NOT_MOVED),
    "history.incomplete",
)


def _urgency(blocker: Blocker) -> int:
    return _URGENCY.index(blocker.code) if blocker.code in _URGENCY else len(_URGENCY)


def _longer(rotation: Rotation) -> str:
    """Once more as long as it is open already, in whole hours or days."""
    hours = max(1, -(-2 * rotation.overlap_seconds // 3_600))
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def _step(sentence: str) -> str:
    return sentence if not sentence or sentence.startswith("Wait") else f"Next: {sentence}"


def _title(rotation: Rotation, rows: list[Row]) -> str:
    waited = sum(row.status in ("waits", "conflict") for row in rows)
    moved = sum(row.status == "moved" for row in rows)
    told = f"{moved} of {moved + waited} moved" if moved + waited else "nobody is waited for"
    named = f"Rotation {short(rotation.id)} of {rotation.slot}: {rotation.state}"
    return f"{named}, {told}" if rotation.is_open else named


def _facts(rotation: Rotation, moment: datetime) -> Iterator[str]:
    old, new = short(rotation.old_key_id), short(rotation.new_key_id)
    yield f"old key {old}, new key {new}"
    if rotation.completed_at is not None:
        yield f"ended {_told(rotation.completed_at)}{_by(rotation)}"
        return
    left = (rotation.deadline - moment).total_seconds()
    if rotation.overdue or left < 0:
        yield f"overdue since {span(-left)}: nothing is cut, and it goes on"
    else:
        yield f"deadline {_told(rotation.deadline)}, in {span(left)}"
    if rotation.brownout_until is not None:
        left = (rotation.brownout_until - moment).total_seconds()
        yield (
            f"brown-out: the old key is suspended for {span(left)} more, as a test; where a "
            "workload of yours meets it, it is lifted at once"
        )
    if rotation.lifts:
        yield f"a brown-out was lifted {counted(rotation.lifts, 'time')}: somebody met it"


def _by(rotation: Rotation) -> str:
    by = f" by {rotation.ended_by}" if rotation.ended_by else ""
    forced = ", forced" if rotation.forced else ""
    return f"{by}{forced}" + (f": {rotation.reason}" if rotation.reason else "")


def _notes(rotation: Rotation, rows: list[Row]) -> Iterator[str]:
    if not rotation.is_open:
        return
    waited = [row.runtime for row in rows if row.status == "waits"]
    if waited:
        yield f"Waits for {', '.join(waited)}."
    for one in rotation.blocked_by:
        is_told_below = one.runtime is None and rotation.next_step.startswith(one.detail)
        if (one.runtime is None and not is_told_below) or one.code == _CONFLICT:
            yield f"{one.runtime}: {one.detail}" if one.runtime else one.detail
        if one.code == _CONFLICT:
            asked = shlex.quote(one.runtime or "")
            listed = f"keyturn requests list --key {short(rotation.old_key_id)} --runtime {asked}"
            told = "--standing ours, or --standing intruder, with --network"
            yield f"Look first with `{listed}`; then decide: {told}."
    strangers = [row.runtime for row in rows if row.status == "stranger"]
    if strangers:
        told = ", ".join(strangers[:_MOST_NAMED])
        more = len(strangers) - _MOST_NAMED
        told += f" and {more} more" if more > 0 else ""
        yield f"On the old key only since the start, and not waited for: {told}."


def _row(rotation: Rotation, one: RuntimeEvidence, moment: datetime) -> Row:
    blockers = {
        blocker.code: blocker for blocker in rotation.blocked_by if blocker.runtime == one.runtime
    }
    status = _status(rotation, one, bool(blockers))
    reason, left = _reason(rotation, one, blockers, moment) if status == "waits" else ("", "")
    if status == "conflict":
        reason = "your word: ours, or an intruder?"
    return Row(
        runtime=one.runtime,
        status=status,
        old=_since(one.old_last_seen_at, moment),
        new=_since(one.new_last_seen_at, moment),
        waits_for=f"{reason}{left}",
        reason=reason,
    )


def _status(rotation: Rotation, one: RuntimeEvidence, is_blocking: bool) -> str:
    if one.standing in ("conflict", "waived"):
        return one.standing
    if one.standing == "stranger":
        return "-" if one.old_last_seen_at is None else "stranger"  # it asked, and used nothing
    if is_blocking and rotation.is_open:
        return "waits"
    if one.moved:
        return "moved"
    if one.standing == "new":
        return "new"
    return "silent" if rotation.is_open else "-"


def _reason(
    rotation: Rotation, one: RuntimeEvidence, blockers: dict[str, Blocker], moment: datetime
) -> tuple[str, str]:
    """What a workload waits for, and the figures of it."""
    if _STILL_ON_OLD in blockers:
        since = one.old_last_seen_at
        left = 0.0 if since is None else rotation.quiet_seconds - (moment - since).total_seconds()
        return "rest on the old key", f": {span(left)} more" if left > 0 else ""
    if _NOT_MOVED in blockers and one.checked_in_at is not None:
        return "its run: it has checked in", ""
    if _NOT_MOVED in blockers and one.new_denied and not one.new_allowed:
        return "to be allowed on the new key", f" (denied {counted(one.new_denied, 'time')})"
    if _NOT_MOVED in blockers:
        return "its first use of the new key", ""
    return next(iter(blockers.values())).detail, ""


def _since(at: datetime | None, moment: datetime) -> str:
    return "never" if at is None else f"{span((moment - at).total_seconds())} ago"


def _told(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
