"""The tutorial is walked from its first line to its last, and shows what it says."""

from pathlib import Path

from tests.documentation.walk import ADDRESS, PROJECT, copy_project, hold, product, steps, walk

PAGE = PROJECT / "docs" / "tutorial" / "README.md"


def test_the_tutorial_shows_what_it_says(tmp_path: Path) -> None:
    first, *blocks = steps(PAGE)
    assert first.script.strip() == "make run"
    assert sum(step.shows is not None for step in blocks) >= 10
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        hold(PAGE, blocks, walk(checkout, blocks, instead={ADDRESS: address}))
    # Nothing is left of it.
    assert {file.name for file in checkout.iterdir()} == {"Makefile", "src", ".keyturn"}
