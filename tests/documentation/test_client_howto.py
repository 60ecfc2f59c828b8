"""The page on the Python client does what it says: its blocks are run, in order, as one program
against a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.api import Site, Workspace
from tests.acceptance.conftest import estate, home, open_shared_site, site

__all__ = ["engine", "estate", "home", "open_shared_site", "site"]

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "use-the-python-client.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def engine() -> str:
    return "sqlite"


@pytest.fixture
def printed(site: Site, home: Workspace, tmp_path: Path) -> list[str]:
    """What the page's blocks print."""
    assert home.admin.token is not None
    file = tmp_path / "token"
    file.write_text(home.admin.token)
    environment = {name: text for name, text in os.environ.items() if "KEYTURN_" not in name}
    environment |= {"KEYTURN_URL": site.server.url, "KEYTURN_API_KEY_FILE": str(file)}
    try:
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", "\n".join(BLOCKS)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        file.unlink()
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_the_blocks_run_and_print_what_the_page_says(printed: list[str]) -> None:
    told = iter(printed)
    assert next(told) == "['admin']"
    assert re.fullmatch(r"<Token kt_prod_\w{22}…>", next(told))
    assert next(told) == "let in: scheduler-prod"
    assert next(told).startswith("denied: scope_denied ")
    assert next(told).startswith("scheduler-prod active ")
    assert next(told) == "2 of 2"
    assert next(told) == "version.moved"
    assert next(told) == "True"
    assert re.fullmatch(r"[\d.]+ True", next(told))
    assert re.fullmatch(r"api_key <Token kt_\w+…>", next(told))
    assert next(told) == "200"
    assert next(told) == "api_key revoked"
    actions = [line.split()[2] for line in told]
    assert actions[0] == "api_key.revoked"
    assert actions[-1] == "api_key.created"


def test_every_way_of_the_client_is_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    for word in ("KEYTURN_URL", "KEYTURN_API_KEY_FILE", "Retry-After", "was_sent", "request_id"):
        assert word in text
    assert len(BLOCKS) >= 10
