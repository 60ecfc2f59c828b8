"""`keyturn requests`: what was done with keys, as Keyturn saw it."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import key_id, short
from keyturn.cli.output import Column, Output
from keyturn.cli.paged import Portion, paged
from keyturn.cli.when import BACK
from keyturn.client.resources import RecordedRequest

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.requests import BrowserSign

_COLUMNS = (
    Column("at (utc)"),
    Column("verdict"),
    Column("key"),
    Column("runtime", wide=True),
    Column("ip", optional=True),
    Column("call", wide=True),
    Column("request", wide=True, optional=True),
)


@click.group()
def requests() -> None:
    """Requests: every use of a key, with its verdict."""


@requests.command("list")
@click.option("--key", metavar="KEY", help="An id, a hint, or a slot that has one key.")
@click.option("--request-id", metavar="ID", help="From a service's own log to the key behind it.")
@click.option("--runtime", metavar="NAME")
@click.option("--ip", metavar="ADDRESS", help="An address, or a block like 10.0.0.0/8.")
@click.option("--path", metavar="PATH", help="The beginning of a path.")
@click.option("--valid/--denied", "valid", default=None, help="Only those.")
@click.option("--code", metavar="WORD", help="Like revoked or scope_denied.")
@click.option("--country", metavar="CODE", help="Where it came from, like DE.")
@click.option(
    "--browser",
    type=click.Choice(["sec-fetch", "origin", "user-agent"]),
    help="By which sign it came from a browser.",
)
@click.option("--since", type=BACK, metavar="WHEN", help="15m, 24h, or a time.")
@click.option("--until", type=BACK, metavar="WHEN", help="1h, or a time.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    key: str | None,
    request_id: str | None,
    runtime: str | None,
    ip: str | None,
    path: str | None,
    valid: bool | None,
    code: str | None,
    country: str | None,
    browser: "BrowserSign | None",
    since: datetime | None,
    until: datetime | None,
    portion: Portion,
) -> None:
    """List requests, newest first.

    \b
    Examples:
      keyturn requests list --key scheduler-prod --since 1h
      keyturn requests list --denied --ip 203.0.113.0/24 --json
    """
    found = client.requests.list(
        key_id=None if key is None else key_id(client, key),
        request_id=request_id,
        runtime=runtime,
        ip=ip,
        path=path,
        valid=valid,
        code=code,
        country=country,
        browser=browser,
        since=since,
        until=until,
        limit=portion.page_size,
    )
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


def _row(one: RecordedRequest) -> tuple[object, ...]:
    call = " ".join(part for part in (one.method, one.path) if part)
    return (one.at, one.code, short(one.key_id), one.runtime, one.ip, call, one.request_id)
