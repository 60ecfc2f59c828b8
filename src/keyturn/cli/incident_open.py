"""`keyturn incidents open`: keys are contained, by a token, by name, or by a selection.

A selection is shown first, and what is contained then is what was shown: the server is told its
count, and refuses another.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.containing import Contained, contain_exposed, exposed_by, tell_opened
from keyturn.cli.ending import ABSENT, MOVED, CommandFailed
from keyturn.cli.exposed import find_exposed
from keyturn.cli.exposed_input import exposed_text
from keyturn.cli.incident_terms import Terms, terms_options
from keyturn.cli.naming import KEY_HELP, short, spelled_id
from keyturn.cli.output import Column, Output, counted, table_lines
from keyturn.cli.repeating import once_option
from keyturn.cli.when import BACK
from keyturn.client.errors import SelectionMoved
from keyturn.client.incident_records import KeySelection, Selection

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_SELECTED = (
    Column("key"),
    Column("name", wide=True),
    Column("slot", wide=True, optional=True),
    Column("status"),
    Column("owner", wide=True),
)


@click.command("open", epilog=KEY_HELP)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A text with the exposed tokens; `-` is standard input.",
)
@click.option("--key", "keys", multiple=True, metavar="KEY", help="May be repeated.")
@click.option("--slot", metavar="SLOT", help="Select the keys of a slot.")
@click.option("--owner", metavar="TEXT", help="Select those of an owner.")
@click.option("--created-by", metavar="ID", help="Select those that a key or an operator made.")
@click.option("--destination", metavar="NAME", help="Select those that were delivered there.")
@click.option("--since", type=BACK, metavar="WHEN", help="Select those made since: 3d, or a time.")
@click.option("--until", type=BACK, metavar="WHEN", help="Select those made before.")
@click.option("--dry-run", is_flag=True, help="Show what is selected, and change nothing.")
@click.option(
    "--expect",
    "expected_count",
    type=click.IntRange(0),
    metavar="N",
    help="Do not ask where exactly so many are selected; else contain none.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@terms_options
@once_option
@calling
def open_(
    client: "Keyturn",
    output: Output,
    token_file: str | None,
    keys: tuple[str, ...],
    slot: str | None,
    owner: str | None,
    created_by: str | None,
    destination: str | None,
    since: datetime | None,
    until: datetime | None,
    dry_run: bool,
    expected_count: int | None,
    yes: bool,
    terms: Terms,
    idempotency_key: str | None,
) -> None:
    """Contain keys, and follow that as an incident. They are dead when this returns.

    What is selected is shown first, and asked for. `keyturn contain` is the shorter way from a
    leaked string.

    \b
    Examples:
      keyturn incidents open --token-file - < leaked.txt
      keyturn incidents open --key worker-prod --detail 'in a public gist' --exposed-since 3d
      keyturn incidents open --destination vault-old --until 30d --dry-run
      keyturn incidents open --owner ada@example.com --reason staff_change --expect 12
    """
    select = KeySelection(
        slot=slot,
        owner=owner,
        created_by=None if created_by is None else spelled_id(created_by) or created_by,
        destination=destination,
        since=since,
        until=until,
    )
    is_selection = select != KeySelection()
    if (token_file is not None) + bool(keys) + is_selection != 1:
        raise click.UsageError(
            "Give --token-file, --key, or a selection (--slot, --owner, --created-by, "
            "--destination, --since, --until), one of the three."
        )
    if not is_selection and (dry_run or expected_count is not None):
        raise click.UsageError("--dry-run and --expect go with a selection.")
    if token_file is not None:
        found = find_exposed(exposed_text(token_file))
        tell_opened(output, contain_exposed(client, found, terms, idempotency_key))
    elif keys:
        named = [one for key in keys for one in exposed_by(client, key, yes)]
        tell_opened(output, contain_exposed(client, named, terms, idempotency_key))
    else:
        _open_selected(client, output, select, terms, dry_run, expected_count, yes, idempotency_key)


def _open_selected(
    client: "Keyturn",
    output: Output,
    select: KeySelection,
    terms: Terms,
    is_dry: bool,
    expected: int | None,
    yes: bool,
    idempotency_key: str | None,
) -> None:
    if expected is None or is_dry:
        selection = client.incidents.select(select, exposed_since=terms.exposed_since)
        _show(output, selection, is_dry)
        if is_dry:
            return
        if not selection.count:
            raise CommandFailed("The selection holds no key.", code=ABSENT)
        if not yes:
            verb = "Suspend" if terms.containment == "suspend" else "Revoke"
            undone = "" if terms.containment == "suspend" else " It cannot be undone."
            require_consent(f"{verb} {counted(selection.count, 'key')}?{undone}")
        expected = selection.count
    try:
        opened = client.incidents.open(
            select=select,
            expected_count=expected,
            reason=terms.reason,
            detail=terms.detail,
            found_url=terms.found_url,
            exposed_since=terms.exposed_since,
            containment=terms.containment,
            idempotency_key=idempotency_key,
        )
    except SelectionMoved as error:
        listed = ", ".join(f"{one.name} ({short(one.key_id)})" for one in error.keys[:20])
        more = f" and {len(error.keys) - 20:,} more" if len(error.keys) > 20 else ""
        raise CommandFailed(
            f"{error.detail} ({error.code}, request {error.request_id})\n  It holds "
            f"{counted(len(error.keys), 'key')}: {listed}{more}.",
            remedy="Look at them; then repeat it with --expect and their number.",
            code=MOVED,
        ) from error
    tell_opened(output, Contained(opened=[opened], unmatched=()))


def _show(output: Output, selection: Selection, is_dry: bool) -> None:
    """The selection: as the result of a dry run, and else beside it, for whom is asked."""
    if is_dry and output.as_json:
        output.json(selection)
        return
    if is_dry and output.is_quiet:
        for one in selection.keys:
            output.say(one.key_id)
        return
    rows = [
        (short(one.key_id), one.name, one.slot, one.status, one.owner) for one in selection.keys
    ]
    rows += [
        (short(one.key_id), one.name, one.slot, one.status, one.owner)
        for one in selection.made_by_contained
    ]
    told = f"{counted(selection.count, 'key')} selected."
    made = len(selection.made_by_contained)
    if made:
        told += f" {made:,} more they made while they were exposed, and would end with them."
    if selection.unreached:
        names = ", ".join(one.name or str(short(one.key_id)) for one in selection.unreached[:20])
        more = len(selection.unreached) - 20
        told += f" Left alone, though they made them: {names}" + (
            f" and {more:,} more." if more > 0 else "."
        )
    if is_dry:
        output.table(_SELECTED, rows)
        output.note(f"{told} Nothing was changed; without --dry-run they are contained.")
    elif not output.is_quiet:
        _beside(rows, told)


def _beside(rows: Sequence[Sequence[object]], told: str) -> None:
    for line in table_lines(_SELECTED, rows, None) or ():
        click.echo(line, err=True)
    click.echo(told, err=True)
