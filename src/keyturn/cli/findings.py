"""`keyturn findings`: what a person should know of keys, slots and rotations."""

import json
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import named_finding, short
from keyturn.cli.output import Column, Output, ago
from keyturn.cli.paged import Portion, paged
from keyturn.client.rotation_records import Finding

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.findings import FindingState, Severity

_COLUMNS = (
    Column("id"),
    Column("severity"),
    Column("finding", wide=True),
    Column("slot", wide=True),
    Column("about", optional=True),
    Column("since"),
    Column("state", optional=True),
)
_FINDING_HELP = "FINDING is an id, or the beginning of one."


@click.group()
def findings() -> None:
    """Findings: each goes by itself when its cause is gone."""


@findings.command("list")
@click.option(
    "--state",
    type=click.Choice(["open", "acknowledged", "resolved", "all"]),
    default="open",
    show_default=True,
    help="`open` are those that nobody has acknowledged.",
)
@click.option("--kind", metavar="WORD", help="Like rotation.overdue.")
@click.option("--severity", type=click.Choice(["info", "warning", "critical"]), help="Only those.")
@click.option("--slot", metavar="SLOT", help="Those of one slot.")
@click.option("--subject", "subject_id", metavar="ID", help="Of one key, slot or rotation.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    state: str,
    kind: str | None,
    severity: str | None,
    slot: str | None,
    subject_id: str | None,
    portion: Portion,
) -> None:
    """List findings, newest first.

    \b
    Examples:
      keyturn findings list --severity critical
      keyturn findings list --state all --slot scheduler-prod --json
    """
    found = client.findings.list(
        state=cast("FindingState", state),
        kind=kind,
        severity=cast("Severity | None", severity),
        slot=slot,
        subject_id=subject_id,
        limit=portion.page_size,
    )
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


@findings.command(epilog=_FINDING_HELP)
@click.argument("finding")
@calling
def show(client: "Keyturn", output: Output, finding: str) -> None:
    """Show a finding, with its evidence.

    \b
    Examples:
      keyturn findings show 06aSDUtCJxNn2WzPHQ7kVt
    """
    _show(output, named_finding(client, finding))


@findings.command(epilog=_FINDING_HELP)
@click.argument("finding")
@click.option("--reason", metavar="TEXT", help="Why it may be, or who sees to it; it is kept.")
@calling
def acknowledge(client: "Keyturn", output: Output, finding: str, reason: str | None) -> None:
    """Say that somebody knows of it. It leaves the list of open ones.

    \b
    Examples:
      keyturn findings acknowledge 06aSDUtCJxNn2WzPHQ7kVt --reason 'Ada sees to it'
    """
    id_ = named_finding(client, finding).id
    _show(output, client.findings.acknowledge(id_, reason=reason))


def _show(output: Output, finding: Finding) -> None:
    if output.as_json:
        output.json(finding)
        return
    if output.is_quiet:
        output.say(finding.id)
        return
    output.record(
        [
            ("id", finding.id),
            ("finding", finding.kind),
            ("severity", finding.severity),
            ("state", finding.state),
            ("about", f"{finding.subject.type} {finding.subject.id}"),
            ("slot", finding.subject.slot),
            ("since", finding.since),
            ("acknowledged", finding.acknowledged_at),
            ("by", finding.acknowledged_by),
            ("reason", finding.reason),
            ("resolved", finding.resolved_at),
            *((name, _spelled(value)) for name, value in finding.evidence.items()),
        ]
    )


def _spelled(value: object) -> object:
    """A member of the evidence, which may be any JSON."""
    return value if isinstance(value, str | int | None) else json.dumps(value, ensure_ascii=False)


def _row(one: Finding) -> tuple[object, ...]:
    about = short(one.subject.id) if one.subject.type != "slot" else None
    return (
        short(one.id),
        one.severity,
        one.kind,
        one.subject.slot,
        f"{one.subject.type} {about}" if about else one.subject.type,
        ago(one.since),
        one.state,
    )
