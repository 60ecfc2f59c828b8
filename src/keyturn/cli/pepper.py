"""`keyturn pepper`: replacing what the digests in the database are made with."""

import json
import sys

import click

from keyturn.cli.loading import settings_for
from keyturn.server.pepper import rotate_pepper, survey_peppers
from keyturn.services.wrap import Survey, Wrapped


@click.group()
def pepper() -> None:
    """The pepper is what a thief of the database lacks: the file of the root secret has it."""


@pepper.command()
@click.pass_context
def rotate(ctx: click.Context) -> None:
    """Bring in a new pepper, and every digest under it. No token changes.

    May run beside a server. Broken off anywhere, every token goes on working, and the same command
    finishes it. Ends with 1 where damaged records were left out.

    \b
    Examples:
      keyturn pepper rotate
      keyturn pepper status
    """
    settings = settings_for("production")
    wrapped = rotate_pepper(settings, _tell_begin, _tell_progress)
    click.echo(
        f"{_counted(wrapped.keys, 'key')} and {_counted(wrapped.operators, 'operator')} were "
        f"wrapped; every sound record stands under pepper {wrapped.version}.\n"
        f"Copy {settings.root_secret_file} to your escrow now: an older copy does not fit this "
        "database any more."
    )
    if wrapped.damaged:
        _tell_damaged(wrapped.damaged)
        ctx.exit(1)


def _tell_begin(version: int, is_begun: bool) -> None:
    verb = "Going on with the unfinished rotation" if is_begun else "Rotating"
    click.echo(f"{verb} to pepper {version}.")


def _tell_progress(wrapped: Wrapped, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{wrapped.records} of {total}", nl=False, err=True)
        if wrapped.records + wrapped.damaged >= total:
            click.echo(err=True)


def _tell_damaged(count: int) -> None:
    click.echo(
        f"keyturn: {_counted(count, 'damaged record')} stayed as before: changed from outside, "
        "and denied everywhere.\n"
        "  `keyturn activity verify` names them; revoke such a key, replace such an operator.",
        err=True,
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@pepper.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Show the peppers, and how many records stand under which; only reads."""
    found, newest_in_file = survey_peppers(settings_for("production"))
    if as_json:
        click.echo(json.dumps(_members(found, newest_in_file), indent=2))
        return
    rows = [("PEPPERS", "KEYS", "OPERATORS")] + [
        (peppers or "none", str(keys), str(operators)) for peppers, keys, operators in _rows(found)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    if _is_unfinished(found, newest_in_file):
        click.echo(
            f"A rotation to pepper {newest_in_file} is unfinished. "
            "`keyturn pepper rotate` finishes it."
        )
    if found.damaged:
        _tell_damaged(found.damaged)


def _is_unfinished(found: Survey, newest_in_file: int) -> bool:
    return found.is_unfinished or newest_in_file > found.newest


def _rows(found: Survey) -> list[tuple[str, int, int]]:
    keys, operators = found.records["key"], found.records["operator"]
    return [
        (peppers, keys.get(peppers, 0), operators.get(peppers, 0))
        for peppers in sorted({*keys, *operators})
    ]


def _members(found: Survey, newest_in_file: int) -> dict[str, object]:
    return {
        "newest": found.newest,
        "newest_in_file": newest_in_file,
        "fingerprints": {str(version): text for version, text in found.fingerprints.items()},
        "unfinished": _is_unfinished(found, newest_in_file),
        "waiting": found.waiting,
        "damaged": found.damaged,
        "records": [
            {"peppers": peppers, "keys": keys, "operators": operators}
            for peppers, keys, operators in _rows(found)
        ],
    }
