"""Tables for spreadsheets: CSV (RFC 4180) in which no cell is a formula.

A spreadsheet calculates a cell that begins with one of `=+-@`, in full width too, a tab or a
carriage return, whoever wrote it; so such a cell gets a `'` in front (OWASP, CSV injection). White
space in front changes nothing, nor do characters that nobody sees. Numbers of ours have none.
"""

from collections.abc import Iterable, Sequence

_CALCULATED = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BREAKS = ("\t", "\r", "\n")
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
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
    bare = text
    while (shorter := bare.lstrip().lstrip(_UNSEEN)) != bare:
        bare = shorter
    is_formula = bare.startswith(_CALCULATED) or text.lstrip(" ").startswith(_BREAKS)
    return f"'{text}" if is_formula else text


def _quoted(text: str) -> str:
    text = safe_text(text)
    if _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
