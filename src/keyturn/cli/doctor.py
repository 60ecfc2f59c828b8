"""`keyturn doctor`: what is wrong with this installation, and what helps."""

import json
import os

import click

from keyturn.cli.loading import working_folder
from keyturn.server.doctor import examine

MARKS = {"ok": "ok   ", "fault": "FAULT", "warning": "warn ", "unknown": "?    "}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check settings, root secret, database, migrations, clock and log; only reads.

    Ends with 1 where something is at fault. May run beside a server.
    """
    checks = examine(os.environ, working_folder())
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "name": check.name,
                        "status": check.status,
                        "detail": check.detail,
                        "remedy": check.remedy,
                    }
                    for check in checks
                ],
                indent=2,
            )
        )
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(f"{MARKS[check.status]}  {check.name.ljust(width)}  {check.detail}")
            if check.remedy:
                click.echo(f"       {' ' * width}  → {check.remedy}")
    ctx.exit(1 if any(check.status == "fault" for check in checks) else 0)
