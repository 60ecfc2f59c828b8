"""The how-to guides are followed word by word, each beside a product of its own."""

from pathlib import Path

import pytest

from tests.documentation.walk import PROJECT, copy_project, product, settled, steps, walk

# Each of these begins where the tutorial's first two steps end.
PAGES = ("name-and-own-keys.md",)
BEGINNING = (
    'export KEYTURN_URL=http://127.0.0.1:8420 KEYTURN_API_KEY_FILE="$PWD/.keyturn/operator.token"\n'
)


@pytest.mark.parametrize("name", PAGES)
def test_a_guide_shows_what_it_says(name: str, tmp_path: Path) -> None:
    blocks = steps(PROJECT / "docs" / "howto" / name)
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        first = type(blocks[0])(script=BEGINNING + blocks[0].script, shows=blocks[0].shows)
        shown = walk(checkout, address, [first, *blocks[1:]])
    told = [(step, text) for step, text in zip(blocks, shown, strict=True) if step.shows]
    assert told
    for step, text in told:
        assert settled(text) == settled(step.shows or ""), step.script
