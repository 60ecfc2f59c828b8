"""`keyturn init` and `keyturn migrate`."""

from pathlib import Path

import click

from keyturn.cli.loading import settings_for
from keyturn.server.install import install, run_migrations

TERMINAL = "-"


@click.command()
@click.option(
    "--output",
    metavar="FILE",
    help="Where the first operator's token goes (0600); `-` is standard output. "
    "Default: operator.token in the data folder.",
)
def init(output: str | None) -> None:
    """Make an installation: data folder, root secret, database, a workspace and an operator.

    \b
    Examples:
      keyturn init
      KEYTURN_DATABASE_URL=postgresql://keyturn@db/keyturn keyturn init --output operator.token
    """
    settings = settings_for("production")
    if output == TERMINAL:
        made = install(settings, show=lambda token: click.echo(token.reveal()))
    else:
        made = install(settings, Path(output) if output else None)
    lines = [
        f"Installation   {settings.home}",
        f"Root secret    {settings.root_secret_file}  (keep a copy apart from the database)",
        f"Workspace      default  {made.workspace_id}",
    ]
    if made.token_file is not None:
        lines.append(f"Operator token {made.token_file}")
    lines.append("Start it with `keyturn serve`.")
    click.echo("\n".join(lines), err=output == TERMINAL)


@click.command()
def migrate() -> None:
    """Bring the database to the revision that this version needs. Make a backup first."""
    before, after = run_migrations(settings_for("production"))
    if before == after:
        click.echo(f"The database is at revision {after} already.")
    else:
        click.echo(f"The database went from revision {before} to {after}.")
