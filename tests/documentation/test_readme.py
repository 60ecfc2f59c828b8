"""The README is run as a reader runs it: its blocks pasted into a shell, in a bare copy."""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documentation.walk import (
    ADDRESS,
    PROJECT,
    copy_project,
    hold,
    product,
    reader,
    steps,
    walk,
)
from tests.servers.postgres import Postgres

PAGE = PROJECT / "README.md"
README = PAGE.read_text(encoding="utf-8")
FIRST, *OTHERS = steps(PAGE)
PRODUCTION = [step for step in OTHERS if "KEYTURN_DATABASE_URL" in step.script]
BLOCKS = [step for step in OTHERS if step not in PRODUCTION]


@dataclass(frozen=True)
class Walked:
    """A reader who has come to the end, and whose product still runs."""

    checkout: Path
    address: str
    shown: list[str]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    checkout = copy_project(tmp_path_factory.mktemp("readme") / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        yield Walked(checkout, address, walk(checkout, BLOCKS, instead={ADDRESS: address}))


def test_it_begins_with_what_the_makefile_has() -> None:
    assert FIRST.script.strip() == "make run"
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for name in re.findall(r"`make (\w+)`", README):
        assert name in targets


def test_its_blocks_show_what_it_says(walked: Walked) -> None:
    assert sum(step.shows is not None for step in BLOCKS) >= 2
    hold(PAGE, BLOCKS, walked.shown)


def test_its_program_verifies(walked: Walked) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    told = (
        "import pathlib\n"
        "presented_token = pathlib.Path('scheduler.token').read_text().strip()\n"
        f"{program}\nprint(verdict.code)"
    )
    signed_in = {
        "KEYTURN_URL": walked.address,
        "KEYTURN_API_KEY_FILE": str(walked.checkout / ".keyturn" / "operator.token"),
    }
    run = subprocess.run(
        [sys.executable, "-c", told],
        cwd=walked.checkout,
        env=reader(walked.checkout) | signed_in,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout.strip(), run.stderr) == ("revoked", "")


def test_what_it_says_of_the_data_folder_is_so(walked: Walked) -> None:
    home = walked.checkout / ".keyturn"
    assert home.stat().st_mode & 0o777 == 0o700
    cells = re.findall(r"^\| (`[a-z.]+/?`(?:, `[a-z.]+`)*) \|", README, re.MULTILINE)
    told = {name.strip("`") for cell in cells for name in cell.split(", ")}
    found = [file for file in home.iterdir() if not file.name.endswith(("-wal", "-shm"))]
    assert {f"{file.name}/" if file.is_dir() else file.name for file in found} == told
    for file in home.iterdir():
        assert file.stat().st_mode & 0o777 == (0o700 if file.is_dir() else 0o600)


def test_what_it_says_is_missing_is_missing(walked: Walked) -> None:
    for path in ("/v1/leaks/revoke", "/v1/forward-auth"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(walked.address + path)


def test_its_way_to_production_ends_in_a_server(tmp_path: Path, postgres: Postgres) -> None:
    assert len(PRODUCTION) == 1
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    instead = {
        "postgresql://keyturn@db.internal/keyturn": postgres.create_database(),
        "/var/lib/keyturn": str(tmp_path / "home"),
    }
    (shown,) = walk(checkout, PRODUCTION, instead=instead)
    assert "Start it with `keyturn serve`." in shown
    assert (tmp_path / "home" / "activity.heads").exists()


def test_every_command_and_option_that_it_names_exists() -> None:
    cli = (PROJECT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(keyturn(?: [a-z]+)+)", README):
        words = name.split()
        while f"## `{' '.join(words)}`" not in cli and len(words) > 2:
            words.pop()
        assert f"## `{' '.join(words)}`" in cli, name
    for option in set(re.findall(r"(?<=[` ])--[a-z][a-z-]+", README)):
        assert option in cli, option
    settings = (PROJECT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    for variable in set(re.findall(r"KEYTURN_[A-Z_]+", README)):
        assert variable in settings, variable
