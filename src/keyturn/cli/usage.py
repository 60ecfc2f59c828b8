"""`keyturn usage`: how a key was used, in totals, over time, and by whom."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import KEY_HELP, key_id
from keyturn.cli.output import Column, Output
from keyturn.cli.when import BACK, now
from keyturn.client.resources import Usage

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.requests import Bucket

_RUNTIMES = (
    Column("runtime", wide=True),
    Column("declared"),
    Column("allowed", right=True),
    Column("denied", right=True),
    Column("first seen"),
    Column("last seen"),
)
_BUCKETS = (
    Column("from (utc)"),
    Column("allowed", right=True),
    Column("denied", right=True),
    Column("", wide=True),
)
_BAR_WIDTH = 30
# What is shown without bounds; of days, the last 30.
_SPANS = {"minute": timedelta(hours=2), "hour": timedelta(days=3)}


@click.command(epilog=KEY_HELP)
@click.argument("key")
@click.option(
    "--since",
    type=BACK,
    metavar="WHEN",
    help="24h, 7d, or a time. Default: 2h of minutes, 3d of hours, 30d of days.",
)
@click.option("--until", type=BACK, metavar="WHEN", help="1h, or a time.")
@click.option(
    "--bucket", type=click.Choice(["minute", "hour", "day"]), default="day", show_default=True
)
@calling
def usage(
    client: "Keyturn",
    output: Output,
    key: str,
    since: datetime | None,
    until: datetime | None,
    bucket: str,
) -> None:
    """Show how a key was used: over time, and by which workloads.

    \b
    Examples:
      keyturn usage scheduler-prod
      keyturn usage scheduler-prod --since 2h --bucket minute --json
    """
    if since is None and until is None and bucket in _SPANS:
        since = now() - _SPANS[bucket]
    found = client.keys.usage(
        key_id(client, key), since=since, until=until, bucket=cast("Bucket", bucket)
    )
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        for one in found.runtimes:
            output.say(one.runtime)
    else:
        _show(output, found)


def _show(output: Output, usage: Usage) -> None:
    output.record(
        [
            ("key", usage.key_id),
            ("from", usage.since),
            ("until", usage.until),
            ("allowed", usage.totals.allowed),
            ("denied", usage.totals.denied),
            ("last used", usage.last_used_at or "never"),
        ]
    )
    if usage.runtimes:
        click.echo()
        output.table(
            _RUNTIMES,
            [
                (
                    one.runtime,
                    one.declared,
                    one.allowed,
                    one.denied,
                    one.first_seen_at,
                    one.last_seen_at,
                )
                for one in usage.runtimes
            ],
        )
    if usage.series:
        click.echo()
        most = max(one.allowed + one.denied for one in usage.series)
        output.table(
            _BUCKETS,
            [
                (one.at, one.allowed, one.denied, _bar(one.allowed + one.denied, most))
                for one in usage.series
            ],
        )


def _bar(count: int, most: int) -> str:
    return "█" * max(1, round(_BAR_WIDTH * count / max(most, 1)))
