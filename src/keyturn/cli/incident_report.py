"""`keyturn incidents report`: the blast radius, on a terminal or as a file to hand on."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import CommandFailed
from keyturn.cli.naming import INCIDENT_HELP, named_incident, short
from keyturn.cli.output import Output, as_wire, terminal_width
from keyturn.cli.report_board import report_lines
from keyturn.cli.when import now

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.incidents import ReportText

_FORMATS = ("table", "markdown", "html", "csv", "json")


@click.command(epilog=INCIDENT_HELP)
@click.argument("incident")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="markdown for a ticket, html to print, csv with the requests of callers that are not "
    "yours. Default: table.",
)
@click.option(
    "-o", "--output", "target", metavar="FILE", help="Where it goes (0600); default: shown."
)
@calling
def report(
    client: "Keyturn", output: Output, incident: str, form: str | None, target: str | None
) -> None:
    """Tell who used the keys of an incident, for what, and what of that is unlike their usual life.

    \b
    Examples:
      keyturn incidents report 06aSDUtCJxNn2WzPHQ7kVt
      keyturn incidents report 06aSDUtCJxNn2WzPHQ7kVt --format html -o report.html
      keyturn incidents report 06aSDUtCJxNn2WzPHQ7kVt --format csv | head
    """
    if output.as_json and form not in (None, "json"):
        raise click.UsageError("Give --json or --format, but not both.")
    found = named_incident(client, incident)
    text = _text(client, found.id, "json" if output.as_json else form or "table", target)
    if target is None or target == "-":
        click.echo(text, nl=not text.endswith("\n"))
        return
    path = Path(target)
    _write(path, text)
    output.note(f"The report of incident {short(found.id)} is in {path}")


def _text(client: "Keyturn", id_: str, form: str, target: str | None) -> str:
    if form in ("markdown", "html", "csv"):
        return client.incidents.export(id_, cast("ReportText", form))
    found = client.incidents.report(id_)
    if form == "json":
        return as_wire(found) + "\n"
    width = terminal_width() if target is None else None
    return "\n".join(report_lines(found, now(), width)) + "\n"


def _write(path: Path, text: str) -> None:
    """Whole or not at all, in the place of an earlier one."""
    draft = path.absolute().with_name(f".{path.name}.draft")
    try:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        draft.replace(path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            draft.unlink()
        why = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise CommandFailed(
            f"The report cannot be written to {path} ({why}).",
            remedy="Name another place with --output.",
        ) from error
