"""The files that slots are declared in: one by one, by the folder, or on standard input."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from keyturn.cli.declaration import Declared, Source, read_declaration
from keyturn.cli.ending import WRONG, CommandFailed
from keyturn.cli.plan_text import plural
from keyturn.cli.yaml_file import LARGEST_BYTES

STDIN = "-"
_ENDINGS = (".yaml", ".yml", ".json")
_MOST_FAULTS = 100


def read_files(files: Sequence[str]) -> Sequence[Declared]:
    """What they declare. Raises `CommandFailed` where anything is wrong in them, and has told each
    fault before."""
    declaration = read_declaration([one for file in files for one in _sources(file)])
    faults = declaration.faults
    if not faults:
        return declaration.slots
    for fault in faults[:_MOST_FAULTS]:
        click.echo(str(fault), err=True)
    if len(faults) > _MOST_FAULTS:
        click.echo(f"and {len(faults) - _MOST_FAULTS:,} more", err=True)
    raise CommandFailed(
        f"{plural(len(faults), 'fault')} in what was to be applied; nothing was sent.",
        remedy="`keyturn apply --help` shows the form of such a file.",
        code=WRONG,
    )


def _sources(file: str) -> Iterator[Source]:
    if file == STDIN:
        # One more than is allowed shows that there is too much; the rest is not read.
        yield Source(name="standard input", content=sys.stdin.buffer.read(LARGEST_BYTES + 1))
        return
    path = Path(file)
    if not path.is_dir():
        yield _source(path)
        return
    found = sorted(one for one in path.iterdir() if one.suffix in _ENDINGS and one.is_file())
    if not found:
        raise CommandFailed(
            f"No file in {file} ends in {', '.join(_ENDINGS)}.",
            remedy="Folders within it are not looked into: name each of them with -f.",
            code=WRONG,
        )
    yield from map(_source, found)


def _source(path: Path) -> Source:
    with path.open("rb") as opened:
        return Source(name=str(path), content=opened.read(LARGEST_BYTES + 1))
