"""`keyturn operators`: who may act on the whole installation."""

import json
import re
import sys
from pathlib import Path

import click

from keyturn.cli.loading import settings_for
from keyturn.domain.error import InstallationFault
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import SECOND, format_instant, parse_instant
from keyturn.domain.operator import Operator, OperatorKind
from keyturn.server.build import opened
from keyturn.server.files import write_private
from keyturn.server.install import require_vacant
from keyturn.services.appoint import appoint_operator, dismiss_operator, list_operators

_UNITS = {"m": 60, "h": 3_600, "d": 86_400}
_SPAN = re.compile(r"([1-9]\d{0,5})([mhd])")


@click.group()
def operators() -> None:
    """Operators act on the whole installation; gateway credentials verify for every workspace."""


@operators.command()
@click.option("--name", required=True, help="Whose token it is; stands in the activity log.")
@click.option("--verify-only", is_flag=True, help="A gateway credential: it may verify, no more.")
@click.option("--expires", metavar="WHEN", help="90d, 12h, 30m, or a time in RFC 3339.")
@click.option(
    "--output",
    metavar="FILE",
    help="Where the token goes (0600); `-` is standard output. Needed where standard output is "
    "no terminal.",
)
def create(name: str, verify_only: bool, expires: str | None, output: str | None) -> None:
    """Make an operator's token, or a gateway's.

    \b
    Examples:
      keyturn operators create --name "Ada" --expires 90d --output ada.token
      keyturn operators create --name nginx --verify-only --output gateway.token
    """
    if output is None and not sys.stdout.isatty():
        raise click.UsageError(
            "Standard output is no terminal; say where the token goes with --output FILE, "
            "or --output - for standard output."
        )
    settings = settings_for("production")
    if output is not None and output != "-":
        require_vacant(Path(output))
    kind = OperatorKind.GATEWAY if verify_only else OperatorKind.OPERATOR
    with opened(settings) as house:
        expires_at = _expiry(expires, house.context.clock.now())
        appointed = appoint_operator(house.context, name, kind, expires_at)
        try:
            _hand_over(appointed.token.reveal(), output)
        except OSError as error:
            dismiss_operator(house.context, appointed.operator.id)
            place = "standard output" if output in (None, "-") else output
            raise InstallationFault(
                f"The token cannot be written to {place} ({error.strerror}); the operator was "
                "revoked again.",
                remedy="Say with --output FILE where it can go, and repeat.",
            ) from error
    if output not in (None, "-"):
        click.echo(f"Operator {appointed.operator.id}; its token is in {output}")


def _hand_over(token: str, output: str | None) -> None:
    if output is None or output == "-":
        click.echo(token)
    else:
        write_private(Path(output), token + "\n")


@operators.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(as_json: bool) -> None:
    """List operators and gateway credentials, newest first."""
    with opened(settings_for("production")) as house:
        now = house.context.clock.now()
        found = list_operators(house.context)
        damaged = house.damage.seen
    if damaged:
        click.echo(
            f"keyturn: {damaged} more cannot be shown: the record was changed from outside.\n"
            "  Run `keyturn activity verify`; replace the operator by a new one.",
            err=True,
        )
    if as_json:
        click.echo(json.dumps([_members(one, now) for one in found], indent=2))
        return
    rows = [("ID", "NAME", "KIND", "STATUS", "EXPIRES")] + [
        tuple(str(_members(one, now)[name] or "never") for name in _COLUMNS) for one in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@operators.command()
@click.argument("id")
def revoke(id: str) -> None:  # noqa: A002
    """Revoke an operator's token, by its id."""
    id_ = parse_id(id)
    if id_ is None:
        raise click.UsageError("ID is a UUID or its 22 characters; see `keyturn operators list`.")
    with opened(settings_for("production")) as house:
        operator = dismiss_operator(house.context, id_)
    click.echo(f"Operator {operator.name} is revoked.")


_COLUMNS = ("id", "name", "kind", "status", "expires_at")


def _members(operator: Operator, now: int) -> dict[str, str | None]:
    status = "active"
    if operator.revoked_at is not None:
        status = "revoked"
    elif not operator.is_live(now):
        status = "expired"
    expires_at = operator.expires_at
    return {
        "id": str(operator.id),
        "name": operator.name,
        "kind": operator.kind.value,
        "status": status,
        "created_at": format_instant(operator.created_at),
        "expires_at": None if expires_at is None else format_instant(expires_at),
    }


def _expiry(text: str | None, now: int) -> int | None:
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now + int(span.group(1)) * _UNITS[span.group(2)] * SECOND
    try:
        return parse_instant(text)
    except ValueError:
        raise click.UsageError(
            "--expires takes 90d, 12h, 30m, or a time like 2027-01-31T12:00:00Z."
        ) from None
