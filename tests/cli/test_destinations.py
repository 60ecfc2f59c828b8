"""Destinations from the command line: made, proven, changed and taken away, on a real server."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from keyturn.cli import ending
from keyturn.cli.destination_kinds import KINDS
from keyturn.destinations.aws import AwsKind
from keyturn.destinations.azure import AzureKind
from keyturn.destinations.command import CommandKind
from keyturn.destinations.contract import ConfigurationFault, DestinationKind
from keyturn.destinations.file import FileKind
from keyturn.destinations.gcp import GcpKind
from keyturn.destinations.kubernetes import KubernetesKind
from keyturn.destinations.vault import VaultKind
from keyturn.outbound.contract import Outbound
from keyturn.testing import FakeClock
from tests.cli.calling import House, in_shell, terminal

SECRET = "s3cret-of-the-other-side"


def place_of(house: House, *steps: str) -> Path:
    """Where destinations of kind `file` write, by default."""
    [workspace] = house.ask("GET", "/v1/workspaces")
    return house.place.home.joinpath("delivered", workspace["id"], *steps)


@pytest.fixture
def broken(house: House) -> str:
    """A destination whose mark has no place: it is made, and not proven."""
    name = "broken"
    place_of(house, name, "keyturn-destination.token").mkdir(parents=True, exist_ok=True)
    made = house.run(
        "destinations", "create", name, "--kind", "file", "--set", "path=broken/{slot}.token"
    )
    made.refused(
        "Made destination broken (file).",
        "is not proven, and nothing is delivered there: A link, a folder or a device stands",
        "keyturn destinations prove broken",
        code=ending.FAULT,
    )
    return name


@pytest.fixture(autouse=True)
def emptied(house: House) -> Any:
    yield
    for one in house.ask("GET", "/v1/destinations"):
        status, _ = house.server.call(
            "DELETE", f"/v1/destinations/{one['name']}", house.place.token
        )
        assert status == 204
    shutil.rmtree(place_of(house), ignore_errors=True)


def test_a_destination_is_made_proven_listed_shown_and_taken_away(house: House) -> None:
    made = house.run("destinations", "create", "local", "--kind", "file").done()
    assert made.output == (
        "Made destination local (file). It is proven: its mark was written there and read back.\n"
    )
    assert place_of(house, "keyturn-destination.token").is_file()
    listed = house.run("destinations", "list", "--kind", "file").done().output
    assert "local  file  proven" in listed
    assert house.run("destinations", "list", "--kind", "vault", "-q").done().output == ""
    shown = house.run("destinations", "show", "local").done().output
    assert "path     {slot}.token" in shown
    told = json.loads(house.run("destinations", "show", "local", "--json").done().output)
    assert told == house.ask("GET", "/v1/destinations/local")
    house.run("destinations", "create", "local", "--kind", "file").refused(
        "destination.exists", "keyturn destinations update", code=ending.MOVED
    )
    asked = house.run("destinations", "delete", "local")
    asked.refused("Its credential is erased", "Say --yes", code=2)
    gone = house.run("destinations", "delete", "local", "--yes").done()
    assert "what it holds stays there" in gone.output
    house.run("destinations", "show", "local").refused("destination.unknown", code=ending.ABSENT)


def test_one_that_is_not_proven_says_why_and_how_it_is_mended(house: House, broken: str) -> None:
    prove = ("destinations", "prove", broken)
    house.run(*prove).refused("is not proven", "none is followed", code=ending.FAULT)
    told = house.run(*prove, "--json")
    assert told.code == ending.FAULT
    assert json.loads(told.output)["state"] == "unproven"
    assert "is not proven" in told.errors
    refused = house.run("keys", "create", "unproven-prod", "--deliver-to", broken)
    refused.refused("destination.unproven", "keyturn destinations prove", code=ending.MOVED)
    place_of(house, broken, "keyturn-destination.token").rmdir()
    assert "It is proven" in house.run(*prove).done().output


def test_a_change_keeps_what_it_does_not_name_and_is_proven_anew(house: House, broken: str) -> None:
    changed = house.run("destinations", "update", broken, "--set", "path=moved/{slot}").done()
    assert changed.output.startswith("Changed destination broken. It is proven")
    assert place_of(house, "moved", "keyturn-destination").is_file()
    back = house.run("destinations", "update", broken, "--unset", "path", "--json").done()
    assert json.loads(back.output)["config"] == {"path": "{slot}.token"}
    house.run("destinations", "update", broken).refused("Say what is to change", code=2)
    stale = house.run(
        "destinations", "update", broken, "--set", "path=x/{slot}", "--if-version", "1"
    )
    stale.refused("version.moved", code=ending.MOVED)


def test_what_is_refused_is_named_by_its_member(house: House) -> None:
    create = ("destinations", "create", "wrong", "--kind")
    house.run(*create, "floppy").refused("A kind is one of", "vault", code=ending.WRONG)
    house.run(*create, "file", "--set", "mount=a").refused("config mount", code=ending.WRONG)
    house.run(*create, "vault").refused("config address", "credential", code=ending.WRONG)
    house.run(*create, "file", "--set", "path").refused("a member and a text", code=2)
    assert house.ask("GET", "/v1/destinations") == []


# --- credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["token", "secret_id", "client_secret", "service_account"])
def test_no_part_of_a_credential_is_taken_as_an_argument_or_for_the_configuration(
    house: House, member: str
) -> None:
    create = ("destinations", "create", "vault-prod", "--kind", "vault")
    refused = house.run(*create, "--set", f"{member}={SECRET}")
    refused.refused("was given as an argument", "--credential-file", code=ending.WRONG)
    file = house.place.folder / "config.json"
    file.write_text(json.dumps({member: SECRET}))
    refused_too = house.run(*create, "--config-file", file.name)
    refused_too.refused(member, "--credential-file", code=ending.WRONG)
    assert SECRET not in refused.all + refused_too.all


@pytest.mark.parametrize(
    "content",
    ["", "two words", '{"token": 7}', '{"token": ', "[" * 100_000],
    ids=["empty", "words", "number", "cut", "large"],
)
def test_a_file_that_is_no_credential_is_refused_without_repeating_it(
    house: House, content: str
) -> None:
    file = house.place.folder / "credential"
    file.write_text(content)
    file.chmod(0o600)
    create = ("destinations", "create", "vault-prod", "--kind", "vault")
    refused = house.run(*create, "--credential-file", file.name)
    assert refused.code == 2
    assert "Usage" in refused.errors
    assert not content or content[:9] not in refused.all


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (SECRET, "credential token"),
        (json.dumps({"role_id": SECRET, "a": SECRET}), "credential role_id"),
        (json.dumps({"type": "service_account", "key": SECRET}), "credential service_account"),
    ],
    ids=["bare", "object", "google"],
)
def test_a_credential_by_file_or_by_standard_input_reaches_the_server_and_no_output(
    house: House, content: str, complaint: str
) -> None:
    file = house.place.folder / "credential"
    file.write_text(content + "\n")
    file.chmod(0o644)
    create = "destinations create elsewhere --kind file"  # which knows no credential
    by_file = house.run(*create.split(), "--credential-file", file.name)
    by_file.refused(complaint, "Others can read the credential", "chmod 600", code=ending.WRONG)
    piped = in_shell(house.place, f'"$@" {create} --credential-file - < {file.name}')
    assert piped.returncode == ending.WRONG
    assert complaint in piped.stderr
    assert SECRET not in by_file.all + piped.stdout + piped.stderr


def test_at_a_terminal_a_credential_is_typed_unseen(house: House) -> None:
    words = ("destinations", "create", "elsewhere", "--kind", "file", "--credential-file", "-")
    with terminal(house.place, *words) as shown:
        shown.read("Credential: ")
        shown.type(f"{SECRET}\n")
        code, text = shown.end()
    assert code == ending.WRONG
    assert "credential token" in text
    assert SECRET not in text


# --- what the help says ---------------------------------------------------------------------------


def kinds() -> list[DestinationKind]:
    outbound, clock = cast("Outbound", None), FakeClock()  # a check goes nowhere
    return [
        FileKind(Path()),
        CommandKind({}, clock),
        VaultKind(outbound, clock),
        KubernetesKind(outbound, clock),
        AwsKind(outbound, clock),
        GcpKind(outbound, clock),
        AzureKind(outbound, clock),
    ]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_the_help_names_the_members_of_each_kind(kind: DestinationKind) -> None:
    told = KINDS[kind.name]
    config = dict.fromkeys((*told.needed, *told.optional), "\0")
    credential = dict.fromkeys(told.credential, "\0")
    with pytest.raises(ConfigurationFault) as all_wrong:
        kind.check(config, credential)
    assert "no such member" not in str(all_wrong.value)
    with pytest.raises(ConfigurationFault) as unknown:
        kind.check({**config, "other": "a"}, credential)
    assert "/config/other: A destination of this kind has no such member." in str(unknown.value)
    faults: set[str] = set()
    try:
        kind.check({}, {})
    except ConfigurationFault as nothing:
        faults = {pointer.rpartition("/")[2] for pointer, _ in nothing.faults}
    assert set(told.needed) == faults - {*told.credential, "credential"}


def test_the_help_names_every_kind() -> None:
    assert set(KINDS) == {kind.name for kind in kinds()}
