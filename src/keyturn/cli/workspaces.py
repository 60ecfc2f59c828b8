"""`keyturn workspaces`: tenants, for operators."""

from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.effect import no_wait_option, note_effect
from keyturn.cli.handover import Handover, Issued, output_option
from keyturn.cli.naming import refuse_token
from keyturn.cli.output import Column, Output, whole_span
from keyturn.cli.paged import Portion, paged
from keyturn.cli.policy import policy_members, policy_options
from keyturn.cli.repeating import once_option, version_option
from keyturn.client.errors import KeyturnClientError
from keyturn.client.resources import ChangedWorkspace, NamedNetwork, RotationPolicy, Workspace
from keyturn.domain.identity import parse_id
from keyturn.domain.workspace import MOST_GRACE_SECONDS

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.workspaces import Reveal

_COLUMNS = (
    Column("id"),
    Column("name", wide=True),
    Column("status"),
    Column("networks", wide=True),
    Column("created (utc)", optional=True),
)


def _checked(ctx: click.Context, _param: click.Parameter, value: str) -> str:
    refuse_token(value)
    if parse_id(value) is None:
        raise click.UsageError(
            "ID is a UUID or its 22 characters; see `keyturn workspaces list`.", ctx
        )
    return value


_ID = click.argument("id_", metavar="ID", callback=_checked)
_reveal = click.option(
    "--reveal",
    type=click.Choice(["always", "never"]),
    help="With `never`, new tokens go to destinations alone, and nobody is shown one.",
)
_grace = click.option(
    "--grace-seconds",
    type=click.IntRange(0, MOST_GRACE_SECONDS),
    metavar="N",
    help="How long a node that has lost its sight of the database goes on answering; 0: not at "
    "all.",
)
_UNSURE = "`keyturn workspaces list` shows it; `keyturn workspaces suspend ID` takes it out of use."


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
@policy_options
@_reveal
@_grace
@once_option
@output_option
@calling
def create(
    client: "Keyturn",
    output: Output,
    name: str,
    networks: tuple[str, ...],
    rotation_policy: RotationPolicy | None,
    reveal: str | None,
    grace_seconds: int | None,
    idempotency_key: str | None,
    target: str | None,
) -> None:
    """Make a workspace. The token of its first administrator key is handed out this once.

    \b
    Examples:
      keyturn workspaces create acme --output acme-admin.token
      keyturn workspaces create acme -o acme.token --rotation-period-days 90
    """
    with Handover(target, unsure=_UNSURE) as handover:
        made = client.workspaces.create(
            name,
            networks=_networks(networks),
            rotation_policy=rotation_policy,
            reveal=cast("Reveal | None", reveal),
            grace_seconds=grace_seconds,
            idempotency_key=idempotency_key,
        )
        issued = Issued(
            what=f"workspace {made.name}",
            id=made.id,
            members={one: getattr(made, one) for one in made.__struct_fields__},
            token=made.token,
        )
        handover.deliver(output, issued, lambda: _taken_back(client, made.id))


@workspaces.command("list")
@paged
@calling
def list_(client: "Keyturn", output: Output, portion: Portion) -> None:
    """List workspaces, newest first.

    \b
    Examples:
      keyturn workspaces list --all --json
    """
    found = client.workspaces.list(limit=portion.page_size)
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


@workspaces.command()
@_ID
@calling
def show(client: "Keyturn", output: Output, id_: str) -> None:
    """Show a workspace.

    \b
    Examples:
      keyturn workspaces show 06aSDUtCJxNn2WzPHQ7kVt
    """
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
@click.option("--no-networks", is_flag=True, help="Take all its networks away.")
@policy_options
@click.option("--no-rotation-policy", is_flag=True, help="Take its rotation policy away.")
@_reveal
@_grace
@version_option
@no_wait_option
@calling
def update(
    client: "Keyturn",
    output: Output,
    id_: str,
    name: str | None,
    networks: tuple[str, ...],
    no_networks: bool,
    rotation_policy: RotationPolicy | None,
    no_rotation_policy: bool,
    reveal: str | None,
    grace_seconds: int | None,
    version: int | None,
    respond_async: bool,
) -> None:
    """Rename a workspace, name its networks anew, or say anew how it rotates.

    A rotation policy is said whole: what is left out of its options is taken away.

    \b
    Examples:
      keyturn workspaces update 06aSDUtCJxNn2WzPHQ7kVt --network office=203.0.113.0/24
      keyturn workspaces update 06aSDUtCJxNn2WzPHQ7kVt --rotation-period-days 90 \\
        --most-rotations-at-once 5 --maintenance-window 'mon,tue 02:00 120'
      keyturn workspaces update 06aSDUtCJxNn2WzPHQ7kVt --reveal never
      keyturn workspaces update 06aSDUtCJxNn2WzPHQ7kVt --grace-seconds 30
    """
    if networks and no_networks:
        raise click.UsageError("Give --network or --no-networks, but not both.")
    if rotation_policy is not None and no_rotation_policy:
        raise click.UsageError("Give a rotation policy or --no-rotation-policy, but not both.")
    changed = client.workspaces.change(
        id_,
        name=name,
        networks=[] if no_networks else _networks(networks),
        rotation_policy=RotationPolicy() if no_rotation_policy else rotation_policy,
        reveal=cast("Reveal | None", reveal),
        grace_seconds=grace_seconds,
        version=version,
        respond_async=respond_async,
    )
    _show_changed(output, changed)


@workspaces.command()
@_ID
@version_option
@no_wait_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@calling
def suspend(
    client: "Keyturn",
    output: Output,
    id_: str,
    version: int | None,
    respond_async: bool,
    yes: bool,
) -> None:
    """Take a workspace with all its keys out of use, until it is resumed.

    \b
    Examples:
      keyturn workspaces suspend 06aSDUtCJxNn2WzPHQ7kVt
    """
    if not yes:
        found = client.workspaces.read(id_)
        require_consent(f"Suspend {found.name}, and deny all its keys?")
    changed = client.workspaces.change(
        id_, status="suspended", version=version, respond_async=respond_async
    )
    _show_changed(output, changed)


@workspaces.command()
@_ID
@version_option
@no_wait_option
@calling
def resume(
    client: "Keyturn", output: Output, id_: str, version: int | None, respond_async: bool
) -> None:
    """Let a suspended workspace work again.

    \b
    Examples:
      keyturn workspaces resume 06aSDUtCJxNn2WzPHQ7kVt
    """
    changed = client.workspaces.change(
        id_, status="active", version=version, respond_async=respond_async
    )
    _show_changed(output, changed)


def _taken_back(client: "Keyturn", id_: str) -> str:
    try:
        client.workspaces.change(id_, status="suspended")
    except KeyturnClientError as error:
        return (
            f"workspace {id_} is there and nobody has its token, since it cannot be suspended now "
            f"({error})."
        )
    return f"workspace {id_} was suspended."


def _show(output: Output, found: Workspace) -> None:
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        output.say(found.id)
    else:
        output.record(
            [
                ("id", found.id),
                ("name", found.name),
                ("status", found.status),
                ("networks", [_spelled(one) for one in found.networks]),
                *policy_members(found.rotation_policy),
                ("shows tokens", found.reveal),
                ("grace", whole_span(found.grace_seconds)),
                ("created", found.created_at),
                ("updated", found.updated_at),
                ("version", str(found.version)),
            ]
        )


def _show_changed(output: Output, changed: ChangedWorkspace) -> None:
    members = {one: getattr(changed, one) for one in Workspace.__struct_fields__}
    _show(output, Workspace(**members))
    note_effect(output, changed.effect)


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
