"""A page of paragraphs and tables as lines, so wide and so long at most. Pure.

A page that is too long loses rows of its tables, and says how many; never a paragraph, where the
next step stands.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.cli.output import Column, harmless, spelled, table_lines

_LEAST_ROWS = 3
_NARROWEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under their titles. Of the columns the first two stay where it is narrow."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that can be copied, on more than one line too."""

    text: str


Paragraph = Sequence[str | Command]


def page_lines(
    parts: Sequence[Paragraph | Table], width: int | None, most_lines: int | None = None
) -> list[str]:
    """The parts that have something in them, with an empty line between two."""
    shown = [part for part in parts if (part.rows if isinstance(part, Table) else part)]
    room = _room(shown, width, most_lines)
    found: list[str] = []
    for part in shown:
        lines = _table(part, width, room) if isinstance(part, Table) else _paragraph(part, width)
        found += ["", *lines]
    return found[1:]


def wrapped(text: str, width: int | None) -> list[str]:
    """A line that a terminal shows and does not obey, on several where it is too wide."""
    line = harmless(text)
    if width is None:
        return [line]
    return textwrap.wrap(line, max(_NARROWEST, width), break_on_hyphens=False) or [""]


def _room(
    parts: Sequence[Paragraph | Table], width: int | None, most_lines: int | None
) -> int | None:
    """How many rows each table may have, None where it may be any number."""
    if most_lines is None:
        return None
    tables = sum(isinstance(part, Table) for part in parts)
    told = sum(len(_paragraph(part, width)) for part in parts if not isinstance(part, Table))
    # Around each table: its titles, the rows that are left out, an empty line.
    left = most_lines - told - len(parts) + 1 - 2 * tables
    return max(_LEAST_ROWS, left // max(1, tables))


def _paragraph(part: Paragraph, width: int | None) -> list[str]:
    return [
        line
        for one in part
        for line in (
            _command_lines(one.text, width) if isinstance(one, Command) else wrapped(one, width)
        )
    ]


def _command_lines(command: str, width: int | None) -> list[str]:
    lines = wrapped(command, None if width is None else width - 4)
    return [f"  {line} \\" for line in lines[:-1]] + [f"  {lines[-1]}"]


def _table(table: Table, width: int | None, room: int | None) -> list[str]:
    rows = table.rows if room is None else table.rows[:room]
    lines = table_lines(table.columns, rows, width)
    if lines is None:  # too narrow for all of it
        lines = table_lines(table.columns[:2], [row[:2] for row in rows], width)
    found = lines or [f"{spelled(row[0])}: {spelled(row[1])}" for row in rows]
    left_out = len(table.rows) - len(rows)
    return [*found, f"… and {left_out:,} more"] if left_out else found
