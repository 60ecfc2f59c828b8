"""What is shown of a rotation: each workload with what it waits for, and the one next step."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keyturn.cli.rotation_board import board_of
from keyturn.cli.rotation_watch import board_lines, changes
from keyturn.client.rotation_records import Rotation
from tests.client.test_rotation_calls import ROTATION

NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)
NAME = "0190-rotation"


def told(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def seen(
    runtime: str, *, old: int | None = 10, new: int | None = None, **members: Any
) -> dict[str, Any]:
    """A workload, seen so many seconds ago."""
    return {
        "runtime": runtime,
        "declared": True,
        "registered": False,
        "standing": "ours",
        "old_last_seen_at": told(None if old is None else NOW - timedelta(seconds=old)),
        "old_allowed": 5,
        "new_last_seen_at": told(None if new is None else NOW - timedelta(seconds=new)),
        "new_allowed": 0 if new is None else 3,
        "new_denied": 0,
        "checked_in_at": None,
        "moved": False,
        **members,
    }


def blocked(code: str, runtime: str | None = None) -> dict[str, Any]:
    return {"code": code, "runtime": runtime, "detail": f"It is {code}."}


def rotation(
    evidence: list[dict[str, Any]], blocked_by: list[dict[str, Any]], **members: Any
) -> Rotation:
    return msgspec.convert(
        {**ROTATION, "evidence": evidence, "blocked_by": blocked_by, **members}, Rotation
    )


def test_each_workload_says_what_it_waits_for() -> None:
    board = board_of(
        rotation(
            [
                seen("done", old=900, new=2, moved=True),
                seen("nightly"),
                seen("resting", old=100, new=5),
                seen("refused", new_denied=4),
                seen("checked", checked_in_at=told(NOW)),
                seen("web", standing="conflict", new=3),
                seen("ua:curl", declared=False, standing="stranger"),
                seen("gone", standing="waived"),
            ],
            [
                blocked("runtime.not_moved", "nightly"),
                blocked("runtime.still_on_old", "resting"),
                blocked("runtime.not_moved", "refused"),
                blocked("runtime.not_moved", "checked"),
                blocked("identity.conflict", "web"),
            ],
        ),
        NOW,
    )
    rows = {row.runtime: (row.status, row.waits_for) for row in board.rows}
    assert rows == {
        "web": ("conflict", "your word: ours, or an intruder?"),
        "checked": ("waits", "its run: it has checked in"),
        "nightly": ("waits", "its first use of the new key"),
        "refused": ("waits", "to be allowed on the new key (denied 4 times)"),
        "resting": ("waits", "rest on the old key: 3 min more"),
        "ua:curl": ("stranger", ""),
        "done": ("moved", ""),
        "gone": ("waived", ""),
    }
    assert next(iter(rows)) == "web"
    assert "1 of 6 moved" in board.title
    assert "Waits for checked, nightly, refused, resting." in board.notes
    assert any("ua:curl" in note and "not waited for" in note for note in board.notes)


@pytest.mark.parametrize(
    ("members", "command"),
    [
        (
            {"blocked_by": [blocked("runtime.not_moved", "ua:a b")]},
            "keyturn requests list --key 0190-key --runtime 'ua:a b'",
        ),
        (
            {"blocked_by": [blocked("runtime.not_moved", "a"), blocked("identity.conflict", "b")]},
            f"keyturn rotations decide {NAME} b --standing ours",
        ),
        (
            {"blocked_by": [blocked("runtime.not_moved", "a")], "overdue": True},
            f"keyturn rotations extend {NAME} --overlap 2d",
        ),
        (
            {"blocked_by": [blocked("brownout.lifted")]},
            "keyturn requests list --key 0190-key --denied",
        ),
        ({"blocked_by": [blocked("new_key.unusable")]}, "keyturn keys show 0190-new"),
        ({"blocked_by": [blocked("runtime.still_on_old", "a")]}, ""),
        ({"blocked_by": [blocked("a.newer.one")]}, ""),
        ({"auto_complete": False}, f"keyturn rotations complete {NAME}"),
        ({}, ""),
        ({"state": "completed", "completed_at": told(NOW)}, ""),
        ({"state": "rolled_back"}, "keyturn rotations start scheduler-prod"),
    ],
)
def test_the_next_step_is_a_command_where_there_is_one(
    members: dict[str, Any], command: str
) -> None:
    blocked_by = members.pop("blocked_by", [])
    assert board_of(rotation([], blocked_by, **members), NOW).command == command


def test_the_deadline_and_the_brown_out_count_down() -> None:
    until = told(NOW + timedelta(seconds=42))
    board = board_of(rotation([], [], state="brownout", brownout_until=until, lifts=1), NOW)
    facts = "\n".join(board.facts)
    assert "in 23 h" in facts
    assert "suspended for 42 s more" in facts
    assert "lifted 1 time" in facts
    late = board_of(rotation([], [], overdue=True), NOW + timedelta(days=3))
    assert any("overdue since 2 d: nothing is cut" in fact for fact in late.facts)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("most", [10, 24])
def test_a_board_fits_a_terminal_and_keeps_the_next_step(width: int, most: int) -> None:
    many = [seen(f"runtime-{number:03}") for number in range(100)]
    blocking = [blocked("runtime.not_moved", one["runtime"]) for one in many]
    lines = board_lines(board_of(rotation(many, blocking[:1]), NOW), width, most)
    assert all(len(line) <= max(width, 26) for line in lines)
    assert any("… and" in line for line in lines)
    copied = " ".join(line.strip().removesuffix("\\").strip() for line in lines)
    assert "keyturn requests list --key 0190-key --runtime runtime-000" in copied


def test_elsewhere_only_what_has_changed_is_told() -> None:
    first = rotation([seen("a")], [blocked("runtime.not_moved", "a")])
    begun = list(changes(None, first, NOW))
    assert "a: waits, for its first use of the new key" in begun
    assert list(changes(first, first, NOW + timedelta(seconds=1))) == []
    second = rotation([seen("a", new=1)], [blocked("runtime.still_on_old", "a")])
    assert "a: waits, for rest on the old key" in list(changes(first, second, NOW))
    third = rotation([seen("a", new=1, moved=True)], [], state="completed", next_step="Done.")
    told_then = list(changes(second, third, NOW))
    assert "a: moved" in told_then
    assert any("completed" in line for line in told_then)
    assert "Next: Done." in told_then


def test_what_a_caller_wrote_drives_no_terminal() -> None:
    odd = "ua:\x1b[2Jx\n"
    lines = board_lines(
        board_of(rotation([seen(odd)], [blocked("runtime.not_moved", odd)]), NOW), 80
    )
    assert all(line.isprintable() for line in lines)
