"""`keyturn keys impact`: what would break if a key were revoked now."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import NO
from keyturn.cli.naming import KEY_HELP, key_id, short
from keyturn.cli.output import Column, Output, ago, counted, span
from keyturn.client.errors import ApiError
from keyturn.client.rotation_records import Impact, ImpactRuntime

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_COLUMNS = (
    Column("runtime", wide=True),
    Column("breaks"),
    Column("last used"),
    Column("allowed", right=True),
    Column("an hour", right=True, optional=True),
    Column("longest gap", right=True, optional=True),
    Column("next expected (utc)", optional=True),
)
_MOST_NAMED = 5


@click.command(epilog=KEY_HELP)
@click.argument("key")
@calling
def impact(client: "Keyturn", output: Output, key: str) -> None:
    """Say what would break if a key were revoked now. Ends with 3 unless that is safe.

    \b
    Examples:
      keyturn keys impact scheduler-prod
      keyturn keys impact scheduler-prod && keyturn keys revoke scheduler-prod --yes
    """
    found = client.keys.impact(key_id(client, key))
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        output.say(found.impact)
    else:
        output.say(impact_line(found))
        if found.rotation_id is not None:
            output.say(f"It is in a rotation: {short(found.rotation_id)}.")
        if found.runtimes:
            click.echo()
            output.table(_COLUMNS, [_row(one) for one in found.runtimes])
    if not found.is_safe:
        raise click.exceptions.Exit(NO)


def impact_line(impact: Impact) -> str:
    """All of it in one line."""
    word = {"safe": "Safe", "breaks": "Breaks", "unknown": "Unknown"}.get(
        impact.impact, impact.impact
    )
    only = " It is the only live key of its slot." if impact.is_only_live_key else ""
    return f"{word}: {impact.reason}{only}"


def impact_told(client: "Keyturn", id_: str) -> str:
    """Whom the end of the key would hit, for a question; empty where that cannot be told here."""
    try:
        found = client.keys.impact(id_)
    except ApiError:
        return ""  # not allowed to look, or a server that does not know it yet: asked all the same
    broken = [one.runtime for one in found.runtimes if one.breaks]
    if not broken:
        return f"{impact_line(found)} "
    named = ", ".join(broken[:_MOST_NAMED])
    others = f" and {counted(len(broken) - _MOST_NAMED, 'other')}" * (len(broken) > _MOST_NAMED)
    return f"It would break {named}{others}. "


def _row(one: ImpactRuntime) -> tuple[object, ...]:
    rate, gap = one.calls_per_hour, one.longest_gap_seconds
    return (
        one.runtime,
        one.breaks,
        ago(one.last_seen_at),
        one.allowed,
        None if rate is None else f"{rate:,.1f}",
        None if gap is None else span(gap),
        one.next_expected_at,
    )
