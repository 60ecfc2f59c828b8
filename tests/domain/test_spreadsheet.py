"""CSV: what is written is read back, and no spreadsheet calculates a cell of it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.spreadsheet import csv_line, csv_lines

CALCULATED = ("=", "+", "-", "@", "\t", "\r", "\n")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@given(st.lists(texts, min_size=1, max_size=5))
def test_what_is_written_is_read_back_and_is_no_formula(cells: list[str]) -> None:
    (row,) = read(csv_line(["first", *cells]))
    for written, cell in zip(row[1:], cells, strict=True):
        assert written in (cell, f"'{cell}")
        assert not written.lstrip(" ").startswith(CALCULATED)


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "  =cmd|' /C calc'!A0",
            '=HYPERLINK("x")',
        ),
        *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)"),
        *("\u00a0=1", "\u3000=1", "\ufeff=1", " \u200b\u00a0=1", "\x0b=1"),
    ],
)
def test_a_formula_is_made_a_text(cell: str) -> None:
    assert read(csv_line([cell])) == [[f"'{cell}"]]


def test_numbers_stay_numbers_and_nothing_is_empty() -> None:
    assert csv_line([None, 3, -2.5, True, False, "a"]) == ",3,-2.5,yes,no,a\r\n"
    assert list(csv_lines(["a", "b"], [[1, 2]])) == ["a,b\r\n", "1,2\r\n"]
