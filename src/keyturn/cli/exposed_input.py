"""Where a text with exposed tokens is read from: standard input, or a file. Never an argument."""

import sys
from pathlib import Path

import click

from keyturn.cli.ending import WRONG, CommandFailed
from keyturn.cli.exposed import decode

STANDARD_INPUT = "-"
_LONGEST = 16 * 1_048_576


def exposed_text(place: str) -> str:
    """What stands there. Raises `CommandFailed`."""
    if place == STANDARD_INPUT and sys.stdin.isatty():
        return str(click.prompt("Token, id or hint (not shown)", hide_input=True, err=True))
    try:
        raw = _read(place)
    except OSError as error:
        raise CommandFailed(
            f"{place} cannot be read ({error.strerror}); nothing was contained.",
            remedy="Name another file, or give it by standard input: `keyturn contain -`.",
            code=WRONG,
        ) from error
    if len(raw) > _LONGEST:
        raise CommandFailed(
            f"That is more than {_LONGEST >> 20} MiB of text; nothing was contained.",
            remedy="Give the lines that have tokens: `grep -E '[a-z]+_[a-z0-9]+_' FILE`.",
            code=WRONG,
        )
    return decode(raw)


def _read(place: str) -> bytes:
    if place == STANDARD_INPUT:
        return sys.stdin.buffer.read(_LONGEST + 1)
    with Path(place).open("rb") as file:
        return file.read(_LONGEST + 1)
