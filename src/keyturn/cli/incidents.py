"""`keyturn incidents`: exposed keys are contained, and followed until all is well again."""

from datetime import datetime
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.incident_board import board_lines, board_of, changes
from keyturn.cli.incident_close import close
from keyturn.cli.incident_open import open_
from keyturn.cli.incident_replace import replace
from keyturn.cli.incident_report import report
from keyturn.cli.naming import INCIDENT_HELP, key_id, named_incident, short
from keyturn.cli.output import Column, Output, ago, harmless, terminal_width
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option
from keyturn.cli.watching import Watched
from keyturn.cli.watching import watch as look_on
from keyturn.cli.when import BACK, now
from keyturn.client.incident_records import Incident, ListedIncident

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.incidents import CallerStanding, IncidentReason, IncidentState

_LISTED = (
    Column("id"),
    Column("state"),
    Column("reason", optional=True),
    Column("open", right=True),
    Column("opened"),
    Column("by", wide=True, optional=True),
    Column("next", wide=True),
)
_STATES = ("open", "contained", "investigating", "replacing", "recovering", "closed", "all")
_REASONS = ("leaked", "suspected", "staff_change", "other")

_incident = click.argument("incident")


@click.group()
def incidents() -> None:
    """Incidents: exposed keys end first; then who used them, new keys, and the end of it."""


@incidents.command("list")
@click.option(
    "--state",
    type=click.Choice(_STATES),
    default="open",
    show_default=True,
    help="`open` are those that are not closed.",
)
@click.option("--key", metavar="KEY", help="Those of one key.")
@click.option("--reason", type=click.Choice(_REASONS), help="Only those.")
@click.option("--since", type=BACK, metavar="WHEN", help="Opened since: 90d, or a time.")
@click.option("--until", type=BACK, metavar="WHEN", help="Opened before: 30d, or a time.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    state: str,
    key: str | None,
    reason: str | None,
    since: datetime | None,
    until: datetime | None,
    portion: Portion,
) -> None:
    """List incidents, newest first.

    \b
    Examples:
      keyturn incidents list
      keyturn incidents list --state all --since 90d --json
    """
    found = client.incidents.list(
        state=cast("IncidentState", state),
        key_id=None if key is None else key_id(client, key),
        reason=cast("IncidentReason | None", reason),
        since=since,
        until=until,
        limit=portion.page_size,
    )
    portion.show(output, found, _LISTED, _row, lambda one: one.id)


@incidents.command(epilog=INCIDENT_HELP)
@_incident
@calling
def show(client: "Keyturn", output: Output, incident: str) -> None:
    """Show an incident: what is next, its keys, and who used them.

    \b
    Examples:
      keyturn incidents show 06aSDUtCJxNn2WzPHQ7kVt
      keyturn incidents show kt_prod_06aSDUtCJxNn2WzPHQ7kVt --json
    """
    _show(output, named_incident(client, incident))


@incidents.command(epilog=INCIDENT_HELP)
@_incident
@calling
def watch(client: "Keyturn", output: Output, incident: str) -> None:
    """Look on until each key is recovered or waived, or the incident is closed.

    On a terminal its tables change in their place; elsewhere there is a line for each change, and
    with --json a line of JSON. Ctrl-C ends nothing but the looking.

    \b
    Examples:
      keyturn incidents watch 06aSDUtCJxNn2WzPHQ7kVt
      keyturn incidents watch 06aSDUtCJxNn2WzPHQ7kVt --json | jq .state
    """
    found = named_incident(client, incident)
    watched = Watched(
        url=client.url,
        read=lambda: client.incidents.read(found.id),
        goes_on=_goes_on,
        page=lambda one, moment, width, most: board_lines(board_of(one, moment), width, most),
        changes=changes,
        essence=lambda one: one,
        interrupted=f"The incident goes on; `keyturn incidents watch {short(found.id)}` looks "
        "again.",
    )
    ended = look_on(watched, output, found)
    if output.is_quiet:
        output.say(ended.id)


@incidents.command(epilog=INCIDENT_HELP)
@_incident
@click.argument("runtime")
@click.option(
    "--standing", required=True, type=click.Choice(["ours", "intruder"]), help="What it is."
)
@click.option(
    "--network", metavar="PLACE", help="From there only; spelled as the incident tells it."
)
@once_option
@calling
def place(
    client: "Keyturn",
    output: Output,
    incident: str,
    runtime: str,
    standing: str,
    network: str | None,
    idempotency_key: str | None,
) -> None:
    """Say of who used a contained key whether it is yours, or an intruder.

    ours: it is waited for, until it is let in with the new key. intruder: what it did is told of in
    the report, and it is waited for no more.

    \b
    Examples:
      keyturn incidents place 06aSDUtCJxNn2WzPHQ7kVt web --standing ours
      keyturn incidents place 06aSDUtCJxNn2WzPHQ7kVt web --network 198.51.100.7 --standing intruder
    """
    changed = client.incidents.place(
        named_incident(client, incident).id,
        runtime,
        cast("CallerStanding", standing),
        network=network,
        idempotency_key=idempotency_key,
    )
    if output.as_json:
        output.json(changed)
    elif output.is_quiet:
        output.say(changed.id)
    else:
        where = f" from {network}" if network else ""
        output.say(harmless(f"Of {runtime}{where} it is kept: {standing}."))
        output.say(f"Next: {changed.next_step}")


for _command in (open_, report, replace, close):
    incidents.add_command(_command)


def _goes_on(one: Incident) -> bool:
    return one.is_open and one.recovered_at is None


def _show(output: Output, incident: Incident) -> None:
    if output.as_json:
        output.json(incident)
    elif output.is_quiet:
        output.say(incident.id)
    else:
        for line in board_lines(board_of(incident, now()), terminal_width()):
            click.echo(line)


def _row(one: ListedIncident) -> tuple[object, ...]:
    return (
        short(one.id),
        one.state,
        one.reason,
        f"{one.keys_open:,}/{one.keys_total:,}",
        ago(one.opened_at),
        one.opened_by,
        one.next_step if one.is_open else one.outcome,
    )
