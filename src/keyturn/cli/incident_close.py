"""`keyturn incidents close`: the end of an incident, once all of its keys are seen to."""

from datetime import datetime
from typing import TYPE_CHECKING, NoReturn, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import MOVED, CommandFailed
from keyturn.cli.incident_board import Row, board_of, brief
from keyturn.cli.incident_replace import key_of
from keyturn.cli.naming import INCIDENT_HELP, named_incident, short
from keyturn.cli.output import Column, Output, counted, spelled, table_lines
from keyturn.cli.repeating import once_option
from keyturn.cli.when import AHEAD, now
from keyturn.client.errors import KeysOpen
from keyturn.client.incident_records import Incident, KeyWaiver

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.incidents import Outcome

_OPEN = (
    Column("still open", wide=True),
    Column("id"),
    Column("is"),
    Column("waits for", wide=True),
)


@click.command(epilog=INCIDENT_HELP)
@click.argument("incident")
@click.option(
    "--outcome",
    required=True,
    type=click.Choice(["confirmed", "false_alarm"]),
    help="What it was. A false alarm resumes what was suspended, and nothing that was revoked: "
    "that has to be recovered or waived all the same.",
)
@click.option(
    "--waive",
    multiple=True,
    metavar="KEY=REASON",
    help="Close without this key; with --waived-until. May be repeated.",
)
@click.option(
    "--waived-until",
    "until",
    type=AHEAD,
    metavar="WHEN",
    help="When the waivers run out: 30d, or a time.",
)
@once_option
@calling
def close(
    client: "Keyturn",
    output: Output,
    incident: str,
    outcome: str,
    waive: tuple[str, ...],
    until: datetime | None,
    idempotency_key: str | None,
) -> None:
    """Close an incident. It is refused until each key is recovered, or waived by name.

    \b
    Examples:
      keyturn incidents close 06aSDUtCJxNn2WzPHQ7kVt --outcome confirmed
      keyturn incidents close 06aSDUtCJxNn2WzPHQ7kVt --outcome confirmed \\
        --waive batch-prod='switched off in May' --waived-until 30d
    """
    if bool(waive) != (until is not None):
        raise click.UsageError("--waive and --waived-until go together: a waiver runs out.")
    pairs = [_parted(one) for one in waive]
    found = named_incident(client, incident)
    waivers = [
        KeyWaiver(key_id=key_of(found, name).key_id, reason=reason, until=until)
        for name, reason in pairs
        if until is not None
    ]
    try:
        closed = client.incidents.close(
            found.id,
            cast("Outcome", outcome),
            waive=waivers or None,
            idempotency_key=idempotency_key,
        )
    except KeysOpen as error:
        _refuse(client, found, error, outcome)
    if output.as_json:
        output.json(closed)
    elif output.is_quiet:
        output.say(closed.id)
    else:
        _tell(output, closed)


def _parted(text: str) -> tuple[str, str]:
    name, _, reason = text.partition("=")
    if not name or not reason.strip():
        raise click.UsageError("--waive takes a key and a reason: batch-prod='switched off'.")
    return name, reason


def _refuse(client: "Keyturn", found: Incident, error: KeysOpen, outcome: str) -> NoReturn:
    """Shows which keys are open, by name, and what each waits for; and ends with the way out."""
    board = board_of(client.incidents.read(found.id), now())
    statuses = {key.key_id: status for key, status in board.keys}
    rows = [
        (
            one.name,
            short(one.key_id),
            statuses.get(one.key_id),
            _waits_for(board.rows, one.key_id) or "a new key",
        )
        for one in error.keys
    ]
    for line in table_lines(_OPEN, rows, None) or ():
        click.echo(line, err=True)
    name = short(found.id)
    ways = [board.step] if board.step else []
    ways += [f"  {board.command}"] if board.command else []
    ways.append(
        f"What cannot be waited for is left out by name: `keyturn incidents close {name} --outcome "
        f"{outcome} --waive KEY=REASON --waived-until 30d`."
    )
    raise CommandFailed(
        f"{error.detail} ({error.code}, request {error.request_id})",
        remedy="\n  ".join(ways),
        code=MOVED,
    ) from error


def _waits_for(rows: tuple[Row, ...], key_id: str) -> str:
    waits = [row for row in rows if row.key.key_id == key_id and row.reason]
    return "; ".join(f"{row.name}: {row.reason}" for row in waits)


def _tell(output: Output, closed: Incident) -> None:
    took = closed.seconds
    told = f"Closed incident {short(closed.id)}: {closed.outcome}"
    waived = [one for one in closed.keys if one.waived is not None and one.recovered_at is None]
    if took.recover is not None and not waived:
        told += f", recovered after {brief(took.recover)}"
    output.say(f"{told}.")
    for one in waived:
        if one.waived is not None:
            until = spelled(one.waived.until)
            output.say(f"Without {one.name} ({one.waived.reason}), until {until} (UTC).")
    report = f"`keyturn incidents report {short(closed.id)}` stays"
    if closed.outcome == "false_alarm":
        _tell_false_alarm(output, closed)
        output.note(f"{report}.")
    else:
        output.note(f"{report}; a use of its keys from now on is a finding.")


def _tell_false_alarm(output: Output, closed: Incident) -> None:
    resumed = sum(one.status == "active" for one in closed.keys)
    gone = sum(one.status == "revoked" for one in closed.keys)
    if resumed:
        output.say(f"{counted(resumed, 'key')} that it had suspended work again.")
    if gone:
        stay = "stays" if gone == 1 else "stay"
        output.say(f"{counted(gone, 'key')} {stay} revoked: that cannot be undone.")
