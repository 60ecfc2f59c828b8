"""`keyturn activity`: who changed what, and the log that shows tampering."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.lazy import Lazy, lazy_group
from keyturn.cli.output import Column, Output
from keyturn.cli.paged import Portion, paged
from keyturn.cli.when import BACK
from keyturn.client.resources import Activity

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_COLUMNS = (
    Column("at (utc)"),
    Column("who", wide=True),
    Column("action"),
    Column("status"),
    Column("message", wide=True),
    Column("request", wide=True, optional=True),
)


# `verify` needs the product, `list` does not.
_COMMANDS = lazy_group(
    list=Lazy("keyturn.cli.activity:list_", "Who changed what."),
    verify=Lazy("keyturn.cli.attest:verify", "Check the whole log of an installation."),
)


@click.group(cls=_COMMANDS)
def activity() -> None:
    """The activity log: every management act, chained by hashes, its end signed."""


@click.command("list")
@click.option("--category", type=click.Choice(["security", "configuration", "integration"]))
@click.option("--action", metavar="WORD", help="Like api_key.revoked.")
@click.option("--status", type=click.Choice(["success", "failed"]))
@click.option("--resource-type", metavar="WORD", help="Like api_key.")
@click.option("--resource-id", metavar="ID")
@click.option("--request-id", metavar="ID", help="What one call did.")
@click.option("--actor", metavar="WHO", help="An id or a label.")
@click.option("--since", type=BACK, metavar="WHEN", help="24h, 7d, or a time.")
@click.option("--until", type=BACK, metavar="WHEN", help="1h, or a time.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    category: str | None,
    action: str | None,
    status: str | None,
    resource_type: str | None,
    resource_id: str | None,
    request_id: str | None,
    actor: str | None,
    since: datetime | None,
    until: datetime | None,
    portion: Portion,
) -> None:
    """List activity, newest first.

    \b
    Examples:
      keyturn activity list --since 24h --category security
      keyturn activity list --actor ada@example.com --json
    """
    found = client.activity.list(
        category=category,
        action=action,
        status=status,
        resource_type=resource_type,
        resource_id=resource_id,
        request_id=request_id,
        actor=actor,
        since=since,
        until=until,
        limit=portion.page_size,
    )
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


def _row(one: Activity) -> tuple[object, ...]:
    message = one.message or json.dumps(one.metadata)
    return (one.created_at, one.actor_label, one.action, one.status, message, one.request_id)
