"""The page of destinations tells of each kind what the code takes."""

import re
from pathlib import Path

import pytest

from keyturn.domain.destination import KINDS as SPELT
from keyturn.server.build import make_kinds
from keyturn.server.settings import load_settings
from tests.documentation.walk import PROJECT

PAGE = (PROJECT / "docs" / "reference" / "destinations.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SETTINGS, _ = load_settings(
    {"KEYTURN_DELIVERY_COMMANDS": "mine=/bin/true"}, Path("/"), default_environment="test"
)
KINDS = make_kinds(SETTINGS)

UUID = "0199d5a4-0000-7000-8000-00000000cafe"
# The least that each kind takes.
LEAST: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "file": ({}, {}),
    "command": ({"command": "mine"}, {}),
    "vault": ({"address": "https://vault.example.com"}, {"token": "t"}),
    "kubernetes": (
        {"address": "https://cluster.example.com", "namespace": "api"},
        {"token": "t"},
    ),
    "aws": (
        {"region": "eu-central-1"},
        {"access_key_id": "A" * 20, "secret_access_key": "s" * 40},
    ),
    "gcp": ({"project": "a-project"}, {"service_account": "{}"}),
    "azure": (
        {"vault_url": "https://one.vault.azure.net"},
        {"tenant_id": UUID, "client_id": UUID, "client_secret": "s" * 20},
    ),
}


def test_every_kind_that_is_installed_can_be_spelt_and_no_other() -> None:
    assert set(SPELT) == set(KINDS)


def test_every_kind_has_its_section() -> None:
    assert set(SECTIONS) == set(KINDS) == set(LEAST)


@pytest.mark.parametrize("kind", sorted(set(LEAST) - {"gcp"}))  # its credential is a whole file
def test_a_section_has_every_member_of_the_configuration_and_its_default(kind: str) -> None:
    config, credential = LEAST[kind]
    checked = KINDS[kind].check(config, credential)
    for member, value in checked.items():
        assert f"`{member}`" in SECTIONS[kind], member
        if value is not None and member not in config:
            assert f"`{value}`" in SECTIONS[kind], (member, value)
    for member in credential:
        assert f"`{member}`" in SECTIONS[kind], member
