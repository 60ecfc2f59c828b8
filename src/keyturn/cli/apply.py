"""`keyturn apply`: many slots from files. What would change, making it so, and drift."""

import functools
import sys
from typing import TYPE_CHECKING

import click

from keyturn.cli.carry_out import Carried, Outcome, Result, carry_out
from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.drift import Drift, SlotChange, find_drift
from keyturn.cli.ending import INTERRUPTED, MOVED, NO, CommandFailed, ending_of
from keyturn.cli.output import Output, terminal_width
from keyturn.cli.plan_text import carried_json, names_lines, plan_json, plan_lines, plural
from keyturn.cli.slot_files import STDIN, read_files
from keyturn.client.errors import Unreachable
from keyturn.client.resources import ExpectedRuntime

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_PAGE = 1_000
_GO_ON = "The same command goes on from there."
_REASONS = {
    Outcome.MOVED: "Left alone, since somebody else changed it meanwhile",
    Outcome.UNKNOWN: "Perhaps applied, since no answer came",
    Outcome.NOT_TRIED: "Not applied",
}


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, allow_dash=True),
    help="A file in YAML or JSON, a folder of such files, or - for standard input. May be "
    "repeated.",
)
@click.option("--plan", "is_plan", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--fail-on-drift",
    "must_agree",
    is_flag=True,
    help="With --plan: end with 3 where anything would change.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@calling
def apply(
    client: "Keyturn",
    output: Output,
    files: tuple[str, ...],
    is_plan: bool,
    must_agree: bool,
    yes: bool,
) -> None:
    """Make the slots on the server say what files say.

    What a file leaves out of a slot is taken away, but for its destinations: `destinations: []`
    takes those away, and only an administrator may. Slots that no file has are told and left alone.

    \b
    A file:
      defaults:
        rotation_period_days: 90
      slots:
        scheduler-prod:
          owner: payments@example.com
          purpose: Publishes what is due
          runbook_url: https://example.com/runbooks/scheduler
          runtimes:
            - nightly=26h
            - worker
          destinations:
            - vault-prod
        worker-prod:
          owner: ops@example.com

    \b
    Examples:
      keyturn slots export > slots.yaml
      keyturn apply -f slots.yaml --plan
      keyturn apply -f slots.yaml
      keyturn apply -f teams/ --plan --fail-on-drift
    """
    if must_agree and not is_plan:
        raise click.UsageError("--fail-on-drift goes with --plan.")
    drift = find_drift(read_files(files), client.slots.list(limit=_PAGE))
    if is_plan:
        _show_plan(output, drift)
        _require_agreement(drift, must_agree)
        return
    if not output.as_json and not output.is_quiet:
        _show_plan(output, drift)
    if drift.changes and not yes and sys.stdin.isatty() and STDIN not in files:
        require_consent(f"Change {plural(len(drift.changes), 'slot')}?")
    progress = _Progress(len(drift.changes), is_shown=not output.is_quiet)
    carried = carry_out(drift.changes, functools.partial(_define, client), progress.tell)
    progress.clear()
    _show_carried(output, drift, carried)
    _require_success(carried)


def _require_agreement(drift: Drift, must_agree: bool) -> None:
    if must_agree and drift.changes:
        raise CommandFailed(
            f"Drift: {plural(len(drift.changes), 'slot')} not as the file says.",
            remedy="`keyturn apply` without --plan makes it so.",
            code=NO,
        )


def _define(client: "Keyturn", change: SlotChange) -> None:
    notes = change.notes
    client.slots.define(
        change.slot,
        owner=notes.owner,
        purpose=notes.purpose,
        runbook_url=notes.runbook_url,
        rotation_period_days=notes.rotation_period_days,
        runtimes=[
            ExpectedRuntime(name=one.name, max_call_interval_seconds=one.max_call_interval_seconds)
            for one in notes.runtimes or ()
        ]
        or None,
        destinations=notes.destinations,
        version=change.version,
        is_new=change.version is None,
    )


class _Progress:
    """How many changes are through, on a terminal at standard error."""

    def __init__(self, total: int, *, is_shown: bool) -> None:
        self._total = total
        self._is_shown = is_shown and sys.stderr is not None and sys.stderr.isatty()

    def tell(self, done: int) -> None:
        if self._is_shown:
            click.echo(f"\r{done:,} of {self._total:,}", nl=False, err=True)

    def clear(self) -> None:
        if self._is_shown and self._total:
            click.echo("\r\x1b[K", nl=False, err=True)


def _show_plan(output: Output, drift: Drift) -> None:
    if output.as_json:
        output.json(plan_json(drift))
    elif output.is_quiet:
        for change in drift.changes:
            click.echo(change.slot)
    else:
        for line in plan_lines(drift, terminal_width()):
            click.echo(line)


def _show_carried(output: Output, drift: Drift, carried: Carried) -> None:
    applied = carried.of(Outcome.APPLIED)
    if output.as_json:
        output.json(carried_json(drift, carried))
    elif output.is_quiet:
        for one in applied:
            click.echo(one.change.slot)
    elif drift.changes:
        click.echo(f"{len(applied):,} of {plural(len(drift.changes), 'change')} applied.")
    for title, names in _left_out(carried):
        for line in names_lines(title, names, terminal_width()):
            click.echo(line, err=True)


def _left_out(carried: Carried) -> list[tuple[str, list[str]]]:
    """What was not applied, by the reason."""
    found: dict[str, list[str]] = {}
    for one in carried.results:
        if one.outcome is not Outcome.APPLIED:
            found.setdefault(_reason(one), []).append(one.change.slot)
    return list(found.items())


def _reason(result: Result) -> str:
    if result.outcome is Outcome.REFUSED and result.error is not None:
        return f"Refused ({ending_of(result.error).detail})"
    return _REASONS[result.outcome]


def _require_success(carried: Carried) -> None:
    """Raises `CommandFailed` where not all was applied: for what ended it, else for a refusal, else
    for a slot that has moved."""
    told = f"{len(carried.of(Outcome.APPLIED)):,} of {plural(len(carried.results), 'change')}"
    if carried.is_interrupted:
        raise CommandFailed(f"Interrupted: {told} applied.", remedy=_GO_ON, code=INTERRUPTED)
    stopped_by = carried.stopped_by
    if stopped_by is not None:
        ending = ending_of(stopped_by)
        is_lost = isinstance(stopped_by, Unreachable) and stopped_by.was_sent
        raise CommandFailed(
            f"{ending.detail} {told} applied.",
            remedy=_GO_ON if is_lost else f"{_GO_ON} {ending.remedy}".rstrip(),
            code=ending.code,
        )
    refused = [one.error for one in carried.of(Outcome.REFUSED) if one.error is not None]
    if refused:
        ending = ending_of(refused[0])
        raise CommandFailed(
            f"{plural(len(refused), 'change')} refused; {told} applied.",
            remedy=ending.remedy,
            code=ending.code,
        )
    moved = carried.of(Outcome.MOVED)
    if moved:
        raise CommandFailed(
            f"{plural(len(moved), 'slot')} changed by somebody else meanwhile; {told} applied.",
            remedy="Look with --plan, and apply again.",
            code=MOVED,
        )
