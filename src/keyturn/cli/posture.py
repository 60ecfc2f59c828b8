"""`keyturn posture`: whether a workspace keeps to the guide, what is waived, and the evidence."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import NO
from keyturn.cli.naming import key_id, short, waiver_id
from keyturn.cli.output import Column, Output, ago, counted
from keyturn.cli.paged import Portion, paged
from keyturn.cli.posture_evidence import evidence
from keyturn.cli.repeating import once_option
from keyturn.cli.when import AHEAD
from keyturn.client.posture_records import Check, Concerned, Posture, PostureWaiver
from keyturn.domain.posture.check import CheckId

if TYPE_CHECKING:
    from datetime import datetime

    from keyturn.client import Keyturn

COMMANDLINE = click.core.ParameterSource.COMMANDLINE
_CHECKS = tuple(one.value for one in CheckId)
_RESULTS = ("fail", "unknown", "waived", "pass")
_LEVELS = ("fail", "unknown")
_COLUMNS = (
    Column("result"),
    Column("check"),
    Column("known", optional=True),
    Column("concerned", right=True),
    Column("since", optional=True),
    Column("next", wide=True),
)
_CONCERNED = (
    Column("result"),
    Column("what", optional=True),
    Column("name", wide=True),
    Column("id"),
    Column("slot", wide=True, optional=True),
    Column("since", optional=True),
    Column("why", wide=True),
)
_WAIVERS = (
    Column("id"),
    Column("check"),
    Column("of", wide=True),
    Column("until"),
    Column("active"),
    Column("by", wide=True, optional=True),
    Column("reason", wide=True),
)
_WAIVER_HELP = "WAIVER is an id, or the beginning of one."


class _FailOn(click.ParamType[tuple[str, ...]]):
    """`fail`, `unknown`, or names of checks, with commas between them."""

    name = "fail-on"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in str(value).split(",") if word.strip())
        strange = [word for word in words if word not in (*_LEVELS, *_CHECKS)]
        if strange or not words:
            told = strange[0] if strange else "nothing"
            self.fail(
                f"{told} is neither `fail` nor `unknown` nor a check; `keyturn posture` lists "
                "them.",
                param,
                ctx,
            )
        return words


def _alone(command: Callable[..., None]) -> Callable[..., None]:
    """A command that is a group too: where a subcommand follows, it does nothing, its token is not
    asked for, and its options would be lost."""

    @functools.wraps(command)
    def call(**options: object) -> None:
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            command(**options)
            return
        if any(ctx.get_parameter_source(name) is COMMANDLINE for name in ctx.params):
            raise click.UsageError("Options go behind the subcommand.")

    return call


@click.group(invoke_without_command=True)
@_alone
@click.option(
    "--check", type=click.Choice(_CHECKS), metavar="CHECK", help="That one, with what it concerns."
)
@click.option("--result", type=click.Choice(_RESULTS), help="Those that came to this.")
@click.option(
    "--fail-on",
    type=_FailOn(),
    metavar="WHAT",
    help="End with 3 where a check fails (`fail`), fails or is unknown (`unknown`), or where one "
    "of those named does: keys.owned,log.verified.",
)
@calling
def posture(
    client: "Keyturn",
    output: Output,
    check: str | None,
    result: str | None,
    fail_on: tuple[str, ...] | None,
) -> None:
    """Whether the workspace keeps to the guide: each line of it a check, with what helps.

    A check is measured from what happened, or declared by people; what is unknown never passes.

    \b
    Examples:
      keyturn posture
      keyturn posture --check keys.separate
      keyturn posture --fail-on fail
      keyturn posture --fail-on keys.owned,keys.runbook --json
    """
    # What ends it must be judged over every check, whatever is shown.
    found = client.posture.read()
    shown = [
        one for one in found.checks if check in (None, one.id) and result in (None, one.result)
    ]
    _show(output, found, shown, is_one=check is not None)
    broken = _broken(found, fail_on or ())
    if broken:
        output.note(f"Not kept: {', '.join(broken)}.")
        raise click.exceptions.Exit(NO)


def _broken(found: Posture, fail_on: tuple[str, ...]) -> list[str]:
    """The checks that end the command with a no. One that is named passes or is waived, or not."""
    return [
        one.id
        for one in found.checks
        if (one.result == "fail" and ("fail" in fail_on or "unknown" in fail_on))
        or (one.result == "unknown" and "unknown" in fail_on)
        or (one.result not in ("pass", "waived") and one.id in fail_on)
    ]


def _show(output: Output, found: Posture, shown: list[Check], *, is_one: bool) -> None:
    if output.as_json:
        members = {name: getattr(found, name) for name in found.__struct_fields__}
        output.json({**members, "checks": shown})
        return
    if output.is_quiet:
        for one in shown:
            output.say(one.id)
        return
    if is_one:
        for one in shown:
            _show_one(output, one)
        return
    output.table(_COLUMNS, [_row(one) for one in shown])
    totals = found.totals
    output.note(
        f"{counted(totals.failed, 'check')} failed, {totals.unknown} unknown, {totals.waived} "
        f"waived, {totals.passed} passed. `keyturn posture --check CHECK` shows what one concerns."
    )
    if not found.whole_workspace:
        output.note("This token reads some slots alone: what is of the workspace is unknown.")


def _row(one: Check) -> tuple[object, ...]:
    return (
        one.result,
        one.id,
        one.known,
        f"{one.total:,} of {one.evidence.checked:,}" if one.total else "-",
        None if one.since is None else ago(one.since),
        one.remedy,
    )


def _show_one(output: Output, one: Check) -> None:
    evidence = one.evidence
    output.record(
        [
            ("check", one.id),
            ("guide", one.line),
            ("result", one.result),
            ("known", one.known),
            ("since", one.since),
            ("judged", evidence.checked),
            ("failed", evidence.failed),
            ("unknown", evidence.unknown),
            ("waived", evidence.waived),
            ("by", [f"{name} {value}" for name, value in evidence.terms.items()]),
            ("next", one.remedy),
        ]
    )
    if one.concerned:
        output.say("")
        output.table(_CONCERNED, [_concerned_row(each) for each in one.concerned])
    if one.total > len(one.concerned):
        output.note(f"{len(one.concerned)} of {one.total:,} are shown.")


def _concerned_row(one: Concerned) -> tuple[object, ...]:
    why = one.why
    if one.waived is not None:
        until = f"{one.waived.until:%Y-%m-%d}"
        why = f"waived by {one.waived.by} until {until}: {one.waived.reason}"
    return (
        one.result,
        one.type,
        one.name,
        short(one.id),
        one.slot,
        None if one.since is None else ago(one.since),
        why,
    )


@posture.command(
    epilog="KEY is an id, a hint like kt_prod_…, or a slot or a name that has one key."
)
@click.argument("check", type=click.Choice(_CHECKS), metavar="CHECK")
@click.option("--key", metavar="KEY", help="Of this key alone.")
@click.option("--slot", metavar="SLOT", help="Of this slot and its keys alone.")
@click.option("--reason", required=True, metavar="TEXT", help="Why it may be; it is kept.")
@click.option(
    "--until",
    required=True,
    type=AHEAD,
    metavar="WHEN",
    help="When that ends: 30d, or a time; a year at most.",
)
@once_option
@calling
def waive(
    client: "Keyturn",
    output: Output,
    check: str,
    key: str | None,
    slot: str | None,
    reason: str,
    until: "datetime",
    idempotency_key: str | None,
) -> None:
    """Say that a check may fail, until a stated time. Without --key and --slot, all of it.

    \b
    Examples:
      keyturn posture waive keys.networks --slot lambda-prod \\
        --reason 'no fixed address' --until 90d
    """
    made = client.posture.waive(
        check,
        reason=reason,
        until=until,
        key_id=None if key is None else key_id(client, key),
        slot=slot,
        idempotency_key=idempotency_key,
    )
    if output.as_json:
        output.json(made)
    elif output.is_quiet:
        output.say(made.id)
    else:
        output.record(
            [
                ("id", made.id),
                ("check", made.check),
                ("of", _of(made)),
                ("until", made.until),
                ("reason", made.reason),
                ("by", made.created_by),
            ]
        )


@posture.command(epilog=_WAIVER_HELP)
@click.argument("waiver")
@calling
def unwaive(client: "Keyturn", output: Output, waiver: str) -> None:
    """End a waiver before its time.

    \b
    Examples:
      keyturn posture unwaive 06aSDUtCJxNn2WzPHQ7kVt
    """
    id_ = waiver_id(client, waiver)
    client.posture.unwaive(id_)
    if output.as_json:
        output.json({"id": id_, "active": False})
    elif output.is_quiet:
        output.say(id_)
    else:
        output.say(f"Waiver {short(id_)} is over.")


@posture.command()
@paged
@calling
def waivers(client: "Keyturn", output: Output, portion: Portion) -> None:
    """List what is and was waived, newest first.

    \b
    Examples:
      keyturn posture waivers --json
    """
    found = client.posture.waivers(limit=portion.page_size)
    portion.show(output, found, _WAIVERS, _waiver_row, lambda one: one.id)


def _waiver_row(one: PostureWaiver) -> tuple[object, ...]:
    return (
        short(one.id),
        one.check,
        _of(one),
        one.until,
        one.active,
        one.created_by,
        one.reason,
    )


def _of(one: PostureWaiver) -> str:
    if one.key_id is not None:
        return f"key {short(one.key_id)}"
    return "all" if one.slot is None else f"slot {one.slot}"


posture.add_command(evidence)
