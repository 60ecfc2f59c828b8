"""The tutorial is walked from its first line to its last, and shows what it says."""

from pathlib import Path

import pytest

from tests.documentation.walk import PROJECT, copy_project, product, settled, steps, walk

PAGE = PROJECT / "docs" / "tutorial" / "README.md"


def test_the_tutorial_shows_what_it_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    first, *others = steps(PAGE)
    assert first.script.strip() == "make run"
    checkout = copy_project(tmp_path_factory.mktemp("tutorial") / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        shown = walk(checkout, address, others)
    told = [(step, text) for step, text in zip(others, shown, strict=True) if step.shows]
    assert len(told) >= 10
    for step, text in told:
        assert settled(text) == settled(step.shows or ""), step.script
    assert left(checkout) == {"Makefile", "src", ".keyturn"}


def left(checkout: Path) -> set[str]:
    """What stands in the folder when the reader is through."""
    return {file.name for file in checkout.iterdir()}
