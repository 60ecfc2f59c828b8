"""`keyturn operators`: who may act on the whole installation."""

from datetime import datetime

import click

from keyturn.cli.handover import Handover, Issued, output_option
from keyturn.cli.loading import settings_for
from keyturn.cli.output import Column, Output, counted, output_options
from keyturn.cli.when import AHEAD, microseconds
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import format_instant
from keyturn.domain.operator import Operator, OperatorKind
from keyturn.server.build import House, opened, signed_head
from keyturn.server.reach import Reach, await_nodes
from keyturn.services.appoint import appoint_operator, dismiss_operator, list_operators

_COLUMNS = (
    Column("id"),
    Column("name", wide=True),
    Column("kind"),
    Column("status"),
    Column("expires", optional=True),
)
_UNSURE = "`keyturn operators list` shows it; `keyturn operators revoke ID` ends it."


@click.group()
def operators() -> None:
    """Operators act on the whole installation; gateway credentials verify for every workspace."""


@operators.command()
@click.option("--name", required=True, help="Whose token it is; stands in the activity log.")
@click.option("--verify-only", is_flag=True, help="A gateway credential: it may verify, no more.")
@click.option("--expires", "expires_at", type=AHEAD, metavar="WHEN", help="90d, 12h, or a time.")
@output_option
@output_options
def create(
    name: str,
    verify_only: bool,
    expires_at: datetime | None,
    target: str | None,
    output: Output,
) -> None:
    """Make an operator's token, or a gateway's.

    \b
    Examples:
      keyturn operators create --name "Ada" --expires 90d --output ada.token
      keyturn operators create --name nginx --verify-only --output gateway.token
    """
    kind = OperatorKind.GATEWAY if verify_only else OperatorKind.OPERATOR
    until = None if expires_at is None else microseconds(expires_at)
    with (
        Handover(target, unsure=_UNSURE) as handover,
        opened(settings_for("production")) as house,
    ):
        appointed = appoint_operator(house.context, name, kind, until)
        operator = appointed.operator
        issued = Issued(
            what=f"{kind.value} {operator.name}",
            id=str(operator.id),
            members=_members(operator, house.context.clock.now()),
            token=appointed.token,
        )
        with signed_head(house):
            handover.deliver(output, issued, lambda: _taken_back(house, operator))


@operators.command("list")
@output_options
def list_(output: Output) -> None:
    """List operators and gateway credentials, newest first."""
    with opened(settings_for("production")) as house:
        now = house.context.clock.now()
        found = [_members(one, now) for one in list_operators(house.context)]
        damaged = house.damage.seen
    if damaged:
        click.echo(
            f"keyturn: {damaged:,} more cannot be shown: the record was changed from outside.\n"
            "  Run `keyturn activity verify`; replace the operator by a new one.",
            err=True,
        )
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        for one in found:
            output.say(str(one["id"]))
    else:
        output.table(_COLUMNS, [_row(one) for one in found])


@operators.command()
@click.argument("id")
def revoke(id: str) -> None:  # noqa: A002
    """Revoke an operator's token, by its id.

    \b
    Examples:
      keyturn operators revoke 06aSDUtCJxNn2WzPHQ7kVt
    """
    id_ = parse_id(id)
    if id_ is None:
        raise click.UsageError("ID is a UUID or its 22 characters; see `keyturn operators list`.")
    with opened(settings_for("production")) as house:
        operator = dismiss_operator(house.context, id_)
        with signed_head(house):
            lease_seconds = float(house.settings.freshness_seconds)
            reach = await_nodes(house.context.store, house.context.clock, lease_seconds)
            click.echo(f"Operator {operator.name} is revoked{_told(reach)}.")


def _told(reach: Reach | None) -> str:
    if reach is None:
        return ""
    if reach.is_complete:
        return f", on {counted(reach.nodes, 'node')}" if reach.nodes else ""
    if reach.effective_by is None:
        return "; how far the nodes have got cannot be seen now"
    return f"; a node that is cut off may take the token until {format_instant(reach.effective_by)}"


def _taken_back(house: House, operator: Operator) -> str:
    dismiss_operator(house.context, operator.id)
    return "the operator was revoked again."


def _row(one: dict[str, str | None]) -> tuple[object, ...]:
    return (one["id"], one["name"], one["kind"], one["status"], one["expires_at"] or "never")


def _members(operator: Operator, now: int) -> dict[str, str | None]:
    status = "active"
    if operator.revoked_at is not None:
        status = "revoked"
    elif not operator.is_live(now):
        status = "expired"
    expires_at = operator.expires_at
    return {
        "id": str(operator.id),
        "name": operator.name,
        "kind": operator.kind.value,
        "status": status,
        "created_at": format_instant(operator.created_at),
        "expires_at": None if expires_at is None else format_instant(expires_at),
    }
