"""A type checker knows what each call takes and gives: mypy, with the project's own settings."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

GIVEN = {
    'sync.keys.create("a")': "keyturn.client.resources.IssuedKey",
    'sync.keys.create("a").token': "keyturn.domain.token.Token",
    'sync.keys.read("a")': "keyturn.client.resources.Key",
    'sync.keys.revoke("a")': "keyturn.client.resources.Effect",
    "[key for key in sync.keys.list()]": "list[keyturn.client.resources.Key]",
    "[page.total for page in sync.keys.list().pages()]": "list[int | None]",
    'sync.verify("a")': "keyturn.client.resources.Verdict",
    'sync.verify("a").require()': "keyturn.client.resources.VerifiedKey",
    'sync.rotations.start("a").token': "keyturn.domain.token.Token",
    'sync.keys.impact("a").is_safe': "bool",
    'sync.destinations.create("a", "file").is_proven': "bool",
    'sync.destinations.remove("a")': "None",
    'await later.destinations.prove("a")': "keyturn.client.delivery_records.Destination",
    'sync.deliveries.retry("a")': "keyturn.client.delivery_records.Delivery",
    "[one async for one in later.deliveries.list()]": (
        "list[keyturn.client.delivery_records.Delivery]"
    ),
    'sync.keys.create("a", deliver_to=["b"]).deliveries': (
        "list[keyturn.client.delivery_records.Delivery]"
    ),
    'sync.incidents.open(tokens=["a"]).keys': ("list[keyturn.client.incident_records.IncidentKey]"),
    'sync.incidents.select(keyturn.client.KeySelection(slot="a")).count': "int",
    "[one.keys_open for one in sync.incidents.list()]": "list[int]",
    'await later.incidents.read("a")': "keyturn.client.incident_records.Incident",
    'sync.incidents.replace("a").replacements[0].token': "keyturn.domain.token.Token",
    'sync.incidents.report("a")': "keyturn.client.incident_report.IncidentReport",
    'sync.incidents.export("a", "markdown")': "str",
    'sync.staff_changes.report("a")': "keyturn.client.rotation_records.StaffChange",
    'await later.rotations.complete("a")': "keyturn.client.rotation_records.Rotation",
    "[one async for one in later.findings.list()]": (
        "list[keyturn.client.rotation_records.Finding]"
    ),
    "sync.about()": "keyturn.client.resources.About",
    'await later.keys.create("a")': "keyturn.client.resources.IssuedKey",
    'await later.verify("a")': "keyturn.client.resources.Verdict",
    "[key async for key in later.keys.list()]": "list[keyturn.client.resources.Key]",
    'await asyncio.create_task(later.verify("a"))': "keyturn.client.resources.Verdict",
    "(await later.whoami()).permissions": "list[str]",
    "[one async for one in later.activity.list()]": "list[keyturn.client.resources.Activity]",
}
WRONG = {
    'sync.keys.create("a", scope=["read"])': "[call-arg]",
    'sync.keys.create("a", scopes=7)': "[arg-type]",
    'sync.keys.list(status="dead")': "[arg-type]",
    'sync.rotations.decide("a", "b", "good")': "[arg-type]",
    'sync.incidents.close("a", "maybe")': "[arg-type]",
    'sync.incidents.place("a", "b", "suspect")': "[arg-type]",
    'sync.incidents.export("a", "json")': "[arg-type]",
    'sync.deliveries.list(state="lost")': "[arg-type]",
    'sync.workspaces.change("a", reveal="sometimes")': "[arg-type]",
    "sync.keys.read()": "[call-arg]",
    'sync.keys.reed("a")': "[attr-defined]",
    'sync.keys.read("a").api_key': "[attr-defined]",
    "sync.keys.list().total": "[attr-defined]",
    'await sync.keys.read("a")': "[misc]",
    'later.keys.read("a").name': "[attr-defined]",
    "[key for key in later.keys.list()]": "[attr-defined]",
    "keyturn.Keytern": "[attr-defined]",
    'keyturn.Keyturn("http://a", token="b")': "[call-arg]",
}
HEAD = """import asyncio

import keyturn
import keyturn.client
from keyturn import AsyncKeyturn, Keyturn


async def sample(sync: Keyturn, later: AsyncKeyturn) -> None:
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What the checker says of each line, all samples in one program."""
    folder = tmp_path_factory.mktemp("samples")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    lines = [f"    reveal_type({one})" for one in GIVEN] + [f"    {one}" for one in WRONG]
    (folder / "sample.py").write_text(HEAD + "\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "--cache-dir", str(folder), "sample.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(PROJECT / "src"), "COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        match = re.match(r"sample\.py:(\d+): (.*)", line)
        if match is not None:
            number = int(match.group(1))
            found[number] = f"{found.get(number, '')}{match.group(2)}\n"
    return found


def line_of(sample: str) -> int:
    return HEAD.count("\n") + [*GIVEN, *WRONG].index(sample) + 1


@pytest.mark.parametrize("sample", GIVEN)
def test_a_call_gives_its_record(said: dict[int, str], sample: str) -> None:
    told = said[line_of(sample)].replace('"', "").replace("def ", "")
    assert told.strip().split("Revealed type is ")[-1] == GIVEN[sample]
    assert "error" not in told


@pytest.mark.parametrize("sample", WRONG)
def test_a_wrong_call_is_named_before_it_runs(said: dict[int, str], sample: str) -> None:
    assert WRONG[sample] in said.get(line_of(sample), "nothing was said")
