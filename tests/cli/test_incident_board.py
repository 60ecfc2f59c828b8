"""What is shown of an incident: its one next step before all else, its keys, who used them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keyturn.cli.incident_board import board_lines, board_of, changes
from keyturn.client.incident_records import Incident
from tests.client.test_incident_calls import CALLER, CONTAINED, INCIDENT

NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)
NAME = "0190-incident"


def told(moment: datetime) -> str:
    return moment.isoformat()


def caller(runtime: str, standing: str = "ours", **members: Any) -> dict[str, Any]:
    return {**CALLER, "runtime": runtime, "standing": standing, **members}


def contained(*runtimes: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**CONTAINED, "runtimes": [*runtimes], **members}


def incident(*keys: dict[str, Any], **members: Any) -> Incident:
    return msgspec.convert({**INCIDENT, "keys": [*keys], **members}, Incident)


REPLACED: dict[str, Any] = {"replacement_key_id": "0190-new", "replaced_at": told(NOW)}
RECOVERED: dict[str, Any] = {**REPLACED, "recovered_at": told(NOW)}
WAIVED: dict[str, Any] = {
    "waived": {
        "reason": "switched off",
        "until": told(NOW + timedelta(days=1)),
        "by": "ada",
        "at": told(NOW),
    }
}


def test_each_caller_says_what_it_is_and_what_it_waits_for() -> None:
    board = board_of(
        incident(
            contained(
                caller("nightly"),
                caller("refused", denied_since=told(NOW)),
                caller("web", "claimed", network="198.51.100.0/24"),
                caller("ua:curl", "suspect"),
                caller("batch", "intruder"),
                caller("done", recovered=True, new_last_seen_at=told(NOW)),
                **REPLACED,
            )
        ),
        NOW,
    )
    rows = {row.caller.runtime: (row.status, row.reason) for row in board.rows}
    assert rows == {
        "web": ("claimed", "your word: ours, or an intruder?"),
        "nightly": ("waits", "its first use of the new key"),
        "refused": ("waits", "being let in with the new key: it was denied"),
        "batch": ("intruder", ""),
        "ua:curl": ("suspect", ""),
        "done": ("recovered", ""),
    }
    assert next(iter(rows)) == "web"
    assert any("web from 198.51.100.0/24 (claimed" in note for note in board.notes)
    assert any(note.startswith("Not ours: batch from ") for note in board.notes)


def test_what_has_become_of_each_key_is_one_word() -> None:
    past = {"waived": {**WAIVED["waived"], "until": told(NOW - timedelta(seconds=1))}}
    board = board_of(
        incident(
            contained(name="a"),
            contained(name="b", **REPLACED),
            contained(name="c", **RECOVERED),
            contained(name="d", **WAIVED),
            contained(name="e", **past),
            contained(name="f", status="active"),
        ),
        NOW,
    )
    assert {key.name: status for key, status in board.keys} == {
        "a": "contained",
        "b": "replaced",
        "c": "recovered",
        "d": "waived",
        "e": "contained",
        "f": "active",
    }
    assert board.title == f"Incident {NAME}: investigating, 1 of 6 keys recovered, 1 waived"


@pytest.mark.parametrize(
    ("keys", "members", "command"),
    [
        ([contained()], {}, f"keyturn incidents replace {NAME}"),
        ([contained(caller("web", "claimed"))], {}, f"keyturn incidents replace {NAME}"),
        (
            [contained(caller("a b", "claimed"), **REPLACED)],
            {},
            f"keyturn incidents place {NAME} 'a b' --network 10.0.0.0/8 --standing ours",
        ),
        (
            [contained(caller("web", "claimed", network=None), **REPLACED)],
            {},
            f"keyturn incidents place {NAME} web --standing ours",
        ),
        (
            [contained(caller("a", denied_since=told(NOW)), **REPLACED)],
            {},
            "keyturn requests list --key 0190-new --denied",
        ),
        ([contained(caller("a"), **REPLACED)], {}, f"keyturn incidents watch {NAME}"),
        ([contained(**RECOVERED)], {}, f"keyturn incidents close {NAME} --outcome confirmed"),
        (
            [contained(**WAIVED), contained(**RECOVERED)],
            {},
            f"keyturn incidents close {NAME} --outcome confirmed",
        ),
        ([contained(**RECOVERED)], {"state": "closed"}, f"keyturn incidents report {NAME}"),
    ],
)
def test_the_next_step_is_a_command(
    keys: list[dict[str, Any]], members: dict[str, Any], command: str
) -> None:
    assert board_of(incident(*keys, **members), NOW).command == command


def test_it_says_how_long_each_step_took_and_what_was_left_alone() -> None:
    board = board_of(
        incident(
            contained(),
            seconds={"contain": 0.0217, "replace": 95, "recover": None},
            exposed_since=told(NOW - timedelta(days=3)),
            unreached=[{"key_id": "0190-a", "name": "old-prod"}, {"key_id": "b", "name": None}],
        ),
        NOW,
    )
    facts = "\n".join(board.facts)
    assert "revoked within 22 ms, replaced after 1 min, not recovered for 1 h" in facts
    assert "exposed since 2025-12-30" in facts
    assert any("left alone: old-prod (0190-a), b." in note for note in board.notes)


def test_the_state_and_the_next_step_come_first() -> None:
    lines = board_lines(board_of(incident(contained(caller("nightly"))), NOW), None)
    assert lines[:4] == [
        f"Incident {NAME}: investigating, 0 of 1 key recovered",
        "",
        "Next: Make a replacement for worker-prod.",
        f"  keyturn incidents replace {NAME}",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("most", [12, 24, 60])
def test_a_board_fits_a_terminal_and_keeps_the_next_step(width: int, most: int) -> None:
    keys = [
        contained(
            *(caller(f"runtime-{number:03}") for number in range(30)),
            key_id=f"0190-{at}",
            name=f"service-{at}-prod",
        )
        for at in range(40)
    ]
    lines = board_lines(board_of(incident(*keys), NOW), width, most)
    assert all(len(line) <= max(width, 45) for line in lines)
    assert sum("… and" in line for line in lines) == 2
    copied = " ".join(line.strip().removesuffix("\\").strip() for line in lines)
    assert f"keyturn incidents replace {NAME}" in copied
    if width >= 80 and most >= 24:
        assert len(lines) <= most


def test_elsewhere_only_what_has_changed_is_told() -> None:
    first = incident(contained(caller("a"), **REPLACED))
    begun = list(changes(None, first, NOW))
    assert "a from 10.0.0.0/8: waits, for its first use of the new key" in begun
    assert list(changes(first, first, NOW + timedelta(seconds=1))) == []
    second = incident(contained(caller("a", recovered=True), **RECOVERED), next_step="Close it.")
    then = list(changes(first, second, NOW))
    assert "a from 10.0.0.0/8: recovered" in then
    assert "worker-prod (0190-key): recovered" in then
    assert "Next: Close it." in then


def test_a_relapse_is_told_of() -> None:
    first = incident(contained(caller("a", recovered=True), **RECOVERED))
    second = incident(contained(caller("a", denied_since=told(NOW)), **REPLACED))
    assert "a from 10.0.0.0/8: waits, for being let in with the new key: it was denied" in list(
        changes(first, second, NOW)
    )


def test_what_a_caller_wrote_drives_no_terminal() -> None:
    odd = caller("ua:\x1b[2Jx\n", "suspect")
    lines = board_lines(board_of(incident(contained(odd), detail="\x1b]0;x\x07"), NOW), 80)
    assert all(line.isprintable() for line in lines)
