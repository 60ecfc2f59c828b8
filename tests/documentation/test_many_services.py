"""The guide to many services in one file is followed word by word, and tells all that there is."""

from pathlib import Path

from keyturn.cli.carry_out import Outcome
from keyturn.cli.declaration import MEMBERS, MOST_SLOTS
from keyturn.cli.yaml_file import LARGEST_BYTES
from tests.documentation.walk import ADDRESS, PROJECT, copy_project, hold, product, steps, walk

PAGE = PROJECT / "docs" / "howto" / "many-services-from-one-file.md"
# Where the tutorial's first two steps end.
SIGNED_IN = (
    f'export KEYTURN_URL={ADDRESS}\nexport KEYTURN_API_KEY_FILE="$PWD/.keyturn/operator.token"\n'
)


def test_the_guide_shows_what_its_commands_show(tmp_path: Path) -> None:
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        shown = walk(checkout, steps(PAGE), instead={ADDRESS: address}, before={0: SIGNED_IN})
    hold(PAGE, steps(PAGE), shown)


def test_it_tells_every_member_every_outcome_and_the_bounds() -> None:
    told = PAGE.read_text(encoding="utf-8")
    for word in (*MEMBERS, *Outcome):
        assert f"`{word}`" in told, word
    assert f"{MOST_SLOTS:,} slots" in told
    assert f"{LARGEST_BYTES >> 20} MiB" in told
