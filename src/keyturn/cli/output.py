"""What a command shows: tables for people, JSON for programs, or only ids.

1. Standard output has what was asked for; notes, progress and errors go to standard error.
2. On a terminal a table fits its width: texts are cut with `…` (ids never are), columns that can
   be missed are left out, and where even that is too wide, each record stands in lines of its own.
   Elsewhere nothing is cut.
3. Colour stands on a terminal only, and not where `NO_COLOR` is set (no-color.org).
4. Texts come from others: control characters are replaced, and nothing in them is markup.
"""

import contextlib
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import click
import msgspec
from rich.cells import cell_len, set_cell_size

from keyturn.cli.when import now
from keyturn.domain.text import without_controls

T = TypeVar("T")

_GAP = "  "
_NARROWEST = 8
_LONGEST_CELL = 10_000
_LONGEST_LINE = 100_000
_PROGRESS_EVERY = 1_000
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
# JSON leaves these as they are, and a terminal might obey them.
_OBEYED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BEYOND_ASCII = re.compile("[^\x00-\x7e]")
_STYLES = {
    "active": "green",
    "valid": "green",
    "success": "green",
    "moved": "green",
    "proven": "green",
    "delivered": "green",
    "completed": "green",
    "safe": "green",
    "recovered": "green",
    "replaced": "yellow",
    "contained": "yellow",
    "claimed": "yellow",
    "suspect": "magenta",
    "intruder": "red",
    "waits": "yellow",
    "overlapping": "yellow",
    "waiting": "yellow",
    "restoring": "yellow",
    "superseded": "yellow",
    "brownout": "yellow",
    "warning": "yellow",
    "stranger": "magenta",
    "unknown": "yellow",
    "conflict": "red",
    "rolled_back": "red",
    "cancelled": "red",
    "breaks": "red",
    "critical": "red",
    "unproven": "red",
    "suspended": "yellow",
    "expired": "yellow",
    "revoked": "red",
    "failed": "red",
    "sent": "green",
    "paused": "yellow",
    "dead": "red",
    "disabled": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. What is `wide` may be cut, what is `optional` may be left out."""

    title: str
    wide: bool = False
    right: bool = False
    optional: bool = False


class Output:
    """Where a command's results go, and in which form."""

    def __init__(self, *, as_json: bool, is_quiet: bool) -> None:
        self.as_json = as_json
        self.is_quiet = is_quiet

    def json(self, value: object, *, is_line: bool = False) -> None:
        """The value as JSON, on one line if need be; records are spelled as the API spells them."""
        click.echo(as_wire(value, is_line=is_line))

    def say(self, sentence: str) -> None:
        """One line of what was asked for."""
        click.echo(harmless(sentence))

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
        """A table, with titles even where it is empty."""
        lines = table_lines(columns, rows, terminal_width())
        if lines is None:
            self._stacked(columns, [[spelled(cell) for cell in row] for row in rows])
            if not rows:
                self.note("There are none.")
            return
        for line in lines:
            click.echo(line)

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
            with contextlib.suppress(OSError):  # what was asked for has been given all the same
                click.echo(harmless(sentence), err=True)

    def counting(self, items: Iterable[T]) -> Iterator[T]:
        """The items; how many there were stands on standard error meanwhile, on a terminal."""
        is_told = sys.stderr.isatty() and not self.is_quiet
        number = 0
        for number, item in enumerate(items, 1):
            if is_told and number % _PROGRESS_EVERY == 0:
                click.echo(f"\r{number:,} read…", err=True, nl=False)
            yield item
        if is_told and number >= _PROGRESS_EVERY:
            click.echo(f"\r{' ' * 30}\r", err=True, nl=False)

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


def as_wire(value: object, *, is_line: bool = False) -> str:
    """The value as JSON that standard output can spell and no terminal obeys."""
    encoded = msgspec.json.encode(_wire(value))
    text = (encoded if is_line else msgspec.json.format(encoded, indent=2)).decode()
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return (_OBEYED if is_unicode else _BEYOND_ASCII).sub(_escaped, text)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 key`, `2 keys`, `1,000 entries`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def harmless(line: str) -> str:
    """A line that a terminal shows and does not obey, whoever wrote it."""
    return without_controls(line, _LONGEST_LINE)


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


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int | None
) -> list[str] | None:
    """The lines of a table, with its titles, that is at most so wide; None where it cannot be."""
    cells = [[spelled(cell) for cell in row] for row in rows]
    fitted = fit(columns, cells, width)
    if fitted is None:
        return None
    titles = [column.title.upper() for column in columns]
    return [
        _line(titles, columns, fitted, bold=True),
        *(_line(row, columns, fitted) for row in cells),
    ]


def fit(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None
) -> list[int] | None:
    """The width of each column, 0 for one that is left out; None where they cannot stand side by
    side."""
    widths = [
        max([len(column.title), *(cell_len(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    ]
    if width is None:
        return widths
    least = [
        min(found, _NARROWEST) if column.wide else found
        for column, found in zip(columns, widths, strict=True)
    ]
    # Better a column less than each cut short: `scheduler-…` may be production, or not.
    for index in reversed(range(len(columns))):
        if columns[index].optional and _total(widths) > width:
            least[index] = widths[index] = 0
    if _total(least) > width:
        return None
    while _total(widths) > width:
        spare = [found - narrowest for found, narrowest in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + len(_GAP) * (len(shown) - 1)


def _line(
    row: Sequence[str], columns: Sequence[Column], widths: Sequence[int], *, bold: bool = False
) -> str:
    parts = []
    for cell, column, width in zip(row, columns, widths, strict=True):
        if not width:
            continue
        text = cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"
        padding = " " * (width - cell_len(text))
        painted = click.style(text, bold=True) if bold and _is_coloured() else _painted(text)
        parts.append(padding + painted if column.right else painted + padding)
    return _GAP.join(parts).rstrip()


def terminal_width() -> int | None:
    """The width of the terminal, None where there is none: then nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _is_coloured() -> bool:
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def _painted(value: str) -> str:
    colour = _STYLES.get(value)
    return click.style(value, fg=colour) if colour and _is_coloured() else value


def ago(moment: datetime | None) -> str:
    """How long ago that was, short enough for a table: `3 min ago`."""
    if moment is None:
        return "never"
    return f"{span((now() - moment).total_seconds())} ago"


def span(seconds: float) -> str:
    """How long that is, about, and short enough for a table: `3 min`."""
    whole = max(0, round(seconds))
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def whole_span(seconds: int) -> str:
    """How long that is, to the second: `90 s`, `35 d`."""
    size, unit = next((one for one in _UNITS if seconds and seconds % one[0] == 0), (1, "s"))
    return f"{seconds // size:,} {unit}"


def _wire(value: object) -> object:
    """`value` with its times in the API's fixed width."""
    match value:
        case datetime():
            text = value.astimezone(UTC).isoformat(timespec="microseconds")
            return text.replace("+00:00", "Z")
        case msgspec.Struct():
            return {name: _wire(getattr(value, name)) for name in value.__struct_fields__}
        case Mapping():
            return {name: _wire(one) for name, one in value.items()}
        case list() | tuple():
            return [_wire(one) for one in value]
        case _:
            return value


def _escaped(match: re.Match[str]) -> str:
    """As JSON writes it in ASCII (RFC 8259, section 7)."""
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
