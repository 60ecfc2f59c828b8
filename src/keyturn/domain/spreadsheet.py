"""Tables for spreadsheets: CSV (RFC 4180) in which no cell is a formula.

A spreadsheet calculates a cell that begins with one of `=+-@`, a tab or a carriage return, whoever
wrote it; so such a cell gets a `'` in front (OWASP, CSV injection). Numbers of ours have none.
"""

from collections.abc import Iterable, Sequence

_CALCULATED = ("=", "+", "-", "@", "\t", "\r", "\n")
_QUOTED = frozenset('",\r\n')


def csv_line(cells: Iterable[object]) -> str:
    """One row, with its end. None is an empty cell."""
    return ",".join(map(_spelled, cells)) + "\r\n"


def csv_lines(titles: Sequence[str], rows: Iterable[Iterable[object]]) -> Iterable[str]:
    """A table with its titles."""
    yield csv_line(titles)
    for row in rows:
        yield csv_line(row)


def _spelled(cell: object) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case int() | float():
            return str(cell)
        case _:
            return _quoted(str(cell))


def safe_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula, with or without blanks in front."""
    return f"'{text}" if text.lstrip(" ").startswith(_CALCULATED) else text


def _quoted(text: str) -> str:
    text = safe_text(text)
    if _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
