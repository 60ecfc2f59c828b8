"""What no file here may hold: an address that packages come from, a path of one machine."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

# In pieces, so that this file passes its own test.
REGISTRIES = [
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("debian", "org"),
        ("archive", "ubuntu", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
]
REGISTRY = re.compile("|".join(map(re.escape, REGISTRIES)), re.IGNORECASE)
HOME = re.compile(r"(?<![\w.~}-])/(?:root|(?:home|Users)/[A-Za-z][\w.-]*)/")


def faults(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if found := REGISTRY.search(line):
            yield f"line {number} names the registry {found[0]}"
        if found := HOME.search(line):
            yield f"line {number} has a path of one machine, {found[0]}"


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """All that is committed, or would be by `git add --all`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    paths = (PROJECT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_registry_or_a_path_of_one_machine(files: list[Path]) -> None:
    assert len(files) > 10
    found = [
        f"{path.relative_to(PROJECT)}: {fault}"
        for path in files
        for fault in faults(path.read_text(errors="replace"))
    ]
    assert found == []


def test_no_lock_with_addresses_is_committed(files: list[Path]) -> None:
    locks = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json"}
    assert [path for path in files if path.name in locks] == []


@pytest.mark.parametrize(
    "line",
    [
        f"url = https://files.{REGISTRIES[1]}/packages/x.whl",
        f"see {REGISTRIES[0].upper()}/project/keyturn",
        "cd " + "/".join(("", "root", "keyturn")),
        "cwd='" + "/".join(("", "home", "anna", "keyturn")) + "'",
        "/".join(("", "Users", "anna", "keyturn")),
    ],
)
def test_a_planted_address_or_path_is_found(line: str) -> None:
    assert len(list(faults(f"harmless\n{line}\n"))) == 1


@pytest.mark.parametrize(
    "line",
    ["GET /v1/home/of/keys", "https://example.org/root/a", "~/root/a", "/usr/lib/postgresql"],
)
def test_what_is_harmless_passes(line: str) -> None:
    assert list(faults(line)) == []
