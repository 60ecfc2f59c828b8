"""Which form a caller prefers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.http.preference import preferred

KINDS = {"application/json": "json", "text/html": "html", "text/csv": "csv"}


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([], "json"),
        ([""], "json"),
        (["*/*"], "json"),
        (["text/*"], "html"),
        (["TEXT/CSV"], "csv"),
        (["text/csv;q=0.9, text/html"], "html"),
        (["text/csv;q=0.9", "text/html;q=0.8"], "csv"),
        (["text/html;q=0, text/*;q=0.5"], "csv"),
        (["text/csv;q=9"], "csv"),
        (["text/csv;q=-1"], "json"),
        (["text/csv;q=x"], "json"),
        (["text/csv;q=nan"], "json"),
        (["image/png"], "json"),
        (["application/json;q=0.1, text/html;version=1"], "html"),
    ],
)
def test_the_narrowest_range_says_how_much_a_form_is_wanted(lines: list[str], kind: str) -> None:
    assert preferred(lines, KINDS) == kind


@given(st.lists(st.text(max_size=200), max_size=5))
def test_whatever_is_sent_there_is_a_form(lines: list[str]) -> None:
    assert preferred(lines, KINDS) in KINDS.values()
