"""What `import` brings along: the client stays light, and the command line's start stays without
it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import keyturn

PROJECT = Path(__file__).parents[2]
SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded(statement: str) -> set[str]:
    """The modules of a new interpreter after this."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {SHOW}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_client_brings_its_own_libraries_and_no_other() -> None:
    own = loaded("import httpx2, msgspec, anyio, email.utils")
    brought = loaded("from keyturn.client import *") - own
    assert all(name.partition(".")[0] == "keyturn" for name in brought), sorted(brought)
    rooms = {name.split(".")[1] for name in brought if "." in name}
    assert rooms == {"ambient", "client", "domain"}


@pytest.mark.parametrize("name", ["Keyturn", "AsyncKeyturn"])
def test_the_package_has_the_client_when_it_is_asked_for(name: str) -> None:
    before = loaded("import keyturn")
    assert not any(one.startswith(("httpx2", "keyturn.")) for one in before)
    assert "httpx2" in loaded(f"from keyturn import {name}")
    assert getattr(keyturn, name).__name__ == name


def test_a_name_that_the_package_has_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Keytern"):
        keyturn.Keytern  # type: ignore[attr-defined]  # noqa: B018


def test_the_command_lines_start_does_not_wait_for_the_client() -> None:
    before = loaded("import keyturn.cli.main")
    assert not before & {"httpx2", "anyio", "email.utils", "keyturn.client.blocking"}


def test_the_types_go_along() -> None:
    assert (PROJECT / "src" / "keyturn" / "py.typed").is_file()
