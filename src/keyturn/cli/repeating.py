"""Options for calls that are sent again, or that somebody else may be ahead of."""

import click

from keyturn.domain.idempotency import IDEMPOTENCY_KEY


def _once(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and IDEMPOTENCY_KEY.fullmatch(value) is None:
        raise click.UsageError(
            "--idempotency-key takes 1 to 255 printable characters of ASCII, without blanks.", ctx
        )
    return value


once_option = click.option(
    "--idempotency-key",
    metavar="TEXT",
    callback=_once,
    help="The same call sent again does nothing more.",
)
version_option = click.option(
    "--if-version",
    "version",
    type=click.IntRange(0),
    metavar="N",
    help="Only if it is still that.",
)
