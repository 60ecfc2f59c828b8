"""`keyturn workspaces`: tenants, for operators."""

import sys

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import CommandFailed
from keyturn.cli.handover import Handover, issued_members, output_option
from keyturn.cli.output import Column, Output
from keyturn.cli.paged import Portion, paged
from keyturn.client import Keyturn, NamedNetwork, Workspace

_COLUMNS = (
    Column("id"),
    Column("name", wide=True),
    Column("status"),
    Column("networks", wide=True),
    Column("created (utc)", optional=True),
)
_ID = click.argument("id_", metavar="ID")


@click.group()
def workspaces() -> None:
    """Workspaces: tenants, each with slots, keys and logs of its own. Operators make them."""


@workspaces.command()
@click.argument("name")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME=BLOCK[,BLOCK]",
    help="A network by name: office=203.0.113.0/24. May be repeated.",
)
@output_option
@calling
def create(
    client: Keyturn, output: Output, name: str, networks: tuple[str, ...], target: str | None
) -> None:
    """Make a workspace. The token of its first administrator key is handed out this once.

    \b
    Examples:
      keyturn workspaces create acme --output acme-admin.token
    """
    with Handover(target) as handover:
        made = client.workspaces.create(name, networks=_networks(networks))
        token = made.token
        try:
            handover.give(token)
            if output.as_json:
                output.json(issued_members(made, None if handover.path else token))
            elif handover.is_piped:
                click.echo(token.reveal())
        except OSError as error:
            client.workspaces.change(made.id, status="suspended")
            raise CommandFailed(
                f"The token cannot be written to {handover.path or 'standard output'} "
                f"({error.strerror}); workspace {made.id} was suspended.",
                remedy="Say with --output FILE where it can go, and repeat.",
            ) from error
    if output.as_json or handover.is_piped:
        return
    click.echo(made.id if output.is_quiet else f"Made workspace {made.name}, id {made.id}.")
    if handover.path is None:
        click.echo(f"\n  {token.reveal()}\n\nThis is its administrator's token, shown this once.")
    elif not output.is_quiet:
        click.echo(f"Its administrator's token is in {handover.path}")


@workspaces.command("list")
@paged
@calling
def list_(client: Keyturn, output: Output, portion: Portion) -> None:
    """List workspaces, newest first."""
    found = client.workspaces.list(limit=portion.page_size)
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


@workspaces.command()
@_ID
@calling
def show(client: Keyturn, output: Output, id_: str) -> None:
    """Show a workspace."""
    _show(output, client.workspaces.read(id_))


@workspaces.command()
@_ID
@click.option("--name")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME=BLOCK[,BLOCK]",
    help="All of its networks; may be repeated.",
)
@calling
def update(
    client: Keyturn, output: Output, id_: str, name: str | None, networks: tuple[str, ...]
) -> None:
    """Rename a workspace, or name its networks anew."""
    _show(output, client.workspaces.change(id_, name=name, networks=_networks(networks)))


@workspaces.command()
@_ID
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@calling
def suspend(client: Keyturn, output: Output, id_: str, yes: bool) -> None:
    """Take a workspace with all its keys out of use, until it is resumed."""
    if not yes and sys.stdin.isatty():
        found = client.workspaces.read(id_)
        click.confirm(f"Suspend {found.name}, and deny all its keys?", abort=True, err=True)
    _show(output, client.workspaces.change(id_, status="suspended"))


@workspaces.command()
@_ID
@calling
def resume(client: Keyturn, output: Output, id_: str) -> None:
    """Let a suspended workspace work again."""
    _show(output, client.workspaces.change(id_, status="active"))


def _show(output: Output, found: Workspace) -> None:
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        click.echo(found.id)
    else:
        output.record(
            [
                ("id", found.id),
                ("name", found.name),
                ("status", found.status),
                ("networks", [_spelled(one) for one in found.networks]),
                ("created", found.created_at),
                ("updated", found.updated_at),
                ("version", str(found.version)),
            ]
        )


def _row(one: Workspace) -> tuple[object, ...]:
    networks = [network.name for network in one.networks]
    return (one.id, one.name, one.status, networks, one.created_at)


def _spelled(network: NamedNetwork) -> str:
    return f"{network.name}={','.join(network.cidrs)}"


def _networks(given: tuple[str, ...]) -> list[NamedNetwork] | None:
    named = []
    for text in given:
        name, equals, blocks = text.partition("=")
        if not equals or not name or not blocks:
            raise click.UsageError("--network takes a name and blocks: office=203.0.113.0/24.")
        named.append(NamedNetwork(name=name, cidrs=blocks.split(",")))
    return named or None
