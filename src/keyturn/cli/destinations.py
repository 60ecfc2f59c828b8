"""`keyturn destinations`: where new tokens are delivered. Administrators make and prove them."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.destination_kinds import kinds_text
from keyturn.cli.destination_options import Config, Credential, destination_options
from keyturn.cli.ending import CommandFailed
from keyturn.cli.output import Column, Output, ago
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option, version_option
from keyturn.client.delivery_records import Destination

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_COLUMNS = (
    Column("name"),
    Column("kind"),
    Column("state"),
    Column("proven", optional=True),
    Column("fault", wide=True, optional=True),
)


@click.group()
def destinations() -> None:
    """Destinations: secrets managers, files, commands that new tokens are delivered to.

    A slot names them (`keyturn slots set SLOT --destination NAME`); from then on nobody sees its
    new tokens.
    """


@destinations.command(epilog=kinds_text())
@click.argument("name")
@click.option("--kind", required=True, metavar="KIND", help="One of those below.")
@destination_options
@once_option
@calling
def create(
    client: "Keyturn",
    output: Output,
    name: str,
    kind: str,
    settings: Config,
    config: Config | None,
    credential: Credential | None,
    idempotency_key: str | None,
) -> None:
    """Make a destination, and prove it: a mark is written there, and read back.

    The credential enters by a file or by standard input, is kept sealed, and is never shown. Ends
    with 1 where the destination is made, but not proven.

    \b
    Examples:
      keyturn destinations create local --kind file
      keyturn destinations create vault-prod --kind vault --credential-file vault.token \\
        --set address=https://vault.example.com --set mount=secret
      keyturn destinations create aws-prod --kind aws --set region=eu-central-1 \\
        --credential-file - < aws.json
    """
    made = client.destinations.create(
        name,
        kind,
        config={**(config or {}), **settings} or None,
        credential=credential,
        idempotency_key=idempotency_key,
    )
    _tell(output, made, f"Made destination {made.name} ({made.kind}).")


@destinations.command("list")
@click.option("--kind", metavar="KIND", help="Those of one kind.")
@paged
@calling
def list_(client: "Keyturn", output: Output, kind: str | None, portion: Portion) -> None:
    """List destinations, newest first.

    \b
    Examples:
      keyturn destinations list --kind vault
      keyturn destinations list --json
    """
    found = client.destinations.list(kind=kind, limit=portion.page_size)
    portion.show(output, found, _COLUMNS, _row, lambda one: one.name)


@destinations.command()
@click.argument("name")
@calling
def show(client: "Keyturn", output: Output, name: str) -> None:
    """Show a destination. Its credential is never shown.

    \b
    Examples:
      keyturn destinations show vault-prod
    """
    found = client.destinations.read(name)
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        output.say(found.name)
    else:
        output.record(
            [
                ("name", found.name),
                ("id", found.id),
                ("kind", found.kind),
                ("state", found.state),
                ("proven", found.proven_at or "never"),
                ("fault", found.fault),
                *((member, value) for member, value in sorted(found.config.items()) if value),
                ("created", found.created_at),
                ("by", found.created_by),
                ("updated", found.updated_at),
                ("version", str(found.version)),
            ]
        )


@destinations.command(epilog=kinds_text())
@click.argument("name")
@click.option(
    "--unset",
    "dropped",
    multiple=True,
    metavar="MEMBER",
    help="A member of the configuration that is to be as it is by default. May be repeated.",
)
@destination_options
@version_option
@calling
def update(
    client: "Keyturn",
    output: Output,
    name: str,
    dropped: tuple[str, ...],
    settings: Config,
    config: Config | None,
    credential: Credential | None,
    version: int | None,
) -> None:
    """Change a destination's configuration or its credential, and prove it anew.

    What --set does not name stays; --config-file says all of the configuration anew, and
    --credential-file all of the credential. A credential is not sent to another place than the one
    it was given for: who changes the configuration gives it again. Ends with 1 where it is not
    proven after that.

    \b
    Examples:
      keyturn destinations update local --set path=tokens/{slot}
      keyturn destinations update vault-prod --set mount=kv --credential-file vault.token
      keyturn destinations update vault-prod --credential-file new-vault.token
    """
    if settings or dropped:
        present = client.destinations.read(name)
        base = present.config if config is None else config
        config = {member: value for member, value in base.items() if member not in dropped}
        config = {member: value for member, value in config.items() if value is not None} | settings
        version = present.version if version is None else version
    if config is None and credential is None:
        raise click.UsageError("Say what is to change: --set, --config-file, --credential-file.")
    changed = client.destinations.change(
        name, config=config, credential=credential, version=version
    )
    _tell(output, changed, f"Changed destination {changed.name}.")


@destinations.command()
@click.argument("name")
@calling
def prove(client: "Keyturn", output: Output, name: str) -> None:
    """Try a destination once more. Ends with 1, and says why, where it cannot be used.

    \b
    Examples:
      keyturn destinations prove vault-prod
    """
    _tell(output, client.destinations.prove(name), "")


@destinations.command()
@click.argument("name")
@version_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@calling
def delete(client: "Keyturn", output: Output, name: str, version: int | None, yes: bool) -> None:
    """Take a destination away, and its credential. The tokens that it holds stay there, and work.

    \b
    Examples:
      keyturn destinations delete vault-old
    """
    found = client.destinations.read(name)
    if not yes:
        require_consent(
            f"Take destination {found.name} ({found.kind}) away? Its credential is erased, which "
            "cannot be undone."
        )
    client.destinations.remove(found.name, version=version)
    if output.as_json:
        output.json({"id": found.id, "name": found.name, "removed": True})
    elif output.is_quiet:
        output.say(found.name)
    else:
        output.say(f"Took destination {found.name} away; what it holds stays there.")


def _tell(output: Output, one: Destination, done: str) -> None:
    """What was done, and whether it is proven. Raises `CommandFailed` where it is not."""
    if output.as_json:
        output.json(one)
    elif output.is_quiet:
        output.say(one.name)
    elif one.is_proven:
        proven = "It is proven: its mark was written there and read back."
        output.say(f"{done or one.name + ':'} {proven}")
    if one.is_proven:
        return
    why = one.fault or "it has not been tried to the end."
    told = f"Destination {one.name} is not proven, and nothing is delivered there: {why}"
    raise CommandFailed(
        f"{done} {told}".strip(),
        remedy=f"Mend that, then `keyturn destinations prove {one.name}`; `keyturn destinations "
        f"update {one.name}` changes its configuration or its credential.",
    )


def _row(one: Destination) -> tuple[object, ...]:
    return (one.name, one.kind, one.state, ago(one.proven_at), one.fault)
