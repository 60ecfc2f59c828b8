"""The hash-locked requirement files say exactly what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
FILES = ("server", "dev")
SERVER_EXTRAS = ("server", "postgres")  # what `make run` needs; the clouds' libraries are tested
NAMESPACES = {
    "azure-identity": "azure",
    "azure-keyvault-secrets": "azure",
    "google-cloud-secret-manager": "google",
}

type_of_hash = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked(name: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Each package's pins (more than one where platforms differ), with the number of hashes."""
    text = (PROJECT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    pins: dict[str, list[tuple[Requirement, int]]] = {}
    for line in text.splitlines():
        requirement = Requirement(line.partition(" --hash")[0])
        hashes = len(type_of_hash.findall(line))
        pins.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return pins


def asked(name: str) -> list[Requirement]:
    project, groups = PYPROJECT["project"], PYPROJECT["dependency-groups"]
    wanted = [*project["dependencies"], *groups["build"], *PYPROJECT["build-system"]["requires"]]
    for extra, requirements in project["optional-dependencies"].items():
        if name == "dev" or extra in SERVER_EXTRAS:
            wanted += requirements
    if name == "dev":
        wanted += [entry for entry in groups["dev"] if isinstance(entry, str)]
    return [Requirement(entry) for entry in wanted]


@pytest.mark.parametrize("name", FILES)
def test_each_requirement_is_one_version_with_hashes(name: str) -> None:
    for pins in locked(name).values():
        for requirement, hashes in pins:
            assert [s.operator for s in requirement.specifier] == ["=="], requirement
            assert hashes > 0, requirement


@pytest.mark.parametrize("name", FILES)
def test_no_requirement_file_holds_an_address_or_an_option(name: str) -> None:
    text = (PROJECT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]


@pytest.mark.parametrize("name", FILES)
def test_what_pyproject_asks_for_is_locked(name: str) -> None:
    pins = locked(name)
    for wanted in asked(name):
        versions = [
            next(iter(pin.specifier)).version for pin, _ in pins[canonicalize_name(wanted.name)]
        ]
        assert list(wanted.specifier.filter(versions)) == versions, f"{wanted}: run `make lock`"


def test_what_is_tested_is_what_is_run() -> None:
    server, dev = locked("server"), locked("dev")
    assert {name: pins for name, pins in dev.items() if name in server} == server


def forbidden(contract_id: str) -> list[str]:
    [contract] = [
        contract
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract["id"] == contract_id
    ]
    modules: list[str] = contract["forbidden_modules"]
    return modules


def test_the_verifier_is_forbidden_what_the_domain_is() -> None:
    assert forbidden("verifier-is-pure") == forbidden("domain-is-pure")


def test_the_domain_is_forbidden_every_library_of_the_project() -> None:
    libraries = {
        # Of a namespace (`ruamel.yaml`) the whole is forbidden.
        NAMESPACES.get(Requirement(entry).name)
        or Requirement(entry).name.replace("-", "_").partition(".")[0]
        for entries in (
            PYPROJECT["project"]["dependencies"],
            *PYPROJECT["project"]["optional-dependencies"].values(),
        )
        for entry in entries
    }
    assert libraries <= set(forbidden("domain-is-pure"))
