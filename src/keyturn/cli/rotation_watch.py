"""Watching a rotation until it ends (`watching.py`), and what is told of it meanwhile."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click
import msgspec

from keyturn.cli.ending import NO
from keyturn.cli.naming import short
from keyturn.cli.output import Output
from keyturn.cli.page import Command, Table, page_lines
from keyturn.cli.rotation_board import COLUMNS, Board, board_of
from keyturn.cli.watching import Watched, watch
from keyturn.client.rotation_records import Rotation

if TYPE_CHECKING:
    from keyturn.client import Keyturn


def watch_rotation(client: "Keyturn", output: Output, rotation: Rotation) -> None:
    """Shows the rotation until it ends. Ends the command with 3 where it was not completed."""
    watched = Watched(
        url=client.url,
        read=lambda: client.rotations.read(rotation.id),
        goes_on=lambda one: one.is_open,
        page=lambda one, moment, width, most: board_lines(board_of(one, moment), width, most),
        changes=changes,
        essence=lambda one: msgspec.structs.replace(one, evidence_until=None),
        interrupted=f"The rotation goes on; `keyturn rotations watch {short(rotation.id)}` looks "
        "again.",
    )
    ended = watch(watched, output, rotation)
    if output.is_quiet:
        output.say(ended.id)
    if ended.state != "completed":
        raise click.exceptions.Exit(NO)


def board_lines(board: Board, width: int | None, most_lines: int | None = None) -> list[str]:
    """The whole board as lines, with at most so many of them where its table can be shortened."""
    step = [board.step] if board.step else []
    command = [Command(board.command)] if board.command else []
    return page_lines(
        [
            (board.title, *board.facts, *board.deliveries),
            Table(columns=COLUMNS, rows=[row.cells for row in board.rows]),
            board.notes,
            (*step, *command),
        ],
        width,
        most_lines,
    )


def changes(before: Rotation | None, after: Rotation, moment: datetime) -> Iterator[str]:
    """What is to be told of a rotation that was looked at again, a line each."""
    old = None if before is None else board_of(before, moment)
    new = board_of(after, moment)
    if before is None or before.state != after.state:
        yield new.title
    if before is None or (before.deadline, before.overdue) != (after.deadline, after.overdue):
        yield from new.facts[1:2]
    brought = set(old.deliveries) if old else set()
    yield from (line for line in new.deliveries if line not in brought)
    known = {row.runtime: row for row in old.rows} if old else {}
    for row in new.rows:
        seen = known.get(row.runtime)
        if seen is None or (seen.status, seen.reason) != (row.status, row.reason):
            yield f"{row.runtime}: {row.status}" + (f", for {row.reason}" if row.reason else "")
    told = set(old.notes) if old else set()
    yield from (note for note in new.notes if note not in told)
    if (before is None or before.next_step != after.next_step) and new.step:
        yield new.step
    if new.command and (old is None or old.command != new.command):
        yield f"  {new.command}"
