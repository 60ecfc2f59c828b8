"""`keyturn dev` and `keyturn serve`."""

import shlex
import shutil
import sys

import click

from keyturn.cli.loading import settings_for
from keyturn.server.install import TOKEN_FILE, make_folders, make_ready
from keyturn.server.logs import configure_logs
from keyturn.server.serve import serve as run_server
from keyturn.server.settings import Settings


@click.command()
def dev() -> None:
    """Run the whole product here: makes an installation if there is none, then serves it.

    It listens on 127.0.0.1:8420 and keeps its data in ./.keyturn, unless the settings say
    otherwise.
    """
    settings = settings_for("development")
    make_folders(settings)
    configure_logs()
    run_server(
        settings,
        lambda address: click.echo(_welcome(settings, address)),
        prepare=lambda: make_ready(settings),
    )


@click.command()
def serve() -> None:
    """Serve the installation that the settings name; it must have been made by `keyturn init`."""
    settings = settings_for("production")
    configure_logs()
    run_server(settings, lambda address: click.echo(f"Keyturn serves {address}"))


def _welcome(settings: Settings, address: str) -> str:
    token_file = settings.home / TOKEN_FILE
    # As it is found from here: in a checkout nothing is on the path yet.
    command = "keyturn" if shutil.which("keyturn") else sys.argv[0]
    return "\n".join(
        (
            f"Keyturn serves {address}",
            f"  data            {settings.home}",
            f"  operator token  {token_file}",
            "",
            "Make a key:",
            f"  export KEYTURN_URL={address} KEYTURN_API_KEY_FILE={shlex.quote(str(token_file))}",
            f"  {command} keys create scheduler-prod --scope read --output scheduler.token",
            "",
            "Ctrl-C ends it.",
        )
    )
