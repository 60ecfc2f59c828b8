"""No page leads nowhere: links, and the tests that decisions say they are enforced by."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DECISIONS = sorted((PROJECT / "docs" / "decisions").glob("*.md"))
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)")
PARTS = ("## Situation", "## Decision", "## What it costs")
LONGEST_LINES = 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_the_index_has_every_page() -> None:
    index = (PROJECT / "docs" / "README.md").read_text(encoding="utf-8")
    written = [page for page in PAGES if page.is_relative_to(PROJECT / "docs" / "howto")]
    for page in (*DECISIONS, *written, *(PROJECT / "docs" / "reference").glob("*.md")):
        assert f"({page.relative_to(PROJECT / 'docs')})" in index, page.name


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for number, page in enumerate(DECISIONS, start=1):
        assert page.read_text(encoding="utf-8").startswith(f"# {number}. ")


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_is_one_screen_and_says_what_holds_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [part for part in PARTS if part in text] == list(PARTS)
    assert len(text.splitlines()) <= LONGEST_LINES
    last = text.strip().splitlines()[-1]
    assert last.startswith("Enforced by: ")
    named = re.findall(r"`((?:tests|tools|src)/[^`]+|[\w.]+\.toml)`", last)
    assert named
    for path in named:
        assert (PROJECT / path).exists(), f"{page.name} names {path}"
