"""`keyturn posture evidence`: every key that lived in a period, as an auditor asks for it."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import short
from keyturn.cli.output import Column, Output, counted
from keyturn.cli.when import BACK
from keyturn.client.posture_records import KeyEvidence
from keyturn.domain.spreadsheet import csv_lines

if TYPE_CHECKING:
    from datetime import datetime

    from keyturn.client import Keyturn

_PAGE = 1_000
_DAY_SECONDS = 86_400
_COLUMNS = (
    Column("key"),
    Column("name", wide=True),
    Column("slot", wide=True, optional=True),
    Column("owner", wide=True),
    Column("greatest age", right=True),
    Column("overdue"),
    Column("rotations", right=True),
    Column("incidents", right=True),
    Column("ended", wide=True),
    Column("last used", optional=True),
    Column("waived", wide=True, optional=True),
)
_TITLES = (
    "key_id",
    "name",
    "slot",
    "owner",
    "runbook_url",
    "scopes",
    "permissions",
    "created_at",
    "created_by",
    "last_used_at",
    "ended_at",
    "ended_by",
    "greatest_age_days",
    "rotation_period_days",
    "was_overdue",
    "rotations",
    "incidents",
    "waivers",
)


@click.command()
@click.option("--from", "since", required=True, type=BACK, metavar="WHEN", help="90d, or a time.")
@click.option("--to", "until", type=BACK, metavar="WHEN", help="Default: now.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="`csv` has no cell that a spreadsheet would calculate.",
)
@calling
def evidence(
    client: "Keyturn",
    output: Output,
    since: "datetime",
    until: "datetime | None",
    form: str,
) -> None:
    """List every key that lived in a period: owner, greatest age, rotations, how it ended.

    Owner, runbook and period are as they stand now; `keyturn activity` tells what they were.

    \b
    Examples:
      keyturn posture evidence --from 365d
      keyturn posture evidence --from 2026-01-01T00:00:00Z --to 2026-04-01T00:00:00Z --format csv
    """
    found = output.counting(client.posture.evidence(since, until, limit=_PAGE))
    if output.as_json or form == "json":
        output.json(list(found))
    elif form == "csv":
        for line in csv_lines(_TITLES, map(_cells, found)):
            click.echo(line.encode(), nl=False)
    elif output.is_quiet:
        for one in found:
            output.say(one.key_id)
    else:
        rows = [_row(one) for one in found]
        output.table(_COLUMNS, rows)
        output.note(f"{counted(len(rows), 'key')} lived in the period.")


def _row(one: KeyEvidence) -> tuple[object, ...]:
    return (
        short(one.key_id),
        one.name,
        one.slot,
        one.owner,
        f"{one.greatest_age_seconds // _DAY_SECONDS:,} d",
        one.was_overdue,
        len(one.rotations),
        None if one.incidents is None else len(one.incidents),
        None if one.ended_at is None else f"{one.ended_at:%Y-%m-%d} {one.ended_by}",
        one.last_used_at,
        sorted({each.check for each in one.waivers}),
    )


def _cells(one: KeyEvidence) -> tuple[object, ...]:
    return (
        one.key_id,
        one.name,
        one.slot,
        one.owner,
        one.runbook_url,
        " ".join(one.scopes),
        " ".join(one.permissions),
        _time(one.created_at),
        one.created_by,
        _time(one.last_used_at),
        _time(one.ended_at),
        one.ended_by,
        round(one.greatest_age_seconds / _DAY_SECONDS, 2),
        one.rotation_period_days,
        one.was_overdue,
        "; ".join(
            f"{each.state} as {each.role} key, begun {_time(each.started_at)}"
            f"{', forced' if each.forced else ''}"
            for each in one.rotations
        ),
        "; ".join(
            f"{each.reason} since {_time(each.opened_at)}, {each.outcome or each.state}"
            for each in one.incidents or ()
        ),
        "; ".join(
            f"{each.check} until {_time(each.until)} by {each.created_by}: {each.reason}"
            for each in one.waivers
        ),
    )


def _time(moment: "datetime | None") -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
