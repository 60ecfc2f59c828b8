"""The pages of docs/reference that follow from the code say what the code says."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import click
import pytest

from keyturn.cli.main import keyturn
from keyturn.domain import delivery, key, rotation
from keyturn.domain.delivery import DeliveryAct, DeliveryState
from keyturn.domain.error import KeyturnError
from keyturn.domain.key import KeyAct, KeyState
from keyturn.domain.rotation import RotationAct, RotationState
from keyturn.domain.verdict import VerdictCode
from keyturn.http.app import RESOURCES
from keyturn.server.settings import SETTINGS

PROJECT = Path(__file__).parents[2]


def make_reference(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, project / "tools" / "make_reference", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tool and its pages, to be spoiled."""
    (tmp_path / "tools").mkdir()
    shutil.copy(PROJECT / "tools" / "make_reference", tmp_path / "tools")
    shutil.copytree(PROJECT / "docs" / "reference", tmp_path / "docs" / "reference")
    return tmp_path


def test_the_reference_is_what_the_code_says() -> None:
    check = make_reference(PROJECT, "--check")
    assert check.returncode == 0, check.stdout + check.stderr


def test_a_stale_or_missing_page_is_named_and_written_anew(copy: Path) -> None:
    page = copy / "docs" / "reference" / "states.md"
    genuine = page.read_text()
    page.write_text(genuine.replace("refused", "allowed", 1))
    stale = make_reference(copy, "--check")
    assert stale.returncode == 1
    assert "states.md" in stale.stdout
    page.unlink()
    assert make_reference(copy, "--check").returncode == 1
    assert make_reference(copy).returncode == 0
    assert page.read_text() == genuine


def test_an_unknown_argument_is_refused(copy: Path) -> None:
    assert make_reference(copy, "--force").returncode == 2


@pytest.mark.parametrize(
    ("heading", "states", "acts", "transitions"),
    [
        ("## A key", KeyState, KeyAct, key.TRANSITIONS),
        ("## A rotation", RotationState, RotationAct, rotation.TRANSITIONS),
        ("## A delivery", DeliveryState, DeliveryAct, delivery.TRANSITIONS),
    ],
    ids=["key", "rotation", "delivery"],
)
def test_the_table_of_states_has_every_state_and_every_act(
    heading: str,
    states: type[StrEnum],
    acts: type[StrEnum],
    transitions: Mapping[tuple[StrEnum, StrEnum], StrEnum],
) -> None:
    table = page("states.md").partition(f"{heading}\n")[2].partition("| from |")[2]
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    assert rows[0] == list(acts)
    told = {
        (states(row[0].strip("`")), acts(act)): cell.strip("`")
        for row in rows[2:]
        for act, cell in zip(acts, row[1:], strict=True)
    }
    assert len(told) == len(states) * len(acts)
    assert {step: to for step, to in told.items() if to != "refused"} == transitions


def page(name: str) -> str:
    return (PROJECT / "docs" / "reference" / name).read_text(encoding="utf-8")


def codes(root: type[KeyturnError] = KeyturnError) -> set[str]:
    return {root.code}.union(*(codes(one) for one in root.__subclasses__()))


def test_every_error_code_and_every_verdict_is_explained() -> None:
    told = page("errors.md")
    for code in codes() | set(VerdictCode):
        assert f"| `{code}` |" in told, code


def test_every_setting_is_explained_with_what_it_takes_and_its_default() -> None:
    rows = [line for line in page("settings.md").splitlines() if line.startswith("| `KEYTURN_")]
    assert [row.split("`")[1] for row in rows] == [one.variable for one in SETTINGS]
    for row in rows:
        assert all(cell.strip() for cell in row.strip("|").split(" | ")), row


def commands(command: click.Command, name: str) -> set[str]:
    names = {name}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            names |= commands(found, f"{name} {inner}")
    return names


def test_every_command_is_shown_with_its_help() -> None:
    told = page("cli.md")
    names = commands(keyturn, "keyturn")
    assert len(names) >= 12
    for name in names:
        assert f"## `{name}`\n" in told
        assert f"Usage: {name} " in told


def test_every_route_is_listed() -> None:
    told = page("http.md")
    routes = {
        f"{method} {route.path}"
        for resource in RESOURCES
        for route in resource.router.routes
        for method in route.methods
        if method != "HEAD"
    }
    assert len(routes) > 20
    for route in {*routes, "POST /v1/verify"}:
        assert f"## `{route}`\n" in told, route
    assert "GET /openapi.json" in told


def test_no_link_of_the_reference_leads_nowhere() -> None:
    told = page("http.md")
    headings = {
        "".join(one for one in line.lstrip("# ").lower() if one.isalnum() or one in " -_").replace(
            " ", "-"
        )
        for line in told.splitlines()
        if line.startswith("#")
    }
    targets = {part.partition(")")[0] for part in told.split("](#")[1:]}
    assert targets <= headings
