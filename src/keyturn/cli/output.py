"""What a command shows: tables for people, JSON for programs, or only ids.

1. Standard output has what was asked for; notes, progress and errors go to standard error.
2. On a terminal a table fits its width: texts are cut with `…`, ids never are. Where even that is
   too wide, each record is shown as lines of its own. Elsewhere nothing is cut.
3. Colour stands on a terminal only, and not where `NO_COLOR` is set (no-color.org).
4. Texts come from others: control characters are replaced, and nothing in them is markup.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from keyturn.domain.text import without_controls

if TYPE_CHECKING:
    from rich.console import Console


_UNBOUNDED = 100_000
_LONGEST_CELL = 10_000
_STYLES = {
    "active": "green",
    "valid": "green",
    "success": "green",
    "suspended": "yellow",
    "expired": "yellow",
    "revoked": "red",
    "failed": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. What is `whole` is never cut, what is `wide` is cut first."""

    title: str
    whole: bool = False
    wide: bool = False
    right: bool = False


class Output:
    """Where a command's results go, and in which form."""

    def __init__(self, *, as_json: bool, is_quiet: bool) -> None:
        self.as_json = as_json
        self.is_quiet = is_quiet

    def json(self, value: object) -> None:
        """The value as JSON; records are spelled as the API spells them."""
        encoded = msgspec.json.encode(value, enc_hook=_unknown)
        click.echo(msgspec.json.format(encoded, indent=2).decode())

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
        """A table, with titles even where it is empty."""
        cells = [[spelled(cell) for cell in row] for row in rows]
        width = _width()
        least = sum(_least(column, index, cells) for index, column in enumerate(columns))
        if width is not None and least + 2 * (len(columns) - 1) > width:
            self._stacked(columns, cells)
        else:
            self._table(columns, cells, width)

    def record(self, members: Iterable[tuple[str, object]]) -> None:
        """One record, a line a member."""
        pairs = [(name, spelled(value)) for name, value in members]
        widest = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            title = click.style(name.ljust(widest), dim=True) if _is_coloured() else None
            click.echo(f"{title or name.ljust(widest)}  {_painted(value)}".rstrip())

    def note(self, sentence: str) -> None:
        """A word to the person, on standard error."""
        if not self.is_quiet:
            click.echo(sentence, err=True)

    def _table(
        self, columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None
    ) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index, column in enumerate(columns):
            widest = _widest(column, index, cells)
            table.add_column(
                Text(column.title.upper()),
                justify="right" if column.right else "left",
                no_wrap=True,
                overflow="ellipsis",
                min_width=widest if column.whole else min(widest, 8),
                ratio=None,
            )
        for row in cells:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        console = _console(width)
        with console.capture() as captured:
            console.print(table)
        for line in captured.get().splitlines():
            click.echo(line.rstrip())

    def _stacked(self, columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
        for index, row in enumerate(cells):
            if index:
                click.echo()
            self.record(zip((column.title for column in columns), row, strict=True))


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--json` and `--quiet`, as one `Output`."""

    @click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")
    @click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Only ids, one a line; no notes.")
    @functools.wraps(command)
    def call(*args: object, as_json: bool, is_quiet: bool, **kwargs: object) -> None:
        kwargs["output"] = Output(as_json=as_json, is_quiet=is_quiet)
        command(*args, **kwargs)

    return call


def spelled(value: object) -> str:
    """A cell's text: times in UTC to the second, lists with commas, nothing as `-`."""
    match value:
        case None | "" | [] | ():
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        case list() | tuple():
            return ", ".join(spelled(one) for one in value)
        case int():
            return f"{value:,}"
        case _:
            return without_controls(str(value), _LONGEST_CELL)


def _width() -> int | None:
    """The width of the terminal, None where there is none: then nothing is cut."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console().width


def _console(width: int | None) -> "Console":
    from rich.console import Console

    return Console(
        file=sys.stdout,
        width=_UNBOUNDED if width is None else width,
        force_terminal=sys.stdout.isatty(),
        color_system="auto" if _is_coloured() else None,
        highlight=False,
        legacy_windows=False,
    )


def _is_coloured() -> bool:

    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def _painted(value: str) -> str:
    colour = _STYLES.get(value)
    return click.style(value, fg=colour) if colour and _is_coloured() else value


def _widest(column: Column, index: int, cells: Sequence[Sequence[str]]) -> int:
    from rich.cells import cell_len

    return max([len(column.title), *(cell_len(row[index]) for row in cells)])


def _least(column: Column, index: int, cells: Sequence[Sequence[str]]) -> int:
    widest = _widest(column, index, cells)
    return widest if column.whole else min(widest, 8)


def _unknown(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON")
