"""`keyturn activity verify`: the log checked by someone who does not trust the database."""

import json
from pathlib import Path

import click

from keyturn.cli.loading import settings_for
from keyturn.server.build import House, opened
from keyturn.server.checks import ChecksFile
from keyturn.server.heads import read_lines
from keyturn.services.attest import Attestation, attest


@click.command()
@click.option(
    "--heads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A copy of the file of signed heads from elsewhere; default: activity.heads in the data "
    "folder.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def verify(ctx: click.Context, heads: Path | None, as_json: bool) -> None:
    """Check the whole log: every entry, every change, and the heads that were signed.

    Only reads the database; may run beside a server. What came of it is signed and kept in
    activity.checks in the data folder, for `keyturn posture`. Ends with 1 where the log was
    tampered with.
    """
    settings = settings_for("production")
    with opened(settings, patient=True) as house:
        lines = read_lines(heads or settings.heads_file)
        found = attest(house.context, house.notary, lines)
        public_key = house.notary.public_key
        unkept = _write_down(house, found)
    if unkept is not None:
        click.echo(unkept, err=True)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "sound": found.is_sound,
                    "entries": found.entries,
                    "changes": found.changes,
                    "expired_entries": found.blanked,
                    "signed_heads": found.heads,
                    "public_key": public_key,
                    "faults": list(found.faults),
                },
                indent=2,
            )
        )
    else:
        for fault in found.faults:
            click.echo(f"FAULT  {fault}")
        if not found.heads:
            click.echo(
                f"No signed heads in {heads or settings.heads_file}: whether the end of the log "
                "was cut off cannot be told. `keyturn serve` writes them; keep a copy elsewhere."
            )
        click.echo(
            f"{'Sound' if found.is_sound else 'NOT SOUND'}: {found.entries} entries, "
            f"{found.changes} changes, {found.heads} signed heads."
        )
    ctx.exit(0 if found.is_sound else 1)


def _write_down(house: House, found: Attestation) -> str | None:
    """Keeps the outcome; says so where it cannot be kept, which makes it no other."""
    path = house.settings.checks_file
    try:
        ChecksFile(path, house.notary).add(found, house.context.clock.now())
    except OSError as error:
        return f"keyturn: That it was checked cannot be kept in {path} ({error.strerror})."
    return None
