"""How a plan is shown: lines for people, in which nothing is cut, and a shape for programs. Pure.

make    worker-prod     owner: ops@example.com; rotation_period_days: 90
change  scheduler-prod  owner: payments@example.com → (none)
                        purpose: (none) → Publishes what is due
"""

import textwrap
from collections.abc import Iterator, Sequence

from keyturn.cli.carry_out import Carried
from keyturn.cli.drift import Drift, SlotChange, Value
from keyturn.domain.slot import ExpectedRuntime
from keyturn.domain.text import without_controls

_NARROWEST = 30
_INDENT = "    "
_LONGEST_VALUE = 50_000
_MOST_NAMED = 10


def plan_lines(drift: Drift, width: int | None) -> Iterator[str]:
    """The plan for people, for a terminal of that width, or for none."""
    widest = max((len(one.slot) for one in drift.changes), default=0)
    for change in drift.changes:
        verb = _verb(change)
        left = f"{verb:<6}  {change.slot:<{widest}}  "
        is_narrow = width is not None and width - len(left) < _NARROWEST
        if is_narrow:
            yield f"{verb:<6}  {change.slot}"
        told = _told(change)
        for index, text in enumerate(told):
            first = " " * len(left) if index else left
            rest = " " * len(left)
            if is_narrow:
                first = rest = _INDENT
            yield from _wrapped(text, width, first, rest)
    yield from _wrapped(_summary(drift), width, "", "")
    if drift.not_in_file:
        shown = [without_controls(one, _LONGEST_VALUE) for one in drift.not_in_file[:_MOST_NAMED]]
        more = len(drift.not_in_file) - len(shown)
        names = f"Not in the file, and left as they are: {', '.join(shown)}"
        yield from _wrapped(f"{names} and {more:,} more." if more else f"{names}.", width, "", "")


def names_lines(title: str, names: Sequence[str], width: int | None) -> Iterator[str]:
    """A title, and names behind it."""
    yield from _wrapped(f"{title}: {', '.join(names)}.", width, "", _INDENT)


def plan_json(drift: Drift) -> dict[str, object]:
    """The plan for programs: docs/howto/many-services-from-one-file.md tells its shape."""
    return {
        "differs": bool(drift.changes),
        "changes": [_change_json(one) for one in drift.changes],
        "unchanged": drift.unchanged,
        "not_in_file": list(drift.not_in_file),
    }


def carried_json(drift: Drift, carried: Carried) -> dict[str, object]:
    """The plan, and what became of each change."""
    changes = [
        {
            **_change_json(one.change),
            "outcome": one.outcome,
            "code": None if one.error is None else one.error.code,
            "detail": None if one.error is None else str(one.error),
        }
        for one in carried.results
    ]
    return {**plan_json(drift), "changes": changes}


def _change_json(change: SlotChange) -> dict[str, object]:
    return {
        "slot": change.slot,
        "action": _verb(change),
        "version": change.version,
        "members": [
            {"member": one.member, "old": _plain(one.old), "new": _plain(one.new)}
            for one in change.members
        ],
    }


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _verb(change: SlotChange) -> str:
    return "make" if change.version is None else "change"


def _told(change: SlotChange) -> list[str]:
    if change.version is None:
        said = [f"{one.member}: {_spelled(one.new)}" for one in change.members]
        return ["; ".join(said) or "(nothing is said of it)"]
    return [f"{one.member}: {_spelled(one.old)} → {_spelled(one.new)}" for one in change.members]


def _summary(drift: Drift) -> str:
    if not drift.changes:
        verb = "is" if drift.unchanged == 1 else "are"
        return f"No difference: {plural(drift.unchanged, 'slot')} {verb} as the file says."
    return (
        f"{drift.made:,} to make, {drift.changed:,} to change, {drift.unchanged:,} unchanged, "
        f"{len(drift.not_in_file):,} not in the file."
    )


def _spelled(value: Value) -> str:
    match value:
        case None:
            return "(none)"
        case tuple():
            return ", ".join(_listed(one) for one in value)
        case int():
            return str(value)
        case str():
            return without_controls(value, _LONGEST_VALUE)


def _listed(runtime: ExpectedRuntime | str) -> str:
    if isinstance(runtime, str):
        return without_controls(runtime, _LONGEST_VALUE)
    name = without_controls(runtime.name, _LONGEST_VALUE)
    seconds = runtime.max_call_interval_seconds
    return name if seconds is None else f"{name} (every {seconds} s)"


def _plain(value: Value) -> object:
    if isinstance(value, tuple):
        return [
            one
            if isinstance(one, str)
            else {"name": one.name, "max_call_interval_seconds": one.max_call_interval_seconds}
            for one in value
        ]
    return value


def _wrapped(text: str, width: int | None, first: str, rest: str) -> list[str]:
    if width is None:
        return [first + text]
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
