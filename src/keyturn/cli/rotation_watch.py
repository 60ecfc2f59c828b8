"""Watching a rotation until it ends: a live table on a terminal, elsewhere a line for each change.

1. It only looks. Interrupted, it says that the rotation goes on.
2. A server that is started anew, or that cannot be reached for a while, ends nothing: it is asked
   again until it answers.
"""

import os
import shutil
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
import msgspec

from keyturn.ambient import SystemClock
from keyturn.cli.ending import INTERRUPTED, NO, may_pass
from keyturn.cli.naming import short
from keyturn.cli.output import Output, harmless, spelled, table_lines
from keyturn.cli.rotation_board import COLUMNS, Board, Row, board_of
from keyturn.cli.when import now
from keyturn.client.errors import KeyturnClientError
from keyturn.client.rotation_records import Rotation

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_SECONDS_BETWEEN = 1.0
_LEAST_ROWS = 3
_AROUND_THE_TABLE = 3


def watch_rotation(client: "Keyturn", output: Output, rotation: Rotation) -> None:
    """Shows the rotation until it ends. Ends the command with 3 where it was not completed."""
    clock = SystemClock()
    try:
        with _face(output) as face:
            face.show(rotation)
            while rotation.is_open:
                clock.sleep(_SECONDS_BETWEEN)
                try:
                    rotation = client.rotations.read(rotation.id)
                except KeyturnClientError as error:
                    if not may_pass(error):
                        raise
                    face.miss(rotation, client.url)
                else:
                    face.show(rotation)
    except KeyboardInterrupt:
        output.note("")
        output.note(
            f"The rotation goes on; `keyturn rotations watch {short(rotation.id)}` looks again."
        )
        raise click.exceptions.Exit(INTERRUPTED) from None
    if output.is_quiet:
        output.say(rotation.id)
    if rotation.state != "completed":
        raise click.exceptions.Exit(NO)


def board_lines(board: Board, width: int | None, most_lines: int | None = None) -> list[str]:
    """The whole board as lines, with at most so many of them where its table can be shortened."""
    above = [
        line
        for fact in (board.title, *board.facts, *board.deliveries)
        for line in _wrapped(fact, width)
    ]
    below = [line for note in board.notes for line in _wrapped(note, width)]
    step = _wrapped(board.step, width) if board.step else []
    step += _command_lines(board.command, width)
    table: list[str] = []
    if board.rows:
        room = len(board.rows)
        if most_lines is not None:
            around = len(above) + len(below) + len(step) + _AROUND_THE_TABLE
            room = max(_LEAST_ROWS, most_lines - around - 1)
        table = _table(board.rows[:room], width)
        if room < len(board.rows):
            table.append(f"… and {len(board.rows) - room:,} more")
    parts = [part for part in (above, table, below, step) if part]
    return [line for part in parts for line in ("", *part)][1:]


def _table(rows: tuple[Row, ...], width: int | None) -> list[str]:
    lines = table_lines(COLUMNS, [row.cells for row in rows], width)
    if lines is None:  # too narrow for all of it
        lines = table_lines(COLUMNS[:2], [row.cells[:2] for row in rows], width)
    return lines or [f"{spelled(row.runtime)}: {row.status}" for row in rows]


def _command_lines(command: str, width: int | None) -> list[str]:
    """A command that can be copied, on more than one line too."""
    if not command:
        return []
    lines = _wrapped(command, None if width is None else width - 4)
    return [f"  {line} \\" for line in lines[:-1]] + [f"  {lines[-1]}"]


def _wrapped(text: str, width: int | None) -> list[str]:
    line = harmless(text)
    if width is None:
        return [line]
    return textwrap.wrap(line, max(20, width), break_on_hyphens=False) or [""]


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


class _Face(ABC):
    """How a rotation is shown while it goes on."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def show(self, rotation: Rotation) -> None:
        """What stands now."""

    @abstractmethod
    def miss(self, rotation: Rotation, url: str) -> None:
        """There is no answer just now."""

    def __exit__(  # noqa: B027  (most have nothing to put back)
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class _Live(_Face):
    """A table that changes in its place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._stack = ExitStack()
        self._live = Live(
            console=Console(highlight=False, markup=False), auto_refresh=False, transient=False
        )
        self._missing_since: float | None = None
        self._clock = SystemClock()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def show(self, rotation: Rotation) -> None:
        self._missing_since = None
        self._draw(rotation, "")

    def miss(self, rotation: Rotation, url: str) -> None:
        if self._missing_since is None:
            self._missing_since = self._clock.elapsed()
        seconds = round(self._clock.elapsed() - self._missing_since)
        self._draw(rotation, f"No answer from {url} for {seconds} s; it is asked again.")

    def _draw(self, rotation: Rotation, word: str) -> None:
        from rich.text import Text

        columns, lines = shutil.get_terminal_size()
        shown = board_lines(board_of(rotation, now()), columns - 1, lines - 2)
        if word:
            shown += ["", *_wrapped(word, columns - 1)]
        self._live.update(Text.from_ansi("\n".join(shown), no_wrap=True), refresh=True)


class _Lines(_Face):
    """A line for each change, with its time."""

    def __init__(self) -> None:
        self._before: Rotation | None = None
        self._is_missing = False

    def show(self, rotation: Rotation) -> None:
        if self._is_missing:
            self._say("It answers again.")
        self._is_missing = False
        for line in changes(self._before, rotation, now()):
            self._say(line)
        self._before = rotation

    def miss(self, rotation: Rotation, url: str) -> None:
        del rotation
        if not self._is_missing:
            self._say(f"No answer from {url}; it is asked again.")
        self._is_missing = True

    def _say(self, line: str) -> None:
        click.echo(f"{spelled(now())}  {harmless(line)}")
        sys.stdout.flush()


class _Records(_Face):
    """The rotation as one line of JSON, whenever it has changed."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last: Rotation | None = None

    def show(self, rotation: Rotation) -> None:
        told = msgspec.structs.replace(rotation, evidence_until=None)
        if told != self._last:
            self._last = told
            self._output.json(rotation, is_line=True)
            sys.stdout.flush()

    def miss(self, rotation: Rotation, url: str) -> None:
        pass


class _Silent(_Face):
    def show(self, rotation: Rotation) -> None:
        pass

    def miss(self, rotation: Rotation, url: str) -> None:
        pass


def _face(output: Output) -> _Face:
    if output.as_json:
        return _Records(output)
    if output.is_quiet:
        return _Silent()
    is_screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return _Live() if is_screen else _Lines()
