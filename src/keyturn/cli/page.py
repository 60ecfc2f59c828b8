"""A page of paragraphs and tables as lines, so wide and so long at most. Pure.

1. A page that is too long loses rows of its tables, and says how many; never a paragraph, where the
   next step stands.
2. A page that may be as long as it likes loses nothing where it is narrow: what cannot stand side
   by side stands in lines of its own, and no word is broken in two, so that an id is copied whole.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from keyturn.cli.output import Column, fit, harmless, spelled, table_lines

_LEAST_ROWS = 3
_NARROWEST = 20
# On less than this nothing is cut to fit.
_WIDE = 80
_GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under their titles. Of the columns the first two stay where it is narrow and short."""

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
        if isinstance(part, Table):
            lines = _table(part, width, room)
        else:
            lines = _paragraph(part, width, breaks=most_lines is not None)
        found += ["", *lines]
    return found[1:]


def wrapped(text: str, width: int | None, *, breaks: bool = True) -> list[str]:
    """A line that a terminal shows and does not obey, on several where it is too wide."""
    line = harmless(text)
    if width is None:
        return [line]
    room = max(_NARROWEST, width)
    return textwrap.wrap(line, room, break_on_hyphens=False, break_long_words=breaks) or [""]


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


def _paragraph(part: Paragraph, width: int | None, *, breaks: bool = True) -> list[str]:
    return [
        line
        for one in part
        for line in (
            _command_lines(one.text, width, breaks=breaks)
            if isinstance(one, Command)
            else wrapped(one, width, breaks=breaks)
        )
    ]


def _command_lines(command: str, width: int | None, *, breaks: bool) -> list[str]:
    lines = wrapped(command, None if width is None else width - 4, breaks=breaks)
    return [f"  {line} \\" for line in lines[:-1]] + [f"  {lines[-1]}"]


def _table(table: Table, width: int | None, room: int | None) -> list[str]:
    if room is None:
        return _whole(table, width)
    rows = table.rows[:room]
    lines = table_lines(table.columns, rows, width)
    if lines is None:  # too narrow for all of it
        lines = table_lines(table.columns[:2], [row[:2] for row in rows], width)
    found = lines or [f"{spelled(row[0])}: {spelled(row[1])}" for row in rows]
    left_out = len(table.rows) - len(rows)
    return [*found, f"… and {left_out:,} more"] if left_out else found


def _whole(table: Table, width: int | None) -> list[str]:
    """Side by side where it fits, else each row as a record."""
    is_narrow = width is not None and width < _WIDE
    if not is_narrow or _fits(table, width):
        lines = table_lines(table.columns, table.rows, None if is_narrow else width)
        if lines is not None:
            return lines
    titles = [column.title for column in table.columns]
    found: list[str] = []
    for row in table.rows:
        found += ["", *_record(titles, [spelled(cell) for cell in row], width)]
    return found[1:]


def _fits(table: Table, width: int | None) -> bool:
    cells = [[spelled(cell) for cell in row] for row in table.rows]
    widths = fit(table.columns, cells, None) or []
    return width is None or sum(widths) + len(_GAP) * (len(widths) - 1) <= width


def _record(titles: Sequence[str], cells: Sequence[str], width: int | None) -> list[str]:
    """A line for each cell, or two and more where it is long."""
    widest = max(map(len, titles))
    found = []
    for title, cell in zip(titles, cells, strict=True):
        line = f"{title.ljust(widest)}{_GAP}{cell}"
        if width is None or cell_len(line) <= width:
            found.append(line)
            continue
        found.append(title)
        room = max(_NARROWEST, width - len(_GAP))
        found += [f"{_GAP}{part}" for part in wrapped(cell, room, breaks=False)]
    return found
