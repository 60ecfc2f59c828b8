"""Cells and texts of a report, in which a stranger's words stand."""

from hypothesis import given
from hypothesis import strategies as st

from keyturn.http.report_page import POLICY, STYLE
from keyturn.http.report_texts import safe_cell

WORDS = st.text(st.characters(exclude_categories=["Cs"]))
LEADS = ("=", "+", "-", "@", "\t", "\r", "\n")


@given(st.tuples(st.sampled_from(["", " ", "  "]), st.sampled_from(["", *LEADS]), WORDS))
def test_a_cell_is_never_a_formula_and_loses_nothing(parts: tuple[str, str, str]) -> None:
    text = "".join(parts)
    cell = safe_cell(text)
    assert not cell.lstrip(" ").startswith(LEADS)
    assert cell in (text, f"'{text}")


def test_the_page_loads_nothing() -> None:
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
