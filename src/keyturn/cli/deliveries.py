"""`keyturn deliveries`: new tokens on their way to destinations."""

from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import key_id, named_delivery, named_rotation, short
from keyturn.cli.output import Column, Output, ago
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option
from keyturn.client.delivery_records import Delivery

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.deliveries import DeliveryState

_COLUMNS = (
    Column("id"),
    Column("slot", wide=True),
    Column("destination", wide=True),
    Column("state"),
    Column("tries", right=True, optional=True),
    Column("fault", wide=True, optional=True),
    Column("since"),
)
_STATES = (
    *("open", "waiting", "delivered", "restoring", "restored", "superseded", "cancelled"),
    "all",
)
_HELP = "DELIVERY is an id, or the beginning of one."


@click.group()
def deliveries() -> None:
    """Deliveries: each brings one new token to one destination, and tries again by itself."""


@deliveries.command("list")
@click.option(
    "--state",
    type=click.Choice(_STATES),
    default="all",
    show_default=True,
    help="`open` are those with something left to do.",
)
@click.option("--slot", metavar="SLOT", help="Those of one slot.")
@click.option("--key", metavar="KEY", help="Those of one key's token.")
@click.option("--rotation", metavar="ROTATION|SLOT", help="Those of one rotation.")
@click.option("--destination", metavar="NAME", help="Those to one destination.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    state: str,
    slot: str | None,
    key: str | None,
    rotation: str | None,
    destination: str | None,
    portion: Portion,
) -> None:
    """List deliveries, newest first.

    \b
    Examples:
      keyturn deliveries list --state open
      keyturn deliveries list --rotation scheduler-prod
      keyturn deliveries list --destination vault-prod --json
    """
    found = client.deliveries.list(
        state=cast("DeliveryState", state),
        slot=slot,
        key_id=None if key is None else key_id(client, key),
        rotation_id=None if rotation is None else named_rotation(client, rotation).id,
        destination=destination,
        limit=portion.page_size,
    )
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


@deliveries.command(epilog=_HELP)
@click.argument("delivery")
@calling
def show(client: "Keyturn", output: Output, delivery: str) -> None:
    """Show a delivery: where the token goes, and what holds it up.

    \b
    Examples:
      keyturn deliveries show 06aSDUtCJxNn2WzPHQ7kVt
    """
    _show(output, named_delivery(client, delivery))


@deliveries.command(epilog=_HELP)
@click.argument("delivery")
@once_option
@calling
def retry(client: "Keyturn", output: Output, delivery: str, idempotency_key: str | None) -> None:
    """Have a delivery tried at once, instead of when it would be by itself.

    \b
    Examples:
      keyturn deliveries retry 06aSDUtCJxNn2WzPHQ7kVt
    """
    id_ = named_delivery(client, delivery).id
    hurried = client.deliveries.retry(id_, idempotency_key=idempotency_key)
    _tell(
        output,
        hurried,
        f"The delivery of {hurried.slot} to {hurried.destination} is tried now; `keyturn "
        f"deliveries show {short(hurried.id)}` tells what comes of it.",
    )


@deliveries.command(epilog=_HELP)
@click.argument("delivery")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is kept.")
@once_option
@calling
def cancel(
    client: "Keyturn", output: Output, delivery: str, reason: str, idempotency_key: str | None
) -> None:
    """Give a delivery up: a person sees to that place. Refused where nobody else has the token.

    \b
    Examples:
      keyturn deliveries cancel 06aSDUtCJxNn2WzPHQ7kVt --reason 'that cluster is gone'
    """
    id_ = named_delivery(client, delivery).id
    ended = client.deliveries.cancel(id_, reason, idempotency_key=idempotency_key)
    _tell(output, ended, f"The delivery of {ended.slot} to {ended.destination} is given up.")


def _tell(output: Output, one: Delivery, sentence: str) -> None:
    if output.as_json:
        output.json(one)
    elif output.is_quiet:
        output.say(one.id)
    else:
        output.say(sentence)


def _show(output: Output, one: Delivery) -> None:
    if output.as_json:
        output.json(one)
        return
    if output.is_quiet:
        output.say(one.id)
        return
    fault = one.fault
    output.record(
        [
            ("id", one.id),
            ("slot", one.slot),
            ("key", one.key_id),
            ("rotation", one.rotation_id),
            ("destination", one.destination),
            ("state", one.state),
            ("place", one.location),
            ("version there", one.receipt),
            ("tries", one.attempts),
            ("failed in a row", one.failures),
            ("fault", None if fault is None else fault.detail),
            ("kind of fault", None if fault is None else fault.kind),
            ("tried again", one.next_attempt_at),
            ("delivered", one.delivered_at),
            ("seen there", one.checked_at),
            ("ended", one.ended_at),
            ("created", one.created_at),
            ("by", one.created_by),
        ]
    )


def _row(one: Delivery) -> tuple[object, ...]:
    return (
        short(one.id),
        one.slot,
        one.destination,
        one.state,
        one.attempts,
        None if one.fault is None else one.fault.detail,
        ago(one.created_at),
    )
