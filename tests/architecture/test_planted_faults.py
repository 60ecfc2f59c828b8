"""Each guard is shown to work: a fault is planted in a copy of the source, and the very tool that
`make lint` runs, with the very configuration of the project, names it.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A module that must not pass, and what the guard says of it."""

    module: str
    source: str
    said: tuple[str, ...]

    def plant(self, project: Path) -> Path:
        path = project / "src" / Path(*self.module.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'"""A planted fault."""\n\n{self.source}')
        return path


def fault(module: str, source: str, *said: str, id: str) -> object:  # noqa: A002
    return pytest.param(Fault(module=module, source=source, said=said), id=id)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the source and its configuration, free of faults."""
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(project: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": str(project / "src"),  # ahead of the installed keyturn
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "COLUMNS": "300",
    }
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


# --- the direction of imports --------------------------------------------------------------------


def imports(project: Path) -> "subprocess.CompletedProcess[str]":
    return run(project, "lint-imports", "--no-cache", "--no-logo")


LAYERS = "Dependencies point inwards BROKEN"
PURE = "The domain does no I/O and knows no library BROKEN"
VERIFIER = "The verifier does no I/O and knows no library BROKEN"
LIBRARIES = "Storage and services know no web framework and no terminal BROKEN"
SQL = "Only storage speaks SQL BROKEN"
CALLER = "The demonstration calls Keyturn as anybody would BROKEN"
ENGINES = "Only the composition root names a concrete engine BROKEN"
AMBIENT = "The real clock and generator enter at the rim BROKEN"


def test_the_clean_copy_keeps_every_import_contract(project: Path) -> None:
    result = imports(project)
    assert result.returncode == 0, result.stdout
    assert " 0 broken" in result.stdout


def import_fault(module: str, imported: str, contract: str) -> object:
    return fault(
        module,
        f"import {imported}\n",
        contract,
        module,
        imported,
        id=f"{module.removeprefix('keyturn.')}-imports-{imported.removeprefix('keyturn.')}",
    )


@pytest.mark.parametrize(
    "fault",
    [
        import_fault("keyturn.domain.planted", "keyturn.storage", LAYERS),
        import_fault("keyturn.storage.planted", "keyturn.services", LAYERS),
        import_fault("keyturn.services.planted", "keyturn.http", LAYERS),
        import_fault("keyturn.http.planted", "keyturn.server", LAYERS),
        import_fault("keyturn.server.planted", "keyturn.cli", LAYERS),
        import_fault("keyturn.cli.planted", "keyturn.testing", LAYERS),
        import_fault("keyturn.domain.planted", "sqlite3", PURE),
        import_fault("keyturn.domain.planted", "os", PURE),
        import_fault("keyturn.domain.planted", "threading", PURE),
        import_fault("keyturn.domain.planted", "sqlalchemy", PURE),
        import_fault("keyturn.domain.planted", "msgspec", PURE),
        import_fault("keyturn.verifier.planted", "threading", VERIFIER),
        import_fault("keyturn.verifier.planted", "msgspec", VERIFIER),
        import_fault("keyturn.verifier.planted", "keyturn.storage", LAYERS),
        import_fault("keyturn.services.planted", "fastapi", LIBRARIES),
        import_fault("keyturn.storage.planted", "pydantic", LIBRARIES),
        import_fault("keyturn.services.planted", "sqlalchemy", SQL),
        import_fault("keyturn.http.planted", "sqlite3", SQL),
        import_fault("keyturn.demo.planted", "keyturn.cli", LAYERS),
        import_fault("keyturn.demo.planted", "keyturn.services", CALLER),
        import_fault("keyturn.http.planted", "keyturn.storage.sqlite", ENGINES),
        import_fault("keyturn.services.planted", "keyturn.storage.postgresql", ENGINES),
        import_fault("keyturn.server.planted", "keyturn.storage.sqlite", ENGINES),
        import_fault("keyturn.services.planted", "keyturn.ambient", AMBIENT),
        import_fault("keyturn.domain.planted", "keyturn.ambient", AMBIENT),
        fault("keyturn.helpers.__init__", "", "keyturn.helpers", id="a-room-without-a-place"),
    ],
)
def test_an_import_against_the_order_is_named(project: Path, fault: Fault) -> None:
    fault.plant(project)
    result = imports(project)
    assert result.returncode == 1, result.stdout
    for words in fault.said:
        assert words in result.stdout


# --- style, and the real clock and generator -----------------------------------------------------


def style(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(project, "ruff", "check", "--no-cache", "--output-format=concise", *arguments)


def test_the_clean_copy_passes_style(project: Path) -> None:
    result = style(project)
    assert result.returncode == 0, result.stdout
    formatted = run(project, "ruff", "format", "--no-cache", "--check")
    assert formatted.returncode == 0, formatted.stdout


def call(module: str, imports: str, expression: str, name: str) -> object:
    source = f"{imports}\n\n\ndef planted() -> object:\n    return {expression}\n"
    return fault(module, source, "TID251", f"`{name}` is banned", id=expression)


@pytest.mark.parametrize(
    "fault",
    [
        call("keyturn.services.planted", "import time", "time.time()", "time"),
        call("keyturn.services.planted", "from time import monotonic", "monotonic()", "time"),
        call("keyturn.server.planted", "import time as t", "t.sleep(1)", "time"),
        call(
            "keyturn.http.planted",
            "from datetime import UTC, datetime",
            "datetime.now(UTC)",
            "datetime.datetime.now",
        ),
        call("keyturn.domain.planted", "import secrets", "secrets.token_bytes(32)", "secrets"),
        call("keyturn.cli.planted", "import random", "random.random()", "random"),
        call("keyturn.storage.planted", "import os", "os.urandom(32)", "os.urandom"),
        call("keyturn.services.planted", "import uuid", "uuid.uuid4()", "uuid.uuid4"),
        call("keyturn.domain.planted", "from uuid import uuid1", "uuid1()", "uuid.uuid1"),
        call(
            "keyturn.storage.planted",
            "from cryptography.hazmat.primitives.ciphers.aead import AESGCM",
            "AESGCM.generate_key(256)",
            "cryptography.hazmat.primitives.ciphers.aead.AESGCM.generate_key",
        ),
        fault("keyturn.domain.planted", "import json\n", "F401", id="unused-import"),
        fault("keyturn.domain.planted", "from . import key as key\n", "TID252", id="relative"),
        fault("keyturn.services.planted", 'print("a key")\n', "T201", id="print"),
        fault(
            "keyturn.storage.planted",
            'def planted(name: str) -> str:\n    return f"DELETE FROM keys WHERE name = {name}"\n',
            "S608",
            id="sql-made-of-text",
        ),
        fault(
            "keyturn.services.planted",
            "def planted() -> None:\n    try:\n        open\n    except Exception:\n        pass\n",
            "BLE001",
            id="blind-except",
        ),
        fault("keyturn.domain.planted", "import json  # noqa\n", "PGH004", id="blanket-noqa"),
    ],
)
def test_a_fault_of_style_is_named(project: Path, fault: Fault) -> None:
    path = fault.plant(project)
    result = style(project, str(path))
    assert result.returncode == 1, result.stdout
    for words in (path.name, *fault.said):
        assert words in result.stdout


def test_the_real_clock_passes_in_ambient_only(project: Path) -> None:
    ambient = project / "src" / "keyturn" / "ambient.py"
    assert style(project, str(ambient)).returncode == 0
    elsewhere = shutil.copy(ambient, project / "src" / "keyturn" / "services" / "planted.py")
    result = style(project, str(elsewhere))
    assert result.returncode == 1
    assert "TID251" in result.stdout


def test_a_module_that_is_not_formatted_is_named(project: Path) -> None:
    path = project / "src" / "keyturn" / "domain" / "planted.py"
    path.write_text("WORDS = [ 'a','b' ]\n")
    result = run(project, "ruff", "format", "--no-cache", "--check")
    assert result.returncode == 1
    assert "planted.py" in result.stdout


# --- types ---------------------------------------------------------------------------------------


def types(project: Path, cache: Path, module: Path) -> "subprocess.CompletedProcess[str]":
    return run(project, "mypy", "--cache-dir", str(cache), str(module.relative_to(project)))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


GOOD = """from enum import StrEnum
from typing import assert_never


class State(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


def is_open(state: State) -> bool:
    match state:
        case State.OPEN:
            return True
        case State.CLOSED:
            return False
        case _:
            assert_never(state)
"""


def test_a_typed_module_passes(project: Path, cache: Path) -> None:
    good = Fault(module="keyturn.domain.planted", source=GOOD, said=())
    result = types(project, cache, good.plant(project))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "fault",
    [
        fault(
            "keyturn.domain.planted",
            GOOD.replace("(state: State) -> bool", "(state)"),
            "[no-untyped-def]",
            id="an-untyped-function",
        ),
        fault(
            "keyturn.domain.planted",
            GOOD.replace("        case State.CLOSED:\n            return False\n", ""),
            'incompatible type "Literal[State.CLOSED]"',
            id="a-forgotten-state",
        ),
        fault(
            "keyturn.domain.planted",
            GOOD.replace("return True", "return 1 + 'a'  # type: ignore"),
            "[ignore-without-code]",
            id="a-blanket-ignore",
        ),
    ],
)
def test_a_fault_of_type_is_named(project: Path, cache: Path, fault: Fault) -> None:
    path = fault.plant(project)
    result = types(project, cache, path)
    assert result.returncode == 1, result.stdout
    for words in (path.name, *fault.said):
        assert words in result.stdout


def test_the_tools_are_those_of_this_environment() -> None:
    """Else a fault might be caught here by another version than judges the project."""
    assert Path(sys.executable).parent == PROGRAMS
    for program in ("ruff", "mypy", "lint-imports"):
        assert (PROGRAMS / program).is_file()
